"""How much is traded, how unusual that is, and what trading costs."""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import window_mean, window_moments
from alpha_assets.features.base import feature, windowed
from alpha_assets.features.estimators import corwin_schultz, mean_traded_value, scale_free_z

FAMILY = "liquidity"

PER_MILLIARD = 1e9  # Amihud's ratio is scaled to a move per 1e9 of currency
LEAST_SPREAD = 1e-9  # standard deviations below count as this, so that a z stays finite


@windowed(
    windows=(20, 60),
    rows=lambda n: n,
    unit="log of 1 + move per 1e9 of currency",
    formula="ln(1 + 1e9 · mean(|r| / traded value)); sessions that traded nothing do not count",
    source="Amihud (2002), J. Financ. Markets 5.",
)
def amihud(session_return: Array, dollar_volume: Array, *, n: int) -> Array:
    """Price move per unit of traded value over {n} sessions: dear to trade is high."""
    traded_DN = np.where(dollar_volume > 0, dollar_volume, np.nan)
    impact_DN = window_mean(np.abs(session_return) / traded_DN, n)
    return np.log1p(PER_MILLIARD * impact_DN)


@feature(
    rows=21,
    unit="fraction of the price",
    formula="mean of max(S, 0)",
    source="Corwin & Schultz (2012), J. Finance 67.",
)
def cs_spread_20(high: Array, low: Array, close: Array) -> Array:
    """Bid-ask spread that the ranges of neighbouring sessions imply, over 20 pairs."""
    return window_mean(np.maximum(corwin_schultz(high, low, close), 0.0), 20)


@windowed(
    windows=(20, 60),
    rows=lambda n: n,
    unit="currency a session",
    formula="MA_{n}(traded value)",
    source="common practice.",
)
def adv(dollar_volume: Array, stale: Array, *, n: int) -> Array:
    """Mean traded value of {n} sessions; those without a bar count as 0."""
    return mean_traded_value(dollar_volume, stale, n)


@feature(rows=20, unit="log of currency a session", formula="ln(adv_20)", source="common practice.")
def ln_adv20(dollar_volume: Array, stale: Array) -> Array:
    """Size of the trade in the symbol, on a scale that sections can compare."""
    return np.log(mean_traded_value(dollar_volume, stale, 20))


@feature(
    rows=20,
    unit="shares a session",
    requires=("raw_price_level",),
    formula="MA_20(shares restated to the session's basis)",
    source="common practice.",
)
def adv_sh_20(volume: Array, cum_volume_factor: Array) -> Array:
    """Mean number of shares traded in 20 sessions, in shares of the session."""
    return window_mean(volume, 20) / cum_volume_factor


@feature(
    rows=60,
    unit="standard deviations",
    formula="z_60(ln(1 + traded value))",
    source="common practice.",
)
def turn_z(log_dollar_volume: Array) -> Array:
    """How unusual the session's traded value is against 60 sessions, on a log scale."""
    moments = window_moments(log_dollar_volume, 60)
    spread_DN = np.maximum(np.sqrt(moments.variance_DN), LEAST_SPREAD)
    return (log_dollar_volume - moments.mean_DN) / spread_DN


@feature(
    rows=20,
    unit="standard deviations",
    formula="(V - MA_20(V)) / SD_20(V)",
    source="Gervais, Kaniel & Mingelgrin (2001), J. Finance 56.",
)
def dollar_volume_z_20(dollar_volume: Array) -> Array:
    """How unusual the session's traded value is against 20 sessions; null if it never varies."""
    return scale_free_z(dollar_volume, 20)


@windowed(
    windows=(20, 60),
    rows=lambda n: n,
    unit="standard deviations",
    formula="(V - MA_{n}(V)) / SD_{n}(V), V in adjusted shares",
    source="Gervais, Kaniel & Mingelgrin (2001), J. Finance 56.",
)
def volume_z(volume: Array, *, n: int) -> Array:
    """How unusual the session's volume is against {n} sessions; null if it never varies."""
    return scale_free_z(volume, n)


@feature(
    rows=60,
    unit="log ratio",
    formula="ln(MA_5(V) / MA_60(V)), V in adjusted shares",
    source="Gervais, Kaniel & Mingelgrin (2001), J. Finance 56.",
)
def volume_ratio_5_60(volume: Array) -> Array:
    """Volume of a week against that of a quarter."""
    return np.log(window_mean(volume, 5) / window_mean(volume, 60))
