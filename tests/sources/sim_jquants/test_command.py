"""The verb that serves a simulated market: what it takes, what it prints, how it stops."""

import os
import signal
import subprocess
import sys
from datetime import time
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from alpha_assets import project
from alpha_assets.calendar import Calendar
from alpha_assets.cli import main
from alpha_assets.errors import BadInput, SpecError
from alpha_assets.sources.sim_jquants import Fault
from alpha_assets.sources.sim_jquants.options import fault_of, instant_of, keys_of

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))


def test_a_key_stands_before_its_plan() -> None:
    assert keys_of(["a:free", "b:c:premium"]) == {"a": "free", "b:c": "premium"}
    assert keys_of([]) == {"local-key": "standard"}
    for wrong in ("a", ":free", "a:gold"):
        with pytest.raises(SpecError, match="want KEY:PLAN, plan one of free, light"):
            keys_of([wrong])


def test_a_fault_is_a_kind_with_counts_and_a_path() -> None:
    assert fault_of("cut") == Fault("cut", 1, 0, None)
    assert fault_of("error:3") == Fault("error", 3, 0, None)
    assert fault_of("hang:2:7@/fins/summary") == Fault("hang", 2, 7, "/fins/summary")
    for wrong, words in (
        ("smoke", "'smoke' is none of too_many, error"),
        ("cut:x", "want KIND:TIMES:AFTER"),
        ("cut:1:2:3", "want KIND:TIMES:AFTER"),
        ("cut@/weather", "'/weather' is none of /markets/calendar"),
    ):
        with pytest.raises(SpecError, match=words):
            fault_of(wrong)


def test_an_instant_without_a_zone_is_the_exchanges(calendar: Calendar) -> None:
    found = instant_of("2023-12-29T23:30", calendar)
    assert found.utcoffset() == instant_of("2023-12-29T23:30+09:00", calendar).utcoffset()
    assert found.timetz() == time(23, 30, tzinfo=calendar.zone)
    with pytest.raises(SpecError, match="want an instant, such as"):
        instant_of("soon", calendar)


def test_only_simulated_rows_are_served() -> None:
    with pytest.raises(BadInput, match="'tiny_us' is not simulated"):
        project.sim_jquants_server("tiny_us")


def test_bad_words_are_one_line_and_exit_code_2() -> None:
    shown = CliRunner().invoke(main, ["serve-sim-jquants", "--market", "tiny", "--key", "a:gold"])
    assert shown.exit_code == 2
    assert "error: --key 'a:gold': want KEY:PLAN" in shown.output


def test_it_prints_what_to_set_answers_and_stops_on_an_interrupt() -> None:
    call = "from alpha_assets.cli import main; main()"
    command = [sys.executable, "-c", call, "serve-sim-jquants", "--market", "tiny"]
    with subprocess.Popen(
        [*command, "--port", "0", "--key", "mine:light", "--page-size", "7"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as running:
        assert running.stdout is not None
        url = running.stdout.readline().removeprefix("serving ").strip()
        lines = [running.stdout.readline().strip() for _ in range(4)]
        try:
            calendar = f"{url}/markets/calendar"
            answer = requests.get(calendar, headers={"x-api-key": "mine"}, timeout=30)
            running.send_signal(signal.SIGINT)
            rest, said = running.communicate(timeout=30)
        finally:
            running.kill()
    assert lines[0] == "export JQUANTS_API_KEY=mine"
    assert lines[1].startswith("export ALPHA_STORAGE=storage-sim-jquants")
    assert lines[2].startswith("# at most 55 requests a minute on the plan light")
    assert lines[3] == (
        f"alpha-assets run --market jp --set market.source.base_url={url} "
        "--set market.source.plan=light --set market.source.first=2021-01-04 "
        "--set market.source.last=2021-08-31"
    )
    assert len(answer.json()["data"]) == 7
    assert "pagination_key" in answer.json()
    assert (running.returncode, rest, said) == (0, "", "stopped\n")
