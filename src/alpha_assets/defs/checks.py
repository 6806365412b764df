"""Asset checks: a no that blocks stops what follows, any other is a warning in the UI.

The questions stand in `pipeline.checks`: what stops here stops `run` as well, in the same months.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import dagster as dg

from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.defs.metadata import coverage_metadata, facts_metadata
from alpha_assets.defs.partitions import months_of_tags
from alpha_assets.defs.resources import Storage, in_one_line
from alpha_assets.pipeline import checks
from alpha_assets.pipeline.checks import coverage
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.families import families_covered
from alpha_assets.quality.coverage import FamilyCoverage
from alpha_assets.store.store import Store

C = TypeVar("C", bound=MarketContext)


def market_checks(market: Market, recipes: Sequence[Recipe] = ()) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a market's raw bars, calendar and features; see `market_assets`."""
    bars = dg.AssetKey([market.name, "raw", "daily_bars"])
    return [
        market_check(
            bars,
            market,
            checks.bars_are_sound,
            "Bars are unique, positive, ordered from high to low, and on sessions.",
            blocking=True,
        ),
        market_check(
            bars,
            market,
            checks.sessions_have_bars,
            "Every session between the first and the last bar has bars; a warning where not.",
            blocking=False,
        ),
        # The announcement stays wrong until the calendar library learns of the day: an error to
        # be seen, but what the clock does not count can still be decided.
        market_check(
            dg.AssetKey([market.name, "raw", "trading_calendar"]),
            market,
            checks.calendar_agrees,
            "The days announced as sessions are those that the clock counts.",
            blocking=False,
        ),
        market_check(
            dg.AssetKey([market.name, "features"]),
            market,
            checks.features_are_filled,
            "Each feature of bars is known for most rows with its history; a warning where not.",
            blocking=False,
        ),
        coverage_checks(market, recipes),
    ]


def recipe_checks(recipe: Recipe, market: Market) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a recipe's scores."""
    key = dg.AssetKey([market.name, recipe.name, "predictions"])

    def opened(url: str) -> RecipeContext:
        return RecipeContext(market, Store(url), recipe=recipe)

    words = "The scores of every session tell its symbols apart."
    return [check(key, opened, checks.scores_spread, words, blocking=True)]


def market_check(
    key: dg.AssetKey,
    market: Market,
    question: checks.Question[MarketContext],
    description: str,
    *,
    blocking: bool,
) -> dg.AssetChecksDefinition:
    """Return one question about a market's outputs as an asset check."""

    def opened(url: str) -> MarketContext:
        return MarketContext(market, Store(url))

    return check(key, opened, question, description, blocking=blocking)


def check(
    key: dg.AssetKey,
    opened: Callable[[str], C],
    question: checks.Question[C],
    description: str,
    *,
    blocking: bool,
) -> dg.AssetChecksDefinition:
    """Return one question as an asset check.

    Args:
        key: of the asset that it is about.
        opened: from the URL of a storage to what the question is asked of.
        question: its name is the check's.
        description: what holds where the answer is yes.
        blocking: whether a no stops what follows.
    """

    @dg.asset_check(asset=key, name=question.__name__, description=description, blocking=blocking)
    def asked(context: dg.AssetCheckExecutionContext, storage: Storage) -> dg.AssetCheckResult:
        with in_one_line(context):
            answer = question(opened(storage.url), months_asked(context))
        return dg.AssetCheckResult(
            passed=answer.passed,
            severity=(
                dg.AssetCheckSeverity.ERROR if answer.is_error else dg.AssetCheckSeverity.WARN
            ),
            metadata=facts_metadata(answer.facts),
        )

    return asked


def coverage_checks(market: Market, recipes: Sequence[Recipe]) -> dg.AssetChecksDefinition:
    """Return a check per family of features that is made: is it whole, are its feeds alive?

    None of them stops a run: whether a family is needed depends on the recipe, and the recipe's own
    assets ask (`pipeline.checks.require_families`), as `run` does.
    """
    key = dg.AssetKey([market.name, "features"])
    families = families_covered(market, recipes)
    specs = [
        dg.AssetCheckSpec(
            coverage_check(name),
            asset=key,
            description=_coverage_description(market, name),
            blocking=False,
        )
        for name in families
    ]

    # One pass over the stored months answers for all families.
    @dg.multi_asset_check(name=f"{market.name}_coverage", specs=specs, can_subset=True)
    def asked(
        context: dg.AssetCheckExecutionContext, storage: Storage
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = {check.name for check in context.selected_asset_check_keys}
        chosen = [name for name in families if coverage_check(name) in wanted]
        with in_one_line(context):
            found = coverage(
                MarketContext(market, Store(storage.url)), chosen, months_asked(context)
            )
        for family in found.families:
            if family.is_on or family.findings:
                yield coverage_result(key, family)
            else:  # without a result Dagster shows the check as skipped
                context.log.info(f"{family.name}: not applicable, {family.summary}")

    return asked


def _coverage_description(market: Market, family: str) -> str:
    features = [feature for feature in market.choice if feature.family == family]
    off = {f.name: why for f in features if (why := market.missing_features.get(f.name))}
    if len(off) == len(features):
        why = "; ".join(dict.fromkeys(off.values()))
        return f"Not applicable on market {market.name}, and skipped: {family} is off, {why}."
    return (
        f"Whether every column of {family} is there and filled, and whether the feeds behind it go "
        "on; where a column is missing or the family empty, recipes that read it stop."
    )


def months_asked(context: dg.AssetCheckExecutionContext) -> list[str] | None:
    """Return the months that the run of a check is about; None where it names none."""
    return months_of_tags(context.run.tags)


def coverage_check(family: str) -> str:
    """Return the name of a family's check."""
    return f"coverage_{family}"


def coverage_result(key: dg.AssetKey, family: FamilyCoverage) -> dg.AssetCheckResult:
    """Return what was found of a family: the first words are the worst."""
    blocks = any(finding.blocks for finding in family.findings)
    return dg.AssetCheckResult(
        passed=not family.findings,
        asset_key=key,
        check_name=coverage_check(family.name),
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
        description="; ".join(f.words for f in family.findings) or family.summary,
        metadata=coverage_metadata(family),
    )
