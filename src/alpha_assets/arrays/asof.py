"""As-of look-ups: of what became known over time, what was in force at each session.

Shape letters: R rows, D sessions, N symbols, K keys, L look-ups.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha_assets.arrays.types import Index, Mask, Places


def latest_rows(effective_R: Index, code_R: Index, span: range, n_keys: int) -> Places:
    """Return which row is known of each key at each session: the last of those effective.

    Args:
        effective_R: number of the session from which each row is known; rows stand in the
            order in which they take precedence, the strongest of a key last.
        code_R: number of the row's key; rows of keys below 0 are left out.
        span: session numbers wanted; rows effective before count from its start.
        n_keys: how many keys there are.

    Returns:
        row_DK: place of the row, -1 while nothing is known.
    """
    row_DK = np.full((len(span), n_keys), -1, dtype=np.int32)
    wanted_R = (effective_R < span.stop) & (code_R >= 0)
    place_R = np.arange(len(effective_R), dtype=np.int32)
    if not wanted_R.all():
        place_R, code_R, effective_R = place_R[wanted_R], code_R[wanted_R], effective_R[wanted_R]
    # Of several rows in one cell the last one written stays: the one of greatest precedence.
    row_DK.ravel()[np.maximum(effective_R - span.start, 0) * n_keys + code_R] = place_R
    keep_greatest(row_DK)
    return row_DK


def last_row(known_DN: Mask) -> Index:
    """Return the row of the last true value at or before each row, -1 while there is none."""
    row_DN = np.where(known_DN, np.arange(len(known_DN))[:, None], -1)
    keep_greatest(row_DN)
    return row_DN


def keep_greatest(row_DN: NDArray[np.integer]) -> None:
    """Replace each value by the greatest of its column up to its row.

    Row by row, which is seven times as fast as `maximum.accumulate` along the columns.
    """
    for before_N, row_N in pairwise(row_DN):
        np.maximum(before_N, row_N, out=row_N)


def at_or_before(known_K: NDArray[Any], wanted_L: NDArray[Any]) -> Index:
    """Return the place of the last of sorted values at or before each wanted one; -1 for none."""
    return np.asarray(np.searchsorted(known_K, wanted_L, side="right") - 1, dtype=np.int64)
