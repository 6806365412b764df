"""Order sizes of a rebalance in another world, through the simulator that keeps the books.

What a book has lived changes its equity, and rightly so: fills are real.  So the other world
changes nothing that the book has lived: a book that begins at the session may see any later row,
corrections of older bars among them; a book that began earlier only rows of days to come.
That a company had left before, when it is published late, is what judges every book: by what is
stored last, the name is another company's.  Neither book goes into the session itself: there the
other world's prices may use up any equity.
"""

from collections.abc import Mapping
from datetime import date

import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.audit.rebuild import ORDERS, Rebuilt
from alpha_assets.backtest import simulator
from alpha_assets.calendar import month_of
from alpha_assets.store.compare import Comparison, compare_tables

Raw = Mapping[str, pl.DataFrame]

FRESH, BEGUN = ORDERS  # of a book that begins at the cut, and of one that began before it
LISTINGS = "listings"


def orders_compared(here: Rebuilt, raw: Raw, other: Raw, cut: date) -> list[Comparison]:
    """Return how the orders of a session differ; nothing where it writes no targets.

    None are due where nothing is to be held and nothing was.

    Args:
        here: whose targets are held, in both worlds: those of the other one are compared by
            themselves.
        raw: rows of this world.
        other: rows of the other one, which differ after the cut's decision.
        cut: session whose orders are compared.
    """
    targets = here.table("targets", month_of(cut))
    if targets is None or cut not in targets["session"].to_list():
        return []
    first = min(targets["session"].to_list())
    exits = {name: _unlived(raw[name], other[name], cut) for name in raw if name == LISTINGS}
    books = [(FRESH, cut, {**other, **exits})]
    if first < cut:
        books.append(
            (BEGUN, first, {name: _unlived(rows, other[name], cut) for name, rows in raw.items()})
        )
    found = []
    for stage, begun, world in books:
        sides = [_orders(here, targets, rows, begun, cut) for rows in (raw, world)]
        needed = _are_due(targets, begun, cut)
        found.append(compare_tables(stage, sides[0], sides[1], KEYS, needed=needed))
    return found


def _are_due(targets: pl.DataFrame, begun: date, cut: date) -> bool:
    """Return whether a book that began at a session has something to buy or sell at the cut.

    It has where something is to be held at the cut, or was at the rebalance before.
    """
    sessions = targets.filter(pl.col("session").is_between(begun, cut))["session"].unique().sort()
    held = targets.filter(pl.col("target_weight") != 0)["session"]
    return held.is_in(sessions.tail(2).implode()).any()


def _unlived(rows: pl.DataFrame, other: pl.DataFrame, cut: date) -> pl.DataFrame:
    """Return the rows of days before the cut as they are, and later ones of the other world."""
    lived = pl.col("event_date") < cut
    return pl.concat([rows.filter(lived), other.filter(~lived)])


def _orders(here: Rebuilt, targets: pl.DataFrame, raw: Raw, first: date, cut: date) -> pl.DataFrame:
    recipe = here.context.recipe
    return simulator.orders_at(
        targets.filter(pl.col("session").is_between(first, cut)),
        raw,
        here.context.market.calendar,
        first=first,
        session=cut,
        portfolio=recipe.spec.portfolio,
        costs=recipe.costs,
        basis=here.context.market.source.basis,
        max_stale=here.context.market.spec.max_stale,
    )
