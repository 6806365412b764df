"""What an asset shows beside its computation: state, dependencies, columns, versions, owners."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph, AssetNode
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG
from tests.conftest import linked

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.defs.attributes import code_version, freshness, where
from alpha_assets.defs.location import storage_named
from alpha_assets.defs.market import panel_asset
from alpha_assets.defs.partitions import RANGE_END, RANGE_START
from alpha_assets.defs.recipe import recipe_assets
from alpha_assets.defs.resources import Storage
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.executor import InProcess, Task
from alpha_assets.pipeline.raw import backtest_feeds
from alpha_assets.progress import Progress
from alpha_assets.store.store import Store

PIPELINES = Path(__file__).parents[1] / "pipelines"


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    from alpha_assets.definitions import defs

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        made = defs()
    assert isinstance(made, dg.Definitions)
    return made


@pytest.fixture(scope="module")
def graph(definitions: dg.Definitions) -> AssetGraph:
    return definitions.resolve_asset_graph()


def node(graph: AssetGraph, key: str) -> AssetNode:
    return graph.get(dg.AssetKey(key.split("/")))


def parents(graph: AssetGraph, key: str) -> set[str]:
    return {parent.to_user_string() for parent in node(graph, key).parent_keys}


def test_a_feed_that_is_off_is_not_made_and_nothing_depends_on_it(
    definitions: dg.Definitions, graph: AssetGraph
) -> None:
    off = node(graph, "tiny/raw/option_summary")
    assert not off.is_executable
    assert off.partitions_def is None  # no month of it is there to be filled
    assert "off" in off.tags
    # A range of months is refused for a selection with what nothing makes.
    assert off.group_name == "tiny_off"
    raw = [asset for asset in graph.asset_nodes if asset.group_name == "tiny_raw"]
    assert raw
    assert all(asset.backfill_policy == dg.BackfillPolicy.single_run() for asset in raw)
    assert off.metadata["off"] == "the simulated exchange is not American"
    assert off.child_keys == set()
    assert node(graph, "tiny/raw/daily_bars").is_executable
    made = {key.path[-1] for key in month_job(definitions).asset_layer.executable_asset_keys}
    assert "daily_bars" in made
    assert "option_summary" not in made


def month_job(definitions: dg.Definitions) -> dg.JobDefinition:
    return definitions.resolve_job_def("tiny_tiny_month")


def test_a_backtest_depends_on_the_feeds_that_it_reads(graph: AssetGraph) -> None:
    five = {"daily_bars", "listings", "dividends", "borrow", "rates"}
    market = {"tiny/panel", "tiny/features", "tiny/tiny/predictions", "tiny/tiny/targets"}
    assert parents(graph, "tiny/tiny/backtest") == market | {f"tiny/raw/{feed}" for feed in five}
    # Prices of a folder may include dividends: then there are none to pay.
    folder = load_market("tiny_us")
    assert "dividends" in backtest_feeds(load_market("tiny"))
    assert set(backtest_feeds(folder)) <= set(folder.feeds)


def test_labels_depend_on_bars_and_listings_and_a_report_on_no_feed(graph: AssetGraph) -> None:
    raw = {key for key in parents(graph, "tiny/tiny/checkpoint") if "/raw/" in key}
    assert raw == {"tiny/raw/daily_bars", "tiny/raw/listings"}
    tiny = "tiny/tiny"
    assert parents(graph, f"{tiny}/report") == {
        f"{tiny}/backtest",
        f"{tiny}/checkpoint",
        f"{tiny}/coverage",
    }


def test_every_asset_has_owners_tags_and_places_in_the_code(graph: AssetGraph) -> None:
    for asset in graph.asset_nodes:
        assert asset.owners == ["team:research"], asset.key
        assert asset.tags["market"] == asset.key.path[0]
        assert asset.description
        references = asset.metadata["dagster/code_references"].code_references
        assert len(references) >= 2, asset.key
        for place in references:
            text = Path(place.file_path).read_text(encoding="utf-8")
            assert place.line_number is None or place.line_number <= text.count("\n")
    panel = node(graph, "tiny/panel").metadata["dagster/code_references"].code_references
    assert [place.label for place in panel][-1] == "markets/tiny.toml"


def test_a_place_in_the_code_is_where_it_is_defined() -> None:
    place = where("features:compute_features")  # which the room takes from one of its modules
    line = Path(place.file_path).read_text().splitlines()[(place.line_number or 0) - 1]
    assert line.startswith("def compute_features(")
    assert Path(place.file_path).name == "compute.py"


def test_every_column_is_described_and_made_from_columns_that_are_there(graph: AssetGraph) -> None:
    schemas = {
        asset.key: {column.name: column for column in asset.metadata[SCHEMA].columns}
        for asset in graph.asset_nodes
        if SCHEMA in asset.metadata
    }
    assert {key.path[-1] for key in schemas} >= {"panel", "features", "targets", "backtest"}
    for key, columns in schemas.items():
        assert [name for name, column in columns.items() if not column.description] == [], key
    for asset in graph.asset_nodes:
        if LINEAGE not in asset.metadata:
            continue
        for name, behind in asset.metadata[LINEAGE].deps_by_column.items():
            assert name in schemas[asset.key]
            for column in behind:
                assert column.asset_key in asset.parent_keys, (asset.key, name, column)
                assert column.column_name in schemas[column.asset_key], (asset.key, name, column)
    of_feature = node(graph, "tiny/features").metadata[LINEAGE].deps_by_column["rev_5"]
    assert {"close", "cum_factor"} <= {column.column_name for column in of_feature}


SCHEMA, LINEAGE = "dagster/column_schema", "dagster/column_lineage"


def test_the_columns_shown_are_those_that_are_stored(graph: AssetGraph, tiny_run: Path) -> None:
    def stored(file: Path) -> list[str]:
        return list(pl.read_parquet_schema(file))

    def shown(metadata: object) -> list[str]:
        assert isinstance(metadata, dg.TableSchema)
        return [column.name for column in metadata.columns]

    for key in (
        "raw/daily_bars",
        "panel",
        "tiny/predictions",
        "tiny/targets",
    ):
        file = max((tiny_run / "tiny" / key).rglob("*.parquet"))
        assert stored(file) == shown(node(graph, f"tiny/{key}").metadata[SCHEMA]), key
    for key in ("features", "cross_section/traded"):  # a file a family, each with the keys
        month = max((tiny_run / "tiny" / key).iterdir())
        named = shown(node(graph, f"tiny/{key}").metadata[SCHEMA])
        of_family = {file.stem: stored(file) for file in month.glob("*.parquet")}
        assert all(names[:2] == ["session", "symbol"] for names in of_family.values())
        made = [names[2:] for names in of_family.values() if set(names[2:]) & set(named)]
        assert sorted([*named[:2], *(name for names in made for name in names)]) == sorted(named), (
            key
        )
        left_out = {f: names[2] for f, names in of_family.items() if names[2:] not in made}
        assert set(left_out) <= {"iv", "short_interest", "short_volume"}  # their feeds are off
    books = node(graph, "tiny/tiny/backtest").metadata
    for name in ("positions", "trades", "marks", "ic", "legs", "names"):
        file = tiny_run / "tiny" / "tiny" / "backtest" / f"{name}.parquet"
        assert stored(file) == shown(books[f"columns/{name}"]), name
    assert stored(file.with_name("daily.parquet")) == shown(books[SCHEMA])


def test_a_code_version_changes_with_the_code_and_the_settings_that_a_stage_reads() -> None:
    market = load_market("tiny")
    before = load_recipe("tiny", market)
    after = load_recipe("tiny", market, overrides=["portfolio.quantile=0.3"])
    made_by = identity.targets(before)
    assert code_version(made_by) == f"{made_by.code}-{made_by.digest}"
    assert code_version(identity.targets(after)) != code_version(made_by)
    assert code_version(identity.checkpoint(after)) == code_version(identity.checkpoint(before))


@pytest.mark.parametrize("months", [["2021-07"], ["2021-06", "2021-07"]])
def test_a_months_data_version_is_its_content_hash(months: list[str], tiny_run: Path) -> None:
    market = load_market("tiny")
    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.materialize(
            [panel_asset(market)],
            instance=instance,
            tags={RANGE_START: f"{months[0]}-01", RANGE_END: f"{months[-1]}-01"},
            resources={"storage": Storage(url=str(tiny_run))},
        )
        assert made.success
        key = dg.AssetKey(["tiny", "panel"])
        found = {
            record.partition_key: record.asset_materialization
            for record in reversed(
                instance.fetch_materializations(
                    dg.AssetRecordsFilter(asset_key=key), limit=10
                ).records
            )
        }
    for month in months:
        event = found[f"{month}-01"]
        manifest = Store(str(tiny_run)).folder("tiny", "panel", f"month={month}").manifest()
        assert manifest is not None
        assert event.tags[DATA_VERSION_TAG] == manifest.content_hash
        assert event.tags[CODE_VERSION_TAG] == code_version(identity.panel(market))
        assert event.metadata["dagster/partition_row_count"].value == manifest.rows


def test_a_market_of_real_rows_should_be_made_within_its_longest_pause() -> None:
    market = load_market("tiny_us")
    policy = freshness(market, "daily")
    assert isinstance(policy, dg.FreshnessPolicy)
    assert policy.fail_window.to_timedelta().days in (4, 5)  # a weekend with a holiday
    monthly = freshness(market, "monthly")
    assert monthly.fail_window.to_timedelta().days in range(31, 38)
    assert freshness(load_market("tiny"), "daily") is None  # its rows have ended
    assert freshness(market, None) is None


def test_workers_of_the_environment_train_the_months_of_a_run(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = linked(tiny_run, tmp_path / "storage")
    shutil.rmtree(storage / "tiny" / "tiny" / "checkpoint")
    recipe = load_recipe("tiny", load_market("tiny"))
    assets = {asset.key.path[-1]: asset for asset in recipe_assets(recipe, recipe.market)}
    asked: list[str] = []
    given: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    class Noted(InProcess):
        def run(self, tasks: Sequence[Task], progress: Progress) -> None:
            given.extend((task.stages, task.parts) for task in tasks)
            super().run(tasks, progress)

    def noted(workers: str, context: object) -> InProcess:
        asked.append(workers)
        return Noted()

    monkeypatch.setattr("alpha_assets.defs.recipe.executor_named", noted)
    monkeypatch.setenv("ALPHA_WORKERS", "3")
    monkeypatch.setenv("ALPHA_STORAGE", str(storage))
    with dg.DagsterInstance.ephemeral() as instance:
        for name in ("checkpoint", "predictions"):
            assert dg.materialize(
                [assets[name]],
                instance=instance,
                resources={"storage": storage_named()},
                tags={RANGE_START: "2021-07-01", RANGE_END: "2021-08-01"},
            ).success
    assert asked == ["3"]
    assert given == [(("checkpoint",), (month,)) for month in ("2021-07", "2021-08")]
