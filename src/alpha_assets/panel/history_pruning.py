"""Which raw rows can matter to the panel rows of a span: the rest is not read, or in part only.

What is left out changes no bit.  A side feed's rows count whole from `Join.history` sessions
before the span on.  Of older ones the last of each kind is kept without its values: it says how
old what was known is, and that a late row about an older day must not take its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from alpha_assets.arrays.places import codes
from alpha_assets.arrays.types import Index, Mask, Places
from alpha_assets.calendar import Calendar, as_date
from alpha_assets.panel.adjustment import VERSION, may_move, moves_of
from alpha_assets.panel.bars import first_effective, known_rows, session_numbers
from alpha_assets.panel.joins import Join

Frame = pl.DataFrame | pl.LazyFrame

PRECEDENCE = ("event_date", "available_at", "revision")
KNOWN = {"symbol": pl.String, "session": pl.Int64, "usable": pl.Int64}


def decided(calendar: Calendar, number: int) -> datetime:
    """Return the decision instant of a session."""
    return datetime.fromisoformat(str(calendar.decisions[number])).replace(tzinfo=UTC)


def needed_rows(rows: Frame, join: Join, calendar: Calendar, span: range) -> pl.DataFrame:
    """Return the rows of a side feed that some session of the span can know and needs.

    Args:
        rows: the feed's raw rows.
        join: how they enter.
        calendar: of the market.
        span: session numbers of the panel rows to be filled.
    """
    until = span.stop - 1
    if join.history is None or span.start - join.history < 1:
        return known_rows(rows, calendar, until, join.feed)
    stamp, day = pl.col("available_at"), pl.col("event_date")
    is_old = stamp <= decided(calendar, span.start - join.history - 1)
    rows = rows.lazy()
    schema = rows.collect_schema()
    fresh = known_rows(rows.filter(stamp.is_null() | ~is_old), calendar, until, join.feed)
    parts = [fresh]
    if join.whole_days and fresh.height:
        # A day that a late row concerns is computed anew, with all earlier rows of it.
        began = fresh["event_date"].min()
        parts.append(rows.filter(is_old & (day >= began)).collect())
        is_old &= day < began
    marks = [name for name in join.marks if name not in PRECEDENCE]
    old = rows.filter(is_old).select(*marks, *PRECEDENCE).collect()
    last = old.sort(PRECEDENCE, maintain_order=True)
    last = last.unique(list(join.marks), keep="last") if join.marks else last.tail(1)
    wide = [name for name, dtype in schema.items() if isinstance(dtype, pl.Array)]
    if wide:
        # A missing vector costs as much as one that is there, unless its length may differ.
        parts = [part.with_columns(pl.col(wide).arr.to_list()) for part in parts]
        schema = parts[0].schema
    lacking = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in schema.items()
        if name not in last.columns
    ]
    parts.append(last.with_columns(lacking).select(schema.names()))
    return pl.concat(parts)


@dataclass(frozen=True, eq=False)
class Before:
    """What a span has to know of the bars that were usable before it.

    Attributes:
        symbols: every symbol that had a row by the end of the span, sorted.
        n_bars_N: bars before the span.
        last_N: number of the session of the last of them; -1 without.
        rows: the rows that may matter one by one.
        moves: what the factors of all bars did to their symbols' products, and when.
        known: `symbol`, `session`, `usable` of the bars before the span of symbols that learned
            a factor late before it: which of their sessions had a row.
    """

    symbols: pl.Series
    n_bars_N: Places
    last_N: Index
    rows: pl.DataFrame
    moves: pl.DataFrame
    known: pl.DataFrame


def needed_bars(rows: Frame, calendar: Calendar, span: range) -> Before:
    """Return the bars that the sessions of a span read, and what those before them add up to.

    Args:
        rows: raw rows of `daily_bars` with the columns that the panel reads.
        calendar: of the market.
        span: session numbers of the panel.
    """
    until = span.stop - 1
    rows = rows.lazy()
    if span.start < 2:
        return _nothing_before(known_rows(rows, calendar, until, "daily_bars"), calendar)
    # A bar is usable before the span if it was effective, and its own session over, by then.
    stamp, day = pl.col("available_at"), pl.col("event_date")
    is_old = (stamp <= decided(calendar, span.start - 1)) & (
        day < as_date(calendar.sessions[span.start - 1])
    )
    fresh = known_rows(rows.filter(stamp.is_null() | ~is_old), calendar, until, "daily_bars")
    old = (
        rows.filter(is_old)
        .select(
            "symbol",
            *PRECEDENCE,
            pl.col("close").is_not_null().alias("has_price"),
            "adjustment_factor",
            "share_factor",
        )
        .collect()
    )
    if not old.height:
        return _nothing_before(fresh, calendar)
    moves = _moves([old, fresh], calendar)
    key = ["event_date", "symbol"]
    late = fresh.filter(day < as_date(calendar.sessions[span.start - 1]))
    if late.height:
        # What first became effective before the span stays as it was.
        stored = old.filter(day.is_in(late["event_date"].unique().implode())).select(key)
        again = late.join(stored, on=key, how="semi").select(*key, *PRECEDENCE[1:])
        fresh = fresh.join(again, on=[*key, *PRECEDENCE[1:]], how="anti", maintain_order="left")
    symbols = pl.concat([old["symbol"].unique(), fresh["symbol"].unique()]).unique().sort()
    code_R = codes(old["symbol"], symbols)
    session_R = session_numbers(old["event_date"], calendar)
    cell_R = session_R * len(symbols) + code_R
    cell_R -= cell_R.min()
    count_C = np.bincount(cell_R)
    price_R = old["has_price"].to_numpy()
    if count_C.max() > 1:
        several_R = count_C[cell_R] > 1
        rows_S = np.flatnonzero(several_R)
        kept = _first_versions(old[rows_S].with_columns(pl.Series("row", rows_S)), calendar)
        single_R = ~several_R
        single_R[kept["row"].to_numpy()] = True  # one version of each bar
        price_R = price_R & single_R
    last_N = np.full(len(symbols), -1, dtype=np.int64)
    np.maximum.at(last_N, code_R[price_R], session_R[price_R])
    return Before(
        symbols=symbols,
        n_bars_N=np.bincount(code_R[price_R], minlength=len(symbols)).astype(np.int32),
        last_N=last_N,
        rows=fresh,
        moves=moves,
        known=_known_of_late(old, price_R, session_R, moves, calendar, span),
    )


def _known_of_late(
    old: pl.DataFrame,
    price_R: Mask,
    session_R: Index,
    moves: pl.DataFrame,
    calendar: Calendar,
    span: range,
) -> pl.DataFrame:
    """Return the bars before the span of the symbols that learned a factor late before it."""
    usable = pl.col("usable")
    late = moves.filter((usable > pl.col("session") + 1) & (usable < span.start))
    if late.is_empty():
        return pl.DataFrame(schema=KNOWN)
    wanted_R = price_R & old["symbol"].is_in(late["symbol"].unique().implode()).to_numpy()
    some, session = old.filter(pl.Series(wanted_R)), session_R[wanted_R]
    effective = calendar.effective(some["available_at"].to_numpy())
    return pl.DataFrame(
        [
            some["symbol"],
            pl.Series("session", session),
            pl.Series("usable", np.maximum(effective, session + 1)),
        ],
        schema=KNOWN,
    )


def _moves(parts: Sequence[pl.DataFrame], calendar: Calendar) -> pl.DataFrame:
    """Return the moves of all factors, corrections included, in some rows of bars."""
    moving = may_move(pl.col("adjustment_factor"), pl.col("share_factor"))
    return moves_of(pl.concat(part.select(VERSION).filter(moving) for part in parts), calendar)


def _nothing_before(rows: pl.DataFrame, calendar: Calendar) -> Before:
    symbols = rows["symbol"].unique().sort()
    nothing = np.zeros(len(symbols), dtype=np.int32)
    none = np.full(len(symbols), -1, dtype=np.int64)
    moves, known = _moves([rows], calendar), pl.DataFrame(schema=KNOWN)
    return Before(symbols, nothing, none, rows, moves, known)


def _first_versions(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return each bar with several versions as it stood when it first became effective."""
    price = pl.when("has_price").then(1.0).alias("close")
    return first_effective(rows.with_columns(price), calendar, len(calendar.sessions) - 1).frame
