"""What happens beside prices: exits, dividends, the price of borrowing and of money.

Shape letters: D sessions, N symbols, K exits of one session.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.calendar import Calendar, Dates
from alpha_assets.feeds.listings import ACTIVE, SOURCE_END
from alpha_assets.feeds.market import BORROW
from alpha_assets.panel.asof import History, latest_rows
from alpha_assets.panel.bars import codes
from alpha_assets.panel.schema import MAX_STALE

Array = NDArray[np.float64]
Index = NDArray[np.int64]


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
    """Return who leaves, by the place of the session at which the exit is effective.

    That is the session after the last bar's for an exit published that evening.  An exit
    counts as it stood when it first became effective.
    """
    if listings is None:
        return {}
    left = _first_known(
        listings.filter(
            pl.col("symbol").is_in(symbols)
            & pl.col("exit").is_not_null()
            & (pl.col("exit") != ACTIVE)
        ),
        calendar,
    ).sort("effective", "symbol")
    place = left["effective"].to_numpy() - int(calendar.index_of(sessions[0]))
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


def stops(close_DN: Array, first: int) -> Mapping[int, Exits]:
    """Return who stops without an exit, by the place of the session at which they leave.

    The panel drops a name that has had no bar for more than `MAX_STALE` sessions; what is held
    of it leaves then, at the last close, with a reason that says so.  Whether bars return is
    not known at that session, so it plays no part.

    Args:
        close_DN: from the first stored bar on; NaN without a bar.
        first: row of the first session of the books.
    """
    found = {}
    # Sessions without a bar up to the one before; what has not begun cannot stop.
    missed_N = np.full(close_DN.shape[1], -len(close_DN) - MAX_STALE)
    for row, close_N in enumerate(close_DN):
        if row >= first and (missed_N == MAX_STALE + 1).any():
            symbol_K = np.flatnonzero(missed_N == MAX_STALE + 1)
            words = [f"{SOURCE_END}: no bar for {MAX_STALE + 1} sessions"] * len(symbol_K)
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
    paid_DN = np.zeros((len(sessions), len(symbols)))
    if rows is None:
        return paid_DN
    inside = pl.col("symbol").is_in(symbols) & (pl.col("event_date") <= sessions[-1])
    known = _first_known(rows.filter(inside), calendar)
    # An ex-date before the first session, but after the last one before it, pays at the first.
    number = np.searchsorted(calendar.sessions, known["event_date"].to_numpy())
    d = number - int(calendar.index_of(sessions[0]))
    n = codes(known["symbol"], pl.Series(symbols, dtype=pl.String))
    held = d >= 0
    amount = known["amount"].cast(pl.Float64).fill_null(0.0).to_numpy()
    np.add.at(paid_DN, (d[held], n[held]), amount[held])
    return paid_DN


def borrow_fees(
    rows: pl.DataFrame | None, symbols: tuple[str, ...], sessions: Dates, calendar: Calendar
) -> Array:
    """Return the fee as known at each session, basis points a year; NaN where none is quoted.

    A quote holds until the next one, at most as long as the feed's staleness limit.
    """
    shape = (len(sessions), len(symbols))
    if rows is None or not rows.height:
        return np.broadcast_to(np.nan, shape)
    first = int(calendar.index_of(sessions[0]))
    span = range(first, first + len(sessions))
    past = History.of(
        rows.filter(pl.col("symbol").is_in(symbols)),
        calendar,
        span.stop - 1,
        feed="borrow",
        by="symbol",
    )
    if not past.frame.height:
        return np.broadcast_to(np.nan, shape)
    code_R = codes(past.frame["symbol"], pl.Series(symbols, dtype=pl.String))
    row_DN = latest_rows(past.effective_R, code_R, span, len(symbols))
    fee_R = past.frame["fee_bps_annual"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    age_DN = np.arange(span.start, span.stop)[:, None] - past.effective_R[row_DN]
    is_known_DN = (row_DN >= 0) & (age_DN <= (BORROW.max_stale or 0))
    return np.where(is_known_DN, fee_R[row_DN], np.nan)


def cash_rates(rows: pl.DataFrame | None, sessions: Dates, calendar: Calendar) -> Array:
    """Return the annual rate as known at each session, a fraction; 0 where there is none."""
    if rows is None or not rows.height:
        return np.zeros(len(sessions))
    first = int(calendar.index_of(sessions[0]))
    span = range(first, first + len(sessions))
    past = History.of(rows, calendar, span.stop - 1, feed="rates", by=None)
    if not past.frame.height:
        return np.zeros(len(sessions))
    row_D = latest_rows(past.effective_R, np.zeros_like(past.effective_R), span, 1)[:, 0]
    rate_R = past.frame["cash_rate_annual"].cast(pl.Float64).fill_null(0.0).to_numpy()
    return np.where(row_D >= 0, rate_R[row_D], 0.0)


def _first_known(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return each event as it stood when it first became effective, with that session's number.

    Among revisions that became effective together the last one counts.
    """
    stamp = rows["available_at"].dt.replace_time_zone(None).to_numpy()
    key = ["event_date", "symbol"]
    return (
        rows.with_columns(effective=pl.Series(calendar.effective(stamp), dtype=pl.Int64))
        .filter(pl.col("effective") == pl.col("effective").min().over(key))
        .sort("available_at", "revision")
        .unique(key, keep="last", maintain_order=True)
    )
