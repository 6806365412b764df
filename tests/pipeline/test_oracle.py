"""What was planted: read by no stage that decides, and known only where it can be measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from alpha_assets import project
from alpha_assets.backtest import attainable as walks
from alpha_assets.backtest.attainable import WEIGHED, family
from alpha_assets.backtest.books import Books
from alpha_assets.backtest.rules import solver
from alpha_assets.backtest.simulator import backtest
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.evaluation.attainable import AttainableInputs
from alpha_assets.pipeline import identity
from alpha_assets.pipeline import oracle as planted
from alpha_assets.pipeline.backtest import judged_months
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.families import weighs_drift
from alpha_assets.pipeline.held import Remembered
from alpha_assets.pipeline.oracle import attainable_inputs, oracle_ic, oracle_stage, stored_oracle
from alpha_assets.pipeline.raw import judged_rows
from alpha_assets.pipeline.simulation import scores_of
from alpha_assets.pipeline.stages import recipe_stages, stages_below
from alpha_assets.pipeline.targets import PANEL_COLUMNS, decided_over

pytestmark = pytest.mark.usefixtures("pipelines")


@pytest.fixture
def context(built: Path) -> RecipeContext:
    return project.open_context("tiny", storage=str(built))


def test_no_stage_reads_what_was_planted() -> None:
    recipe = load_recipe("tiny", load_market("tiny"))
    below: list[Any] = list(stages_below(recipe))
    key = oracle_stage(recipe.market).key

    for stage in [*below, *recipe_stages(recipe)]:
        assert key not in [read.of.key for read in stage.reads if read.of is not None]


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
    of_signal = metrics["signal"]["h5"]["planted"]

    assert [row["cost_scale"] for row in rows[:3]] == [0.5, 1.0, 2.0]
    if of_signal["reason"] is not None:
        assert {row["reason"] for row in rows} == {of_signal["reason"]}
        return
    own = rows[1]
    assert own["reached"] == pytest.approx(metrics["portfolio"]["net"]["sharpe"], abs=1e-6)
    assert own["chosen_on_even"] in {*family(context.recipe.spec.portfolio), *WEIGHED}
    assert metrics["attainable"]["left_out"] == {}
    assert [row["n_rules"] for row in rows] == [74, 74, 74, *[73] * (len(rows) - 3)]


def books_of(context: RecipeContext, predictions: pl.DataFrame, targets: pl.DataFrame) -> Books:
    """Return the books of holding targets over the sessions that were scored."""
    return backtest(
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


def test_the_attainable_is_of_the_scored_names_whichever_of_them_are_held(
    context: RecipeContext,
) -> None:
    months = judged_months(context)
    predictions = scores_of(context, months)
    panel = context.panel.read(months[0], months[-1]).collect()
    targets = context.targets.read(months[0], months[-1]).collect()
    some = predictions["symbol"].unique().sort()[:4]

    def found(targets: pl.DataFrame) -> AttainableInputs:
        books = books_of(context, predictions, targets)
        return attainable_inputs(context, predictions, books, 0.1, panel)

    whole = found(targets)
    few = found(targets.filter(pl.col("symbol").is_in(some.implode())))
    assert np.array_equal(whole.net_RSD, few.net_RSD, equal_nan=True)
    assert not np.array_equal(whole.reached_SD, few.reached_SD)


LIMITS = ["portfolio.max_sector=0.4", "portfolio.max_weight=0.2", "portfolio.capital=1e7"]


@pytest.mark.parametrize("rule", ["aim_portfolio", "cost_aware"])
def test_the_walk_holds_what_the_targets_stage_would_of_the_planted_drift(
    built: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"portfolio.rule={rule}", "portfolio.drift_bps=80", *LIMITS]
    stored = project.open_context("tiny", storage=str(built))
    context = project.open_context("tiny", storage=str(built), overrides=overrides)
    months = judged_months(stored)
    predictions, panel = scores_of(stored, months), stored.panel.read(months[0], months[-1])
    drift = oracle_stage(context.market).folder(context).read("expected")
    known = predictions.join(drift, on=["session", "symbol"]).with_columns(score="f_price_h5")
    spec = context.recipe.spec.portfolio
    features = context.features.read(None, months[-1], ["session", "symbol", *spec.features])
    want, _ = decided_over(
        context,
        known.select(predictions.columns),
        panel.select(PANEL_COLUMNS).collect(),
        memory=Remembered(features=features.collect()),
    )

    held: list[Any] = []
    clean = walks.net_returns

    def watched(wanted: Any, marks: Any, *others: Any) -> Any:
        held.append((wanted, marks))
        return clean(wanted, marks, *others)

    monkeypatch.setattr(walks, "net_returns", watched)
    books = books_of(stored, predictions, stored.targets.read(months[0], months[-1]).collect())
    found = attainable_inputs(context, predictions, books, 0.1, panel.collect())
    (*_, own), marks = held[-1]

    assert found.own_SD is not None
    days = want["session"].unique().sort().to_numpy().astype("datetime64[D]")
    assert len(own) == len(days) > 4
    for place, weight_N in own.items():
        today = want.filter(pl.col("session") == marks.sessions[place])
        assert set(today["symbol"]) <= set(marks.symbols)
        weights = dict(today.select("symbol", "target_weight").iter_rows())
        # A solver's rounding is that of its tolerance, where inputs differ in the last bit.
        atol = 1e-6 if rule == "cost_aware" else 1e-12
        want_N = np.array([weights.get(name, 0.0) for name in marks.symbols])
        np.testing.assert_allclose(weight_N, want_N, rtol=0, atol=atol)
    assert np.abs(weight_N).sum() > 0.1


def test_figures_are_stale_when_the_solver_comes_or_goes(
    context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = identity.backtest(context.recipe).digest
    real = load_recipe("tiny", load_market("tiny"))
    monkeypatch.setattr(identity, "is_installed", lambda: False)
    assert identity.backtest(context.recipe).digest != there
    monkeypatch.setattr(identity, "weighs_drift", lambda market: False)
    assert identity.backtest(real).digest == real.digest


def test_without_the_solver_the_record_says_so(
    context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    months = judged_months(context)
    predictions = scores_of(context, months)
    panel = context.panel.read(months[0], months[-1]).collect()
    books = books_of(context, predictions, context.targets.read(months[0], months[-1]).collect())
    monkeypatch.setattr(solver, "import_module", refused)
    found = attainable_inputs(context, predictions, books, 0.1, panel)

    assert len(found.rules) == 73
    assert "alpha-assets[portfolio]" in found.left_out["cost-aware, weekly"]


def test_on_a_rig_whose_drift_is_a_score_both_rules_are_left_out_by_name(
    context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    months = judged_months(context)
    predictions = scores_of(context, months)
    panel = context.panel.read(months[0], months[-1]).collect()
    books = books_of(context, predictions, context.targets.read(months[0], months[-1]).collect())
    monkeypatch.setattr(planted, "weighs_drift", lambda market: False)
    found = attainable_inputs(context, predictions, books, 0.1, panel)

    assert len(found.rules) == len(found.net_RSD) == 72
    assert set(found.left_out) == set(WEIGHED)
    assert {"not known in units of return" in why for why in found.left_out.values()} == {True}


def test_a_rig_plants_nothing_that_rules_can_weigh() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ALPHA_PIPELINES")
        assert weighs_drift(load_market("sim"))
        assert not weighs_drift(load_market("rig"))
        assert not weighs_drift(load_market("us"))
