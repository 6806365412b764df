"""Average ranks and the rank correlation of one cross-section.

The one kernel that losses' targets, early stopping and evaluation share.
Shape letters: D sessions, N symbols, B sessions of one block.

A row is sorted as integers that carry a value's leading bits and its place, which is several
times faster than an index sort; rows in which two values share those bits are looked at again.
"""

import numpy as np

from alpha_assets.arrays.types import Array, Index

MIN_PAIRS = 10  # a session with fewer pairs has no rank IC
BLOCK_CELLS = 1 << 16  # cells ranked at a time: half a megabyte stays in a core's cache
SIGN = np.uint64(1 << 63)


def average_rank(x_DN: Array) -> Array:
    """Return the rank of every value in its row, 1 for the least; ties share their mean rank.

    Args:
        x_DN: any values; NaN means unknown.

    Returns:
        Ranks of the same shape; NaN stays NaN and takes no rank.
    """
    x_DN = np.asarray(x_DN, dtype=np.float64)
    if x_DN.size == 0:
        return x_DN.copy()
    rows_DN = x_DN.reshape(-1, x_DN.shape[-1])
    rank_DN = np.empty_like(rows_DN)
    for rows in _blocks(rows_DN.shape):
        rank_DN[rows] = _rank_block(rows_DN[rows])
    return rank_DN.reshape(x_DN.shape)


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
    ic_D = np.full(len(score_DN), np.nan)
    if score_DN.size == 0:
        return ic_D
    for rows in _blocks(score_DN.shape):
        ic_D[rows] = _rank_ic_block(score_DN[rows], label_DN[rows], min_pairs)
    return ic_D


def _rank_ic_block(score_BN: Array, label_BN: Array, min_pairs: int) -> Array:
    unpaired_BN = np.isnan(score_BN) | np.isnan(label_BN)
    n_B = score_BN.shape[-1] - np.count_nonzero(unpaired_BN, axis=-1)
    centre_B1 = ((n_B + 1) / 2)[:, None]
    a_BN, b_BN = (
        _rank_block(np.where(unpaired_BN, np.nan, x_BN)) - centre_B1
        for x_BN in (score_BN, label_BN)
    )
    a_BN[unpaired_BN] = 0.0
    b_BN[unpaired_BN] = 0.0
    covariance_B = (a_BN * b_BN).sum(axis=-1)
    scale_B = np.sqrt((a_BN * a_BN).sum(axis=-1) * (b_BN * b_BN).sum(axis=-1))
    usable_B = (n_B >= max(min_pairs, 2)) & (scale_B > 0)
    ic_B: Array = np.full(n_B.shape, np.nan)
    np.divide(covariance_B, scale_B, out=ic_B, where=usable_B)
    return ic_B


def _blocks(shape: tuple[int, ...]) -> list[slice]:
    """Return slices of rows that hold about `BLOCK_CELLS` cells."""
    n_rows, n = shape
    step = max(1, BLOCK_CELLS // n)
    return [slice(first, first + step) for first in range(0, n_rows, step)]


def _rank_block(x_BN: Array) -> Array:
    """Return average ranks of a few rows; NaN stays NaN."""
    n = x_BN.shape[-1]
    place_bits = np.uint64((1 << (n - 1).bit_length()) - 1)
    unknown_BN = np.isnan(x_BN)
    n_known_B1 = n - np.count_nonzero(unknown_BN, axis=-1, keepdims=True)
    x_BN = np.where(unknown_BN, np.nan, x_BN + 0.0)  # one kind of NaN, and -0 is 0
    # Positive floats are ordered as their bits are; negative ones the other way round.
    bits_BN = x_BN.view(np.uint64)
    bits_BN = bits_BN ^ ((bits_BN.view(np.int64) >> 63).view(np.uint64) | SIGN)
    keys_BN = (bits_BN & ~place_bits) | np.arange(n, dtype=np.uint64)
    keys_BN.sort(axis=-1)
    order_BN = (keys_BN & place_bits).view(np.int64)
    rank_BN = np.empty_like(x_BN)
    np.put_along_axis(rank_BN, order_BN, np.arange(1.0, n + 1)[None, :], axis=-1)
    # Neighbours with the same leading bits are ties, or too close to be distinguished.
    leading_BN = keys_BN & ~place_bits
    close_BN = leading_BN[:, 1:] == leading_BN[:, :-1]
    close_BN &= np.arange(1, n) < n_known_B1
    doubtful = np.flatnonzero(close_BN.any(axis=-1))
    if len(doubtful):
        rank_BN[doubtful] = _rank_with_ties(x_BN[doubtful], order_BN[doubtful])
    rank_BN[unknown_BN] = np.nan
    return rank_BN


def _rank_with_ties(x_BN: Array, order_BN: Index) -> Array:
    """Return average ranks, given an order that is right but for values too close to tell."""
    n = x_BN.shape[-1]
    sorted_BN = np.take_along_axis(x_BN, order_BN, axis=-1)
    wrong = np.flatnonzero((sorted_BN[:, 1:] < sorted_BN[:, :-1]).any(axis=-1))
    if len(wrong):
        order_BN[wrong] = np.argsort(x_BN[wrong], axis=-1, kind="stable")
        sorted_BN[wrong] = np.take_along_axis(x_BN[wrong], order_BN[wrong], axis=-1)
    place_N = np.arange(n)
    starts_BN = np.ones(x_BN.shape, dtype=bool)
    starts_BN[:, 1:] = sorted_BN[:, 1:] != sorted_BN[:, :-1]
    ends_BN = np.ones(x_BN.shape, dtype=bool)
    ends_BN[:, :-1] = starts_BN[:, 1:]
    first_BN = np.maximum.accumulate(np.where(starts_BN, place_N, 0), axis=-1)
    last_BN = np.minimum.accumulate(np.where(ends_BN, place_N, n)[:, ::-1], axis=-1)[:, ::-1]
    rank_BN = np.empty_like(x_BN)
    np.put_along_axis(rank_BN, order_BN, (first_BN + last_BN) / 2 + 1, axis=-1)
    return rank_BN
