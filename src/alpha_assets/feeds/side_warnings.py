"""What is merely odd about feeds beside the prices: late rows, silence, symbols without bars."""

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar, as_date
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.problem import Example, Problem, found

SILENCE = 30  # sessions with bars and without a row of the feed
N_NAMED = 3


def side_oddities(
    feed: Feed, rows: pl.DataFrame, calendar: Calendar, bars: pl.DataFrame
) -> list[Problem]:
    """Return what is odd about a feed beside the prices.

    Args:
        feed: its declaration.
        rows: found to break no rule, with their own `available_at` where they have one.
        calendar: of the market.
        bars: the folder's; no rows where they cannot be read.
    """
    problems = _published_late(feed, rows, calendar)
    if bars.is_empty():
        return problems
    problems += _silent(feed, rows, bars)
    return problems + (_without_bars(feed, rows, bars) if feed.scope == "symbol" else [])


def _published_late(feed: Feed, rows: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    """Return rows that came out when one of a later day was public already."""
    stamp = feed.publication.stamp(rows, calendar)
    if "available_at" in rows.columns:
        stamp = rows["available_at"].fill_null(stamp)
    whose = [name for name in feed.key if name != "event_date"]
    # Of several versions of a row the first counts: a correction is late by its nature.
    first = (
        rows.with_columns(stamp.alias("available_at"))
        .sort([*feed.key, "available_at"])
        .unique(feed.key, keep="first", maintain_order=True)
    )
    # Looks at later rows on purpose: it only reports on a folder, and nothing that is stored or
    # joined is made of it.
    earliest = pl.col("available_at").reverse().cum_min().reverse().shift(-1)
    after = (earliest.over(whose) if whose else earliest).alias("successor_available_at")
    return found(
        "warning",
        feed.name,
        "published_late",
        "a row is public before those of later days; one that is not is never the latest known",
        first.with_columns(after).filter(pl.col("available_at") > pl.col("successor_available_at")),
        key=feed.key,
        values=("available_at", "successor_available_at"),
    )


def _silent(feed: Feed, rows: pl.DataFrame, bars: pl.DataFrame) -> list[Problem]:
    """Return the spans without any row that are long, while bars go on."""
    limit = max(SILENCE, feed.max_stale or 0)
    told = rows["event_date"].unique().sort().to_numpy().astype("datetime64[D]")
    sessions = bars["event_date"].drop_nulls().unique().sort().to_numpy().astype("datetime64[D]")
    ends = np.append(told[1:], sessions[-1] + 1)
    # Sessions with bars strictly between a row and the next one.
    between = np.searchsorted(sessions, ends) - np.searchsorted(sessions, told, side="right")
    long = np.flatnonzero(between >= limit)
    if not len(long):
        return []
    examples = tuple(
        Example("", None, str(as_date(told[k])), f"then {between[k]} sessions without a row")
        for k in long[-N_NAMED:]
    )
    wanted = f"there is some row within {limit} sessions as long as there are bars"
    return [Problem("warning", feed.name, "silent", wanted, len(long), examples)]


def _without_bars(feed: Feed, rows: pl.DataFrame, bars: pl.DataFrame) -> list[Problem]:
    alone = rows.join(bars, on="symbol", how="anti").unique("symbol", keep="first")
    return found(
        "warning",
        feed.name,
        "symbol_without_bars",
        "a symbol has bars; rows of others are stored and never used",
        alone.sort("symbol"),
        key=("symbol",),
    )
