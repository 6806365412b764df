"""What happens beside prices: exits, dividends, the price of borrowing and of money.

Exits, dividends and cash rates read the last stored revision of each event, on its real day.
What a lender quotes is read as known at each decision.
Shape letters: D sessions, N symbols, K exits of one session.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from alpha_assets.arrays.asof import latest_rows
from alpha_assets.arrays.places import codes
from alpha_assets.arrays.rates import UNKNOWN_RATE, paid_rate, rate_in_force
from alpha_assets.arrays.types import Array, Dates, Index
from alpha_assets.calendar import Calendar
from alpha_assets.errors import BadInput
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.listings import ACTIVE, LISTINGS, SOURCE_END, repeats_exit
from alpha_assets.feeds.market import BORROW, RATES
from alpha_assets.feeds.prices import DIVIDENDS
from alpha_assets.panel.asof import History


@dataclass(frozen=True, eq=False)
class Exits:
    """The names that leave at one session.

    Attributes:
        symbol_K: their places on the symbol axis.
        return_K: from the last close to what holders get, a fraction.
        word_K: why they leave.
    """

    symbol_K: Index
    return_K: Array
    word_K: list[str]


def exits(
    listings: pl.DataFrame | None, symbols: tuple[str, ...], sessions: Dates, calendar: Calendar
) -> Mapping[int, Exits]:
    """Return who leaves, by the place of the session: the one after the last bar's.

    The last stored revision of an exit counts, whenever it was published.

    Raises:
        BadInput: an `exit_return` that takes more from a holder than the share was worth.
    """
    if listings is None:
        return {}
    left = (
        last_stored(listings.filter(pl.col("symbol").is_in(symbols)), LISTINGS)
        .filter(pl.col("exit").is_not_null() & (pl.col("exit") != ACTIVE) & ~repeats_exit())
        .sort("event_date", "symbol")
    )
    _refuse_lost_twice(left)
    day = left["event_date"].to_numpy().astype("datetime64[D]")
    number = np.searchsorted(calendar.sessions, day, side="right")
    place = number - int(calendar.index_of(sessions[0]))
    inside = (place >= 0) & (place < len(sessions))
    left, place = left.filter(pl.Series(inside)), place[inside]
    symbol_K = codes(left["symbol"], pl.Series(symbols, dtype=pl.String))
    return_K = left["exit_return"].cast(pl.Float64).fill_null(0.0).to_numpy()
    words = left["exit"].to_list()
    found = {}
    for d in np.unique(place).tolist():
        here = np.flatnonzero(place == d)
        found[d] = Exits(symbol_K[here], return_K[here], [words[k] for k in here])
    return found


def stops(close_DN: Array, first: int, max_stale: int) -> Mapping[int, Exits]:
    """Return who stops without an exit, by the place of the session at which they leave.

    The panel drops a name that has had no bar for more than `max_stale` sessions; what is held
    of it leaves then, at the last close, with a reason that says so.  Whether bars return is
    not known at that session, so it plays no part.

    Args:
        close_DN: from the first stored bar on; NaN without a bar.
        first: row of the first session of the books.
        max_stale: of the market.
    """
    found = {}
    # Sessions without a bar up to the one before; what has not begun cannot stop.
    missed_N = np.full(close_DN.shape[1], -len(close_DN) - max_stale)
    for row, close_N in enumerate(close_DN):
        if row >= first and (missed_N == max_stale + 1).any():
            symbol_K = np.flatnonzero(missed_N == max_stale + 1)
            words = [f"{SOURCE_END}: no bar for {max_stale + 1} sessions"] * len(symbol_K)
            found[row - first] = Exits(symbol_K, np.zeros(len(symbol_K)), words)
        missed_N = np.where(np.isnan(close_N), missed_N + 1, 0)
    return found


def either(stated: Mapping[int, Exits], unstated: Mapping[int, Exits]) -> dict[int, Exits]:
    """Return the exits of both; where a name leaves twice in a session the stated one counts."""
    both = dict(stated)
    for d, more in unstated.items():
        known = stated.get(d)
        if known is None:
            both[d] = more
            continue
        new = np.flatnonzero(~np.isin(more.symbol_K, known.symbol_K))
        both[d] = Exits(
            np.concatenate([known.symbol_K, more.symbol_K[new]]),
            np.concatenate([known.return_K, more.return_K[new]]),
            known.word_K + [more.word_K[k] for k in new],
        )
    return both


def dividends(
    rows: pl.DataFrame | None, symbols: tuple[str, ...], sessions: Dates, calendar: Calendar
) -> Array:
    """Return the money per share of each session that holders of the close before receive.

    An ex-date between sessions pays at the next one.
    """
    shape = (len(sessions), len(symbols))
    if rows is None:
        return np.zeros(shape)
    inside = pl.col("symbol").is_in(symbols) & (pl.col("event_date") <= sessions[-1])
    events = last_stored(rows.filter(inside), DIVIDENDS)
    # An ex-date before the first session, but after the last one before it, pays at the first.
    number = np.searchsorted(calendar.sessions, events["event_date"].to_numpy())
    d = number - int(calendar.index_of(sessions[0]))
    n = codes(events["symbol"], pl.Series(symbols, dtype=pl.String))
    held = d >= 0
    amount = events["amount"].cast(pl.Float64).fill_null(0.0).to_numpy()
    cell = d[held] * len(symbols) + n[held]
    paid = np.bincount(cell, amount[held], minlength=shape[0] * shape[1])
    return np.asarray(paid, dtype=np.float64).reshape(shape)


@dataclass(frozen=True, eq=False)
class Loans:
    """What lenders quote, as known at each session.

    Attributes:
        fee_bps_annual: [D, N] basis points a year; NaN where none is quoted.
        available: [D, N] shares that can be short in all, as the vendor counts them on the date
            of the quote; NaN where none is quoted.
        quoted: [D, N] number on the calendar's axis of the last session up to the date of the
            quote; any number where there is none.
    """

    fee_bps_annual: Array
    available: Array
    quoted: Index


def loans(
    rows: pl.DataFrame | None, symbols: tuple[str, ...], sessions: Dates, calendar: Calendar
) -> Loans:
    """Return fees and availability of borrowed shares as known at each session.

    A quote holds until the next one, at most as long as the feed's staleness limit.
    """
    shape = (len(sessions), len(symbols))
    nothing_DN = np.broadcast_to(np.nan, shape)
    unknown = Loans(nothing_DN, nothing_DN, np.broadcast_to(np.int64(0), shape))
    if rows is None or not rows.height:
        return unknown
    first = int(calendar.index_of(sessions[0]))
    span = range(first, first + len(sessions))
    past = History.of(
        rows.filter(pl.col("symbol").is_in(symbols)),
        calendar,
        span.stop - 1,
        feed=BORROW.name,
        by="symbol",
    )
    if not past.frame.height:
        return unknown
    code_R = codes(past.frame["symbol"], pl.Series(symbols, dtype=pl.String))
    row_DN = latest_rows(past.effective_R, code_R, span, len(symbols))
    fee_R = past.frame["fee_bps_annual"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    is_known_DN, fee_DN = row_DN >= 0, np.empty(shape)
    for session, row_N, is_known_N, fee_N in zip(span, row_DN, is_known_DN, fee_DN, strict=True):
        is_known_N &= past.effective_R.take(row_N) >= session - (BORROW.max_stale or 0)
        fee_N[:] = np.where(is_known_N, fee_R.take(row_N), np.nan)
    shares = past.frame.get_column("available_shares", default=None)
    if shares is None or not shares.count():
        return Loans(fee_DN, unknown.available, unknown.quoted)
    available_R = shares.cast(pl.Float64).fill_null(np.nan).to_numpy()
    days_R = past.frame["event_date"].to_numpy()
    quoted_R = np.searchsorted(calendar.sessions, days_R, side="right") - 1
    available_DN = np.where(is_known_DN, available_R[row_DN], np.nan)
    return Loans(fee_DN, available_DN, quoted_R[row_DN])


def cash_rates(rows: pl.DataFrame | None, sessions: Dates, calendar: Calendar) -> Array:
    """Return the annual cash rate at each session, a fraction; NaN where it is not known.

    Of the dates with a rate published by the session's decision the latest counts, with the
    last stored revision of its rate; `RATES.max_stale` sessions after it became effective it is
    not known any more.
    """
    if rows is None or not rows.height:
        return np.full(len(sessions), np.nan)
    first = int(calendar.index_of(sessions[0]))
    span = range(first, first + len(sessions))
    rows = rows.sort("event_date", "available_at", "revision")
    once = rows.unique("event_date", keep="first", maintain_order=True)
    stamp = once["available_at"].dt.replace_time_zone(None).to_numpy()
    effective_R = calendar.effective(stamp)
    rate = last_stored(rows, RATES)["cash_rate_annual"]
    rate_R = rate.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return rate_in_force(effective_R, rate_R, span, RATES.max_stale or 0)


def paid_rates(
    rows: pl.DataFrame | None, sessions: Dates, calendar: Calendar
) -> pl.DataFrame | None:
    """Return the rates that the books pay, as in `Books.cash_rates`; None without rows."""
    if rows is None or not rows.height:
        return None
    rate_D = paid_rate(cash_rates(rows, sessions, calendar), where_unknown=UNKNOWN_RATE)
    return pl.DataFrame({"session": sessions, "cash_rate_annual": rate_D})


def last_stored(rows: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """Return the last stored revision of each event, in the order of the feed's key."""
    return rows.sort(*feed.key, "available_at", "revision").unique(
        feed.key, keep="last", maintain_order=True
    )


def _refuse_lost_twice(left: pl.DataFrame) -> None:
    odd = left.filter(pl.col("exit_return") < -1.0)
    if odd.height:
        row = odd.row(0, named=True)
        raise BadInput(
            f"listings: exit_return of {row['symbol']!r}, which left on {row['event_date']}, is "
            f"{row['exit_return']:g}; it is a fraction of the last close, at least -1 (all is "
            f"lost): write {row['exit_return'] / 100:g} for {row['exit_return']:g} %"
        )
