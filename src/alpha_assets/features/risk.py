"""How a symbol moves with the equal-weighted market, what is left, and its extremes."""

import math

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import window_line, window_max, window_min
from alpha_assets.features.base import SESSIONS_PER_YEAR, feature, windowed

FAMILY = "risk"

SHRINKAGE = 0.6  # weight of the estimate; the rest goes to a beta of one


@windowed(
    windows=(60, 252),
    rows=lambda n: n,
    unit="slope",
    formula="least-squares slope of r on the mean r of all symbols, with intercept",
    source="Sharpe (1964), J. Finance 19.",
)
def beta(session_return: Array, market_return: Array, *, n: int) -> Array:
    """Move of the symbol per move of the equal-weighted market over {n} sessions."""
    return window_line(session_return, market_return, n).slope_DN


@feature(
    rows=252,
    unit="slope",
    formula="0.6 · beta_252 + 0.4",
    source="Frazzini & Pedersen (2014), J. Financ. Econ. 111.",
)
def beta_shrunk(session_return: Array, market_return: Array) -> Array:
    """Beta over a year, drawn towards one as estimates of it should be."""
    slope_DN = window_line(session_return, market_return, 252).slope_DN
    return SHRINKAGE * slope_DN + (1 - SHRINKAGE)


@windowed(
    windows=(60, 252),
    rows=lambda n: n,
    unit="return, sd a year",
    formula="sqrt(245) · sd of the residuals of the beta regression, ddof 2",
    source="Ang, Hodrick, Xing & Zhang (2006), J. Finance 61; one factor.",
)
def ivol(session_return: Array, market_return: Array, *, n: int) -> Array:
    """Volatility that the market does not explain, over {n} sessions."""
    line = window_line(session_return, market_return, n)
    return math.sqrt(SESSIONS_PER_YEAR) * np.sqrt(line.residual_variance_DN)


@feature(
    rows=20,
    unit="fraction",
    formula="max of r",
    source="Bali, Cakici & Whitelaw (2011), J. Financ. Econ. 99.",
)
def max_ret_20(session_return: Array) -> Array:
    """Return of the best session of 20: what lottery players pay for."""
    return window_max(session_return, 20)


@feature(
    rows=20,
    unit="fraction",
    formula="min of r",
    source="Bali, Cakici & Whitelaw (2011), J. Financ. Econ. 99, section on the minimum.",
)
def min_ret_20(session_return: Array) -> Array:
    """Return of the worst session of 20."""
    return window_min(session_return, 20)
