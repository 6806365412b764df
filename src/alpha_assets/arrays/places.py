"""Where values lie on an axis: symbols among known ones, dates on a session axis.

Shape letters: R rows, A places of an axis.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.types import Index


def codes(values: pl.Series, known: pl.Series | Sequence[str]) -> Index:
    """Return the place of each value in `known`, -1 where it is not."""
    axis = pl.Enum(known)
    words = values
    if values.dtype != axis:
        words = values.cast(pl.String).cast(axis, strict=False)
    return np.asarray(words.to_physical().cast(pl.Int64).fill_null(-1).to_numpy())


def places_on(axis_A: NDArray[Any], value_R: NDArray[Any]) -> Index:
    """Return the place of each value on a sorted axis, -1 where it is not on it."""
    if not len(axis_A):
        return np.full(np.shape(value_R), -1, dtype=np.int64)
    place_R = np.searchsorted(axis_A, value_R).clip(max=len(axis_A) - 1)
    return np.where(axis_A[place_R] == value_R, place_R, -1)


def runs(value_R: NDArray[Any]) -> tuple[Index, Index]:
    """Return where each run of equal neighbours begins, and how long it is."""
    is_first_R = np.ones(len(value_R), dtype=bool)
    np.not_equal(value_R[1:], value_R[:-1], out=is_first_R[1:])
    first_P = np.flatnonzero(is_first_R)
    return first_P, np.diff(first_P, append=len(value_R))
