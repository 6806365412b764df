"""What moves prices and volumes before any signal: market, sectors, symbols.

Fat tails, volatility that clusters in the market and in each symbol, jumps, and earnings
sessions.  Log moves are symmetric around a drift that all symbols share: across symbols no
volatility has a higher median return than another, so a market without signal has no rank
IC to find.  (Its mean simple returns do grow with volatility, by half the variance.)
Shape letters: N symbols, S sectors.
"""

from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Array, Mask
from alpha_assets.sources.sim.draws import Purpose, standard_t, stream
from alpha_assets.sources.sim.roster import REPORT_EVERY, SESSIONS_A_YEAR, Roster
from alpha_assets.sources.sim.spec import SimSpec
from alpha_assets.sources.sim.tokyo import SECTORS

FREEDOM = 5.0  # of Student's t, all shocks
DRIFT = 0.04 / SESSIONS_A_YEAR  # log, of every symbol
MARKET_OVERNIGHT = 0.4  # share of a session's variance
IDIO_OVERNIGHT = 0.25
# Variances follow GJR-GARCH(1,1) in the market and GARCH(1,1) in each symbol, with mean 1.
MARKET_GARCH = (0.05, 0.08, 0.88)  # reaction, extra reaction to a fall, persistence
IDIO_GARCH = (0.07, 0.90)
VARIANCE_BOUNDS = (0.15, 12.0)  # of the mean
REPORT_SCALE = 3.0  # of the overnight shock on an earnings session
JUMP_FLOOR, JUMP_SPREAD = 4.0, 4.0  # standard deviations


class Moves(NamedTuple):
    """What one session does to every symbol."""

    overnight: Array  # log
    intraday: Array  # log, without the planted drift
    intraday_sd: Array  # log
    turnover: Array  # share of the outstanding traded in a full session


class Shocks:
    """The state of all volatilities and volumes; `step` must be called session by session."""

    def __init__(self, spec: SimSpec, roster: Roster) -> None:
        self.spec = spec
        self.roster = roster
        self.market_variance = 1.0
        self.variance_N = np.ones(len(roster))
        self.activity_N = np.zeros(len(roster))  # log, slow part of a symbol's turnover
        self.market_activity = 0.0

    def step(self, number: int, day: int) -> Moves:
        """Return the moves of a session.

        Args:
            number: of the session, 0 = the market's first.
            day: days since 1970, names the random streams.
        """
        spec, roster = self.spec, self.roster
        n = len(roster)
        market = stream(spec.seed, Purpose.MARKET, day)
        factors_2S = standard_t(market, FREEDOM, (2, 1 + len(SECTORS)))
        self.market_activity = 0.9 * self.market_activity + 0.065 * market.standard_normal()

        root_year = np.sqrt(SESSIONS_A_YEAR)
        market_sd = spec.market_vol / root_year * np.sqrt(self.market_variance)
        sector_sd = spec.sector_vol / root_year * self.market_variance**0.25
        split_2 = np.sqrt(np.array([MARKET_OVERNIGHT, 1 - MARKET_OVERNIGHT]))
        common_2N = (
            split_2[:, None] * market_sd * factors_2S[:, :1] * roster.beta
            + split_2[:, None]
            * sector_sd
            * factors_2S[:, 1:][:, roster.sector]
            * roster.sector_load
        )

        idio_sd_N = roster.idio_vol * np.sqrt(self.variance_N) * self.market_variance**0.2
        night_N = standard_t(stream(spec.seed, Purpose.OVERNIGHT, day), FREEDOM, (n,))
        night_N = np.sqrt(IDIO_OVERNIGHT) * night_N
        day_N = standard_t(stream(spec.seed, Purpose.INTRADAY, day), FREEDOM, (n,))
        day_N = np.sqrt(1 - IDIO_OVERNIGHT) * day_N
        reports_N = number % REPORT_EVERY == roster.report_phase
        jump_N = self._jumps(day)
        overnight_N = idio_sd_N * night_N * np.where(reports_N, REPORT_SCALE, 1.0)
        moves = Moves(
            overnight=common_2N[0]
            + overnight_N
            + roster.idio_vol * jump_N
            + DRIFT
            + roster.dividend_yield / SESSIONS_A_YEAR,  # earned evenly, paid on ex-dates
            intraday=common_2N[1] + idio_sd_N * day_N,
            intraday_sd=np.sqrt(
                (1 - IDIO_OVERNIGHT) * idio_sd_N**2
                + (1 - MARKET_OVERNIGHT)
                * ((market_sd * roster.beta) ** 2 + (sector_sd * roster.sector_load) ** 2)
            ),
            turnover=self._turnover(day, night_N + day_N, reports_N | (jump_N != 0)),
        )
        self._update(float(split_2 @ factors_2S[:, 0]), night_N + day_N)
        return moves

    def _jumps(self, day: int) -> Array:
        """Return the sessions' surprises, in idiosyncratic standard deviations; mostly 0."""
        draws = stream(self.spec.seed, Purpose.JUMPS, day)
        chance_N, size_N = draws.random((2, len(self.roster)))
        rate = self.spec.jumps_annual / SESSIONS_A_YEAR
        up_N = np.where(chance_N < rate / 2, 1.0, -1.0)
        return np.where(chance_N < rate, up_N * (JUMP_FLOOR - JUMP_SPREAD * np.log1p(-size_N)), 0.0)

    def _turnover(self, day: int, shock_N: Array, event_N: Mask) -> Array:
        noise_N = stream(self.spec.seed, Purpose.VOLUME, day).standard_normal(len(self.roster))
        self.activity_N = 0.75 * self.activity_N + 0.23 * noise_N
        log_N = (
            self.activity_N
            + self.market_activity
            + 0.35 * np.log(self.variance_N)
            + 0.25 * np.log(self.market_variance)
            + 0.45 * (np.minimum(np.abs(shock_N), 6.0) - 0.75)
            + 0.9 * event_N
        )
        return np.asarray(np.minimum(self.roster.turnover * np.exp(log_N), 0.5))

    def _update(self, market_shock: float, shock_N: Array) -> None:
        low, high = VARIANCE_BOUNDS
        react, fall, keep = MARKET_GARCH
        squared = market_shock**2 * self.market_variance
        mean = 1 - react - fall / 2 - keep
        variance = (
            mean + (react + fall * (market_shock < 0)) * squared + keep * self.market_variance
        )
        self.market_variance = float(np.clip(variance, low, high))
        react, keep = IDIO_GARCH
        variance_N = 1 - react - keep + (react * shock_N**2 + keep) * self.variance_N
        self.variance_N = np.clip(variance_N, low, high)
