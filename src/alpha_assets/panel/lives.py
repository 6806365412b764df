"""The lives of a symbol: a ticker that is used again names another company.

Two spells of one symbol in `listings` are two lives, each from its start to its end.  Nothing
that is counted over sessions reaches from one into the other.  Inside the panel a life after
the first has a symbol of its own, `lived("A", 1)`; tables show the plain one.
Life 0 begins with the data, life k with the k-th start after an exit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, pairwise
from typing import TypeVar

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Counts, Index
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.listings import ACTIVE, repeats_exit

Frame = pl.DataFrame | pl.LazyFrame
F = TypeVar("F", pl.DataFrame, pl.LazyFrame)

MARK = "\x1f"  # stands in no symbol: control characters are refused at the door


@dataclass(frozen=True)
class Birth:
    """A life after a symbol's first.

    Attributes:
        symbol: the plain one.
        life: its number, from 1 on.
        ended: last session of the life before, inclusive.
        start: its own first session.
        known: number of the first session that is decided knowing both.
    """

    symbol: str
    life: int
    ended: date
    start: date
    known: int

    @property
    def key(self) -> str:
        """The symbol of this life alone."""
        return lived(self.symbol, self.life)


Births = tuple[Birth, ...]


def lived(symbol: str, life: int) -> str:
    """Return the symbol of one life, which sorts right behind that of the life before."""
    return symbol if life == 0 else f"{symbol}{MARK}{life:03d}"


def plain_symbol(symbol: pl.Expr) -> pl.Expr:
    """Return the symbol as tables show it."""
    return symbol.str.split_exact(MARK, 1).struct.field("field_0").alias("symbol")


def life_of_key(symbol: pl.Expr) -> pl.Expr:
    """Return the number of the life that a symbol of one life names."""
    word = symbol.str.split_exact(MARK, 1).struct.field("field_1")
    return word.fill_null("0").cast(pl.Int16).alias("life")


def births(listings: Frame | None, calendar: Calendar, until: int = -1) -> Births:
    """Return every life after a symbol's first, as known at session number `until`.

    A life begins with the first event `active` after an exit.  It is known once both are:
    what comes to be known later changes neither its number nor the session at which it was.

    Args:
        listings: raw events; None where the market has none.
        calendar: of the market.
        until: number of a session; events that are not effective by it do not exist.
            Default: the calendar's last.

    Returns:
        In the order of symbol and life.
    """
    if listings is None:
        return ()
    decided = datetime.fromisoformat(str(calendar.decisions[until])).replace(tzinfo=UTC)
    events = (
        listings.lazy()
        .filter(pl.col("available_at") <= decided)
        .select(
            "symbol",
            "event_date",
            "available_at",
            "revision",
            (pl.col("exit").fill_null(ACTIVE) != ACTIVE).alias("is_exit"),
            repeats_exit().alias("is_none"),
        )
        .collect()
    )
    day, is_exit = pl.col("event_date"), pl.col("is_exit")
    again = (
        events.group_by("symbol")
        .agg(day.filter(is_exit).min().alias("left"), day.filter(~is_exit).max().alias("came"))
        .filter(pl.col("came") > pl.col("left"))
    )
    if again.is_empty():
        return ()
    events = events.join(again, on="symbol", how="semi")
    effective = calendar.effective(events["available_at"].to_numpy())
    events = events.with_columns(pl.Series("effective", effective)).sort(
        "symbol", "available_at", "revision"
    )
    found: list[Birth] = []
    for symbol, rows in groupby(events.iter_rows(named=True), key=lambda row: row["symbol"]):
        found += _births_of(symbol, rows)
    return tuple(found)


def _births_of(symbol: str, rows: Iterable[dict[str, object]]) -> list[Birth]:
    """Return the births of one symbol from its events in the order of publication."""
    found: list[Birth] = []
    is_exit: dict[date, bool] = {}  # by day, as last published
    for known, together in groupby(rows, key=lambda row: row["effective"]):
        for row in together:
            if row["is_none"]:
                is_exit.pop(row["event_date"], None)  # type: ignore[call-overload]
            else:
                is_exit[row["event_date"]] = bool(row["is_exit"])  # type: ignore[index]
        days = sorted(is_exit)
        for ended, start in pairwise(days):
            if not is_exit[ended] or is_exit[start]:
                continue
            # A restated end or start of a life that is known begins no other life.
            if not found or ended >= found[-1].start:
                assert isinstance(known, int), "sessions are numbered"
                found.append(Birth(symbol, len(found) + 1, ended, start, known))
    return found


def by_life(panel: pl.DataFrame) -> pl.DataFrame:
    """Return panel rows with each life under a symbol of its own; the order stays.

    Without the column `life`, or without a second one, the rows themselves.
    """
    if "life" not in panel.columns or not (panel["life"] > 0).any():
        return panel
    symbol, life = pl.col("symbol").cast(pl.String), pl.col("life")
    key = pl.concat_str(symbol, pl.lit(MARK), life.cast(pl.String).str.zfill(3))
    return panel.with_columns(pl.when(life > 0).then(key).otherwise(symbol).alias("symbol"))


def rows_by_life(rows: pl.DataFrame, panel: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a table under the symbols of the lives that the panel's rows are of.

    Args:
        rows: `session`, `symbol` and whatever else.
        panel: `session`, `symbol`, `life` of the same sessions.
    """
    later = panel.filter(pl.col("life") > 0).select("session", "symbol", "life")
    if later.is_empty():
        return rows
    placed = rows.join(later, on=["session", "symbol"], how="left", maintain_order="left")
    return by_life(placed.with_columns(pl.col("life").fill_null(0))).drop("life")


