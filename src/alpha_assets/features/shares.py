"""Shares of the day's sales, and where a series stands within its own past."""

from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import needed, shift, window_count, window_moments

PAST_YEAR = 252  # sessions
EXTREME = 0.05  # share of the past at either end
LONGEST_RUN = 20  # sessions
LEAST_SPREAD = 1e-9


def short_ratio(selling: Array, restricted: Array, exempt: Array) -> Array:
    """Return short sales over all sales, a fraction; NaN where nothing was sold."""
    short = restricted + exempt
    return short / (selling + short)


def trailing(x_DK: Array, n: int) -> Array:
    """Return (x - MA_n) / SD_n over the last n rows, the current one included."""
    moments = window_moments(x_DK, n)
    return (x_DK - moments.mean_DN) / np.maximum(np.sqrt(moments.variance_DN), LEAST_SPREAD)


def fraction_below(x_DK: Array, n: int = PAST_YEAR) -> Array:
    """Return the share of the known values among the last n that are at or below the current."""
    below = np.zeros(x_DK.shape)
    for back in range(n):
        below += shift(x_DK, back) <= x_DK
    count = window_count(~np.isnan(x_DK), n)
    share = below / np.maximum(count, 1)
    share[(count < needed(n)) | np.isnan(x_DK)] = np.nan
    return share


class Extremes(NamedTuple):
    """1 where a series is in the upper or the lower end of its own past, else 0; NaN: unknown."""

    high_DN: Array
    low_DN: Array


def extremes(x_DK: Array, n: int = PAST_YEAR) -> Extremes:
    """Return where x is among the highest or the lowest twentieth of its last n values."""
    share = fraction_below(x_DK, n)
    unknown = np.isnan(share)
    return Extremes(
        np.where(unknown, np.nan, share >= 1 - EXTREME), np.where(unknown, np.nan, share <= EXTREME)
    )


def extreme_run(x_DK: Array, n: int = PAST_YEAR) -> Array:
    """Return for how many rows in a row x has been in its own upper (or lower: negative) end."""
    high, low = extremes(x_DK, n)
    run = np.zeros(x_DK.shape)
    for sign, is_extreme in ((1, high == 1), (-1, low == 1)):
        unbroken = np.ones(x_DK.shape, dtype=bool)
        for back in range(LONGEST_RUN):
            unbroken &= shift(is_extreme.astype(np.float64), back, before=0.0) > 0
            run += sign * unbroken
    run[np.isnan(high)] = np.nan
    return run
