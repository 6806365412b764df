"""Estimators from the literature, unannualised, on any window.

Those of prices take forward-adjusted ones and read them only as ratios, so that the level of a
series (and a vendor's restatement of it) changes nothing.  Shape letters: D sessions, N symbols.
"""

import math

import numpy as np

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.arrays.types import Array, Mask
from alpha_assets.arrays.windows import (
    decayed_sum,
    needed,
    shift,
    window_count,
    window_mean,
    window_moments,
    window_total,
)

WILDER = 14  # sessions in Wilder's average
# Rows after the seed at which Wilder's recursion starts afresh; the seed then weighs
# (13/14) ** 128 = 0.00008.
WILDER_MEMORY = 128


def parkinson(high_DN: Array, low_DN: Array, n: int) -> Array:
    """Return the volatility of one session from its range.

    sqrt( mean ln(H/L)² / (4 ln 2) )

    Source: Parkinson (1980), J. Business 53.
    """
    range_DN = np.log(high_DN / low_DN)
    return np.sqrt(window_mean(range_DN * range_DN, n) / (4 * math.log(2)))


def garman_klass(open_DN: Array, high_DN: Array, low_DN: Array, close_DN: Array, n: int) -> Array:
    """Return the volatility of one session from its range and its drift.

    sqrt( mean [ ½ ln(H/L)² − (2 ln 2 − 1) ln(C/O)² ] )

    Source: Garman & Klass (1980), J. Business 53.
    """
    range_DN = np.log(high_DN / low_DN)
    drift_DN = np.log(close_DN / open_DN)
    variance_DN = 0.5 * range_DN * range_DN - (2 * math.log(2) - 1) * drift_DN * drift_DN
    return np.sqrt(np.maximum(window_mean(variance_DN, n), 0.0))


def rogers_satchell_variance(
    open_DN: Array, high_DN: Array, low_DN: Array, close_DN: Array, n: int
) -> Array:
    """Return the variance of one session, free of its drift.

    mean [ ln(H/C) ln(H/O) + ln(L/C) ln(L/O) ]

    Source: Rogers & Satchell (1991), Ann. Appl. Probab. 1.
    """
    up_DN = np.log(high_DN / close_DN) * np.log(high_DN / open_DN)
    down_DN = np.log(low_DN / close_DN) * np.log(low_DN / open_DN)
    return np.maximum(window_mean(up_DN + down_DN, n), 0.0)


def yang_zhang(
    open_DN: Array, high_DN: Array, low_DN: Array, close_DN: Array, overnight_DN: Array, n: int
) -> Array:
    """Return the volatility from close to close, free of drift and of opening jumps.

    sqrt( V_o + k V_c + (1 − k) V_rs ),  k = 0.34 / (1.34 + (n + 1)/(n − 1))

    Args:
        open_DN: first price of the session.
        high_DN: highest price.
        low_DN: lowest price.
        close_DN: last price.
        overnight_DN: ln(open / last close before it).
        n: sessions.

    Source: Yang & Zhang (2000), J. Business 73.
    """
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    jump_DN = window_moments(overnight_DN, n).variance_DN
    drift_DN = window_moments(np.log(close_DN / open_DN), n).variance_DN
    inside_DN = rogers_satchell_variance(open_DN, high_DN, low_DN, close_DN, n)
    return np.sqrt(jump_DN + k * drift_DN + (1 - k) * inside_DN)


