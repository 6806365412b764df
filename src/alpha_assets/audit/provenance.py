"""The raw rows behind one row of the panel, and what was corrected later.

A state may be made from many rows of a feed.  Behind it are the newest rows of its key that
make the very same state when they are all there is: as few days as do so.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC

import polars as pl

from alpha_assets.audit.reference_panel import PRECEDENCE, Book, key_of
from alpha_assets.config.market import Market
from alpha_assets.feeds.flows import SPLICED
from alpha_assets.panel.joins import Join
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.store.compare import same_bits

PLACED = ("effective",)  # what is added to a raw row


@dataclass(frozen=True)
class Used:
    """The rows of one feed behind a panel row.

    Attributes:
        feed: by name.
        rows: with `effective`, the number of the session from which each row is known.
        joins: for each set of panel columns the places of its rows in `rows`.
        later: rows of the same keys that changed nothing: corrections of bars that were known
            already, and whatever came out after the decision.
    """

    feed: str
    rows: pl.DataFrame
    joins: dict[str, list[int]]
    later: pl.DataFrame


def rows_behind(
    context: RecipeContext,
    symbol: str,
    number: int,
    panel_row: dict[str, object],
    feeds: Collection[str],
) -> list[Used]:
    """Return the rows of feeds behind the panel row of a symbol at a session.

    Args:
        context: whose stored rows are read.
        symbol: by the store's id.
        number: of the session.
        panel_row: as stored; it says which sector and section the symbol is in.
        feeds: those that are looked at, beside bars, listings and membership.
    """
    market = context.market
    stored = {name: table for name, table in context.raw.items() if table.months()}
    own = pl.col("symbol") == symbol
    bars = stored["daily_bars"].read().filter(own).collect()
    found = [_bars(market, bars, number)]
    for name in ("listings", "membership"):
        if name in stored:
            rows = stored[name].read().filter(own).collect()
            known, later = _split(market, name, rows, number)
            found.append(Used(name, known, {}, later))
    asked = [join.feed for join in market.joins if join.feed in stored and join.feed in feeds]
    for feed in dict.fromkeys(asked):
        rows = stored[feed].read().collect()
        joins = [join for join in market.joins if join.feed == feed]
        found.append(_side(market, feed, rows, joins, number, symbol, panel_row))
    return found


def whose(join: Join, symbol: str, panel_row: dict[str, object]) -> str | None:
    """Return the key of a symbol in a join; None where it has none."""
    if join.scope == "symbol":
        return symbol
    if join.scope == "sector":
        return None if panel_row["sector"] is None else str(panel_row["sector"])
    return SPLICED.get(str(panel_row["market_segment"]))


def _bars(market: Market, rows: pl.DataFrame, number: int) -> Used:
    book = Book(market, {"daily_bars": rows}, (number,))
    used = book.bars.filter(pl.col("usable") <= number).sort("event_date")
    key = ["event_date", "symbol"]
    later = book.placed(rows).join(used, on=key, how="semi")
    later = later.join(used, on=[*key, "revision"], how="anti")
    return Used("daily_bars", used.select(*rows.columns, *PLACED), {}, _ordered(later))


def _split(
    market: Market, feed: str, rows: pl.DataFrame, number: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows known at a session, and later ones of the same keys."""
    placed = Book(market, {feed: rows}, (number,)).placed(rows)
    known = placed.filter(pl.col("effective") <= number)
    later = placed.filter(pl.col("effective") > number)
    key = list(market.feeds[feed].key)
    return _ordered(known), _ordered(later.join(known, on=key, how="semi"))


def _side(
    market: Market,
    feed: str,
    rows: pl.DataFrame,
    joins: list[Join],
    number: int,
    symbol: str,
    panel_row: dict[str, object],
) -> Used:
    places: dict[str, pl.Series] = {}
    numbered = _ordered(rows).with_row_index("_row")
    instant = market.calendar.decisions[number].astype("datetime64[us]").item()
    known = numbered.filter(pl.col("available_at") <= instant.replace(tzinfo=UTC))
    for join in joins:
        key = key_of(join)
        name = whose(join, symbol, panel_row) if key is not None else None
        has_key = key is None or name is not None
        places[join.name] = (
            _fewest(market, join, known, number, name) if has_key else pl.Series(dtype=pl.UInt32)
        )
    wanted = pl.concat(list(places.values())).unique().sort()
    used = numbered.filter(pl.col("_row").is_in(wanted.implode()))
    row_of = {row: place for place, row in enumerate(used["_row"])}
    book = Book(market, {feed: rows}, (number,))
    after = rows.filter(pl.col("available_at") > instant.replace(tzinfo=UTC))
    later = after.join(used, on=list(market.feeds[feed].key), how="semi")
    return Used(
        feed,
        book.placed(used.drop("_row")),
        {name: [row_of[row] for row in rows] for name, rows in places.items()},
        _ordered(book.placed(later)),
    )


def _fewest(
    market: Market, join: Join, known: pl.DataFrame, number: int, name: str | None
) -> pl.Series:
    """Return the places of the newest rows that make a key's state as it stands."""
    state = _state(market, join, known, number, name)
    if state is None:
        return pl.Series(dtype=pl.UInt32)
    key = key_of(join)
    near = known.filter(pl.col(key) == name) if key is not None and key in known.columns else known
    days = near["event_date"].unique().sort(descending=True)
    n = 1
    while n < 2 * len(days):
        some = near.filter(pl.col("event_date") >= days[min(n, len(days)) - 1])
        if _is_same(state, _state(market, join, some, number, name)):
            return some["_row"]
        n *= 2
    return known["_row"]  # the state of one key is made from rows of others


def _state(
    market: Market, join: Join, rows: pl.DataFrame, number: int, name: str | None
) -> pl.DataFrame | None:
    states = Book(market, {join.feed: rows.drop("_row")}, (number,)).states(join)
    key = key_of(join)
    mine = states if key is None else states.filter(pl.col(key) == name)
    return mine if mine.height else None


def _is_same(one: pl.DataFrame, other: pl.DataFrame | None) -> bool:
    return other is not None and all(
        bool(same_bits(one[column], other[column]).all()) for column in one.columns
    )


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    first, *rest = PRECEDENCE
    keys = [name for name in ("symbol", "sector", "section") if name in rows.columns]
    return rows.sort(first, *keys, *rest, maintain_order=True)
