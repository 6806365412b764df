"""The panel: one row per decision session and symbol, holding what was known by then.

Row D carries the bar of session D - 1 if it was effective by D; a bar that came later enters
no row, but its factor applies from the session that knew it.  Every cell is decided by rows
effective by its own session, so neither rows that came later, nor the span that is built,
nor other symbols change a bit of it.
Shape letters: D sessions of the span, N symbols, R bars, L rows of the panel.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.calendar import Calendar
from alpha_assets.errors import BadInput, RangeError
from alpha_assets.feeds.listings import ACTIVE
from alpha_assets.panel.adjustment import factors, share_factors
from alpha_assets.panel.asof import History, join_states, latest_rows, rows_at, taken
from alpha_assets.panel.bars import Bars, codes, first_effective
from alpha_assets.panel.joins import Join
from alpha_assets.panel.needed import needed_bars
from alpha_assets.panel.schema import BAR_VALUES, KEYS, LISTING_VALUES, MAX_STALE, PANEL_SCHEMA

Frame = pl.DataFrame | pl.LazyFrame
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]


def build_panel(
    raw: Mapping[str, Frame],
    calendar: Calendar,
    first: date,
    last: date,
    max_stale: int = MAX_STALE,
    *,
    side: Sequence[Join] = (),
) -> pl.DataFrame:
    """Return the panel rows of the sessions from `first` to `last`.

    A symbol has a row at D if a bar of it is effective by D, its exit is not, and at most
    `max_stale` sessions have passed without a bar.

    Args:
        raw: raw rows by feed, revisions included and from each symbol's first bar on:
            `daily_bars`; `listings` and `membership` where the market has them.
        calendar: of the market.
        first: first date wanted.
        last: last date wanted; rows that it could not know change nothing.
        max_stale: sessions without a bar after which a symbol's rows end until one returns.
        side: how further feeds in `raw` join; one without rows gives columns of nulls.

    Returns:
        The columns of `PANEL_SCHEMA`, then those of the side feeds, sorted by session, symbol.

    Raises:
        BadInput: there are no bars to build from.
        RangeError: no session lies between the dates.
    """
    span = _span(calendar, first, last)
    if "daily_bars" not in raw:
        raise BadInput(f"a panel is made of daily_bars; raw rows are those of {', '.join(raw)}")
    before = needed_bars(_bar_columns(raw["daily_bars"]), calendar, span)
    bars = first_effective(before.rows, calendar, span.stop - 1, before.symbols)
    n_bars_DN, last_bar_DN = _bars_so_far(bars, span)
    n_bars_DN += before.n_bars_N
    np.maximum(last_bar_DN, before.last_N, out=last_bar_DN)
    session_D1 = np.arange(span.start, span.stop)[:, None]
    stale_DN = session_D1 - 1 - last_bar_DN
    alive_DN = (n_bars_DN > 0) & (stale_DN <= max_stale)

    listed = _history(raw, "listings", calendar, span)
    listed_DN = _latest(listed, bars, span)
    if listed is not None and listed.frame.height:
        exits_R = (listed.frame["exit"] != ACTIVE).fill_null(False).to_numpy()
        alive_DN &= ~((listed_DN >= 0) & exits_R[listed_DN])

    cell_L = np.flatnonzero(alive_DN)
    at_L, symbol_L = np.divmod(cell_L, max(len(bars.symbols), 1))
    session_L = at_L + span.start
    factor, share = _factors(bars, span)
    panel = pl.DataFrame(
        [
            pl.Series("session", calendar.sessions[session_L]),
            bars.symbols.gather(symbol_L).alias("symbol"),
            *_bar_values(bars, span, cell_L),
            pl.Series("adjustment_factor", factor[0].ravel()[cell_L]),
            pl.Series("share_factor", share.ravel()[cell_L]).fill_nan(None),
            pl.Series("cum_factor", factor[1].ravel()[cell_L]),
            pl.Series("n_bars", n_bars_DN.ravel()[cell_L], dtype=pl.Int32),
            pl.Series("stale", stale_DN.ravel()[cell_L].astype(np.int16)),
            *_listing_values(listed, listed_DN.ravel()[cell_L], session_L),
            _membership(raw, calendar, bars, span, cell_L),
            pl.Series("is_halt", calendar.follows_halt(calendar.sessions)[session_L]),
        ]
    ).cast(PANEL_SCHEMA)  # type: ignore[arg-type]
    parts = [panel]
    keys = panel.select(*KEYS, "sector", "market_segment")
    for join in side:
        if join.feed in raw:
            joined = join_states(keys, raw[join.feed], join, calendar)
            parts.append(joined.select(join.panel_columns))
        else:
            columns = dict.fromkeys(join.panel_columns[:-1], pl.Float64)
            schema = {**columns, join.panel_columns[-1]: pl.Int16}
            parts.append(pl.DataFrame(schema=schema).clear(panel.height))
    return pl.concat(parts, how="horizontal")


def _span(calendar: Calendar, first: date, last: date) -> range:
    sessions = calendar.between(first, last)
    if not len(sessions):
        raise RangeError(
            f"no session of {calendar.exchange} lies between {first} and {last}; "
            f"it is known from {calendar.sessions[0]} to {calendar.sessions[-1]}"
        )
    start = int(calendar.index_of(sessions[0]))
    return range(start, start + len(sessions))


def _bar_columns(rows: Frame) -> Frame:
    """Return the bars with every column that the panel reads, null where a feed lacks it."""
    wanted = {**BAR_VALUES, "adjustment_factor": pl.Float64, "share_factor": pl.Float64}
    present = rows.lazy().collect_schema().names()
    return rows.select(
        "event_date",
        "symbol",
        *[
            pl.col(name) if name in present else pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in wanted.items()
        ],
        "available_at",
        "revision",
    )


def _bars_so_far(bars: Bars, span: range) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return how many bars each session knows, and the session of the latest of them (or -1)."""
    shape = (len(span), len(bars.symbols))
    rows = np.flatnonzero(bars.has_price_R & (bars.usable_R < span.stop))
    cell = np.maximum(bars.usable_R[rows] - span.start, 0) * shape[1] + bars.code_R[rows]
    count_DN = np.bincount(cell, minlength=shape[0] * shape[1]).astype(np.int32).reshape(shape)
    np.cumsum(count_DN, axis=0, out=count_DN)
    latest_DN = np.full(shape, -1, dtype=np.int64)
    np.maximum.at(latest_DN.ravel(), cell, bars.session_R[rows])
    np.maximum.accumulate(latest_DN, axis=0, out=latest_DN)
    return count_DN, latest_DN


