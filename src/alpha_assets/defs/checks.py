"""Asset checks: a no that blocks stops what follows, any other is a warning in the UI."""

from collections.abc import Callable

import dagster as dg

from alpha_assets.defs.metadata import facts_metadata
from alpha_assets.defs.resources import Storage
from alpha_assets.road import checks
from alpha_assets.road.market import Market
from alpha_assets.road.recipe import Recipe
from alpha_assets.road.road import Road
from alpha_assets.store.store import Store

Question = Callable[[Road], checks.Answer]


def market_checks(market: Market) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a market's raw bars and features."""
    bars = dg.AssetKey([market.name, "raw", "daily_bars"])
    return [
        check(bars, market, None, checks.bars_are_sound, blocking=True),
        check(bars, market, None, checks.sessions_have_bars, blocking=False),
        check(
            dg.AssetKey([market.name, "features"]),
            market,
            None,
            checks.features_are_filled,
            blocking=True,
        ),
    ]


def recipe_checks(recipe: Recipe, market: Market) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a recipe's scores."""
    key = dg.AssetKey([market.name, recipe.name, "predictions"])
    return [check(key, market, recipe, checks.scores_spread, blocking=True)]


def check(
    key: dg.AssetKey, market: Market, recipe: Recipe | None, question: Question, *, blocking: bool
) -> dg.AssetChecksDefinition:
    """Return one question as an asset check."""

    @dg.asset_check(
        asset=key, name=question.__name__, description=question.__doc__, blocking=blocking
    )
    def asked(storage: Storage) -> dg.AssetCheckResult:
        answer = question(Road(market, Store(storage.url), recipe))
        return dg.AssetCheckResult(
            passed=answer.passed,
            severity=(dg.AssetCheckSeverity.ERROR if answer.blocks else dg.AssetCheckSeverity.WARN),
            metadata=facts_metadata(answer.facts),
        )

    return asked
