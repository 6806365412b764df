"""Assess one delivered feed: its raw rows, its errors and its warnings.

`import-check` and every ingestion of a folder call this, so that both report the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS, SIDE_FEEDS
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.market import BORROW, RATES
from alpha_assets.feeds.plausibility import (
    dividend_problems,
    exit_warnings,
    fee_warnings,
    membership_seams,
    rate_warnings,
)
from alpha_assets.feeds.problem import Problem
from alpha_assets.feeds.warnings import (
    bar_warnings,
    listing_warnings,
    membership_warnings,
    order_warnings,
    quote_warnings,
    side_warnings,
    unknown_columns,
)
from alpha_assets.sources.files.delivery import REQUIRED, Delivered
from alpha_assets.sources.files.intervals import listing_spells
from alpha_assets.sources.files.normalize import added_up, bar_spans, shaped, without_halts

# Of the bars, what other feeds are compared with: closes, and what determines their level.
CLOSES = ("event_date", "symbol", "close", "adjustment_factor", "share_factor", "adj_close")


@dataclass(frozen=True)
class Reference:
    """The other feeds of a delivery, with which one is compared."""

    bars: pl.DataFrame = field(default_factory=pl.DataFrame)  # CLOSES; no rows: unreadable
    spans: pl.DataFrame | None = None  # of the bars, as `bar_spans` returns them
    listings: pl.DataFrame | None = None  # spells with our words; None where there are none

    @classmethod
    def of(
        cls, bars: pl.DataFrame, listings: pl.DataFrame | None, exit_words: Mapping[str, str]
    ) -> "Reference":
        """Return the reference of bars and listings, as they are delivered.

        Args:
            bars: no rows where they cannot be read.
            listings: None where there are none.
            exit_words: the vendor's exit words and ours.
        """
        if not bars.is_empty():
            bars = bars.drop_nulls(["event_date", "symbol"])
        if bars.is_empty():
            return cls()
        closes = bars.select(name for name in CLOSES if name in bars.columns)
        spans = bar_spans(bars)
        if listings is None or listings.is_empty():
            return cls(closes, spans)
        return cls(closes, spans, listing_spells(listings, exit_words, spans))


@dataclass(frozen=True)
class Assessment:
    """A delivered feed in the form of raw rows, with its errors and warnings."""

    rows: pl.DataFrame  # no rows where a rule is broken
    problems: tuple[Problem, ...]


def assess(
    feed: Feed,
    delivered: Delivered,
    calendar: Calendar,
    exit_words: Mapping[str, str],
    beside: Reference,
) -> Assessment:
    """Return a delivered feed as raw rows, with its errors and warnings.

    Args:
        feed: its declaration.
        delivered: what its files hold.
        calendar: of the market.
        exit_words: the vendor's exit words and ours.
        beside: the other feeds of the delivery.
    """
    frame = delivered.frame
    problems = [*delivered.problems, *unknown_columns(feed.name, delivered.unknown)]
    if frame.is_empty():
        return Assessment(frame, tuple(problems))
    if feed.name == REQUIRED:
        frame, found = without_halts(frame, calendar)
        problems += found
    order = order_warnings(feed.name, frame)
    if feed.name == "dividends":
        frame, found = added_up(feed, frame, calendar)
        problems += found
    made = shaped(feed, frame, calendar, exit_words, beside.spans)
    problems += made.problems
    problems += order
    is_sound = not any(problem.severity == "error" for problem in made.problems)
    if (feed.name in SIDE_FEEDS or feed.name not in FEEDS) and is_sound:
        problems += side_warnings(feed, made.rows, calendar, beside.bars)
    if feed.name == REQUIRED and beside.spans is not None:
        keyed = frame.drop_nulls(["event_date", "symbol"])
        problems += bar_warnings(keyed, calendar, beside.listings)
    if feed.name == "listings" and beside.listings is not None and beside.spans is not None:
        problems += listing_warnings(beside.listings, beside.spans)
        problems += exit_warnings(frame) if is_sound else []
    if feed.name == "membership":
        problems += membership_warnings(frame, beside.spans)
        problems += membership_seams(frame, beside.spans, calendar)
    if feed.name in (RATES.name, BORROW.name) and is_sound:
        problems += quote_warnings(feed, made.rows, beside.bars)
    if feed.name == "rates" and is_sound:
        problems += rate_warnings(frame)
    if feed.name == "borrow" and is_sound:
        problems += fee_warnings(frame)
    if feed.name == "dividends" and is_sound:
        problems += dividend_problems(frame, beside.bars)
    return Assessment(made.rows, tuple(problems))
