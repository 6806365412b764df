"""Hidden states that side feeds reveal, each with its share of the planted signal.

Shape letters: N symbols, C latent components in the order of `signal.LATENT`.
"""

import numpy as np

from alpha_assets.arrays.types import Array, Mask
from alpha_assets.sources.sim import signal
from alpha_assets.sources.sim.draws import Purpose, stream
from alpha_assets.sources.sim.roster import REPORT_EVERY, SEGMENTS_AFTER, Roster
from alpha_assets.sources.sim.tokyo import SECTORS

BETA_SPREAD = 0.3
PER_SYMBOL = ("short_positions", "margin", "statements", "news")


class Latents:
    """The state of the hidden series; `step` must be called session by session."""

    def __init__(self, seed: int, roster: Roster) -> None:
        self.seed = seed
        self.roster = roster
        self.keep = {c.name: c.persistence for c in signal.LATENT}
        draws = stream(seed, Purpose.LATENT, 0)
        self.sector_S = draws.standard_normal(len(SECTORS))
        self.segment_3 = draws.standard_normal(len(SEGMENTS_AFTER))
        self.market = draws.standard_normal()
        self.strength = draws.standard_normal()
        self.symbol = dict(
            zip(PER_SYMBOL, draws.standard_normal((len(PER_SYMBOL), len(roster))), strict=True)
        )

    def step(self, number: int, day: int, listed_N: Mask) -> Array:
        """Return g_CN of a session, centred across the listed symbols.

        Args:
            number: of the session, 0 = the market's first.
            day: days since 1970, names the random stream.
            listed_N: the symbols that count.
        """
        draws = stream(self.seed, Purpose.LATENT, day)
        keep = self.keep
        self.sector_S = _ar(
            self.sector_S, keep["sector_short"], draws.standard_normal(len(SECTORS))
        )
        self.segment_3 = _ar(
            self.segment_3, keep["flows"], draws.standard_normal(len(SEGMENTS_AFTER))
        )
        self.market = float(_ar(self.market, keep["options"], draws.standard_normal()))
        self.strength = float(_ar(self.strength, signal.STRENGTH_AR, draws.standard_normal()))
        shocks = draws.standard_normal((len(PER_SYMBOL), len(self.roster)))
        chance_N = draws.random(len(self.roster))
        for name, shock_N in zip(PER_SYMBOL, shocks, strict=True):
            arrives: Mask | None = {
                "statements": np.asarray(number % REPORT_EVERY == self.roster.report_phase),
                "news": chance_N < signal.NEWS_RATE,
            }.get(name)
            self.symbol[name] = (
                _ar(self.symbol[name], keep[name], shock_N)
                if arrives is None
                else self._decayed(name, arrives, shock_N)
            )
        values = {
            "sector_short": self.sector_S[self.roster.sector],
            "flows": self.segment_3[self.roster.segment],
            "options": self.market * (self.roster.beta - 1) / BETA_SPREAD,
            **self.symbol,
        }
        return np.stack([signal.centred(values[c.name], listed_N) for c in signal.LATENT])

    def _decayed(self, name: str, arrives_N: Mask, shock_N: Array) -> Array:
        """Return a state that fades and now and then takes a shock; its mean square is 1."""
        keep = self.keep[name]
        rate = 1 / REPORT_EVERY if name == "statements" else signal.NEWS_RATE
        size = np.sqrt((1 - keep**2) / rate)
        return np.asarray(keep * self.symbol[name] + np.where(arrives_N, size * shock_N, 0.0))


def _ar(state: Array | float, keep: float, shock: Array | float) -> Array:
    return np.asarray(keep * state + np.sqrt(1 - keep**2) * shock)
