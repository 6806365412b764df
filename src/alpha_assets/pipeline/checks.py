"""The questions and counts of `quality`, asked of what a context stores.

`run` asks what stops (`require`, `require_families`) before it goes on, and so do the assets and
checks of Dagster, in the same months.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.errors import MissingOutput
from alpha_assets.features import Feature
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.families import (
    behind,
    families_of,
    section_families,
    tables_of,
    within,
)
from alpha_assets.pipeline.freshness import COUNTS
from alpha_assets.pipeline.frontier import frontier
from alpha_assets.pipeline.transforms import offered_features
from alpha_assets.quality import cells, checks
from alpha_assets.quality import coverage as counts
from alpha_assets.quality.checks import Answer, Months
from alpha_assets.quality.coverage import Coverage
from alpha_assets.store.raw import RawTable

C = TypeVar("C", bound=MarketContext)
Question = Callable[[C, Months], Answer]


def require(question: Question[C], context: C, months: Months) -> None:
    """Stop where the answer to a question is no, and that is wrong.

    Raises:
        CheckFailed: with what was counted.
    """
    checks.require(question.__name__, question(context, months))


def require_families(context: RecipeContext, months: Months) -> None:
    """Refuse to learn or decide from families that are not there; report what else is odd of them.

    Args:
        context: with a recipe; only the families that it reads are asked about.
        months: that are decided.

    Raises:
        CheckFailed: in these months a column of such a family is missing, or all are empty.
    """
    found = coverage(context, section_families(context.recipe), months)
    checks.require_families(found.families, partial(context.progress, "coverage"))


def bars_are_sound(context: MarketContext, months: Months = None) -> Answer:
    """Ask whether bars are unique, positive, ordered high to low, and on sessions."""
    return checks.bars_are_sound(context.market, context.raw["daily_bars"], months)


def sessions_have_bars(context: MarketContext, months: Months = None) -> Answer:
    """Ask whether every session between the first and the last bar has bars; odd, not wrong."""
    return checks.sessions_have_bars(context.market, context.raw["daily_bars"], months)


def calendar_agrees(context: MarketContext, months: Months = None) -> Answer:
    """Ask whether the days announced as sessions are those that the clock counts."""
    return checks.calendar_agrees(context.market, context.raw.get("trading_calendar"), months)


def features_are_filled(context: MarketContext, months: Months = None) -> Answer:
    """Ask whether each feature of bars is known for most rows with its history; odd, not wrong.

    Families that are not stored are not asked about: no recipe reads them.
    """
    made = [month for month in context.features.months() if months is None or month in months]
    return checks.features_are_filled(
        context.market,
        within(offered_features(context.market), context.features.held(made)),
        made,
        partial(month_cells, context),
        context.panel,
    )


def scores_spread(context: RecipeContext, months: Months = None) -> Answer:
    """Check that the scores of every session differ between its symbols."""
    universe = context.market.universe(context.recipe.spec.universe.name)
    return checks.scores_spread(
        context.predictions, universe.min_names, context.recipe.spec.guard.distinct_min, months
    )


def coverage(
    context: MarketContext,
    families: Collection[str] | None = None,
    judged: Collection[str] | None = None,
    *,
    last: str | None = None,
    every_feed: bool = False,
) -> Coverage:
    """Return what is stored of a market's features and of the feeds behind them.

    Args:
        context: of the market; a month of its features is counted at a time.
        families: those wanted, with the feeds behind them; default: all, and every feed.
        judged: months in which something missing is a finding; default: all that are stored.
        last: the last month of features that counts; default: the last stored one.
        every_feed: of all feeds, also where `families` are given.

    Raises:
        MissingOutput: no bars or no features are stored.
    """
    market, edge = context.market, frontier(context)
    table = context.features
    if families is not None:
        table = table.only(tables_of(market, behind(within(market.choice, families))))
    months = table.months(last=last)
    if not months:
        raise MissingOutput(
            f"market {market.name!r} has no features in this storage; {run_again(context)}"
        )
    return counts.coverage(
        market,
        months,
        partial(month_cells, context),
        declared_tables(context),
        edge,
        families=families,
        judged=judged,
        every_feed=every_feed,
    )


def month_cells(context: MarketContext, month: str, wanted: Sequence[Feature]) -> pl.DataFrame:
    """Return how many cells of a stored month are filled, a row per feature.

    They stand in the manifest of a month that today's code counted, family by family; of others,
    and of products of two families, the rows are read.
    """
    manifest = context.features.folder(month).manifest()
    held = manifest.families if manifest is not None else {}
    found: dict[str, pl.DataFrame] = {}
    for family in families_of(wanted):
        if family in held:
            ours = within(wanted, [family])
            kept = held[family].extra.get(COUNTS, {})
            counted = cells.kept_cells(kept, month, ours, identity.counting())
            if counted is not None:
                found[family] = counted
    rest = [feature for feature in wanted if feature.family not in found]
    if rest:
        families = [f for f in tables_of(context.market, behind(rest)) if f in held]
        panel = context.panel.scan([month])
        rows = context.features.only(families).scan([month]) if families else panel.select(*KEYS)
        found[""] = cells.count_cells(month, rows, panel, rest)
    order = pl.DataFrame({"feature": [feature.name for feature in wanted]})
    return order.join(pl.concat(found.values()), on="feature", how="left").select(*cells.CELLS)


def declared_tables(context: MarketContext) -> dict[str, RawTable]:
    """Return the stored rows of every feed that there could be, on or off."""
    market = context.market
    off = {
        name: RawTable(context.store, market.name, feed, market.calendar.zone)
        for name, feed in market.declared.items()
        if name not in context.raw
    }
    return {**off, **context.raw}
