"""What is stored of each feed, and how long ago its last new row came.

Silence is counted in sessions up to the frontier, the last session that can be decided.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.config.market import Market
from alpha_assets.feeds import FEEDS, Feed
from alpha_assets.feeds.warnings import SILENCE
from alpha_assets.store.raw import RawTable

EVENTS = ("listings", "membership", "trading_calendar", "dividends")


@dataclass(frozen=True)
class FeedCoverage:
    """One feed as it is stored.

    Attributes:
        name: of the feed.
        why_off: why no new rows are asked for; None where it is on.
        rows: stored, corrections included.
        keys: different symbols, sectors or sections; None for a feed of the whole market.
        first: earliest event date.
        last: latest event date.
        last_available: when the last row became public, UTC.
        corrections: rows of a later revision.
        silent: sessions from the one that first knew the last new row to the frontier; None
            without rows.
        limit: sessions of silence that are usual; None: any number.
    """

    name: str
    why_off: str | None = None
    rows: int = 0
    keys: int | None = None
    first: date | None = None
    last: date | None = None
    last_available: datetime | None = None
    corrections: int = 0
    silent: int | None = None
    limit: int | None = None

    @property
    def is_late(self) -> bool:
        """Whether it has been silent for longer than is usual."""
        return self.silent is not None and self.limit is not None and self.silent > self.limit


def usual_silence(feed: Feed) -> int | None:
    """Return the sessions of silence after which a feed counts as stopped.

    Joined values are gone after `max_stale` sessions; those that stay for longer would hide a
    feed that stopped.  Events may stay away for as long as nothing happens.
    """
    if feed.name in EVENTS:
        return None
    if feed.max_stale is None:
        return SILENCE
    return min(feed.max_stale, SILENCE) if feed.name in FEEDS else feed.max_stale


def feed_coverage(market: Market, table: RawTable, frontier: date) -> FeedCoverage:
    """Return what is stored of a feed, read one month at a time.

    Args:
        market: whose feed it is.
        table: the rows of a feed, on or off.
        frontier: the session that silence is counted up to.
    """
    name = table.feed.name
    feed = market.declared[name]
    why_off, limit = market.feeds_off.get(name), usual_silence(feed)
    whose = feed.scope if feed.scope in feed.key else None
    found, keys = [], set[str]()
    for month in table.months():
        rows = table.table.scan([month])
        found.append(rows.select(_FIGURES).collect().row(0, named=True))
        if whose is not None:
            keys.update(rows.select(pl.col(whose).unique()).collect()[whose])
    if not found:
        return FeedCoverage(name, why_off, keys=0 if whose else None, limit=limit)
    return FeedCoverage(
        name,
        why_off,
        rows=sum(month["rows"] for month in found),
        keys=len(keys) if whose is not None else None,
        first=min(month["first"] for month in found),
        last=max(month["last"] for month in found),
        last_available=max(month["available"] for month in found),
        corrections=sum(month["corrections"] for month in found),
        silent=_sessions_since(market.calendar, _latest(found), frontier),
        limit=limit,
    )


_FIGURES = (
    pl.len().alias("rows"),
    pl.col("event_date").min().alias("first"),
    pl.col("event_date").max().alias("last"),
    pl.col("available_at").max().alias("available"),
    # A correction is no new row: a feed that only corrects its past has stopped.
    pl.col("available_at").filter(pl.col("revision") == 0).max().alias("new"),
    (pl.col("revision") > 0).sum().alias("corrections"),
)


def _latest(found: list[dict[str, Any]]) -> datetime | None:
    return max((month["new"] for month in found if month["new"] is not None), default=None)


def _sessions_since(calendar: Calendar, instant: datetime | None, frontier: date) -> int | None:
    if instant is None:
        return None
    known = calendar.effective(np.datetime64(instant.replace(tzinfo=None), "us"))
    return max(int(calendar.index_of(frontier)) - int(known), 0)
