"""The checks of coverage: they stop what follows where a family is gone, and only then."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from alpha_assets.defs.checks import coverage_checks
from alpha_assets.defs.resources import Storage
from alpha_assets.features import CATALOG
from alpha_assets.road import stages
from alpha_assets.road.market import load_market
from alpha_assets.road.road import Road, manifest_of
from alpha_assets.road.run import ingest_all, months_of_data
from alpha_assets.store.store import Store

TINY = Path(__file__).parents[1] / "pipelines"
KEY = dg.AssetKey(["tiny", "features"])


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(TINY))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(TINY))
        road = Road(load_market("tiny"), Store(str(folder)))
        ingest_all(road)
        stages.make_panel(road, months_of_data(road))
        stages.make_features(road, months_of_data(road))
    return folder


@pytest.fixture
def road(made: Path, tmp_path: Path) -> Road:
    shutil.copytree(made, tmp_path / "storage")
    return Road(load_market("tiny"), Store(str(tmp_path / "storage")))


def asked(road: Road) -> tuple[dict[str, dg.AssetCheckEvaluation], bool]:
    """The answers by family, and whether what follows the features was made."""

    @dg.asset(key=KEY)
    def features() -> None: ...

    @dg.asset(deps=[KEY])
    def section() -> None: ...

    definitions = dg.Definitions(
        assets=[features, section],
        asset_checks=[coverage_checks(road.market)],
        resources={"storage": Storage(url=road.store.url)},
        jobs=[dg.define_asset_job("all", selection=dg.AssetSelection.all())],
    )
    with dg.DagsterInstance.ephemeral() as instance:
        history = definitions.resolve_job_def("all").execute_in_process(
            instance=instance, raise_on_error=False
        )
    answers = [
        event.asset_check_evaluation_data
        for event in history.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    followed = any(
        event.asset_key == section.key for event in history.get_asset_materialization_events()
    )
    return {answer.check_name.removeprefix("coverage_"): answer for answer in answers}, followed


def rewrite(road: Road, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    for month in road.features.months()[-3:]:
        rows = road.features.folder(month).read()
        road.features.write(month, change(rows), manifest_of("planted", {}))


def test_a_whole_market_passes_and_goes_on(road: Road) -> None:
    answers, followed = asked(road)
    assert list(answers) == list(dict.fromkeys(f.family for f in road.market.choice))
    assert not [
        name
        for name, answer in answers.items()
        if not answer.passed and answer.severity == dg.AssetCheckSeverity.ERROR
    ]
    assert followed
    ss = [feature for feature in CATALOG if feature.family == "ss"]
    assert answers["ss"].description == f"{len(ss)} of {len(ss)} columns, 100.0% filled"
    assert answers["iv"].description.startswith("off: needs the feed 'option_summary'")
    table = answers["sector_short"].metadata["coverage"].value
    n_columns = sum(feature.family == "sector_short" for feature in CATALOG)
    assert f"| columns | {n_columns} of {n_columns} |" in table
    assert "| sector_short_selling |" in table
    assert "| 2021-08 |" in table


def test_a_dropped_column_stops_what_follows(road: Road) -> None:
    rewrite(road, lambda rows: rows.drop("opt_iv_z"))
    answers, followed = asked(road)
    assert not answers["opt"].passed
    assert answers["opt"].severity == dg.AssetCheckSeverity.ERROR
    assert "the column opt_iv_z is missing in 2021-08" in answers["opt"].description
    assert answers["ss"].passed
    assert not followed


def test_a_family_of_nulls_stops_what_follows(road: Road) -> None:
    names = [feature.name for feature in CATALOG if feature.family == "ss"]
    rewrite(road, lambda rows: rows.with_columns(pl.lit(None, pl.Float32).alias(n) for n in names))
    answers, followed = asked(road)
    assert (answers["ss"].passed, answers["ss"].severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert not followed


def test_a_feed_that_stops_warns_and_goes_on(road: Road) -> None:
    table = road.raw["investor_types"]
    for month in table.months()[5:]:
        shutil.rmtree(table.table.folder(month).path)
    answers, followed = asked(road)
    assert (answers["flow"].passed, answers["flow"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "investor_types has had no new row for" in answers["flow"].description
    assert followed
