"""`make bench` judges what was measured, and says what was not and why."""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.comparisons import COMPARISONS
from benchmarks.goals import GOALS, Goal, report
from benchmarks.peers import install, python_of, requirements

ROOT = Path(__file__).parents[1]
FASTER = Goal("faster", "a kernel", "timing", 4.0, peer="fakepeer")
SMALL = Goal("small", "its memory", "timing", 1.2, judged="ours", at_least=False)


def script(body: str) -> list[str]:
    """Return a command that writes figures to the file that is added at its end."""
    start = "import json, sys\ndef write(**found):\n    print(json.dumps(found), file=into)\n"
    return [sys.executable, "-c", f"{start}into = open(sys.argv[1], 'a')\n{body}"]


def judge(
    capfd: pytest.CaptureFixture[str],
    body: str,
    goals: Sequence[Goal] = (FASTER, SMALL),
    left_out: dict[str, str] | None = None,
    limit_s: float = 60,
) -> tuple[int, dict[str, str], str]:
    """Return the exit status, `met` by what was measured, and the error stream."""
    status = report(goals, {"timing": script(body)}, left_out or {}, limit_s)
    printed = capfd.readouterr()
    rows = [line.split(" | ") for line in printed.out.splitlines() if line.startswith("| ")]
    return status, {row[0].strip("| "): row[5] for row in rows if len(row) > 6}, printed.err


WRITES = """print('{"goal": "faster", "ratio": 5, "full": true}', file=open(sys.argv[1], "w"))"""
FIGURES = "write(goal='faster', ours=1, peer={}, ratio={}, full={})\n"
MEMORY = "write(goal='small', ours={}, full=True)\n"


def test_what_reaches_its_goal_is_met_and_what_does_not_is_missed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    status, met, _ = judge(capfd, FIGURES.format(4, 4, True) + MEMORY.format(1.2))
    assert (status, met["a kernel"], met["its memory"]) == (0, "yes", "yes")
    # A miss is measured: it is no failure of the benchmark.
    status, met, _ = judge(capfd, FIGURES.format(3.9, 3.9, True) + MEMORY.format(1.3))
    assert (status, met["a kernel"], met["its memory"]) == (0, "MISSED", "MISSED")


def test_a_verdict_on_less_data_than_the_goal_is_about_is_marked(
    capfd: pytest.CaptureFixture[str],
) -> None:
    status, met, _ = judge(capfd, FIGURES.format(9, 9, False) + MEMORY.format(1))
    assert (status, met["a kernel"], met["its memory"]) == (0, "yes*", "yes")
    # A ratio may hold at another size; a ceiling that less data keeps shows nothing.
    small = MEMORY.replace("True", "False")
    status, met, _ = judge(capfd, FIGURES.format(9, 9, True) + small.format(1))
    assert (status, met["its memory"]) == (1, "not measured: less data than the goal is about")
    status, met, _ = judge(capfd, FIGURES.format(9, 9, True) + small.format(2))
    assert (status, met["its memory"]) == (0, "MISSED*")


def test_a_child_that_fails_is_not_measured_and_its_error_is_shown(
    capfd: pytest.CaptureFixture[str],
) -> None:
    status, met, errors = judge(capfd, FIGURES.format(9, 9, True) + "into.close()\n1 / 0")
    assert status == 1
    assert met["a kernel"] == "yes"  # measured before the failure
    assert met["its memory"] == (
        "not measured: its process failed with 1: ZeroDivisionError: division by zero"
    )
    assert "Traceback" in errors


def test_a_child_that_does_not_end_is_asked_to_and_stopped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(write(goal='small', ours=1, full=1)))"
    )
    body = f"import signal, time\n{asked}\ntime.sleep(600)"
    status, met, _ = judge(capfd, body, limit_s=5)
    assert (status, met["a kernel"]) == (1, "not measured: stopped after 5 s")
    assert met["its memory"] == "yes"  # written when it was asked to end


def test_a_figure_that_is_left_out_is_not_measured(capfd: pytest.CaptureFixture[str]) -> None:
    status, met, _ = judge(capfd, FIGURES.format(9, 9, True))
    assert (status, met["its memory"]) == (
        1,
        "not measured: its comparison wrote no figure of it",
    )


def test_a_peer_that_is_missing_is_named_with_the_reason(
    capfd: pytest.CaptureFixture[str],
) -> None:
    body = "write(goal='faster', missing='fakepeer is not installed')\n" + MEMORY.format(1)
    status, met, _ = judge(capfd, body)
    assert (status, met["a kernel"]) == (1, "not measured: fakepeer is not installed")
    status, met, _ = judge(capfd, body, left_out={"fakepeer": "no such version"})
    assert (status, met["a kernel"]) == (
        1,
        "not measured: fakepeer does not install: no such version",
    )
    assert met["its memory"] == "yes"


def wheel(folder: Path, name: str) -> None:
    """Write a package of one empty module."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_each_peer_is_installed_by_itself_beside_the_projects_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wheel(tmp_path, "fakepeer")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    peers = tmp_path / "peers.txt"
    peers.write_text("# a comment\nabsentpeer==1.0\nfakepeer==1.0  # another\n")
    venv = tmp_path / "venv"
    left_out = install(peers, venv, constraints=None)
    assert list(left_out) == ["absentpeer"]
    assert "No matching distribution found for absentpeer==1.0" in left_out["absentpeer"]
    assert "left out: absentpeer" in capfd.readouterr().out
    inside = [str(python_of(venv)), "-c", f"import fakepeer, numpy, sys\n{WRITES}"]
    assert report([FASTER], {"timing": inside}, left_out, 60) == 0
    # The next time only what failed is tried again.
    assert list(install(peers, venv, constraints=None)) == ["absentpeer"]
    assert "installing fakepeer" not in capfd.readouterr().out


def test_every_goal_has_its_comparison_and_every_peer_is_pinned() -> None:
    assert {goal.comparison for goal in GOALS} == set(COMPARISONS)
    assert len({goal.name for goal in GOALS}) == len(GOALS)
    pinned = requirements(ROOT / "benchmarks" / "peers.txt")
    assert {goal.peer for goal in GOALS if goal.peer} <= set(pinned)
    assert all("==" in requirement for requirement in pinned.values())
