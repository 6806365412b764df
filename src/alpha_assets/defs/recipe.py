"""The assets of one recipe on one market: checkpoint, predictions, targets, backtest, report."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.defs.attributes import MONTHLY, references, versioned
from alpha_assets.defs.columns import (
    columns_of_books,
    columns_of_predictions,
    columns_of_targets,
)
from alpha_assets.defs.dependencies import backtest_feeds, recipe_dependencies
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
from alpha_assets.quality.checks import require_families

GPU_POOL = "gpu"  # dagster.yaml limits it to one run; others wait in the queue

Months = Iterator[dg.MaterializeResult[None]]


def recipe_assets(recipe: Recipe, market: Market) -> list[dg.AssetsDefinition]:
    """Return every asset of a recipe on a market."""
    prefix = [market.name, recipe.name]

    def code(*roots: str) -> dict[str, Any]:
        return references(*roots, market=market, recipe=recipe)

    @dg.asset(
        key=[*prefix, "checkpoint"],
        kinds={"torch"},
        pool=GPU_POOL,
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=recipe_dependencies("checkpoint", recipe, market),
        metadata=code(*identity.CHECKPOINT),
        **versioned(
            market, "checkpoint", identity.checkpoint(recipe), recipe=recipe, cadence=MONTHLY
        ),
    )
    def checkpoint(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        """A model per month, trained only on labels known before the month's first session."""
        from alpha_assets.pipeline import train

        with storage.of_recipe(recipe, context) as opened:
            require_families(opened, month_keys(context))
            yield from months_made(context, train.make_checkpoints(opened, month_keys(context)))

    @dg.asset(
        key=[*prefix, "predictions"],
        kinds={"torch", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=recipe_dependencies("predictions", recipe, market),
        metadata={
            **columns_of_predictions(recipe, market).metadata,
            **code(*identity.PREDICTIONS),
        },
        **versioned(market, "predictions", identity.predictions(recipe), recipe=recipe),
    )
    def predictions(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        """Scores per decision session, symbol and horizon, from the month's own checkpoint."""
        from alpha_assets.pipeline import predict

        with storage.of_recipe(recipe, context) as opened:
            require_families(opened, month_keys(context))
            yield from months_made(context, predict.make_predictions(opened, month_keys(context)))

    @dg.asset(
        key=[*prefix, "targets"],
        kinds={"parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=recipe_dependencies("targets", recipe, market),
        metadata={**columns_of_targets(recipe, market).metadata, **code(*identity.TARGETS)},
        **versioned(market, "targets", identity.targets(recipe), recipe=recipe),
    )
    def targets(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        """What to hold, decided on rebalance sessions before the session's bar exists."""
        from alpha_assets.pipeline import predict

        with storage.of_recipe(recipe, context) as opened:
            yield from months_made(context, predict.make_targets(opened, month_keys(context)))

    daily, *others = columns_of_books(recipe, market, backtest_feeds(market)).items()

    @dg.asset(
        key=[*prefix, "backtest"],
        kinds={"numpy", "parquet"},
        backfill_policy=dg.BackfillPolicy.single_run(),  # so that a range of months may end here
        deps=recipe_dependencies("backtest", recipe, market),
        metadata={
            **daily[1].metadata,
            **{f"columns/{name}": columns.schema for name, columns in others},
            **code(*identity.BACKTEST),
        },
        **versioned(market, "backtest", identity.backtest(recipe), recipe=recipe, cadence=MONTHLY),
    )
    def backtest(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult[None]:
        """Daily books, positions, trades and metrics of every decided month, after costs.

        The columns shown are those of the daily books; those of the other tables are metadata.
        """
        from alpha_assets.pipeline import backtest as backtest_stage

        with storage.of_recipe(recipe, context) as opened:
            made = backtest_stage.make_backtest(opened)
            figures = headline(backtest_stage.stored_metrics(opened))
            return whole_made(made, facts_metadata(figures))

    @dg.asset(
        key=[*prefix, "report"],
        kinds={"html"},
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=recipe_dependencies("report", recipe, market),
        metadata=code(*identity.REPORT),
        **versioned(market, "report", identity.report(recipe), recipe=recipe, cadence=MONTHLY),
    )
    def report(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult[None]:
        """The tear sheet: one page of figures and charts that needs no network."""
        from alpha_assets.pipeline import backtest as backtest_stage

        with storage.of_recipe(recipe, context) as opened:
            made = backtest_stage.make_report(opened)
            charts = {
                f"chart/{name}": picture(png)
                for name, png in backtest_stage.report_pictures(opened).items()
            }
            page = {"tear_sheet": dg.MetadataValue.path(f"{made.path}/{backtest_stage.PAGE}")}
            return whole_made(made, {**page, **charts})

    return [checkpoint, predictions, targets, backtest, report]
