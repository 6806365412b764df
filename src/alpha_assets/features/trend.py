"""Where the close stands against its own past: averages, highs, lows, strength."""

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import window_max, window_mean, window_min
from alpha_assets.features.base import feature, windowed
from alpha_assets.features.estimators import WILDER, WILDER_MEMORY, wilder_share

FAMILY = "trend"


@windowed(
    windows=(5, 7, 14, 20, 50, 60, 200),
    rows=lambda n: n,
    unit="fraction",
    formula="C / MA_{n}(C) - 1",
    source="Brock, Lakonishok & LeBaron (1992), J. Finance 47.",
)
def sma_ratio(close: Array, *, n: int) -> Array:
    """Distance of the close from its average over {n} sessions."""
    return close / window_mean(close, n) - 1


@feature(
    rows=20,
    unit="fraction",
    formula="MA_5(C) / MA_20(C) - 1",
    source="Brock, Lakonishok & LeBaron (1992), J. Finance 47.",
)
def sma_cross_5_20(close: Array) -> Array:
    """Distance of the average close of a week from that of a month."""
    return window_mean(close, 5) / window_mean(close, 20) - 1


@windowed(
    windows=(5, 20, 252),
    rows=lambda n: n,
    unit="fraction, never above 0",
    formula="C / max_{n}(H) - 1",
    source="George & Hwang (2004), J. Finance 59.",
)
def dist_high(close: Array, high: Array, *, n: int) -> Array:
    """Distance of the close from the highest price of {n} sessions."""
    return close / window_max(high, n) - 1


@windowed(
    windows=(5, 20, 252),
    rows=lambda n: n,
    unit="fraction, never below 0",
    formula="C / min_{n}(L) - 1",
    source="George & Hwang (2004), J. Finance 59.",
)
def dist_low(close: Array, low: Array, *, n: int) -> Array:
    """Distance of the close from the lowest price of {n} sessions."""
    return close / window_min(low, n) - 1


@feature(
    rows=1,
    unit="in [0, 1]",
    formula="(C - L) / (H - L)",
    source="the close location value of Chaikin's accumulation and distribution line.",
)
def close_in_range(close: Array, high: Array, low: Array) -> Array:
    """Where the close lies between the session's low (0) and high (1); null without a range."""
    return (close - low) / (high - low)


# And `max_stale` rows: a symbol begins anew after as many without a bar.
@feature(
    rows=WILDER_MEMORY + WILDER - 1,
    unit="in [-0.5, 0.5]",
    formula=(
        "RSI / 100 - 0.5, on Wilder's averages of 14 that start afresh 128 sessions ago; null "
        "where no price moved at all."
    ),
    source="Wilder (1978), New Concepts in Technical Trading Systems.",
)
def rsi_14(price_change: Array, *, max_stale: int) -> Array:
    """Strength of the gains of late against the losses; 0 where they balance."""
    return wilder_share(price_change, max_stale) - 0.5
