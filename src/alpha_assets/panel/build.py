"""The panel: one row per decision session and symbol, holding what was known by then.

Row D carries the bar of session D - 1 if it was effective by D; a bar that came later enters
no row, but its factor applies from the session that knew it, and so does a corrected one.
Two lives of one symbol are two symbols to all that counts here.  Every cell is decided by rows
effective by its own session, so neither rows that came later, nor the span that is built,
nor other symbols change a bit of it.
Shape letters: D sessions of the span, N symbols, R bars, L rows of the panel.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.asof import keep_greatest, latest_rows
from alpha_assets.arrays.keys import KEYS, MAX_STALE
from alpha_assets.arrays.places import codes
from alpha_assets.arrays.types import Array, Index, Mask, Places
from alpha_assets.calendar import Calendar
from alpha_assets.errors import BadInput, RangeError
from alpha_assets.feeds.listings import ACTIVE
from alpha_assets.panel.adjustment import Factors, factors, share_factors
from alpha_assets.panel.asof import History, join_states, rows_at, taken
from alpha_assets.panel.bars import Bars, first_effective
from alpha_assets.panel.history_pruning import Before, needed_bars
from alpha_assets.panel.joins import Join
from alpha_assets.panel.lives import Births, Columns, bars_by_life, births, side_by_life
from alpha_assets.panel.revised import LEVEL, at_first_level
from alpha_assets.panel.schema import BAR_VALUES, LISTING_VALUES, PANEL_SCHEMA

Frame = pl.DataFrame | pl.LazyFrame


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
    again = births(raw.get("listings"), calendar, span.stop - 1)
    rows = bars_by_life(_bar_columns(raw["daily_bars"]), again, calendar)
    before = needed_bars(rows, calendar, span)
    bars = first_effective(before.rows, calendar, span.stop - 1, before.symbols)
    n_bars_DN, last_bar_DN = _bars_so_far(bars, span)
    n_bars_DN += before.n_bars_N
    np.maximum(last_bar_DN, before.last_N, out=last_bar_DN)
    session_D1 = np.arange(span.start, span.stop)[:, None]
    stale_DN = session_D1 - 1 - last_bar_DN
    alive_DN = (n_bars_DN > 0) & (stale_DN <= max_stale)

    lives = Columns.of(bars.symbols, again)
    alive_DN &= (session_D1 >= lives.from_N) & (session_D1 < lives.until_N)

    listed = _history(raw, "listings", calendar, span)
    listed_DN = _latest(listed, lives.plain, span)
    if listed is not None and listed.frame.height:
        exits_R = (listed.frame["exit"] != ACTIVE).fill_null(False).to_numpy()
        alive_DN &= ~((listed_DN >= 0) & exits_R[listed_DN])

    cell_L = np.flatnonzero(alive_DN)
    at_L, symbol_L = np.divmod(cell_L, max(len(bars.symbols), 1))
    session_L = at_L + span.start
    price, volume = _factors(before.moves, bars.symbols, span)
    late = _learned_late(before, bars.symbols, span, alive_DN)
    late = late.filter(~_was_carried(late, before, lives, listed, span, max_stale))
    panel = pl.DataFrame(
        [
            pl.Series("session", calendar.sessions[session_L]),
            lives.plain.gather(symbol_L).alias("symbol"),
            *_bar_values(bars, span, cell_L),
            pl.Series("adjustment_factor", price.session_DN.ravel()[cell_L]),
            pl.Series("share_factor", _shares(bars, span).ravel()[cell_L]).fill_nan(None),
            pl.Series("cum_factor", price.cum_DN.ravel()[cell_L]),
            pl.Series("cum_volume_factor", volume.cum_DN.ravel()[cell_L]),
            _late_factors(late, calendar, span, alive_DN, cell_L),
            pl.Series("life", lives.life_N[symbol_L]),
            pl.Series("n_bars", n_bars_DN.ravel()[cell_L], dtype=pl.Int32),
            pl.Series("stale", stale_DN.ravel()[cell_L].astype(np.int16)),
            *_listing_values(listed, listed_DN.ravel()[cell_L], session_L),
            _membership(raw, calendar, again, bars.symbols, span, cell_L),
            pl.Series("is_halt", calendar.follows_halt(calendar.sessions)[session_L]),
        ]
    ).cast(PANEL_SCHEMA)  # type: ignore[arg-type]
    parts = [panel]
    keys = panel.select(*KEYS, "sector", "market_segment")
    keys = keys.with_columns(bars.symbols.gather(symbol_L).alias("symbol"))
    for join in side:
        if join.feed in raw:
            rows = raw[join.feed]
            if join.scope == "symbol":
                rows = side_by_life(rows, again, calendar)
            joined = join_states(keys, rows, join, calendar)
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


def _column(name: str, present: Sequence[str]) -> pl.Expr:
    return at_first_level(name) if LEVEL in present else pl.col(name)


def _bar_columns(rows: Frame) -> Frame:
    """Return the bars with every column that the panel reads, null where a feed lacks it.

    A bar that a vendor restated before it was first effective stands on the level of its first
    revision, as the factors of later bars do.
    """
    wanted = {**BAR_VALUES, "adjustment_factor": pl.Float64, "share_factor": pl.Float64}
    present = rows.lazy().collect_schema().names()
    return rows.select(
        "event_date",
        "symbol",
        *[
            _column(name, present) if name in present else pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in wanted.items()
        ],
        "available_at",
        "revision",
    )


def _bars_so_far(bars: Bars, span: range) -> tuple[Places, Index]:
    """Return how many bars each session knows, and the session of the latest of them (or -1)."""
    shape = (len(span), len(bars.symbols))
    rows = np.flatnonzero(bars.has_price_R & (bars.usable_R < span.stop))
    cell = np.maximum(bars.usable_R[rows] - span.start, 0) * shape[1] + bars.code_R[rows]
    count_DN = np.bincount(cell, minlength=shape[0] * shape[1]).astype(np.int32).reshape(shape)
    np.cumsum(count_DN, axis=0, out=count_DN)
    latest_DN = np.full(shape, -1, dtype=np.int64)
    np.maximum.at(latest_DN.ravel(), cell, bars.session_R[rows])
    keep_greatest(latest_DN)
    return count_DN, latest_DN


def _bar_values(bars: Bars, span: range, cell_L: Index) -> list[pl.Series]:
    """Return the values of the bar of the session before; null where it is not known in time."""
    inside_R = (bars.usable_R >= span.start) & (bars.usable_R < span.stop)
    rows = np.flatnonzero(inside_R & bars.has_price_R & ~bars.is_late_R)
    n_symbols = len(bars.symbols)
    row_DN = np.full(len(span) * n_symbols, -1, dtype=np.int32)
    row_DN[(bars.usable_R[rows] - span.start) * n_symbols + bars.code_R[rows]] = rows
    row_L = row_DN[cell_L]
    return rows_at(bars.frame, list(BAR_VALUES), row_L, row_L >= 0).get_columns()


def _factors(moves: pl.DataFrame, symbols: pl.Series, span: range) -> tuple[Factors, Factors]:
    """Return the sessions' factors with their running products, of prices and of volumes."""
    usable_R, code_R = moves["usable"].to_numpy(), codes(moves["symbol"], symbols)
    price, volume = (
        factors(usable_R, code_R, moves[name].to_numpy(), span, len(symbols))
        for name in ("ratio", "volume_ratio")
    )
    return price, volume


