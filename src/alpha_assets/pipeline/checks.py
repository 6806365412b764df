"""The questions and counts of `quality`, asked of what a context stores.

`run` asks what stops (`require`, `require_families`) before it goes on, and so do the assets and
checks of Dagster, in the same months.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import polars as pl

from alpha_assets.errors import MissingOutput
from alpha_assets.features import Feature
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import MarketContext, RecipeContext
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
    families = dict.fromkeys(feature.family for feature in context.recipe.features)
    found = coverage(context, tuple(families), months)
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
    """Ask whether each feature of bars is known for most rows with its history; odd, not wrong."""
    made = [month for month in context.features.months() if months is None or month in months]
    return checks.features_are_filled(
        context.market,
        offered_features(context.market),
        made,
        partial(month_cells, context),
        context.panel,
    )


def scores_spread(context: RecipeContext, months: Months = None) -> Answer:
    """Ask whether every session's scores tell its symbols apart."""
    universe = context.market.universe(context.recipe.spec.universe.name)
    return checks.scores_spread(context.predictions, universe.min_names, months)


def coverage(
    context: MarketContext,
    families: Collection[str] | None = None,
    judged: Collection[str] | None = None,
    *,
    last: str | None = None,
) -> Coverage:
    """Return what is stored of a market's features and of the feeds behind them.

    Args:
        context: of the market; a month of its features is counted at a time.
        families: those wanted, with the feeds behind them; default: all, and every feed.
        judged: months in which something missing is a finding; default: all that are stored.
        last: the last month of features that counts; default: the last stored one.

    Raises:
        MissingOutput: no bars or no features are stored.
    """
    market, edge = context.market, frontier(context)
    months = context.features.months(last=last)
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
    )


def month_cells(context: MarketContext, month: str, wanted: Sequence[Feature]) -> pl.DataFrame:
    """Return how many cells of a stored month are filled, a row per feature.

    They stand in the manifest of a month that today's code counted; else its rows are read.
    """
    manifest = context.features.folder(month).manifest()
    kept = manifest.extra.get(COUNTS, {}) if manifest is not None else {}
    found = cells.kept_cells(kept, month, wanted, identity.counting())
    if found is not None:
        return found
    features, panel = context.features.scan([month]), context.panel.scan([month])
    return cells.count_cells(month, features, panel, wanted)


def declared_tables(context: MarketContext) -> dict[str, RawTable]:
    """Return the stored rows of every feed that there could be, on or off."""
    market = context.market
    off = {
        name: RawTable(context.store, market.name, feed, market.calendar.zone)
        for name, feed in market.declared.items()
        if name not in context.raw
    }
    return {**off, **context.raw}
