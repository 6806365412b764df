"""What happens to symbols from outside: halts, missing bars, splits, dividends, corrections.

Shape letter: N symbols.
"""

from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.sources.sim.draws import Purpose, stream
from alpha_assets.sources.sim.roster import SESSIONS_A_YEAR, Roster
from alpha_assets.sources.sim.spec import SimSpec

MAX_HALT = 20  # sessions
SETTLING = 20  # sessions after a listing without splits and dividends
MAX_CORRECTION_LAG = 5  # sessions
# adjustment_factor on the ex-date: below 1 a split, above 1 a reverse split.
SPLIT_FACTORS = np.array([1 / 2, 1 / 3, 1 / 5, 1 / 10])
REVERSE_FACTORS = np.array([10.0, 5.0, 2.0])
HIGH_PRICE, USUAL_PRICE, LOW_PRICE, PENNY = 5_000, 1_000, 600, 200  # JPY


class Events(NamedTuple):
    """What one session holds besides prices."""

    has_bar: Mask
    factor: Array  # adjustment_factor, 1 on most sessions
    dividend: Array  # JPY per raw share, 0 on most sessions
    corrected: Mask  # the first delivery of this bar is wrong
    wrong_close: Array  # uniform: where in the range the first delivery puts the close
    wrong_volume: Array  # the first delivery's volume / the true one
    lag: Index  # sessions until the correction


class EventBook:
    """The state of all halts; `step` must be called session by session."""

    def __init__(self, spec: SimSpec, roster: Roster) -> None:
        self.spec = spec
        self.roster = roster
        self.halt_left_N = np.zeros(len(roster), dtype=np.int64)

    def step(self, number: int, day: int, ex_month: int, price_N: Array) -> Events:
        """Return the events of a session.

        Args:
            number: of the session, 0 = the market's first.
            day: days since 1970, names the random stream.
            ex_month: month whose dividends go ex on this session; 0 for none.
            price_N: last close, JPY.
        """
        spec, roster = self.spec, self.roster
        u = stream(spec.seed, Purpose.EVENTS, day).random((10, len(roster)))
        age_N = number - roster.start
        listed_N = (age_N >= 0) & (number <= roster.end)
        ends_N = (age_N == 0) | (number == roster.end)  # the first and the last bar always exist
        starts_N = (self.halt_left_N == 0) & (u[0] < spec.halts_annual / SESSIONS_A_YEAR)
        length_N = 1 + np.floor(u[1] * MAX_HALT).astype(np.int64)
        self.halt_left_N = np.where(starts_N, length_N, self.halt_left_N)
        self.halt_left_N = np.where(ends_N | ~listed_N, 0, self.halt_left_N)
        has_bar_N = listed_N & (self.halt_left_N == 0) & (ends_N | (u[2] >= spec.missing_share))
        self.halt_left_N = np.maximum(self.halt_left_N - 1, 0)

        settled_N = listed_N & (age_N >= SETTLING)
        # First and second half of the fiscal year end six months apart.
        pays_N = settled_N & ((roster.fiscal_month - ex_month) % 6 == 0) & (ex_month > 0)
        yield_N = np.where(pays_N, roster.dividend_yield / 2, 0.0)
        dividend_N = np.round(yield_N * price_N, 1)
        may_split_N = settled_N & has_bar_N & (dividend_N == 0)
        wrong_N = 1 + np.where(u[8] < 0.5, -0.6, 0.6) * (0.2 + 0.8 * u[7])
        return Events(
            has_bar=has_bar_N,
            factor=np.where(may_split_N, self._factor(price_N, u[3], u[4]), 1.0),
            dividend=dividend_N,
            corrected=has_bar_N & (u[5] < spec.corrected_share),
            wrong_close=u[6],
            wrong_volume=wrong_N,
            lag=1 + np.floor(u[9] * MAX_CORRECTION_LAG).astype(np.int64),
        )

    def _factor(self, price_N: Array, chance_N: Array, size_N: Array) -> Array:
        """Return split factors: dear shares are split more often, cheap ones consolidated."""
        rate = self.spec.splits_annual / SESSIONS_A_YEAR
        up = rate * np.select([price_N > HIGH_PRICE, price_N > USUAL_PRICE], [4.0, 1.0], 0.0)
        down = rate * np.select([price_N < PENNY, price_N < LOW_PRICE], [12.0, 0.6], 0.0)
        split_N = SPLIT_FACTORS[np.searchsorted([0.6, 0.85, 0.95], size_N, side="right")]
        reverse_N = REVERSE_FACTORS[np.searchsorted([0.5, 0.85], size_N, side="right")]
        return np.where(chance_N < up, split_N, np.where(chance_N < down, reverse_N, 1.0))
