"""Who is listed: the fixed facts of each symbol, and when it comes and goes.

Shape letter: N symbols, in the order of their numbers (not of their codes).
"""

from dataclasses import dataclass

import numpy as np

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.sources.sim import tokyo
from alpha_assets.sources.sim.draws import Purpose, stream
from alpha_assets.sources.sim.spec import SimSpec

NEVER = np.iinfo(np.int64).max // 2  # session number of an exit that does not come
SESSIONS_A_YEAR = 245
MIN_LIFE = 60  # sessions between a listing and an exit
LARGE_CAP = 4e10  # JPY; above: First Section
SEGMENTS_BEFORE = ("First Section", "Second Section", "Mothers")
SEGMENTS_AFTER = ("Prime", "Standard", "Growth")
FISCAL_MONTHS = np.array([3, 12, 6, 9])
FISCAL_SHARES = np.array([0.65, 0.2, 0.05, 0.1])
REPORT_EVERY = 61  # sessions between two earnings reports of a symbol


@dataclass(frozen=True, eq=False)
class Roster:
    """One entry per symbol."""

    code: tuple[str, ...]
    sector: Index  # place in tokyo.SECTORS
    segment: Index  # place in SEGMENTS_BEFORE and SEGMENTS_AFTER
    start: Index  # session number of the first bar, 0 = the market's first session
    end: Index  # session number of the last bar; NEVER if none
    acquired: Mask  # how it would exit
    exit_return: Array  # fraction, at the exit
    price: Array  # JPY, before the first bar
    shares: Array  # outstanding, before the first bar
    turnover: Array  # share of the outstanding traded in a median session
    beta: Array
    sector_load: Array
    idio_vol: Array  # a session
    dividend_yield: Array  # a year; 0 for those that pay none
    fiscal_month: Index
    report_phase: Index  # session number modulo REPORT_EVERY on which a report moves the price
    shortable: Mask

    def __len__(self) -> int:
        """Return the number of symbols."""
        return len(self.code)


def roster(spec: SimSpec, segment_change: int) -> Roster:
    """Return the symbols of an exchange.

    Args:
        spec: of the exchange; `last` and `signal` have no influence.
        segment_change: session number of the change of segments; no symbol exits on it, so
            that one listing event a day is enough.
    """
    n = spec.n_symbols

    def uniform(attribute: int) -> Array:
        return stream(spec.seed, Purpose.ROSTER, attribute).random(n)

    def normal(attribute: int) -> Array:
        return stream(spec.seed, Purpose.ROSTER, attribute).standard_normal(n)

    sector = tokyo.sector_of(n)
    is_semi = sector == 0
    late = (uniform(1) < spec.late_share) & ~is_semi
    wait = 1 + np.floor(uniform(2) * spec.late_within_sessions).astype(np.int64)
    start = np.where(late, wait, 0)
    end = np.full(n, NEVER)
    if spec.delistings_annual > 0:
        life = -np.log1p(-uniform(3)) * SESSIONS_A_YEAR / spec.delistings_annual
        end = start + MIN_LIFE + np.minimum(life, 1e9).astype(np.int64)
        end = np.where(is_semi, NEVER, np.where(end == segment_change, end + 1, end))
    acquired = uniform(4) < 0.4
    fate = uniform(5)
    failed = np.where(fate < 0.25, -1.0, np.where(fate < 0.5, -0.9 + 2.4 * (fate - 0.25), 0.0))
    exit_return = np.where(acquired, 0.05 + 0.2 * fate, failed)

    price = np.clip(np.exp(np.log(1_500) + 0.75 * normal(6)), 200, 30_000)
    capital = np.exp(np.log(6e10) + 1.3 * normal(7)) * np.where(late, 0.4, 1.0)
    small = capital < LARGE_CAP
    segment = np.where(~small, 0, np.where(late | (uniform(8) < 0.25), 2, 1))
    pays = uniform(13) < spec.payer_share
    return Roster(
        code=tuple(tokyo.code(i) for i in range(n)),
        sector=sector,
        segment=segment,
        start=start,
        end=end,
        acquired=acquired,
        exit_return=np.asarray(np.round(exit_return, 4), dtype=np.float64),
        price=tokyo.on_tick(price),
        shares=np.maximum(np.round(capital / price, -5), 1e6),
        turnover=np.exp(np.log(0.003) + 0.5 * normal(9)),
        beta=np.clip(1 + 0.3 * normal(10), 0.2, 2.0),
        sector_load=np.clip(1 + 0.2 * normal(11), 0.3, 1.7),
        idio_vol=np.clip(np.exp(0.22 * normal(12)), 0.6, 1.6)
        * spec.idio_vol
        / np.sqrt(SESSIONS_A_YEAR),
        dividend_yield=np.where(pays, 0.01 + 0.03 * uniform(14), 0.0),
        fiscal_month=FISCAL_MONTHS[
            np.searchsorted(np.cumsum(FISCAL_SHARES)[:-1], uniform(15), side="right")
        ],
        report_phase=np.floor(uniform(16) * REPORT_EVERY).astype(np.int64),
        shortable=(uniform(17) < 0.6) | is_semi,
    )
