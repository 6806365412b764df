"""From a delivered table to raw rows: spells become events, adjusted closes become factors."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.problem import Example, Problem
from alpha_assets.feeds.rules import errors_in
from alpha_assets.feeds.spells import (
    listing_errors,
    listing_events,
    listing_spells,
    membership_errors,
    membership_events,
)
from alpha_assets.feeds.tables import LIMITS


@dataclass(frozen=True)
class Shaped:
    """One delivered feed in the form of raw rows, and the rules that it breaks."""

    rows: pl.DataFrame  # without rows where a rule is broken
    problems: tuple[Problem, ...]


def shaped(
    feed: Feed,
    frame: pl.DataFrame,
    calendar: Calendar,
    exit_words: Mapping[str, str],
    bars: pl.DataFrame | None,
) -> Shaped:
    """Return a delivered table as raw rows, in key order.

    Args:
        feed: its declaration.
        frame: rows as delivered, values typed.
        calendar: of the market.
        exit_words: the vendor's exit words and ours.
        bars: what `bar_spans` returns; None where the folder's bars cannot be read.
    """
    if feed.name == "listings":
        spells = listing_spells(frame, exit_words, _no_bars() if bars is None else bars)
        problems = listing_errors(spells)
        rows = spells if problems else listing_events(spells)
    elif feed.name == "membership":
        problems = membership_errors(frame)
        rows = frame if problems else membership_events(frame)
    else:
        frame = frame if feed.name in FEEDS else with_dates(frame, calendar)
        problems = errors_in(feed, frame, calendar)
        problems += _two_factors(frame) if feed.name == "daily_bars" else []
        rows = frame
    if feed.name in ("listings", "membership") and not problems:
        problems = errors_in(feed, rows, calendar)
    if problems:
        return Shaped(frame.clear(), tuple(problems))
    if feed.name == "daily_bars":
        rows = with_flags(with_factors(rows))
    version = [feed.version] if feed.version in rows.columns else []
    return Shaped(rows.sort([*feed.key, *version]), ())


def with_dates(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return rows of an own feed with the dates that their stamps tell where they have none."""
    if "available_at" not in rows.columns:
        return rows
    day = pl.col("available_at").dt.convert_time_zone(calendar.zone.key).dt.date()
    if "event_date" in rows.columns:
        day = pl.col("event_date").fill_null(day)
    return rows.with_columns(day.alias("event_date"))


def bar_spans(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions of each symbol's first and last bar: `symbol`, `first`, `last`."""
    day = pl.col("event_date")
    return bars.group_by("symbol").agg(day.min().alias("first"), day.max().alias("last"))


def with_factors(bars: pl.DataFrame) -> pl.DataFrame:
    """Return bars with adjusted closes turned into the factor of each session.

    factor[T] = (adj_close / close)[T-1] / (adj_close / close)[T]

    T-1 is the symbol's bar before with both prices; the first one's factor is 1.  A vendor who
    divides all adjusted closes by one number changes none of the factors.
    """
    if "adj_close" not in bars.columns:
        return bars
    share = pl.col("adj_close") / pl.col("close")
    before = share.forward_fill().shift(1)
    factor = (before / share).over("symbol").fill_null(1.0)
    bars = bars.sort("symbol", "event_date")
    return bars.with_columns(adjustment_factor=factor).drop("adj_close")


def with_flags(bars: pl.DataFrame) -> pl.DataFrame:
    """Return bars with limits that were given as prices turned into touched flags."""
    reached = {
        "upper_limit": pl.col("high") >= pl.col("upper_limit"),
        "lower_limit": pl.col("low") <= pl.col("lower_limit"),
    }
    given = [name for name in LIMITS if bars.schema.get(name) == pl.Float64]
    return bars.with_columns(reached[name].alias(name) for name in given)


def _no_bars() -> pl.DataFrame:
    return pl.DataFrame(schema={"symbol": pl.String, "first": pl.Date, "last": pl.Date})


def _two_factors(bars: pl.DataFrame) -> list[Problem]:
    if not {"adj_close", "adjustment_factor"} <= set(bars.columns):
        return []
    wanted = "adj_close or adjustment_factor says how prices are adjusted; keep one of them"
    example = (Example("", None, "", "both columns are there"),)
    return [Problem("error", "daily_bars", "two_adjustments", wanted, 1, example)]
