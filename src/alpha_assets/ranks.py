"""Average ranks and the rank correlation of one cross-section.

The one kernel that losses' targets, early stopping and evaluation share.
Shape letters: D sessions, N symbols.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_PAIRS = 10  # a session with fewer pairs has no rank IC


def average_rank(x_DN: Array) -> Array:
    """Return the rank of every value in its row, 1 for the least; ties share their mean rank.

    Args:
        x_DN: any values; NaN means unknown.

    Returns:
        Ranks of the same shape; NaN stays NaN and takes no rank.
    """
    x_DN = np.ascontiguousarray(x_DN, dtype=np.float64)
    order_DN = np.argsort(x_DN, axis=-1, kind="stable")
    sorted_DN = np.take_along_axis(x_DN, order_DN, axis=-1)
    n = x_DN.shape[-1]
    if n == 0:
        return x_DN.copy()
    place_N = np.arange(n)
    starts_DN = np.ones(x_DN.shape, dtype=bool)
    starts_DN[..., 1:] = sorted_DN[..., 1:] != sorted_DN[..., :-1]
    ends_DN = np.ones(x_DN.shape, dtype=bool)
    ends_DN[..., :-1] = starts_DN[..., 1:]
    first_DN = np.maximum.accumulate(np.where(starts_DN, place_N, 0), axis=-1)
    last_DN = np.minimum.accumulate(np.where(ends_DN, place_N, n)[..., ::-1], axis=-1)[..., ::-1]
    rank_DN = np.empty_like(x_DN)
    np.put_along_axis(rank_DN, order_DN, (first_DN + last_DN) / 2 + 1, axis=-1)
    rank_DN[np.isnan(x_DN)] = np.nan
    return rank_DN


def rank_ic(score_DN: Array, label_DN: Array, min_pairs: int = MIN_PAIRS) -> Array:
    """Return the Spearman correlation of score and label, session by session.

    rank_ic = corr(rank(score), rank(label)) over the symbols that have both.

    Args:
        score_DN: model output; only its order within a session means anything.
        label_DN: forward return, a fraction.
        min_pairs: sessions with fewer pairs have no value.

    Returns:
        One number in [-1, 1] per session; NaN where pairs are too few, or where all scores
        or all labels are equal: an order that is not there has no correlation.

    Source: Spearman (1904), Am. J. Psychol. 15; average ranks for ties.
    """
    paired_DN = ~(np.isnan(score_DN) | np.isnan(label_DN))
    n_D = paired_DN.sum(axis=-1)
    a_DN = average_rank(np.where(paired_DN, score_DN, np.nan))
    b_DN = average_rank(np.where(paired_DN, label_DN, np.nan))
    centre_D1 = ((n_D + 1) / 2)[..., None]
    a_DN = np.where(paired_DN, a_DN - centre_D1, 0.0)
    b_DN = np.where(paired_DN, b_DN - centre_D1, 0.0)
    covariance_D = (a_DN * b_DN).sum(axis=-1)
    scale_D = np.sqrt((a_DN * a_DN).sum(axis=-1) * (b_DN * b_DN).sum(axis=-1))
    usable_D = (n_D >= max(min_pairs, 2)) & (scale_D > 0)
    ic_D: Array = np.full(n_D.shape, np.nan)
    np.divide(covariance_D, scale_D, out=ic_D, where=usable_D)
    return ic_D
