"""The assets of one recipe on one market, one per stage of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.defs.attributes import DAILY, MONTHLY, Versioned, references, versioned
from alpha_assets.defs.columns import (
    columns_of_books,
    columns_of_predictions,
    columns_of_targets,
)
from alpha_assets.defs.dependencies import dependencies
from alpha_assets.defs.metadata import (
    facts_metadata,
    headline,
    months_made,
    picture,
    whole_made,
)
from alpha_assets.defs.partitions import month_keys, months
from alpha_assets.defs.resources import Storage
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.backtest import decided_months, judged_months
from alpha_assets.pipeline.checks import require_families
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.executor import executor_named, tasks_of, tasks_of_study
from alpha_assets.pipeline.raw import backtest_feeds
from alpha_assets.pipeline.report import PAGE, read_metrics, report_pictures
from alpha_assets.pipeline.stage import Made, Stage
from alpha_assets.pipeline.stages import month_stages, span_stages, study_stages
from alpha_assets.pipeline.study import months_to_study
from alpha_assets.quality.coverage import LATEST

GPU_POOL = "gpu"  # dagster.yaml limits it to one run; others wait in the queue

Months = Iterator[dg.MaterializeResult[None]]


def _no_columns(recipe: Recipe, market: Market) -> dict[str, Any]:
    return {}


def _of_books(recipe: Recipe, market: Market) -> dict[str, Any]:
    daily, *others = columns_of_books(recipe, market, backtest_feeds(market)).items()
    return {**daily[1].metadata, **{f"columns/{name}": found.schema for name, found in others}}


@dataclass(frozen=True)
class Look:
    """How the asset of a stage is shown.

    Attributes:
        about: its description.
        kinds: shown beside its name.
        roots: where its code is, as `room.module:name`.
        columns: metadata about its columns.
        cadence: how often it is made where the schedules are on; None: by no schedule.
        pool: whose limit its runs count against; what is trained is in one, and made by workers.
        asks_families: nothing is learned or decided from families of features that are empty.
    """

    about: str
    kinds: set[str]
    roots: tuple[str, ...]
    columns: Callable[[Recipe, Market], dict[str, Any]] = _no_columns
    cadence: str | None = DAILY
    pool: str | None = None
    asks_families: bool = False


LOOKS = {
    "checkpoint": Look(
        "A model per month, trained only on labels known before the month's first session.",
        {"torch"},
        identity.CHECKPOINT,
        cadence=MONTHLY,
        pool=GPU_POOL,
        asks_families=True,
    ),
    "predictions": Look(
        "Scores per decision session, symbol and horizon, from the month's own checkpoint.",
        {"torch", "parquet"},
        identity.PREDICTIONS,
        columns=lambda recipe, market: columns_of_predictions(recipe, market).metadata,
        asks_families=True,
    ),
    "targets": Look(
        "What to hold, decided on rebalance sessions before the session's bar exists.",
        {"parquet"},
        identity.TARGETS,
        columns=lambda recipe, market: columns_of_targets(recipe, market).metadata,
    ),
    "study": Look(
        "Models of folds that are no months, judged on sessions held out; for evaluation alone.",
        {"torch", "parquet"},
        identity.STUDY,
        cadence=None,
        pool=GPU_POOL,
        asks_families=True,
    ),
    "backtest": Look(
        "Daily books, positions, trades and metrics of every decided month, after costs.\n\n"
        "The columns shown are those of the daily books; those of the other tables are metadata.",
        {"numpy", "parquet"},
        identity.BACKTEST,
        columns=_of_books,
        cadence=MONTHLY,
    ),
    "coverage": Look(
        "What there is of features and of the feeds behind them, family by family.",
        {"json"},
        identity.COVERAGE,
        cadence=MONTHLY,
    ),
    "report": Look(
        "The tear sheet: one page of figures and charts that needs no network.",
        {"html"},
        identity.REPORT,
        cadence=MONTHLY,
    ),
}


def recipe_assets(recipe: Recipe, market: Market) -> list[dg.AssetsDefinition]:
    """Return every asset of a recipe on a market."""
    return [
        *[month_asset(stage, recipe, market) for stage in month_stages(recipe)],
        *[span_asset(stage, recipe, market) for stage in span_stages(recipe)],
        *[study_asset(stage, recipe, market) for stage in study_stages(recipe)],
    ]


class Shared(Versioned):
    """Arguments of `dg.asset` that all stages of a recipe share."""

    key: list[str]
    description: str
    kinds: set[str]
    pool: str | None
    backfill_policy: dg.BackfillPolicy
    deps: list[dg.AssetDep]
    metadata: dict[str, Any]


def _shared(stage: Stage[RecipeContext], recipe: Recipe, market: Market) -> Shared:
    look = LOOKS[stage.name]
    return Shared(
        key=[market.name, *stage.key],
        description=look.about,
        kinds=look.kinds,
        pool=look.pool,
        backfill_policy=dg.BackfillPolicy.single_run(),  # so that a range of months may end here
        deps=dependencies(stage, market),
        metadata={
            **look.columns(recipe, market),
            **references(*look.roots, market=market, recipe=recipe),
        },
        **versioned(market, stage.name, stage.identity, recipe=recipe, cadence=look.cadence),
    )


def month_asset(stage: Stage[RecipeContext], recipe: Recipe, market: Market) -> dg.AssetsDefinition:
    """Return the asset of a stage that is made month by month."""

    @dg.asset(partitions_def=months(market), **_shared(stage, recipe, market))
    def asset(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        with storage.of_recipe(recipe, context) as opened:
            asked = month_keys(context)
            if LOOKS[stage.name].asks_families:
                require_families(opened, asked)
            if LOOKS[stage.name].pool is not None:
                executor = executor_named(storage.workers, opened)
                executor.run(tasks_of(opened, [stage], asked), opened.progress)
            yield from months_made(context, stage.ensure(opened, asked))

    return asset


def span_asset(stage: Stage[RecipeContext], recipe: Recipe, market: Market) -> dg.AssetsDefinition:
    """Return the asset of a stage that covers all decided months."""

    @dg.asset(**_shared(stage, recipe, market))
    def asset(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult[None]:
        with storage.of_recipe(recipe, context) as opened:
            # What follows the backtest is about the months that it judged.
            decides = stage.name == "backtest"
            covered = decided_months(opened) if decides else judged_months(opened)
            (made,) = stage.ensure(opened, covered)
            return whole_made(made, shown(opened, made))

    return asset


def study_asset(stage: Stage[RecipeContext], recipe: Recipe, market: Market) -> dg.AssetsDefinition:
    """Return the asset of a recipe's study: of all months that are stored."""

    @dg.asset(**_shared(stage, recipe, market))
    def asset(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult[None]:
        with storage.of_recipe(recipe, context) as opened:
            covered = months_to_study(opened)
            require_families(opened, covered[-LATEST:])
            executor_named(storage.workers, opened).run(tasks_of_study(opened), opened.progress)
            (made,) = stage.ensure(opened, covered)
            return whole_made(made, {})

    return asset


def shown(context: RecipeContext, made: Made) -> Mapping[str, dg.MetadataValue]:
    """Return what is worth looking at of figures and page, beside what every output has."""
    if made.stage == "backtest":
        return facts_metadata(headline(read_metrics(context)))
    if made.stage == "report":
        pictures = report_pictures(context).items()
        return {
            "tear_sheet": dg.MetadataValue.path(f"{made.path}/{PAGE}"),
            **{f"chart/{name}": picture(png) for name, png in pictures},
        }
    return {}
