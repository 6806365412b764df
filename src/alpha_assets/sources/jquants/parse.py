"""Text as it landed -> columns of a feed: numbers, dates and flags; unreadable values are named."""

from collections.abc import Callable, Collection, Mapping, Sequence

import polars as pl

from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import DataType
from alpha_assets.sources.jquants.endpoints import Endpoint

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


def columns_of(
    endpoint: Endpoint, frame: pl.DataFrame, skip: Collection[str] = ()
) -> dict[str, pl.Series]:
    """Return the feed's columns that have a column of the API, in the feed's units and order.

    Words of the feed's key are taken as they are.

    Args:
        endpoint: whose rows.
        frame: its text.
        skip: columns of the feed that are computed otherwise.

    Raises:
        FeedError: a value is not of the type of the feed's column.
    """
    feed = FEEDS[endpoint.feed]
    columns = {}
    for name, dtype in feed.schema.items():
        if name not in endpoint.theirs or name in skip:
            continue
        theirs = endpoint.theirs[name]
        if dtype == pl.String and name in feed.key:
            blank = theirs in endpoint.blank
            columns[name] = frame[theirs].fill_null("") if blank else frame[theirs]
        else:
            values = READERS[dtype](frame, theirs, endpoint.key)
            unit = endpoint.units.get(theirs)
            columns[name] = values if unit is None else values * unit
    return columns


def in_order(endpoint: Endpoint, columns: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Return columns as a frame, in the order of the feed."""
    return pl.DataFrame({n: columns[n] for n in FEEDS[endpoint.feed].schema if n in columns})


def _text(frame: pl.DataFrame, name: str, key: Sequence[str]) -> pl.Series:
    return text(frame, name)


READERS: dict[DataType, Callable[[pl.DataFrame, str, Sequence[str]], pl.Series]] = {
    pl.String: _text,
    pl.Float64: numbers,
    pl.Date: dates,
    pl.Boolean: flags,
}


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
