"""The Dagster edge: what is defined, when it runs, and that it materialises the pipeline."""

import itertools
import shutil
import tomllib
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._utils.schedules import schedule_execution_time_iterator
from tests.conftest import linked

from alpha_assets.calendar import CalendarSpec, month_of
from alpha_assets.config.market import KnownFeedSpec, Market, load_market
from alpha_assets.defs.automation import cron, request
from alpha_assets.defs.metadata import delivery_metadata
from alpha_assets.defs.partitions import months
from alpha_assets.features import CATALOG
from alpha_assets.feeds.ingest import Ingested
from alpha_assets.pipeline.transforms import panel_start
from alpha_assets.sources.files.spec import FilesSourceSpec

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "pipelines"


def load() -> dg.Definitions:
    from alpha_assets.definitions import defs

    made = defs()
    assert isinstance(made, dg.Definitions)
    return made


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """What is defined of the pipelines of the repository, whatever another test set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(ROOT / "pipelines"))
        patch.setenv("ALPHA_STORAGE", str(tmp_path_factory.mktemp("shipped")))
        return load()


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


def test_every_stage_of_every_market_and_recipe_is_an_asset(shipped: dg.Definitions) -> None:
    keys = {key.to_user_string() for key in shipped.resolve_asset_graph().get_all_asset_keys()}
    for market in ("sim", "us"):
        assert {f"{market}/{stage}" for stage in ("panel", "features", "cross_section/all")} <= keys
        stages = ("checkpoint", "predictions", "targets", "backtest", "report")
        assert {f"{market}/rolling_transformer/{stage}" for stage in stages} <= keys
        assert f"{market}/raw/daily_bars" in keys


def test_a_raw_asset_says_when_its_rows_are_public_and_why_it_is_off(
    shipped: dg.Definitions,
) -> None:
    graph = shipped.resolve_asset_graph()

    def told(market: str, feed: str) -> str:
        return graph.get(dg.AssetKey([market, "raw", feed])).description or ""

    assert "Public: 03:00 of the next day: next session." in told("sim", "index_options")
    assert "Off" not in told("sim", "index_options")
    assert "Public: 18:00 of the day" in told("us", "daily_bars")  # the market's own hour
    assert told("sim", "option_summary").startswith(
        "**Off on market sim:** the simulated exchange is not American; costs 8 features of `iv`.\n"
    )


def test_every_column_of_a_table_is_described(shipped: dg.Definitions) -> None:
    graph = shipped.resolve_asset_graph()
    nameless = [
        f"{node.key.to_user_string()}.{column.name}"
        for node in graph.asset_nodes
        if node.group_name == "sim_raw" or node.key.path[-1] == "features"
        for column in node.metadata["dagster/column_schema"].columns
        if not column.description
    ]
    assert nameless == []


def test_the_jobs_hold_the_stages_that_their_session_needs(shipped: dg.Definitions) -> None:
    jobs = {job.name: job for job in shipped.resolve_all_job_defs()}
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


MIDNIGHT = CalendarSpec(exchange="24/7", zone="UTC", decision_time=time(0), sessions_per_year=365.0)


def deciding(**calendar: Any) -> Market:
    """The simulated market without an end, with another clock; bars are public at 16:30."""
    sim = load_market("sim")
    spec = sim.spec.model_copy(
        update={
            "calendar": MIDNIGHT.model_copy(update=calendar),
            "source": FilesSourceSpec(kind="files"),
        }
    )
    return Market("sim", spec)


def asked_for(market: Market, local: str, *, on_first: bool) -> tuple[str, str] | str:
    at = datetime.fromisoformat(local).astimezone(UTC)
    asked = request(market, "job", at, on_first=on_first)
    if isinstance(asked, dg.SkipReason):
        return str(asked.skip_message)
    return str(asked.run_key).removeprefix("job:"), str(asked.partition_key)


@pytest.mark.parametrize("decided", [time(0), time(0, 10), time(0, 24)])
def test_a_session_decided_after_midnight_is_asked_for_on_the_evening_before(decided: time) -> None:
    market = deciding(decision_time=decided)
    at = (datetime(2026, 2, 28, tzinfo=UTC) + timedelta(days=1)).replace(
        hour=decided.hour, minute=decided.minute
    ) - timedelta(minutes=25)
    assert cron(market) == f"{at.minute} 23 * * *"
    assert asked_for(market, at.isoformat(), on_first=True) == ("2026-03-01", "2026-03-01")
    assert "the first session of 2026-03" in asked_for(market, at.isoformat(), on_first=False)
    next_day = (at + timedelta(days=1)).isoformat()
    assert asked_for(market, next_day, on_first=False) == ("2026-03-02", "2026-03-01")
    assert "not the first" in asked_for(market, next_day, on_first=True)
    # The month that begins tomorrow has a partition when it is asked for.
    with partition_loading_context(effective_dt=at):
        assert months(market).has_partition_key("2026-03-01")
        assert not months(load_market("us")).has_partition_key("2026-03-01")


def test_a_tick_waits_until_the_bars_are_public() -> None:
    sim = deciding()
    late = KnownFeedSpec(publication_time=time(23, 50))
    market = Market("sim", sim.spec.model_copy(update={"feeds": {"daily_bars": late}}))
    assert cron(market) == "55 23 * * *"  # half of the ten minutes that are left
    assert asked_for(market, "2026-02-28T23:55+00:00", on_first=True) == (
        "2026-03-01",
        "2026-03-01",
    )


@pytest.mark.parametrize("zone", ["America/New_York", "America/Santiago"])
@pytest.mark.parametrize("decided", [time(0), time(1, 10), time(2, 30), time(23, 59)])
def test_every_session_is_asked_for_before_it_is_decided_when_clocks_change(
    zone: str, decided: time
) -> None:
    """Dagster's own ticks, on a market without holidays; it runs one key but once."""
    market = deciding(zone=zone, decision_time=decided)
    for first, last in (
        ("2026-03-05", "2026-03-11"),
        ("2026-04-01", "2026-04-08"),
        ("2026-09-03", "2026-09-09"),
        ("2026-10-29", "2026-11-04"),
    ):
        start, stop = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, last))
        ticks = schedule_execution_time_iterator(start.timestamp(), cron(market), zone)
        found: dict[str, datetime] = {}
        for at in itertools.takewhile(lambda at, stop=stop: at < stop, ticks):
            for on_first in (True, False):
                asked = request(market, "job", at, on_first=on_first)
                if isinstance(asked, dg.RunRequest):
                    session = str(asked.run_key).removeprefix("job:")
                    assert asked.partition_key == f"{session[:7]}-01"
                    assert on_first == session.endswith("-01")
                    found.setdefault(session, at)
        sessions = market.calendar.between(first, last)[2:-2]
        for session in sessions:
            decision = market.calendar.decision(session).item().replace(tzinfo=UTC)
            before = decision - found[str(session)]
            assert timedelta(0) <= before <= timedelta(hours=5)  # New York's ticks lead by three