def _bar_values(bars: Bars, span: range, cell_L: NDArray[np.int64]) -> list[pl.Series]:
    """Return the values of the bar of the session before; null where it is not known in time."""
    inside_R = (bars.usable_R >= span.start) & (bars.usable_R < span.stop)
    rows = np.flatnonzero(inside_R & bars.has_price_R & ~bars.is_late_R)
    n_symbols = len(bars.symbols)
    row_DN = np.full(len(span) * n_symbols, -1, dtype=np.int32)
    row_DN[(bars.usable_R[rows] - span.start) * n_symbols + bars.code_R[rows]] = rows
    row_L = row_DN[cell_L]
    return rows_at(bars.frame, list(BAR_VALUES), row_L, row_L >= 0).get_columns()


def _factors(bars: Bars, span: range) -> tuple[tuple[Array, Array], Array]:
    """Return the sessions' factors with their running product, and the share factors."""
    factor_R = bars.frame["adjustment_factor"].fill_null(np.nan).to_numpy()
    share_R = bars.frame["share_factor"].fill_null(np.nan).to_numpy()
    n_symbols = len(bars.symbols)
    price = factors(bars.usable_R, bars.code_R, factor_R, span, n_symbols)
    share = share_factors(bars.usable_R, bars.code_R, share_R, factor_R, span, n_symbols)
    return price, share


def _history(
    raw: Mapping[str, Frame], feed: str, calendar: Calendar, span: range
) -> History | None:
    if feed not in raw:
        return None
    return History.of(raw[feed], calendar, span.stop - 1, feed=feed, by="symbol")


def _latest(past: History | None, bars: Bars, span: range) -> NDArray[np.int32]:
    """Return the row of each symbol's latest event known at each session; -1 without."""
    if past is None:
        return np.full((len(span), len(bars.symbols)), -1, dtype=np.int32)
    code_R = codes(past.frame["symbol"], bars.symbols)
    return latest_rows(past.effective_R, code_R, span, len(bars.symbols))


def _listing_values(
    past: History | None, row_L: NDArray[np.int32], session_L: NDArray[np.int64]
) -> list[pl.Series]:
    """Return the columns of the latest known listing; null where the market has none."""
    if past is None:
        nothing = pl.DataFrame(schema=LISTING_VALUES).clear(len(row_L))
        return nothing.get_columns()
    present = [name for name in LISTING_VALUES if name in past.frame.columns]
    found = taken(past, row_L, session_L, feed="listings", values=present, max_stale=None)
    lacking = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in LISTING_VALUES.items()
        if name not in present
    ]
    return found.with_columns(lacking).select(*LISTING_VALUES).get_columns()


def _membership(
    raw: Mapping[str, Frame],
    calendar: Calendar,
    bars: Bars,
    span: range,
    cell_L: NDArray[np.int64],
) -> pl.Series:
    """Return whether each row's symbol is known to be a member; null without such a feed."""
    past = _history(raw, "membership", calendar, span)
    if past is None:
        return pl.Series("in_membership", [None], dtype=pl.Boolean).new_from_index(0, len(cell_L))
    row_L = _latest(past, bars, span).ravel()[cell_L]
    if not past.frame.height:
        return pl.Series("in_membership", np.zeros(len(row_L), dtype=bool))
    # Without a spell that has begun, a symbol is no member: that is what the feed says.
    member_R = past.frame["member"].fill_null(False).to_numpy()
    return pl.Series("in_membership", (row_L >= 0) & member_R[row_L])
