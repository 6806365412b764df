"""Scores of one session on a common scale.  Shape letters: N names."""

import numpy as np

from alpha_assets.arrays.types import Array


def standardised(score_N: Array) -> Array:
    """Return (score - mean) / standard deviation, ddof 0; 0 where all are equal."""
    if not len(score_N):
        return score_N
    apart_N: Array = score_N - score_N.mean()
    spread = float(apart_N.std())
    return apart_N / spread if spread > 0 else np.zeros(len(score_N))