def test_schedules_tick_after_the_last_publication_and_before_the_decision(
    shipped: dg.Definitions,
) -> None:
    schedules = {schedule.name: schedule for schedule in shipped.schedules or []}
    tokyo, york = (
        schedules["sim_rolling_transformer_month"],
        schedules["us_rolling_transformer_day"],
    )
    assert (tokyo.cron_schedule, tokyo.execution_timezone) == ("5 8 * * *", "Asia/Tokyo")
    assert (york.cron_schedule, york.execution_timezone) == ("0 6 * * *", "America/New_York")


def test_look_back_is_a_partition_mapping(shipped: dg.Definitions) -> None:
    graph = shipped.resolve_asset_graph()
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
    tiny: dg.Definitions, tiny_market: Path, tmp_path: Path
) -> None:
    # Of the market's stages the last month is to be made, of the recipe's every month.
    linked(tiny_market, tmp_path)
    market_stages = ("panel", "features", "cross_section/traded")
    last = [tmp_path / "tiny" / stage / "month=2021-08" for stage in market_stages]
    for folder in last:
        shutil.rmtree(folder)
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
    assert all(folder.is_dir() for folder in last)
    page = (tmp_path / "tiny" / "tiny" / "report" / "tear_sheet.html").read_text()
    assert "<h2>Coverage</h2>" in page
    n = sum(feature.family == "volatility" for feature in CATALOG)
    assert f'<td class="words">volatility</td><td>{n} of {n}</td>' in page
    assert '<td class="words">sector_short</td>' not in page  # the recipe reads none of it
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


def test_a_delivery_shows_what_it_left_out_and_what_is_odd() -> None:
    found = Ingested("daily_bars", new=3, omitted=2, notes=("2 rows",), warnings=("odd",) * 20)
    shown = delivery_metadata(found)
    assert (shown["rows_left_out"].value, shown["warnings"].value) == (2, 20)
    assert str(shown["delivery"].value).splitlines()[0] == "- 2 rows"
    assert str(shown["delivery"].value).splitlines()[-1] == "- and 1 more"
    assert "delivery" not in delivery_metadata(Ingested("rates", new=1))
