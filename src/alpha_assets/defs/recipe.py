"""The assets of one recipe on one market: checkpoint, predictions, targets, backtest, report."""

import dagster as dg

from alpha_assets.defs.metadata import add_months, made_metadata, picture
from alpha_assets.defs.partitions import every_month, month_keys, months, since
from alpha_assets.defs.resources import Storage
from alpha_assets.road.market import Market
from alpha_assets.road.recipe import Recipe

GPU_POOL = "gpu"  # dagster.yaml limits it to one
WINDOW_MONTHS = 36  # what a window of training and validation sessions may span


def recipe_assets(recipe: Recipe, market: Market) -> list[dg.AssetsDefinition]:
    """Return every asset of a recipe on a market."""
    prefix = [market.name, recipe.name]
    section = dg.AssetKey([market.name, "cross_section", recipe.spec.universe.name])
    panel = dg.AssetKey([market.name, "panel"])
    bars = dg.AssetKey([market.name, "raw", "daily_bars"])
    group = f"{market.name}_{recipe.name}"

    @dg.asset(
        key=[*prefix, "checkpoint"],
        group_name=group,
        kinds={"torch"},
        pool=GPU_POOL,
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[since(key, WINDOW_MONTHS, until=-1) for key in (section, panel, bars)],
    )
    def checkpoint(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """A model per month, trained only on labels known before the month's first session."""
        from alpha_assets.road import learning

        road = storage.road(market, recipe, context)
        add_months(context, learning.make_checkpoints(road, month_keys(context)))

    @dg.asset(
        key=[*prefix, "predictions"],
        group_name=group,
        kinds={"torch", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[checkpoint, since(section, 2), since(panel, 2)],
    )
    def predictions(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """Scores per decision session, symbol and horizon, from the month's own checkpoint."""
        from alpha_assets.road import deciding

        road = storage.road(market, recipe, context)
        add_months(context, deciding.make_predictions(road, month_keys(context)))

    @dg.asset(
        key=[*prefix, "targets"],
        group_name=group,
        kinds={"parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[predictions, dg.AssetDep(panel)],
    )
    def targets(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """What to hold, decided on rebalance sessions before the session's bar exists."""
        from alpha_assets.road import deciding

        road = storage.road(market, recipe, context)
        add_months(context, deciding.make_targets(road, month_keys(context)))

    @dg.asset(
        key=[*prefix, "backtest"],
        group_name=group,
        kinds={"numpy", "parquet"},
        backfill_policy=dg.BackfillPolicy.single_run(),  # so that a range of months may end here
        deps=[every_month(targets.key), every_month(bars)],
    )
    def backtest(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult[None]:
        """Positions, trades, daily books and metrics of every decided month, after costs."""
        from alpha_assets.road import judging

        road = storage.road(market, recipe, context)
        return dg.MaterializeResult(metadata=made_metadata(judging.make_backtest(road)))

    @dg.asset(
        key=[*prefix, "report"],
        group_name=group,
        kinds={"html"},
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[backtest, every_month(predictions.key)],
    )
    def report(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult[None]:
        """The tear sheet: one offline page."""
        from alpha_assets.road import judging

        road = storage.road(market, recipe, context)
        made = judging.make_report(road)
        charts = {
            f"chart/{name}": picture(png) for name, png in judging.report_pictures(road).items()
        }
        return dg.MaterializeResult(metadata={**made_metadata(made), **charts})

    return [checkpoint, predictions, targets, backtest, report]