def _shares(bars: Bars, span: range) -> Array:
    """Return the share factors that bars of the session state; NaN without."""
    factor_R = bars.frame["adjustment_factor"].fill_null(np.nan).to_numpy()
    share_R = bars.frame["share_factor"].fill_null(np.nan).to_numpy()
    return share_factors(bars.usable_R, bars.code_R, share_R, factor_R, span, len(bars.symbols))


def _learned_late(before: Before, symbols: pl.Series, span: range, alive_DN: Mask) -> pl.DataFrame:
    """Return the moves of earlier ex-sessions that some row of the span may be first to carry.

    Where the session that learns one has no row, the next one of the symbol carries it.

    Returns:
        The columns of the moves, `code` of the symbol and `row`, the number of the session.
    """
    late = before.moves.filter(
        (pl.col("usable") > pl.col("session") + 1) & (pl.col("usable") < span.stop)
    )
    code_R = codes(late["symbol"], symbols)
    row_R = np.full(late.height, -1, dtype=np.int64)
    for place, (usable, code) in enumerate(zip(late["usable"].to_list(), code_R, strict=True)):
        since = max(usable - span.start, 0)
        rows = np.flatnonzero(alive_DN[since:, code])
        row_R[place] = span.start + since + rows[0] if len(rows) else -1
    late = late.with_columns(pl.Series("code", code_R), pl.Series("row", row_R))
    return late.filter(pl.col("row") >= 0)


