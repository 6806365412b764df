"""The assets of one recipe on one market: checkpoint, predictions, targets, backtest, report."""

import dagster as dg

from alpha_assets.backtest.portfolio import TARGETS
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.defs.metadata import (
    add_months,
    facts_metadata,
    headline,
    made_metadata,
    picture,
    table,
)
from alpha_assets.defs.partitions import (
    all_before,
    every_month,
    month_keys,
    months,
    months_spanned,
    since,
)
from alpha_assets.defs.resources import Storage
from alpha_assets.quality.checks import require_families

GPU_POOL = "gpu"  # dagster.yaml limits it to one run; others wait in the queue


def training_sessions(recipe: Recipe) -> int:
    """Return how many sessions before a month its model reads: window, gaps, validation."""
    split, horizon = recipe.spec.split, recipe.horizon
    gaps = 2 * horizon + split.embargo_sessions  # labels end before each span begins
    steps = recipe.spec.training.sequence - 1
    return split.lookback_sessions + split.valid_sessions + gaps + steps


def model_inputs(recipe: Recipe, market: Market) -> list[dg.AssetDep]:
    """Return what a month's model is made from: nothing of the month itself."""
    keys = [
        dg.AssetKey([market.name, "cross_section", recipe.spec.universe.name]),
        dg.AssetKey([market.name, "panel"]),
        dg.AssetKey([market.name, "raw", "daily_bars"]),
    ]
    if recipe.spec.label.kind == "vol_scaled":
        keys.append(dg.AssetKey([market.name, "features"]))
    if recipe.spec.split.expanding:
        inputs = [all_before(key, until=-1) for key in keys]
    else:
        window = months_spanned(market.calendar, training_sessions(recipe))
        inputs = [since(key, window, until=-1) for key in keys]
    training = recipe.spec.training
    if training.warm_start or training.retrain_every > 1:  # a month leans on an earlier model
        own = dg.AssetKey([market.name, recipe.name, "checkpoint"])
        inputs.append(since(own, training.retrain_every, until=-1))
    return inputs


def recipe_assets(recipe: Recipe, market: Market) -> list[dg.AssetsDefinition]:
    """Return every asset of a recipe on a market."""
    prefix = [market.name, recipe.name]
    section = dg.AssetKey([market.name, "cross_section", recipe.spec.universe.name])
    panel = dg.AssetKey([market.name, "panel"])
    features = dg.AssetKey([market.name, "features"])
    raw = [dg.AssetKey([market.name, "raw", feed]) for feed in market.declared]
    steps = months_spanned(market.calendar, recipe.spec.training.sequence - 1)
    group = f"{market.name}_{recipe.name}"

    @dg.asset(
        key=[*prefix, "checkpoint"],
        group_name=group,
        kinds={"torch"},
        pool=GPU_POOL,
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=model_inputs(recipe, market),
    )
    def checkpoint(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """A model per month, trained only on labels known before the month's first session."""
        from alpha_assets.pipeline import train

        with storage.of_recipe(recipe, context) as opened:
            require_families(opened, month_keys(context))
            add_months(context, train.make_checkpoints(opened, month_keys(context)))

    @dg.asset(
        key=[*prefix, "predictions"],
        group_name=group,
        kinds={"torch", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            since(checkpoint.key, recipe.spec.training.retrain_every - 1),
            since(section, steps),
            since(panel, steps),
        ],
    )
    def predictions(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """Scores per decision session, symbol and horizon, from the month's own checkpoint."""
        from alpha_assets.pipeline import predict

        with storage.of_recipe(recipe, context) as opened:
            require_families(opened, month_keys(context))
            add_months(context, predict.make_predictions(opened, month_keys(context)))

    @dg.asset(
        key=[*prefix, "targets"],
        group_name=group,
        kinds={"parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[predictions, dg.AssetDep(panel)],
        metadata=table(TARGETS),
    )
    def targets(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """What to hold, decided on rebalance sessions before the session's bar exists."""
        from alpha_assets.pipeline import predict

        with storage.of_recipe(recipe, context) as opened:
            add_months(context, predict.make_targets(opened, month_keys(context)))

    @dg.asset(
        key=[*prefix, "backtest"],
        group_name=group,
        kinds={"numpy", "parquet"},
        backfill_policy=dg.BackfillPolicy.single_run(),  # so that a range of months may end here
        deps=[every_month(key) for key in (targets.key, predictions.key, panel, features, *raw)],
    )
    def backtest(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult[None]:
        """Positions, trades, daily books and metrics of every decided month, after costs."""
        from alpha_assets.pipeline import backtest as backtest_stage

        with storage.of_recipe(recipe, context) as opened:
            made = backtest_stage.make_backtest(opened)
            figures = headline(backtest_stage.stored_metrics(opened))
            return dg.MaterializeResult(metadata={**made_metadata(made), **facts_metadata(figures)})

    @dg.asset(
        key=[*prefix, "report"],
        group_name=group,
        kinds={"html"},
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[backtest, every_month(checkpoint.key)],
    )
    def report(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult[None]:
        """The tear sheet: one offline page."""
        from alpha_assets.pipeline import backtest as backtest_stage

        with storage.of_recipe(recipe, context) as opened:
            made = backtest_stage.make_report(opened)
            charts = {
                f"chart/{name}": picture(png)
                for name, png in backtest_stage.report_pictures(opened).items()
            }
            page = {"tear_sheet": dg.MetadataValue.path(f"{made.path}/{backtest_stage.PAGE}")}
            return dg.MaterializeResult(metadata={**made_metadata(made), **page, **charts})

    return [checkpoint, predictions, targets, backtest, report]
