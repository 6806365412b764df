"""The market's index and the indices of its sectors, as published, and a symbol against them.

`benchmark` is what a market is compared with (TOPIX in Tokyo).  Beta in `risk` is against the
mean of all symbols, which every market has; here it is against the published index.
"""

import math

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import fill_forward, shift, window_line, window_moments
from alpha_assets.features.base import SESSIONS_PER_YEAR, feature, windowed
from alpha_assets.features.observed import LEVEL_CARRIED, fresh

FAMILY = "index"


@windowed(
    windows=(5, 20),
    rows=lambda n: n + 1,
    unit="fraction",
    formula="C[t] / C[t-{n}] - 1",
    source="Cooper, Gutierrez & Hameed (2004), J. Finance 59: the state of the market.",
)
def index_ret(index_level: Array, *, n: int) -> Array:
    """Return of the index over {n} sessions."""
    return index_level / shift(index_level, n) - 1


@feature(
    rows=20,
    unit="log return, sd a year",
    formula="sqrt(245) · SD_20(ln(1 + r))",
    source="Wang & Xu (2015), J. Empir. Finance 30: volatility of the market and momentum.",
)
def index_vol_20(index_return: Array) -> Array:
    """Volatility of the index over 20 sessions."""
    variance = window_moments(np.log1p(index_return), 20).variance_DN
    return math.sqrt(SESSIONS_PER_YEAR) * np.sqrt(variance)


@windowed(
    windows=(5, 20),
    rows=lambda n: n + 1 + LEVEL_CARRIED,
    unit="fraction",
    formula="C[t] / C[t-{n}] - 1",
    source="Moskowitz & Grinblatt (1999), J. Finance 54.",
)
def index_sector_ret(sector_indices_close: Array, sector_indices_age: Array, *, n: int) -> Array:
    """Return of the symbol's sector index over {n} sessions, weighted as the exchange does."""
    level = fill_forward(fresh(sector_indices_close, sector_indices_age), LEVEL_CARRIED)
    return level / shift(level, n) - 1


@feature(
    rows=21 + LEVEL_CARRIED,
    unit="fraction",
    formula="ret_20 - index_sector_ret_20",
    source="Da, Liu & Schaumburg (2014), Manag. Sci. 60: what reverses is within industries.",
)
def index_rel_sector_20(
    last_close: Array, sector_indices_close: Array, sector_indices_age: Array
) -> Array:
    """Return over 20 sessions beyond that of the sector's index."""
    level = fill_forward(fresh(sector_indices_close, sector_indices_age), LEVEL_CARRIED)
    return last_close / shift(last_close, 20) - level / shift(level, 20)


@windowed(
    windows=(60, 252),
    rows=lambda n: n,
    unit="slope",
    formula="least-squares slope of r on the index's r, with intercept",
    source="Sharpe (1964), J. Finance 19.",
)
def index_beta(session_return: Array, index_return: Array, *, n: int) -> Array:
    """Move of the symbol per move of the index over {n} sessions."""
    return window_line(session_return, index_return, n).slope_DN


@windowed(
    windows=(60, 252),
    rows=lambda n: n,
    unit="return, sd a year",
    formula="sqrt(245) · sd of the residuals of the beta regression, ddof 2",
    source="Ang, Hodrick, Xing & Zhang (2006), J. Finance 61; one factor.",
)
def index_ivol(session_return: Array, index_return: Array, *, n: int) -> Array:
    """Volatility that the index does not explain, over {n} sessions."""
    line = window_line(session_return, index_return, n)
    return math.sqrt(SESSIONS_PER_YEAR) * np.sqrt(line.residual_variance_DN)
