"""How much the price moves, by five estimators, and how steady that is."""

import math

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import window_mean, window_moments, window_std
from alpha_assets.features.base import SESSIONS_PER_YEAR, feature, windowed
from alpha_assets.features.estimators import (
    garman_klass,
    parkinson,
    rogers_satchell_variance,
    scale_free_z,
    yang_zhang,
)

FAMILY = "volatility"

PER_YEAR = math.sqrt(SESSIONS_PER_YEAR)
SPANS = (20, 60)  # sessions
YEAR = 252  # sessions


@windowed(
    windows=(5, *SPANS),
    rows=lambda n: n,
    unit="log return, sd a year",
    formula="sqrt(245) · SD_{n}(ln(C / C[-1])), ddof 1",
    source="the plain estimator of the standard deviation.",
)
def vol_c2c(log_return: Array, *, n: int) -> Array:
    """Volatility from close to close over {n} sessions."""
    return PER_YEAR * window_std(log_return, n)


@windowed(
    windows=SPANS,
    rows=lambda n: n,
    unit="log return, sd a year",
    formula="sqrt(245 · mean ln(H/L)² / (4 ln 2))",
    source="Parkinson (1980), J. Business 53.",
)
def vol_park(high: Array, low: Array, *, n: int) -> Array:
    """Volatility from the sessions' ranges over {n} sessions; the night is not in it."""
    return PER_YEAR * parkinson(high, low, n)


@windowed(
    windows=SPANS,
    rows=lambda n: n,
    unit="log return, sd a year",
    formula="sqrt(245 · mean [ ½ ln(H/L)² - (2 ln 2 - 1) ln(C/O)² ])",
    source="Garman & Klass (1980), J. Business 53.",
)
def vol_gk(open: Array, high: Array, low: Array, close: Array, *, n: int) -> Array:
    """Volatility from range and open-to-close move over {n} sessions; without the night."""
    return PER_YEAR * garman_klass(open, high, low, close, n)


@windowed(
    windows=SPANS,
    rows=lambda n: n,
    unit="log return, sd a year",
    formula="sqrt(245 · mean [ ln(H/C) ln(H/O) + ln(L/C) ln(L/O) ])",
    source="Rogers & Satchell (1991), Ann. Appl. Probab. 1.",
)
def vol_rs(open: Array, high: Array, low: Array, close: Array, *, n: int) -> Array:
    """Volatility over {n} sessions that a drift does not inflate; without the night."""
    return PER_YEAR * np.sqrt(rogers_satchell_variance(open, high, low, close, n))


@feature(
    rows=1,
    unit="log return, sd a year",
    formula="sqrt(245 · (V_open + k V_close + (1 - k) V_rs))",
    source="Yang & Zhang (2000), J. Business 73.",
)
def vol_yz_20(yang_zhang_20: Array) -> Array:
    """Volatility over 20 sessions with the night, free of drift."""
    return PER_YEAR * yang_zhang_20


@feature(
    rows=60,
    unit="log return, sd a year",
    formula="sqrt(245 · (V_open + k V_close + (1 - k) V_rs))",
    source="Yang & Zhang (2000), J. Business 73.",
)
def vol_yz_60(open: Array, high: Array, low: Array, close: Array, overnight: Array) -> Array:
    """Volatility over 60 sessions with the night, free of drift."""
    return PER_YEAR * yang_zhang(open, high, low, close, overnight, 60)


@feature(
    rows=60,
    unit="ratio",
    formula="SD_60(vol_yz_20) / MA_60(vol_yz_20)",
    source=(
        "Baltussen, van Bekkum & van der Grient (2018), J. Financ. Quant. Anal. 53; realised in "
        "place of implied volatility."
    ),
)
def vov_60(yang_zhang_20: Array) -> Array:
    """Unsteadiness of the volatility: its spread over 60 sessions against its mean."""
    moments = window_moments(yang_zhang_20, 60)
    return np.sqrt(moments.variance_DN) / moments.mean_DN


@feature(
    rows=YEAR,
    unit="standard deviations",
    formula="(x - MA_252(x)) / SD_252(x), x = vol_yz_20",
    source="common practice.",
)
def vol_z_252(yang_zhang_20: Array) -> Array:
    """How unusual the symbol's volatility is for its past year; null if it never varies."""
    return scale_free_z(yang_zhang_20, YEAR)


@feature(rows=1, unit="log ratio", formula="ln(H / L)", source="Parkinson (1980), J. Business 53.")
def range_1(log_range: Array) -> Array:
    """Range of the session."""
    return log_range


@feature(
    rows=20,
    unit="log ratio",
    formula="MA_20(ln(H / L))",
    source="Parkinson (1980), J. Business 53.",
)
def range_20(log_range: Array) -> Array:
    """Mean range of 20 sessions."""
    return window_mean(log_range, 20)


@feature(
    rows=YEAR,
    unit="standard deviations",
    formula="(x - MA_252(x)) / SD_252(x), x = range_1",
    source="common practice.",
)
def range_z_252(log_range: Array) -> Array:
    """How unusual the session's range is for the symbol's past year; null if it never varies."""
    return scale_free_z(log_range, YEAR)
