"""Raw rows: what the source delivers, stored in revisions, and what the store lost of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.errors import StorageError
from alpha_assets.feeds.delivery_note import DELIVERIES, Findings, note_folder
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.stage import Made
from alpha_assets.progress import Pace

if TYPE_CHECKING:
    from alpha_assets.feeds.ingest import Ingested

LIVES = "listings"  # the feed by which bars of a symbol belong to one life; labels read it
# Rows that prices, holdings and labels are made of; others decide what is held, not what it earns.
JUDGED = ("daily_bars", "listings", "dividends", "borrow", "rates")


def backtest_feeds(market: Market) -> tuple[str, ...]:
    """Return the feeds that a backtest reads, of those that are on.

    Prices that include dividends (`total_return`) are held without the feed of dividends.
    """
    left_out = {"dividends"} if market.source.basis == "total_return" else set()
    return tuple(name for name in JUDGED if name in market.feeds and name not in left_out)


def judged_rows(context: MarketContext) -> dict[str, pl.DataFrame]:
    """Return every stored row of the feeds that a backtest reads, revisions included."""
    return {
        feed: context.raw[feed].read().collect()
        for feed in backtest_feeds(context.market)
        if context.raw[feed].months()
    }


def stored_listings(context: MarketContext) -> pl.LazyFrame | None:
    """Return all stored events of `listings`; None where the market has none."""
    table = context.raw.get(LIVES)
    return table.read() if table is not None and table.months() else None


def feeds_of_inputs(recipe: Recipe) -> tuple[str, ...]:
    """Return the feeds whose raw rows a recipe's inputs read; listings, for lives."""
    feeds = dict.fromkeys(one.feed for one in recipe.spec.inputs.named.values())
    if feeds and LIVES in recipe.market.feeds:
        feeds[LIVES] = None
    return tuple(feeds)


def ingest_feed(
    context: MarketContext, feed: str, months: Sequence[str] | None = None
) -> "Ingested":
    """Store what the source delivers of a feed and the store does not have yet.

    Raises:
        SourceMismatch: the store holds rows of another source.
        FeedError: rows that cannot be right.
        StorageError: stored rows of it are damaged.
    """
    from alpha_assets.feeds.delivery_warnings import delivery_warnings
    from alpha_assets.feeds.ingest import ingest

    context.progress("raw", feed)
    context.market.source.progress = Pace(context.progress, "raw")
    context.raw[feed].check_whole()
    done = ingest(
        context.raw[feed],
        context.market.feeds[feed],
        context.market.source,
        context.market.calendar,
        now=context.clock(),
        months=months,
        code=identity.raw(context.market),
    )
    odd = tuple(delivery_warnings(context.raw[feed], context.market.source))
    for line in odd:
        context.progress("raw", f"warning: {line}")
    for note in done.notes:
        context.progress("raw", f"{feed}: {note}")
    return replace(done, warnings=odd)


def lost_months(context: MarketContext, feed: str) -> dict[str, str]:
    """Return the months of a feed whose stored rows are damaged or gone, and what is wrong."""
    table = context.raw[feed].table
    lost = table.damaged()
    try:
        note = context.store.folder(context.market.name, DELIVERIES, feed).manifest()
    except StorageError:
        note = None  # the next delivery is read whole again
    known = note.extra.get("stored", ()) if note else ()
    gone = {*known} - {*table.months()} - {*lost}
    return lost | dict.fromkeys(sorted(gone), "its stored rows are gone; run fetches them anew")


def months_of_other_code(context: MarketContext, feed: str) -> tuple[str, ...]:
    """Return the months of a feed with rows that other code than today's stored.

    They are no reason to make anything again: what was delivered cannot always be fetched anew.
    """
    now = identity.raw(context.market)
    stored = context.raw[feed].table.manifests()  # others are named by `lost_months`
    return tuple(month for month, found in stored.items() if found.code not in ("", now))


def stored_months(context: MarketContext, feed: str, months: Sequence[str]) -> list[Made]:
    """Return what is stored of a feed in `months`; a month without rows is not among them."""
    table = context.raw[feed].table
    found = []
    for month in months:
        folder = table.folder(month)
        if folder.exists():
            manifest = folder.manifest()
            assert manifest is not None, f"{folder.name} is there"
            found.append(Made.of(f"raw/{feed}", month, folder, manifest))
    return found


def raw_until(context: MarketContext, month: str) -> dict[str, pl.LazyFrame]:
    """Return every stored row of every feed that was readable by the end of `month`."""
    return {name: table.read(last=month) for name, table in context.raw.items() if table.months()}


def delivery_findings(context: MarketContext, feed: str) -> tuple[str, ...]:
    """Return what the last delivery of a feed left out, in words."""
    try:
        return Findings.of_note(note_folder(context.store, context.market.name, feed)).words()
    except StorageError:
        return ("the note of its last delivery is damaged; run reads the delivery again",)
