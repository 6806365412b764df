"""Text of the wire -> numbers, dates and flags; what cannot be read is named."""

from collections.abc import Sequence

import polars as pl

from alpha_assets.errors import FeedError

# Nothing published, not disclosed, not applicable.
NOTHING = ("", "-", "*", "－", "＊")


def text(frame: pl.DataFrame, name: str) -> pl.Series:
    """Return a column of words; the marks for nothing are null."""
    return frame[name].set(frame[name].is_in(NOTHING).fill_null(False), None)


def numbers(frame: pl.DataFrame, name: str, key: Sequence[str] = ()) -> pl.Series:
    """Return a column of numbers; the marks for nothing are null.

    Raises:
        FeedError: a value is neither a number nor one of the marks.
    """
    words = text(frame, name)
    found = words.cast(pl.Float64, strict=False)
    return _all_read(frame, name, words, found, "a number", key)


def dates(frame: pl.DataFrame, name: str, key: Sequence[str] = ()) -> pl.Series:
    """Return a column of dates, written `YYYY-MM-DD` or `YYYYMMDD`; nothing is null.

    Raises:
        FeedError: a value is no date.
    """
    words = text(frame, name)
    found = words.str.replace_all("-", "", literal=True).str.to_date("%Y%m%d", strict=False)
    return _all_read(frame, name, words, found, "a date", key)


def flags(frame: pl.DataFrame, name: str, key: Sequence[str] = ()) -> pl.Series:
    """Return a column of flags, written 0 and 1, or true and false.

    Raises:
        FeedError: a value is neither.
    """
    words = text(frame, name)
    found = words.replace_strict(
        {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False},
        default=None,
        return_dtype=pl.Boolean,
    )
    return _all_read(frame, name, words, found, "a flag", key)


def _all_read(
    frame: pl.DataFrame,
    name: str,
    words: pl.Series,
    found: pl.Series,
    wanted: str,
    key: Sequence[str],
) -> pl.Series:
    unread = (found.is_null() & words.is_not_null()).arg_true()
    if len(unread):
        row = frame.row(int(unread[0]), named=True)
        place = " ".join(f"{part}={row[part]}" for part in key)
        raise FeedError(
            f"{name} = {row[name]!r} is not {wanted} ({len(unread):,} such values; first at "
            f"{place or 'row ' + str(int(unread[0]) + 1)})"
        )
    return found
