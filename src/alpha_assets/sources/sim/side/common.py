"""What the side feeds of the simulated exchange share: hidden states, weeks, what is out by now."""

from collections.abc import Sequence
from datetime import time

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Dates, Index
from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import INSTANT, instants_of
from alpha_assets.sources.sim import draws, signal
from alpha_assets.sources.sim.market import SimMarket

_MIDNIGHT, _EVENING = time(0, 0), time(16, 30)
CORRECTED_AFTER = 3  # sessions from the one that first knows a row to its correction's evening
REVISED = ("sector_short_selling", "short_positions", "margin")  # the place draws apart

_PLACE = {component.name: place for place, component in enumerate(signal.COMPONENTS)}


def hidden(market: SimMarket, name: str) -> Array:
    """Return a component of the forecast, [D, N]; NaN where the symbol is not listed."""
    g_DN = market.components[_PLACE[name]].astype(np.float64)
    return np.where(market.listed(), g_DN, np.nan)


def of_group(x_DN: Array, group_N: Index, n_groups: int) -> Array:
    """Return what all listed symbols of a group share, [D, groups]; NaN for an empty group."""
    made = np.full((len(x_DN), n_groups), np.nan)
    for group in range(n_groups):
        of_DN = x_DN[:, group_N == group]
        if not of_DN.shape[1]:
            continue
        first_D = np.argmax(~np.isnan(of_DN), axis=1)
        made[:, group] = of_DN[np.arange(len(of_DN)), first_D]
    return made


def group_sums(x_DN: Array, group_N: Index, n_groups: int) -> Array:
    """Return sums over the symbols of each group, [D, groups]; unknown values add nothing."""
    x_DN = np.nan_to_num(x_DN)
    return np.stack([x_DN[:, group_N == g].sum(axis=1) for g in range(n_groups)], axis=1)


def shares_outstanding(market: SimMarket) -> Array:
    """Return shares outstanding, [D, N], in shares of the session."""
    return np.asarray(market.roster.shares / np.cumprod(market.factor, axis=0))


def week_ends(market: SimMarket, calendar: Calendar) -> Index:
    """Return the numbers of the last sessions of ISO weeks, those of at least three sessions."""
    starts = calendar.rebalances(calendar.after(market.sessions), "weekly")
    week = (market.sessions + np.timedelta64(3, "D")).astype("datetime64[W]")
    _, place, count = np.unique(week, return_inverse=True, return_counts=True)
    return np.flatnonzero(starts & (count[place] >= 3))


def out_by_now(
    rows: pl.DataFrame, feed: str, market: SimMarket, calendar: Calendar
) -> pl.DataFrame:
    """Return the rows that were public at the end of the market's last session."""
    end = calendar.instant(market.sessions[-1:], _MIDNIGHT, 1)
    stamp = FEEDS[feed].publication.stamp(rows, calendar)
    if "available_at" in rows.columns:
        stamp = rows["available_at"].fill_null(stamp)
    return rows.filter(stamp.to_numpy() < end[0])


def with_corrections(
    right: pl.DataFrame,
    feed: str,
    wrong: Sequence[pl.Expr],
    share: float,
    market: SimMarket,
    calendar: Calendar,
) -> pl.DataFrame:
    """Return the rows, some of them first published with wrong values and corrected later.

    The vendor overwrites these rows in place, without a word; a server that keeps every version
    shows both.

    Args:
        right: the rows as they stand in the end, in the feed's key order.
        feed: by name, one of `REVISED`.
        wrong: the wrong values of a row's first version, by column.
        share: of rows.
        market: whose seed decides which.
        calendar: of the market.
    """
    day_R = right["event_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    days, count = np.unique(day_R, return_counts=True)
    u = [
        draws.stream(
            market.spec.seed,
            draws.Purpose.SIDE_CORRECTIONS,
            day * len(REVISED) + REVISED.index(feed),
        ).random(n)
        for day, n in zip(days.tolist(), count.tolist(), strict=True)
    ]
    is_wrong = pl.Series(np.concatenate([np.empty(0), *u]) < share)
    first = right.with_columns(
        *[
            pl.when(is_wrong)
            .then(item)
            .otherwise(item.meta.output_name())
            .alias(item.meta.output_name())
            for item in wrong
        ],
        pl.lit(None, INSTANT).alias("available_at"),
        pl.lit(0, pl.Int16).alias("revision"),
    )
    late = right.filter(is_wrong)
    stamp = FEEDS[feed].publication.stamp(late, calendar).dt.replace_time_zone(None).to_numpy()
    known = calendar.effective(stamp.astype("datetime64[us]"))
    due = instants_of(calendar, calendar.sessions[known + CORRECTED_AFTER - 1], _EVENING)
    corrected = late.with_columns(due.cast(INSTANT), pl.lit(1, pl.Int16).alias("revision"))
    both = pl.concat([first, corrected]).sort(*FEEDS[feed].key, "revision")
    return out_by_now(both, feed, market, calendar)


def codes(market: SimMarket, symbol_K: Index) -> pl.Series:
    """Return the codes of symbols by their numbers."""
    return pl.Series(list(market.roster.code), dtype=pl.String).gather(symbol_K)


def dates_of(market: SimMarket, session_K: Index) -> Dates:
    """Return the dates of sessions by their numbers."""
    return market.sessions[session_K]
