"""Windows of a side feed that count what was observed, and not what was carried over a gap."""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import shift, window_moments

LEAST_SPREAD = 1e-9
# Sessions over which the last level of an index is carried until the next one is observed; how
# long a symbol's last price is, its market decides (`max_stale`).
LEVEL_CARRIED = 20


def fresh(x_DK: Array, age_DK: Array) -> Array:
    """Return x on the rows that first know it (age 0); NaN on the others."""
    return np.where(age_DK == 0, x_DK, np.nan)


def fresh_z(x_DK: Array, age_DK: Array, n: int) -> Array:
    """Return what is known now in standard deviations of the values observed in n rows."""
    moments = window_moments(fresh(x_DK, age_DK), n)
    return (x_DK - moments.mean_DN) / np.maximum(np.sqrt(moments.variance_DN), LEAST_SPREAD)


def fresh_change(x_DK: Array, age_DK: Array, n: int) -> Array:
    """Return x less x of n rows before; NaN unless both were observed in their row."""
    observed_DK = fresh(x_DK, age_DK)
    return observed_DK - shift(observed_DK, n)