def _was_carried(
    late: pl.DataFrame,
    before: Before,
    lives: Columns,
    listed: History | None,
    span: range,
    max_stale: int,
) -> pl.Series:
    """Return which of them had a row before the span, which carried them."""
    found = []
    bars_of = before.known.partition_by("symbol", as_dict=True)
    for symbol, usable, code in late.select("symbol", "usable", "code").iter_rows():
        bars = bars_of.get((symbol,), before.known.clear())
        session_K, usable_K = bars["session"].to_numpy(), bars["usable"].to_numpy()
        event_K, exit_K = _exits_of(listed, lives.plain[code])
        # The last session before the span is the likely one.
        found.append(
            any(
                lives.from_N[code] <= n < lives.until_N[code]
                and (usable_K <= n).any()
                and n - 1 - session_K[usable_K <= n].max() <= max_stale
                and not ((event_K <= n).any() and exit_K[event_K <= n][-1])
                for n in range(span.start - 1, usable - 1, -1)
            )
        )
    return pl.Series(found, dtype=pl.Boolean)


def _exits_of(listed: History | None, symbol: str) -> tuple[Index, Mask]:
    """Return from when each event of a symbol is known, and whether it is an exit."""
    if listed is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=bool)
    rows_K = (listed.frame["symbol"].cast(pl.String) == symbol).arg_true().to_numpy()
    is_exit = (listed.frame["exit"][rows_K] != ACTIVE).fill_null(False)
    return listed.effective_R[rows_K], is_exit.to_numpy()


def _late_factors(
    late: pl.DataFrame,
    calendar: Calendar,
    span: range,
    alive_DN: Mask,
    cell_L: Index,
) -> pl.Series:
    """Return what each row learned of earlier ex-sessions, in their order; null without."""
    dtype = PANEL_SCHEMA["late_factors"]
    out = pl.Series("late_factors", [None], dtype=dtype).new_from_index(0, len(cell_L))
    if late.is_empty():
        return out
    cell = (pl.col("row") - span.start) * alive_DN.shape[1] + pl.col("code")
    day = pl.Series("session", calendar.sessions[late["session"].to_numpy()])
    entries = (
        late.with_columns(cell.alias("cell"), day)
        .group_by("cell", maintain_order=True)
        .agg(pl.struct("session", "ratio", "volume_ratio").alias("late_factors"))
    )
    rows = pl.DataFrame({"cell": cell_L}, schema={"cell": pl.Int64})
    joined = rows.join(entries, on="cell", how="left", maintain_order="left")
    return joined["late_factors"].cast(dtype)


def _history(
    raw: Mapping[str, Frame], feed: str, calendar: Calendar, span: range
) -> History | None:
    if feed not in raw:
        return None
    return History.of(raw[feed], calendar, span.stop - 1, feed=feed, by="symbol")


def _latest(past: History | None, symbols: pl.Series, span: range) -> Places:
    """Return the row of each symbol's latest event known at each session; -1 without.

    Args:
        past: the events.
        symbols: of the columns wanted, sorted; several may share a symbol.
        span: session numbers wanted.
    """
    if past is None:
        return np.full((len(span), len(symbols)), -1, dtype=np.int32)
    distinct = symbols.unique().sort()
    row_DN = latest_rows(
        past.effective_R, codes(past.frame["symbol"], distinct), span, len(distinct)
    )
    return row_DN if len(distinct) == len(symbols) else row_DN[:, codes(symbols, distinct)]


def _listing_values(past: History | None, row_L: Places, session_L: Index) -> list[pl.Series]:
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
    again: Births,
    symbols: pl.Series,
    span: range,
    cell_L: Index,
) -> pl.Series:
    """Return whether each row's symbol is known to be a member; null without such a feed."""
    if "membership" not in raw:
        return pl.Series("in_membership", [None], dtype=pl.Boolean).new_from_index(0, len(cell_L))
    rows = side_by_life(raw["membership"], again, calendar)
    past = History.of(rows, calendar, span.stop - 1, feed="membership", by="symbol")
    row_L = _latest(past, symbols, span).ravel()[cell_L]
    if not past.frame.height:
        return pl.Series("in_membership", np.zeros(len(row_L), dtype=bool))
    # Without a spell that has begun, a symbol is no member: that is the feed's meaning.
    member_R = past.frame["member"].fill_null(False).to_numpy()
    return pl.Series("in_membership", (row_L >= 0) & member_R[row_L])
