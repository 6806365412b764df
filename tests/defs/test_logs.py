"""What Dagster's daemon writes of our sensors: what happened, and no line for an idle tick."""

import logging
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef

from alpha_assets.defs import SENSORS
from alpha_assets.defs.automation import run_failed
from alpha_assets.defs.reaper import reaper

ROOT = Path(__file__).parents[2]


def written(caplog: pytest.LogCaptureFixture, line: str, level: int = logging.INFO) -> bool:
    daemon = logging.getLogger("dagster.daemon.SensorDaemon")
    with caplog.at_level(logging.INFO, logger=daemon.name):
        caplog.clear()
        daemon.log(level, line)
    return line in caplog.messages


def test_an_idle_tick_is_not_written_and_all_else_is(caplog: pytest.LogCaptureFixture) -> None:
    assert {run_failed.name, reaper.name} == set(SENSORS)
    for name in SENSORS:
        assert not written(caplog, f"Checking for new runs for sensor: {name}")
    assert not written(
        caplog, "Sensor run_failed skipped: Sensor function returned an empty result"
    )
    idle = "Sensor runs_of_dead_processes skipped: every run's process lives"
    assert not written(caplog, idle)
    assert written(caplog, idle, logging.WARNING)
    assert written(caplog, "Checking for new runs for sensor: of_the_user")
    assert written(caplog, "Sensor runs_of_dead_processes skipped: run 1 of job: its process")


def test_no_daemon_runs_that_warns_of_events_it_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    monkeypatch.setenv("ALPHA_DAGSTER_DIR", str(tmp_path))
    with DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance:
        assert "EVENT_LOG_CONSUMER" not in instance.get_required_daemon_types()
        assert not instance.telemetry_enabled
