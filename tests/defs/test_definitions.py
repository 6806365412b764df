"""The Dagster edge: what is defined, when it runs, and that it materialises the road."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from alpha_assets.calendar import month_of
from alpha_assets.defs.automation import request
from alpha_assets.features import CATALOG
from alpha_assets.road.frames import panel_start
from alpha_assets.road.market import load_market

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "pipelines"


def load() -> dg.Definitions:
    from alpha_assets.definitions import defs

    made = defs()
    assert isinstance(made, dg.Definitions)
    return made


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dg.Definitions:
    monkeypatch.setenv("ALPHA_PIPELINES", str(TINY))
    monkeypatch.setenv("ALPHA_STORAGE", str(tmp_path))
    return load()


def test_workspace_and_pyproject_name_the_same_location() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    module = workspace["load_from"][0]["python_module"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert module["module_name"] == f"{project['root_module']}.definitions"
    assert module["location_name"] == project["code_location_name"]


def test_every_stage_of_every_market_and_recipe_is_an_asset() -> None:
    keys = {key.to_user_string() for key in load().resolve_asset_graph().get_all_asset_keys()}
    for market in ("sim", "us"):
        assert {f"{market}/{stage}" for stage in ("panel", "features", "cross_section/all")} <= keys
        stages = ("checkpoint", "predictions", "targets", "backtest", "report")
        assert {f"{market}/rolling_transformer/{stage}" for stage in stages} <= keys
        assert f"{market}/raw/daily_bars" in keys


def test_a_raw_asset_says_when_its_rows_are_public_and_why_it_is_off() -> None:
    graph = load().resolve_asset_graph()

    def told(market: str, feed: str) -> str:
        return graph.get(dg.AssetKey([market, "raw", feed])).description or ""

    assert "Public: 03:00 of the next day: next session." in told("sim", "index_options")
    assert "Off" not in told("sim", "index_options")
    assert "Public: 18:00 of the day" in told("us", "daily_bars")  # the market's own hour
    assert told("sim", "option_summary").endswith(
        "**Off on market sim:** the simulated exchange is not American; costs 8 features of `iv`."
    )


def test_every_column_of_a_table_is_described() -> None:
    graph = load().resolve_asset_graph()
    nameless = [
        f"{node.key.to_user_string()}.{column.name}"
        for node in graph.asset_nodes
        if node.group_name == "sim_raw" or node.key.path[-1] == "features"
        for column in node.metadata["dagster/column_schema"].columns
        if not column.description
    ]
    assert nameless == []


def test_the_jobs_hold_the_stages_that_their_session_needs() -> None:
    jobs = {job.name: job for job in load().resolve_all_job_defs()}
    of_month = {
        key.path[-1]
        for key in jobs["sim_rolling_transformer_month"].asset_layer.executable_asset_keys
    }
    of_day = {
        key.path[-1]
        for key in jobs["sim_rolling_transformer_day"].asset_layer.executable_asset_keys
    }
    assert {"daily_bars", "panel", "checkpoint", "targets", "backtest", "report"} <= of_month
    assert {"daily_bars", "panel", "predictions", "targets"} <= of_day
    assert not {"checkpoint", "backtest", "report"} & of_day


@pytest.mark.parametrize(
    ("local", "on_first", "expected"),
    [
        ("2023-07-03T08:05+09:00", True, ("job:2023-07-03", "2023-07-01")),  # M0
        ("2023-07-03T08:05+09:00", False, "first session of 2023-07"),
        ("2023-07-04T08:05+09:00", False, ("job:2023-07-04", "2023-07-01")),
        ("2023-07-04T08:05+09:00", True, "not the first session of 2023-07"),
        ("2023-07-08T08:05+09:00", False, "2023-07-08 is no session of XTKS"),  # a Saturday
        ("2023-07-17T08:05+09:00", False, "2023-07-17 is no session of XTKS"),  # Marine Day
    ],
)
def test_a_tick_asks_for_the_sessions_month_or_says_why_not(
    local: str, on_first: bool, expected: tuple[str, str] | str
) -> None:
    at = datetime.fromisoformat(local).astimezone(UTC)
    asked = request(load_market("sim"), "job", at, on_first=on_first)
    if isinstance(expected, str):
        assert isinstance(asked, dg.SkipReason)
        assert expected in str(asked.skip_message)
    else:
        assert isinstance(asked, dg.RunRequest)
        assert (asked.run_key, asked.partition_key) == expected


def test_schedules_tick_after_the_last_publication_and_before_the_decision() -> None:
    schedules = {schedule.name: schedule for schedule in load().schedules or []}
    tokyo, york = (
        schedules["sim_rolling_transformer_month"],
        schedules["us_rolling_transformer_day"],
    )
    assert (tokyo.cron_schedule, tokyo.execution_timezone) == ("5 8 * * *", "Asia/Tokyo")
    assert (york.cron_schedule, york.execution_timezone) == ("0 6 * * *", "America/New_York")


def test_look_back_is_a_partition_mapping() -> None:
    graph = load().resolve_asset_graph()
    features = graph.get(dg.AssetKey(["sim", "features"]))
    mapping = features.partition_mappings[dg.AssetKey(["sim", "panel"])]
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        features.partitions_def.subset_with_partition_keys(["2022-06-01"]),
        features.partitions_def,
        graph.get(dg.AssetKey(["sim", "panel"])).partitions_def,
    )
    keys = sorted(found.partitions_subset.get_partition_keys())
    market = load_market("sim")
    needed = month_of(panel_start(market, market.calendar.month_sessions("2022-06")[0]))
    assert keys[0] <= f"{needed}-01"
    assert keys[-1] == "2022-06-01"
    checkpoint = graph.get(dg.AssetKey(["sim", "rolling_transformer", "checkpoint"]))
    section = dg.AssetKey(["sim", "cross_section", "all"])
    found = checkpoint.partition_mappings[
        section
    ].get_upstream_mapped_partitions_result_for_partitions(
        checkpoint.partitions_def.subset_with_partition_keys(["2022-06-01"]),
        checkpoint.partitions_def,
        graph.get(section).partitions_def,
    )
    # A model reads nothing of the month that it decides.
    assert max(found.partitions_subset.get_partition_keys()) == "2022-05-01"


def test_the_whole_road_materialises_and_its_checks_pass(
    tiny: dg.Definitions, tmp_path: Path
) -> None:
    job = tiny.resolve_job_def("tiny_tiny_month")
    with dg.DagsterInstance.ephemeral() as instance:
        history = job.execute_in_process(
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": "2021-01-01",
                "dagster/asset_partition_range_end": "2021-08-01",
            },
            raise_on_error=True,
        )
    assert history.success
    page = (tmp_path / "tiny" / "tiny" / "report" / "tear_sheet.html").read_text()
    assert "<h2>Coverage</h2>" in page
    n = sum(feature.family == "sector_short" for feature in CATALOG)
    assert f'<td class="words">sector_short</td><td>{n} of {n}</td>' in page
    checks = {
        event.asset_check_evaluation_data.check_name: event.asset_check_evaluation_data.passed
        for event in history.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    }
    assert checks["bars_are_sound"]
    assert checks["calendar_agrees"]
    assert checks["scores_spread"]
    assert checks["coverage_ss"]
    assert checks["coverage_sector_short"]
