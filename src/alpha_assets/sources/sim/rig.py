"""The rig: nine planted components, each of which another kind of model can find.

Ten raw series per symbol and one of the market are published after the close of session T as the
market's own feeds `rig` and `rig_market`.  The forecast known at that close is

    f = z(Σ z(g_c) over the components that are switched on)

and drifts the log price of T+1 between its open and its close as `signal.py` says, with f alone:
nothing is planted in past prices.  A component that is switched off keeps its value and its
series; it only does not count in f.

    component    g of a symbol after the close of T                         series, AR(1)
    -----------  ---------------------------------------------------------  -------------
    linear       x0                                                         .9
    interaction  x1 · x2                                                    .9
    absolute     |x3|                                                       .9
    lag_7        x4 of seven sessions before                                0
    sum_10       sum of x5 over ten sessions, the last of them T            0
    sector_rel   x6 less its sector's mean                                  .5
    sector_mean  mean of x6 over the sector                                 .5
    graph        mean of x7 over five neighbours, one session before        .3
    regime       m · x8; m = ±1 is the market's and turns with chance .05   .9

x9 (.9) is noise.  Series are Gaussian with variance 1 across symbols; a fifth of that of x6 is
between sectors, whatever their sizes.  Neighbours are the nearest of points drawn
in the unit square.  z is that of `signal.py`.
Shape letters: N symbols, X series, C components, S sectors.
"""

from collections import deque

import numpy as np

from alpha_assets.arrays.types import Array, Index
from alpha_assets.sources.sim import signal
from alpha_assets.sources.sim.draws import Purpose, stream
from alpha_assets.sources.sim.roster import Roster
from alpha_assets.sources.sim.spec import RigSpec
from alpha_assets.sources.sim.tokyo import SECTORS

COMPONENTS = tuple(RigSpec.model_fields)
PERSISTENCE = np.array([0.9, 0.9, 0.9, 0.9, 0.0, 0.0, 0.5, 0.3, 0.9, 0.9])  # of x0 … x9
SERIES = tuple(f"x{place}" for place in range(len(PERSISTENCE)))
SECTOR_SHARE = 0.2  # of the variance of x6 across symbols
LAG, SUM = 7, 10  # sessions
NEIGHBOURS = 5
TURN = 0.05  # chance that the market's state changes its sign
_STATE, _PLACES = 0, 1  # numbers of the streams that no session has: days since 1970 are greater


class Rig:
    """The state of all series; `step` must be called session by session."""

    def __init__(self, seed: int, spec: RigSpec, roster: Roster) -> None:
        n = len(roster)
        self.seed = seed
        self.on_C = np.array([getattr(spec, name) for name in COMPONENTS])
        # By name: two sectors of the exchange have the same one, and a listing has the name.
        names = [sector.name for sector in SECTORS]
        self.sector_N = np.array([names.index(names[s]) for s in roster.sector.tolist()])
        self.size_S = np.bincount(self.sector_N, minlength=len(SECTORS))
        # Sectors vary less across symbols than over time, for the mean of all is among them.
        between = 1 - float(((self.size_S / n) ** 2).sum())
        self.sector_scale = np.sqrt(SECTOR_SHARE / between)
        draws = stream(seed, Purpose.RIG, _STATE)
        self.own_XN = draws.standard_normal((len(SERIES), n))
        self.sector_S = draws.standard_normal(len(SECTORS))
        self.regime = 1.0 if draws.random() < 0.5 else -1.0
        self.neighbours_NK = neighbours(stream(seed, Purpose.RIG, _PLACES).random((n, 2)))
        self.past: deque[Array] = deque(maxlen=SUM)  # series of the last sessions

    def step(self, day: int) -> tuple[Array, float, Array]:
        """Return the series [X, N], the state of the market and the components [C, N].

        Args:
            day: days since 1970, names the random stream.
        """
        draws = stream(self.seed, Purpose.RIG, day)
        keep_X1 = PERSISTENCE[:, None]
        shock_XN = draws.standard_normal(self.own_XN.shape)
        self.own_XN = keep_X1 * self.own_XN + np.sqrt(1 - keep_X1**2) * shock_XN
        keep = PERSISTENCE[6]
        shock_S = draws.standard_normal(len(SECTORS))
        self.sector_S = keep * self.sector_S + np.sqrt(1 - keep**2) * shock_S
        self.regime *= -1.0 if draws.random() < TURN else 1.0

        x_XN = self.own_XN.copy()
        mean_N = self.sector_scale * self.sector_S[self.sector_N]
        rest_N = np.sqrt(1 - SECTOR_SHARE) * self._within_sector(x_XN[6])
        x_XN[6] = mean_N + rest_N
        self.past.append(x_XN)
        before = list(self.past)[::-1]  # the last session first
        zero_N = np.zeros(x_XN.shape[1])
        one_before_N = before[1][7] if len(before) > 1 else zero_N
        raw = {
            "linear": x_XN[0],
            "interaction": x_XN[1] * x_XN[2],
            "absolute": np.abs(x_XN[3]),
            "lag_7": before[LAG][4] if len(before) > LAG else zero_N,
            "sum_10": np.sum([x[5] for x in before], axis=0),
            "sector_rel": rest_N,
            "sector_mean": mean_N,
            "graph": one_before_N[self.neighbours_NK].mean(axis=1),
            "regime": self.regime * x_XN[8],
        }
        all_N = np.ones(x_XN.shape[1], dtype=bool)
        g_CN = np.stack([signal.z_score(raw[name], all_N) for name in COMPONENTS])
        return x_XN, self.regime, g_CN

    def forecast(self, g_CN: Array) -> Array:
        """Return f of every symbol; 0 where nothing is switched on."""
        total_N = g_CN[self.on_C].sum(axis=0)
        return signal.z_score(total_N, np.ones(len(total_N), dtype=bool))

    def _within_sector(self, x_N: Array) -> Array:
        """Return x less its sector's mean, with variance 1; 0 for the only symbol of a sector."""
        mean_S = np.bincount(self.sector_N, x_N, len(SECTORS)) / np.maximum(self.size_S, 1)
        size_N = self.size_S[self.sector_N]
        scale_N = np.sqrt(size_N / np.maximum(size_N - 1, 1))
        return np.asarray((x_N - mean_S[self.sector_N]) * scale_N)


def neighbours(place_N2: Array) -> Index:
    """Return the numbers of the nearest other points of each point, nearest first, [N, K]."""
    apart_NN = ((place_N2[:, None] - place_N2[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart_NN, np.inf)
    return np.argsort(apart_NN, axis=1, kind="stable")[:, :NEIGHBOURS]