def corwin_schultz(high_DN: Array, low_DN: Array, close_DN: Array) -> Array:
    """Return the bid-ask spread that two neighbouring ranges imply; may come out negative.

    β = ln(H'/L')² + ln(H/L)², γ = ln(max H / min L)² over both sessions, D = 3 − 2√2,
    α = (√(2β) − √β)/D − √(γ/D), S = 2(e^α − 1)/(1 + e^α); a gap between the close before
    and the range of the session is taken out of the range first.

    Returns:
        A fraction of the price; NaN unless both sessions have a bar.

    Source: Corwin & Schultz (2012), J. Finance 67.
    """
    before_DN = shift(close_DN, 1)
    gap_DN = np.maximum(low_DN - before_DN, 0.0) - np.maximum(before_DN - high_DN, 0.0)
    high_DN, high_before_DN = high_DN - gap_DN, shift(high_DN, 1)
    low_DN, low_before_DN = low_DN - gap_DN, shift(low_DN, 1)
    beta_DN = np.log(high_before_DN / low_before_DN) ** 2 + np.log(high_DN / low_DN) ** 2
    both_DN = np.log(np.maximum(high_DN, high_before_DN) / np.minimum(low_DN, low_before_DN))
    scale = 3 - 2 * math.sqrt(2)
    # √(2β) − √β and √γ, with the roots taken out of the brackets.
    alpha_DN = np.sqrt(beta_DN) * ((math.sqrt(2) - 1) / scale) - both_DN / math.sqrt(scale)
    growth_DN = np.exp(alpha_DN)
    spread_DN: Array = 2 * (growth_DN - 1) / (1 + growth_DN)
    return spread_DN


def mean_traded_value(dollar_volume: Array, stale: Array, n: int) -> Array:
    """Return the mean traded value of the sessions listed; a session without a bar traded 0.

    What a bar without a volume traded is unknown, and counts in no mean.
    """
    traded_DN = np.where(np.isnan(dollar_volume) & (stale > 0), 0.0, dollar_volume)
    return window_mean(traded_DN, n)


def scale_free_z(x_DN: Array, n: int) -> Array:
    """Return the trailing z-score without a floor: doubling x changes no bit of it."""
    moments = window_moments(x_DN, n)
    return (x_DN - moments.mean_DN) / np.sqrt(moments.variance_DN)


def wilder_share(change_DN: Array, max_stale: int = MAX_STALE) -> Array:
    """Return Wilder's average gain as a share of average gain plus average loss (RSI / 100).

    The first average is the plain mean of 14 changes, then avg = (13 · before + now) / 14.
    On a fixed look-back: the seed is the 14 changes that end 128 rows ago, or the first 14
    that there are after `max_stale` rows without any.  The averages' common factor cancels, so
    sums do.

    Args:
        change_DN: close less the close before, in any unit.
        max_stale: sessions without a bar after which a symbol begins anew.

    Returns:
        A fraction in [0, 1], 1 where there were no losses; NaN before 14 changes, where fewer
        than four fifths of the last 14 are known, and where no price moved.

    Source: Wilder (1978), New Concepts in Technical Trading Systems.
    """
    known_DN = ~np.isnan(change_DN)
    seen_DN = (window_count(known_DN, max_stale) > 0).astype(np.float64)
    is_seeded_DN = shift(seen_DN, WILDER - 1, before=0.0) > 0
    is_running_DN = shift(seen_DN, WILDER, before=0.0) > 0
    change_DN = np.where(known_DN, change_DN, 0.0)
    gain_DN = _wilder_total(np.maximum(change_DN, 0.0), is_seeded_DN, is_running_DN)
    loss_DN = _wilder_total(np.maximum(-change_DN, 0.0), is_seeded_DN, is_running_DN)
    moved_DN = gain_DN + loss_DN
    moved_DN[moved_DN == 0] = np.nan
    share_DN = gain_DN / moved_DN
    share_DN[window_count(known_DN, WILDER) < needed(WILDER)] = np.nan
    return share_DN


def _wilder_total(x_DN: Array, is_seeded_DN: Mask, is_running_DN: Mask) -> Array:
    """Return 14 times Wilder's average: the seed decayed, plus every later value decayed."""
    decay = (WILDER - 1) / WILDER
    seed_DN = np.where(is_seeded_DN, window_total(x_DN, WILDER), 0.0)
    step_DN = np.where(is_running_DN, x_DN, seed_DN)
    before_DN = shift(seed_DN, WILDER_MEMORY, before=0.0)
    return decayed_sum(step_DN, WILDER_MEMORY, decay) + decay**WILDER_MEMORY * before_DN
