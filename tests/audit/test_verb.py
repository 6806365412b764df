"""The verb `audit`: the certificate and the clock together, for people and for programs."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from alpha_assets import project
from alpha_assets.audit import ClockReport
from alpha_assets.cli import main
from alpha_assets.feeds import SIDE_FEEDS
from alpha_assets.pipeline.context import RecipeContext

room = import_module("alpha_assets.audit")  # the package has a function of its name
PIPELINES = Path(__file__).parents[1] / "pipelines"
CELLS = 100


class Certified:
    """A certificate that costs nothing."""

    def as_json(self) -> dict[str, Any]:
        return {"passed": True, "text": "certificate: passed"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stand in for the rebuilding; the clock is asked, and finds one wrong cell in 13 sessions."""
    sessions: list[int] = []

    def told(context: RecipeContext, n: int) -> ClockReport:
        sessions.append(n)
        return ClockReport("tiny", "2021-08-16", "2021-09-01", CELLS, n == 13, None, (), ())

    monkeypatch.setattr(room, "audit", lambda context, cuts, **how: Certified())
    monkeypatch.setattr(room, "audit_clock", told)
    return sessions


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited")


def call(storage: Path, *arguments: str) -> Result:
    off = [("--set", f"market.feeds.{name}.on=false") for name in SIDE_FEEDS if name != "margin"]
    words = ["audit", "--recipe", "tiny", "--storage", str(storage), *arguments]
    words += [word for setting in off for word in setting]
    return CliRunner().invoke(main, words, env={"ALPHA_PIPELINES": str(PIPELINES)})


def test_a_clock_that_fails_is_exit_code_1_and_says_so(storage: Path, asked: list[int]) -> None:
    shown = call(storage, "--clock", "13")

    assert shown.exit_code == 1, shown.output
    assert asked == [13]
    assert "certificate: passed" in shown.output
    assert "clock: FAILED" in shown.output


def test_the_clock_is_tried_by_default_and_can_be_left_out(storage: Path, asked: list[int]) -> None:
    call(storage)
    assert asked == [project.CLOCK_SESSIONS]

    shown = call(storage, "--clock", "0", "--json")
    assert shown.exit_code == 0, shown.output
    assert asked == [project.CLOCK_SESSIONS]
    assert json.loads(shown.stdout) == {"passed": True, "text": "certificate: passed"}


def test_json_holds_the_clock_beside_the_certificate(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "audit", lambda context, cuts, **how: Certified())
    shown = call(storage, "--clock", "1", "--json")

    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["passed"]
    assert told["clock"]["last"] == "2021-09-01"
    assert {"feed", "shift", "expected", "moved", "precision", "recall"} <= set(
        told["clock"]["trials"][0]
    )


def test_a_number_of_sessions_below_zero_is_refused(storage: Path) -> None:
    assert call(storage, "--clock", "-1").exit_code == 2
