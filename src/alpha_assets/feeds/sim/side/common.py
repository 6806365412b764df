"""What the side feeds of the simulated exchange share: hidden states, weeks, what is out by now."""

from datetime import time

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.calendar import Calendar, Dates
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.sim import signal
from alpha_assets.feeds.sim.market import SimMarket

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_MIDNIGHT = time(0, 0)

_PLACE = {component.name: place for place, component in enumerate(signal.COMPONENTS)}


def hidden(market: SimMarket, name: str) -> Array:
    """Return a component of the forecast, [D, N]; NaN where the symbol is not listed."""
    g_DN = market.components[_PLACE[name]].astype(np.float64)
    return np.where(market.listed(), g_DN, np.nan)


def of_group(x_DN: Array, group_N: Ints, n_groups: int) -> Array:
    """Return what all listed symbols of a group share, [D, groups]; NaN for an empty group."""
    made = np.full((len(x_DN), n_groups), np.nan)
    for group in range(n_groups):
        of_DN = x_DN[:, group_N == group]
        if not of_DN.shape[1]:
            continue
        first_D = np.argmax(~np.isnan(of_DN), axis=1)
        made[:, group] = of_DN[np.arange(len(of_DN)), first_D]
    return made


def group_sums(x_DN: Array, group_N: Ints, n_groups: int) -> Array:
    """Return sums over the symbols of each group, [D, groups]; unknown values add nothing."""
    x_DN = np.nan_to_num(x_DN)
    return np.stack([x_DN[:, group_N == g].sum(axis=1) for g in range(n_groups)], axis=1)


def shares_outstanding(market: SimMarket) -> Array:
    """Return shares outstanding, [D, N], in shares of the session."""
    return np.asarray(market.roster.shares / np.cumprod(market.factor, axis=0))


def week_ends(market: SimMarket, calendar: Calendar) -> Ints:
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


def codes(market: SimMarket, symbol_K: Ints) -> pl.Series:
    """Return the codes of symbols by their numbers."""
    return pl.Series(list(market.roster.code), dtype=pl.String).gather(symbol_K)


def dates_of(market: SimMarket, session_K: Ints) -> Dates:
    """Return the dates of sessions by their numbers."""
    return market.sessions[session_K]
