"""What was planted: read by no stage that decides, and known only where it can be measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from alpha_assets import project
from alpha_assets.backtest import backtest
from alpha_assets.backtest.attainable import family
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.evaluation.attainable import AttainableInputs
from alpha_assets.pipeline.backtest import judged_months, scores_of
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.oracle import attainable_inputs, oracle_ic, oracle_stage, stored_oracle
from alpha_assets.pipeline.raw import judged_rows
from alpha_assets.pipeline.stages import recipe_stages, stages_below

pytestmark = pytest.mark.usefixtures("pipelines")


@pytest.fixture
def context(built: Path) -> RecipeContext:
    return project.open_context("tiny", storage=str(built))


def test_no_stage_reads_what_was_planted() -> None:
    recipe = load_recipe("tiny", load_market("tiny"))
    below: list[Any] = list(stages_below(recipe))
    planted = oracle_stage(recipe.market).key

    for stage in [*below, *recipe_stages(recipe)]:
        assert planted not in [read.of.key for read in stage.reads if read.of is not None]


def test_all_names_have_the_rank_ic_of_the_summary_where_it_is_known(
    context: RecipeContext,
) -> None:
    figures = stored_oracle(context)["expected"]["f_price"]["h5"]
    frame = oracle_stage(context.market).folder(context).read("expected")
    found = oracle_ic(context, frame["symbol"])

    assert found is not None
    if figures["unknown"] is not None:
        assert found[5] == figures["unknown"]
    elif figures["se"] <= 0.2 * figures["mean"]:
        assert found[5] == figures["mean"]
    else:
        assert "it is not known to 20 %" in str(found[5])


def test_a_rank_ic_of_two_names_is_not_known(
    context: RecipeContext,
) -> None:
    some = context.predictions.read().collect()["symbol"].unique().sort()[:2]
    found = oracle_ic(context, some)

    assert found is not None
    if stored_oracle(context)["expected"]["f_price"]["h5"]["unknown"] is None:
        assert "the planted rank IC of 2 names is" in str(found[5])
        assert "it is not known to 20 %" in str(found[5])
    assert isinstance(found[5], str)


def test_metrics_hold_the_share_of_the_attainable(context: RecipeContext) -> None:
    metrics = json.loads(context.backtest.contents("metrics.json")["metrics.json"])
    rows = metrics["attainable"]["sharpe"]
    planted = metrics["signal"]["h5"]["planted"]

    assert [row["cost_scale"] for row in rows[:3]] == [0.5, 1.0, 2.0]
    if planted["reason"] is not None:
        assert {row["reason"] for row in rows} == {planted["reason"]}
        return
    own = rows[1]
    assert own["reached"] == pytest.approx(metrics["portfolio"]["net"]["sharpe"], abs=1e-6)
    assert own["chosen_on_even"] in family(context.recipe.spec.portfolio)


def test_the_attainable_is_of_the_scored_names_whichever_of_them_are_held(
    context: RecipeContext,
) -> None:
    months = judged_months(context)
    predictions = scores_of(context, months)
    panel = context.panel.read(months[0], months[-1]).collect()
    targets = context.targets.read(months[0], months[-1]).collect()
    some = predictions["symbol"].unique().sort()[:4]

    def found(targets: pl.DataFrame) -> AttainableInputs:
        books = backtest(
            targets,
            judged_rows(context),
            context.market.calendar,
            first=predictions["session"].min(),  # type: ignore[arg-type]
            last=predictions["session"].max(),  # type: ignore[arg-type]
            portfolio=context.recipe.spec.portfolio,
            costs=context.recipe.costs,
            basis=context.market.source.basis,
            max_stale=context.market.spec.max_stale,
        )
        return attainable_inputs(context, predictions, books, 0.1, panel)

    whole = found(targets)
    few = found(targets.filter(pl.col("symbol").is_in(some.implode())))
    assert np.array_equal(whole.net_RSD, few.net_RSD, equal_nan=True)
    assert not np.array_equal(whole.reached_SD, few.reached_SD)
