"""Every stage of a market and of a recipe, in the order in which they are made."""

from collections.abc import Sequence
from typing import Any

from alpha_assets.config.market import ALL, Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.pipeline.backtest import backtest_stage
from alpha_assets.pipeline.checkpoint import checkpoint_stage
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.families import feature_families, sections_made
from alpha_assets.pipeline.market_stages import (
    cross_section_stage,
    features_stage,
    graph_stage,
    members_stage,
    panel_stage,
)
from alpha_assets.pipeline.predictions import predictions_stage
from alpha_assets.pipeline.report import coverage_stage, report_stage
from alpha_assets.pipeline.stage import Made, Stage
from alpha_assets.pipeline.targets import targets_stage


def market_stages(market: Market) -> list[Stage[MarketContext]]:
    """Return the stages of a market that no recipe is needed for, with all families."""
    return [
        panel_stage(market),
        features_stage(market),
        *[cross_section_stage(market, universe) for universe in market.spec.universes],
        graph_stage(market, ALL),
    ]


def stages_below(recipe: Recipe) -> list[Stage[MarketContext]]:
    """Return the stages of the market that a recipe is made from."""
    market = recipe.market
    universe = recipe.spec.universe.name
    return [
        panel_stage(market),
        features_stage(market, feature_families(recipe)),
        cross_section_stage(market, universe, sections_made(recipe)),
        *([members_stage(market, recipe.held_universe)] if recipe.spec.universe.held else []),
        *([graph_stage(market, universe)] if recipe.spec.inputs.graph else []),
    ]


def month_stages(recipe: Recipe) -> list[Stage[RecipeContext]]:
    """Return the stages of a recipe that are made month by month."""
    return [checkpoint_stage(recipe), predictions_stage(recipe), targets_stage(recipe)]


def span_stages(recipe: Recipe) -> list[Stage[RecipeContext]]:
    """Return the stages of a recipe that cover all decided months."""
    return [backtest_stage(recipe), coverage_stage(recipe), report_stage(recipe)]


def study_stages(recipe: Recipe) -> list[Stage[RecipeContext]]:
    """Return the stage of a recipe's study, which `run` does not make; none without one."""
    if recipe.spec.study is None:
        return []
    from alpha_assets.pipeline.study import study_stage

    return [study_stage(recipe)]


def recipe_stages(recipe: Recipe) -> list[Stage[RecipeContext]]:
    """Return the stages of a recipe."""
    return [*month_stages(recipe), *span_stages(recipe), *study_stages(recipe)]


def stage_of(context: MarketContext, name: str) -> Stage[Any]:
    """Return a stage by its name, such as `panel`, `cross_section/all` or `checkpoint`.

    No other stage is looked at: a universe that is refused stops its own alone.  Of families, the
    stage has those that the recipe needs; without a recipe, all.

    Raises:
        KeyError: no such stage.
    """
    kind, _, universe = name.partition("/")
    recipe = context.recipe if isinstance(context, RecipeContext) else None
    match kind:
        case "panel":
            return panel_stage(context.market)
        case "graph":
            return graph_stage(context.market, universe)
        case "features":
            return features_stage(context.market, feature_families(recipe) if recipe else None)
        case "cross_section":
            families = sections_made(recipe) if recipe else None
            return cross_section_stage(context.market, universe, families)
    if not isinstance(context, RecipeContext):
        raise KeyError(name)
    return {stage.name: stage for stage in recipe_stages(context.recipe)}[name]


def make(context: MarketContext, name: str, months: Sequence[str]) -> list[Made]:
    """Make the outputs of a stage that are not fresh; see `Stage.ensure`."""
    return stage_of(context, name).ensure(context, months)
