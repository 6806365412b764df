"""Bars as they stood when they first became effective: what panel and labels read.

A later correction of a bar enters neither; it stays in the store, where `why` shows it.
Shape letter: R bars.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from alpha_assets.arrays.places import codes, runs
from alpha_assets.arrays.types import Counts, Index, Mask
from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError


@dataclass(frozen=True, eq=False)
class Bars:
    """One row per bar, ordered by session and symbol.

    Attributes:
        frame: the raw rows.
        symbols: every symbol of `frame` at least, sorted.
        code_R: each row's place in `symbols`.
        session_R: number of the session that the bar describes.
        usable_R: number of the first session that may use it: the one at which it becomes
            effective, never before its own session is over.
        has_price_R: a row without a close is no bar; only its factor counts.
    """

    frame: pl.DataFrame
    symbols: pl.Series
    code_R: Index
    session_R: Index
    usable_R: Index
    has_price_R: Mask

    @property
    def is_late_R(self) -> Mask:
        """Whether the next session was decided without the bar."""
        return self.usable_R > self.session_R + 1


def first_effective(
    rows: pl.DataFrame | pl.LazyFrame,
    calendar: Calendar,
    until: int,
    symbols: pl.Series | None = None,
) -> Bars:
    """Return each bar as it stood when it first became effective, at session `until` or before.

    Among the revisions of a bar that became effective together, the last published counts.

    Args:
        rows: raw rows of `daily_bars`, revisions included, in any order.
        calendar: of the market.
        until: number of a session; rows that are not effective by it do not exist.
        symbols: those to count by, sorted; default: those of the rows.

    Raises:
        FeedError: a row without `available_at`, or two rows of the same bar and clock.
    """
    frame = known_rows(rows, calendar, until, "daily_bars")
    if symbols is None:
        symbols = frame["symbol"].unique().sort()
    code_R = codes(frame["symbol"], symbols)
    session_R = session_numbers(frame["event_date"], calendar)
    effective_R = calendar.effective(frame["available_at"].to_numpy())
    key_R = session_R * len(symbols) + code_R
    keep_R = _first_of_each(key_R, effective_R, frame)
    if keep_R is not None:
        frame = frame[keep_R]
        code_R, session_R, effective_R = code_R[keep_R], session_R[keep_R], effective_R[keep_R]
    return Bars(
        frame=frame.rechunk(),
        symbols=symbols,
        code_R=code_R,
        session_R=session_R,
        usable_R=np.maximum(effective_R, after_R := session_R + 1, out=after_R),
        has_price_R=frame["close"].is_not_null().to_numpy(),
    )


def known_rows(
    rows: pl.DataFrame | pl.LazyFrame, calendar: Calendar, until: int, feed: str
) -> pl.DataFrame:
    """Return the rows that are effective at session `until` or before.

    Raises:
        FeedError: a row does not say when it became readable.
    """
    decided = datetime.fromisoformat(str(calendar.decisions[until])).replace(tzinfo=UTC)
    stamp = pl.col("available_at")
    is_known = stamp.is_null() | (stamp <= decided)
    if isinstance(rows, pl.LazyFrame):
        frame = rows.filter(is_known).collect()
    elif rows.select(is_known.all()).item():
        frame = rows  # a copy of everything would only cost
    else:
        frame = rows.filter(is_known)
    unstamped = frame["available_at"].null_count()
    if unstamped:
        first = frame.filter(stamp.is_null()).row(0)
        raise FeedError(
            f"{unstamped} rows of {feed} have no available_at, first {first}; ingestion stamps "
            "every row: ingest the feed again"
        )
    return frame


def session_numbers(dates: pl.Series, calendar: Calendar) -> Index:
    """Return the number of each date on the session axis; one look-up per distinct date."""
    day_R = dates.to_physical().to_numpy()
    if not len(day_R):
        return np.empty(0, dtype=np.int64)
    first_P, length_P = runs(day_R)
    day_P = day_R[first_P].astype(np.int64)
    distinct = dates.gather(first_P).unique().sort()
    number = calendar.index_of(distinct.to_numpy())
    day = distinct.to_physical().to_numpy().astype(np.int64)
    table = np.zeros(day[-1] - day[0] + 1, dtype=np.int64)
    table[day - day[0]] = number
    return np.repeat(table[day_P - day[0]], length_P)


def _first_of_each(key_R: Index, effective_R: Index, frame: pl.DataFrame) -> Index | None:
    """Return one row per key, in key order; None where all rows are that already."""
    if (key_R[1:] > key_R[:-1]).all():
        return None
    is_sorted = (key_R[1:] >= key_R[:-1]).all()
    order = np.arange(len(key_R)) if is_sorted else np.argsort(key_R, kind="stable")
    sorted_R = key_R[order]
    same_R = sorted_R[1:] == sorted_R[:-1]
    if not same_R.any():
        return order
    shared_R = np.append(False, same_R) | np.append(same_R, False)
    single, several = order[~shared_R], order[shared_R]
    stamp = frame["available_at"].to_physical().to_numpy()[several]
    revision = frame["revision"].to_numpy()[several]
    turn = np.lexsort((revision, stamp, key_R[several]))
    several, stamp, revision = several[turn], stamp[turn], revision[turn]
    key, effective = key_R[several], effective_R[several]
    _refuse_twins(key, stamp, revision, frame, several)
    starts = np.append(True, key[1:] != key[:-1])
    group = np.cumsum(starts) - 1
    together = np.flatnonzero(effective == effective[starts][group])
    last = np.append(group[together][1:] != group[together][:-1], True)
    kept = np.concatenate([single, several[together[last]]])
    return np.asarray(kept[np.argsort(key_R[kept], kind="stable")])


def _refuse_twins(
    key: Index,
    stamp: Index,
    revision: Counts,
    frame: pl.DataFrame,
    row: Index,
) -> None:
    twin = (key[1:] == key[:-1]) & (stamp[1:] == stamp[:-1]) & (revision[1:] == revision[:-1])
    if twin.any():
        first = frame.select("event_date", "symbol", "revision").row(int(row[twin.argmax()]))
        raise FeedError(
            f"{int(twin.sum())} rows of daily_bars share (event_date, symbol, available_at, "
            f"revision), first {first}; a raw row is stored once: ingest the feed again"
        )
