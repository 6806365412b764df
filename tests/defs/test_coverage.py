"""The checks of coverage: they stop what follows where a family is gone, and only then."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from tests.conftest import linked
from tests.planting import rewrite_features

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.defs.checks import coverage_checks
from alpha_assets.defs.resources import Storage
from alpha_assets.errors import CheckFailed
from alpha_assets.features import CATALOG
from alpha_assets.pipeline.checks import require_families
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.store.store import Store

TINY = Path(__file__).parents[1] / "pipelines"
KEY = dg.AssetKey(["tiny", "features"])

Answers = dict[str, dg.AssetCheckEvaluation]


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(TINY))


@pytest.fixture
def context(tiny_market: Path, tmp_path: Path) -> MarketContext:
    linked(tiny_market, tmp_path / "storage")
    return MarketContext(load_market("tiny"), Store(str(tmp_path / "storage")))


def of_recipe(context: MarketContext, name: str) -> RecipeContext:
    return RecipeContext(context.market, context.store, recipe=load_recipe(name, context.market))


def goes_on(context: RecipeContext, months: Sequence[str] | None = None) -> bool:
    """Whether the recipe of a context may learn and decide in these months."""
    try:
        require_families(context, months)
    except CheckFailed:
        return False
    return True


def asked(context: MarketContext) -> Answers:
    """The answers by family."""

    @dg.asset(key=KEY)
    def features() -> None: ...

    definitions = dg.Definitions(
        assets=[features],
        asset_checks=[coverage_checks(context.market, [])],
        resources={"storage": Storage(url=context.store.url)},
        jobs=[dg.define_asset_job("all", selection=dg.AssetSelection.all())],
    )
    with dg.DagsterInstance.ephemeral() as instance:
        history = definitions.resolve_job_def("all").execute_in_process(instance=instance)
    answers = [
        event.asset_check_evaluation_data
        for event in history.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    return {answer.check_name.removeprefix("coverage_"): answer for answer in answers}


def rewrite(context: MarketContext, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    for month in context.features.months()[-3:]:
        rewrite_features(context, month, change)


def without_a_column(context: MarketContext) -> None:
    rewrite(context, lambda rows: rows.drop("opt_iv_z"))  # of June to August 2021


def with_a_family_of_nulls(context: MarketContext) -> None:
    names = [feature.name for feature in CATALOG if feature.family == "ss"]
    rewrite(
        context, lambda rows: rows.with_columns(pl.lit(None, pl.Float32).alias(n) for n in names)
    )


def with_a_feed_that_stops(context: MarketContext) -> None:
    table = context.raw["investor_types"]
    for month in table.months()[5:]:
        shutil.rmtree(table.table.folder(month).address)


@pytest.fixture(scope="module")
def whole(tiny_market: Path) -> Answers:
    """The answers about a market in which nothing is wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(TINY))
        return asked(MarketContext(load_market("tiny"), Store(str(tiny_market))))


@pytest.fixture(scope="module")
def damaged(tiny_market: Path, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """The answers about a market with a fault in each of three families."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(TINY))
        folder = linked(tiny_market, tmp_path_factory.mktemp("damaged"))
        context = MarketContext(load_market("tiny"), Store(str(folder)))
        without_a_column(context)
        with_a_family_of_nulls(context)
        with_a_feed_that_stops(context)
        return asked(context)


def test_a_whole_market_passes_and_goes_on(context: MarketContext, whole: Answers) -> None:
    off = {f.family for f in context.market.choice if f.name in context.market.missing_features}
    off -= {
        f.family for f in context.market.choice if f.name not in context.market.missing_features
    }
    assert {"iv", "short_interest", "short_volume"} <= off
    families = dict.fromkeys(f.family for f in context.market.choice)
    assert list(whole) == [family for family in families if family not in off]
    assert failed(whole) == []
    assert goes_on(of_recipe(context, "tiny_feeds"))
    ss = [feature for feature in CATALOG if feature.family == "ss"]
    assert whole["ss"].description == f"{len(ss)} of {len(ss)} columns, 100.0% filled"
    # No answer is given for what the market cannot have: Dagster shows the check as skipped.
    checks = {
        spec.name: spec.description for spec in coverage_checks(context.market, []).check_specs
    }
    assert checks["coverage_iv"].startswith(
        "Not applicable on market tiny, and skipped: iv is off, needs the feed 'option_summary'"
    )
    table = whole["sector_short"].metadata["coverage"].value
    n_columns = sum(feature.family == "sector_short" for feature in CATALOG)
    assert f"| columns | {n_columns} of {n_columns} |" in table
    assert "| sector_short_selling |" in table
    assert "| 2021-08 |" in table


def failed(answers: Answers) -> list[str]:
    """Return the families that a recipe which reads them may not go on with."""
    error = dg.AssetCheckSeverity.ERROR
    return [name for name, one in answers.items() if not one.passed and one.severity == error]


def test_faults_of_families_fail_their_checks_and_no_others(
    whole: Answers, damaged: Answers
) -> None:
    assert sorted(failed(damaged)) == ["opt", "ss", "x"]  # x: a product with the lost column
    wrong = {name for name, one in damaged.items() if not one.passed}
    assert wrong - {name for name, one in whole.items() if not one.passed} == {
        "flow",
        "opt",
        "ss",
        "x",
    }


def test_a_dropped_column_stops_what_follows(context: MarketContext, damaged: Answers) -> None:
    assert not damaged["opt"].passed
    assert damaged["opt"].severity == dg.AssetCheckSeverity.ERROR
    assert "the column opt_iv_z is missing in 2021-08" in damaged["opt"].description
    without_a_column(context)
    assert not goes_on(of_recipe(context, "tiny_feeds"))


def test_a_family_of_nulls_stops_what_follows(context: MarketContext, damaged: Answers) -> None:
    assert (damaged["ss"].passed, damaged["ss"].severity) == (False, dg.AssetCheckSeverity.ERROR)
    with_a_family_of_nulls(context)
    assert not goes_on(of_recipe(context, "tiny_feeds"))


def test_a_feed_that_stops_warns_and_goes_on(context: MarketContext, damaged: Answers) -> None:
    assert (damaged["flow"].passed, damaged["flow"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "investor_types has had no new row for" in damaged["flow"].description
    with_a_feed_that_stops(context)
    assert goes_on(of_recipe(context, "tiny_feeds"))


def test_what_is_wrong_in_other_months_or_families_stops_nothing(context: MarketContext) -> None:
    """Months asked for and families read, and no others: with one definition for `run` as well."""
    without_a_column(context)
    reads_all = of_recipe(context, "tiny_feeds")
    assert not goes_on(reads_all, ["2021-05", "2021-06"])
    assert goes_on(reads_all, ["2021-04", "2021-05"])
    reads_bars = of_recipe(context, "tiny")
    assert goes_on(reads_bars, ["2021-05", "2021-06"])
    assert goes_on(reads_bars)
