"""Numbers of an earlier day, restated for the splits since.

What a company or an exchange reports is in shares of the day that it describes, and is never
restated.  Both directions follow from the product of all factors known at either row.
"""

import numpy as np

from alpha_assets.arrays.types import Array

LONGEST = 260  # rows


def restated(
    value: Array, cum_factor: Array, offset: Array, *, shares: bool, limit: int = LONGEST
) -> Array:
    """Return a number in shares of the row's last bar; NaN where it or its age is unknown.

    Args:
        value: number of shares, or money a share, of the day that it describes.
        cum_factor: product of the factors known at each row: for numbers of shares of those
            that change it (`cum_volume_factor`), for money a share of all.
        offset: sessions from that day to the row; the day's bar stands in the row after it.
        shares: True for numbers of shares (a 1-to-2 split doubles them), False for money a
            share (it halves them).
        limit: rows looked back; an older number is restated as if it were of that age.
    """
    factor = _known_next(cum_factor)
    back = np.clip(np.nan_to_num(offset) - 1, 0, limit - 1).astype(np.int64)
    row = np.maximum(np.arange(len(value))[:, None] - back, 0)
    then = np.take_along_axis(factor, row, axis=0)
    since = then / cum_factor if shares else cum_factor / then
    return np.where(np.isnan(offset), np.nan, value * since)


def _known_next(x_DN: Array) -> Array:
    """Return x, and where it is unknown the next known value after it."""
    place = np.where(np.isnan(x_DN), len(x_DN) - 1, np.arange(len(x_DN))[:, None])
    place = np.minimum.accumulate(place[::-1], axis=0)[::-1]
    return np.asarray(np.take_along_axis(x_DN, place, axis=0))