def judged_by_life(bars: F, of: Births) -> F:
    """Return bars under the symbol of the life that their sessions lie in; none between two.

    Args:
        bars: raw rows of `daily_bars`.
        of: what `births` returns, as known to who judges.
    """
    for birth in of:
        symbol, day = pl.col("symbol"), pl.col("event_date")
        mine = (symbol == birth.symbol) & (day > birth.ended) & (day < birth.start)
        bars = bars.filter(~mine)
    return by_date(bars, "event_date", of)


def by_date(rows: F, column: str, of: Births) -> F:
    """Return rows under the symbol of the last life that had begun by their date.

    Args:
        rows: of any feed that is keyed by symbol.
        column: the date.
        of: what `births` returns, as known to who judges.
    """
    name = pl.col("symbol")
    for birth in of:  # in the order of symbol and life: the last one that holds stays
        mine = (pl.col("symbol") == birth.symbol) & (pl.col(column) >= birth.start)
        name = pl.when(mine).then(pl.lit(birth.key)).otherwise(name)
    return rows.with_columns(name.alias("symbol"))


def bars_by_life(rows: Frame, of: Births, calendar: Calendar) -> Frame:
    """Return bars under the symbol of the life that they belong to.

    A bar belongs to the last life that had begun on its session, of those known at the first
    session that could use the bar; all its revisions follow it.  Bars between two lives stay
    with the one that ended, which has no rows any more.

    Args:
        rows: raw rows of `daily_bars`.
        of: what `births` returns.
        calendar: of the market.
    """
    if not of:
        return rows
    again = pl.col("symbol").is_in(sorted({birth.symbol for birth in of}))
    lazy = rows.lazy()
    some = lazy.filter(again).collect()
    effective = calendar.effective(some["available_at"].to_numpy())
    after = np.searchsorted(
        calendar.sessions, some["event_date"].to_numpy().astype("datetime64[D]"), side="right"
    )
    usable = pl.Series("usable", np.maximum(effective, after))
    key = ["symbol", "event_date"]
    some = some.with_columns(usable).with_columns(pl.col("usable").min().over(key))
    name = pl.col("symbol")
    for birth in of:
        mine = (pl.col("symbol") == birth.symbol) & (pl.col("event_date") >= birth.start)
        name = (
            pl.when(mine & (pl.col("usable") >= birth.known))
            .then(pl.lit(birth.key))
            .otherwise(name)
        )
    columns = lazy.collect_schema().names()
    some = some.with_columns(name.alias("symbol")).select(columns)
    return pl.concat([lazy.filter(~again), some.lazy()])


def side_by_life(rows: Frame, of: Births, calendar: Calendar) -> Frame:
    """Return a side feed's rows, those of a later life under its own symbol beside.

    What was available by the old end belongs to the old life, what came later to the new.

    Args:
        rows: raw rows of a feed that is keyed by symbol.
        of: what `births` returns.
        calendar: of the market.
    """
    if not of:
        return rows
    lazy = rows.lazy()
    parts = [lazy]
    for birth in of:
        mine = (pl.col("symbol") == birth.symbol) & (
            pl.col("available_at") >= end_of_day(birth.ended, calendar)
        )
        parts.append(lazy.filter(mine).with_columns(pl.lit(birth.key).alias("symbol")))
    return pl.concat(parts)


def end_of_day(day: date, calendar: Calendar) -> datetime:
    """Return the instant at which a day of the market ends, UTC."""
    midnight = datetime.combine(day + timedelta(days=1), time(0), tzinfo=calendar.zone)
    return midnight.astimezone(UTC)


@dataclass(frozen=True, eq=False)
class Columns:
    """The lives of a panel's symbols, one column each.

    Attributes:
        plain: the symbol of each column as tables show it.
        life_N: its number.
        from_N: number of the first session at which it is the symbol's life.
        until_N: number of the first session at which it is no more.
    """

    plain: pl.Series
    life_N: Counts
    from_N: Index
    until_N: Index

    @classmethod
    def of(cls, keys: Sequence[str] | pl.Series, births: Births) -> "Columns":
        """Return the lives behind some keys, each a symbol of one life."""
        named = pl.DataFrame({"key": pl.Series(keys, dtype=pl.String)}).select(
            plain_symbol(pl.col("key")), life_of_key(pl.col("key"))
        )
        life_N = named["life"].to_numpy()
        from_N = np.zeros(named.height, dtype=np.int64)
        until_N = np.full(named.height, np.iinfo(np.int64).max)
        place = {key: n for n, key in enumerate(keys)} if births else {}
        for birth in births:
            if birth.key in place:
                from_N[place[birth.key]] = birth.known
            for life in range(birth.life):
                before = place.get(lived(birth.symbol, life))
                if before is not None:
                    until_N[before] = min(until_N[before], birth.known)
        return cls(named["symbol"], life_N, from_N, until_N)
