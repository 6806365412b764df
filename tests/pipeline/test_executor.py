"""Tasks: which there are, who makes them, and what becomes of them where a worker ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import PIPELINES, linked
from tests.pipeline.fake_worker import FOLDER

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.errors import BadInput, DegenerateModel, WorkerLost
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.executor import (
    InProcess,
    Task,
    executor_named,
    in_order,
    tasks_of,
)
from alpha_assets.pipeline.executors.processes import RETRIES, Processes
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stages import month_stages, stage_of
from alpha_assets.training.device import cores

FAKE = "tests.pipeline.fake_worker"
SHORT = ("split.lookback_sessions=20", "split.valid_sessions=10")
MONTHS = ("2021-05", "2021-06", "2021-07", "2021-08")
SECONDS = 60.0  # for a process to come as far as it should


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))


@pytest.fixture
def context(tmp_path: Path) -> RecipeContext:
    return project.open_context("tiny", storage=str(tmp_path / "storage"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fake workers leave files."""
    found = tmp_path / "fake"
    found.mkdir()
    monkeypatch.setenv(FOLDER, str(found))
    return found


def fake(context: RecipeContext, *what: str) -> list[Task]:
    """Tasks for fake workers, a month each; as no stage has such a name, none is asked for."""

    class Fake(Task):
        def identity(self) -> dict[str, str]:
            return {}

    return [Fake(context, (name,), (f"2021-{n:02}",)) for n, name in enumerate(what, 1)]


def pids(folder: Path) -> list[int]:
    return [int(file.name.removeprefix("pid-")) for file in folder.glob("pid-*")]


def lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("word", [0, -1, "0", "two", "1.5", "", "²", "Ray"])
def test_what_is_no_number_of_workers_is_refused_by_name(
    context: RecipeContext, word: int | str
) -> None:
    with pytest.raises(BadInput, match=f"--workers '{word}' is no number of workers; want 1 or mo"):
        executor_named(word, context)


def test_more_processes_than_gpus_are_refused_by_name(context: RecipeContext) -> None:
    of_one = replace(context, device="cuda:0")
    with pytest.raises(BadInput, match="--workers 2: --device cuda:0 has 1 GPU here, and one proc"):
        executor_named(2, of_one)
    assert isinstance(executor_named("auto", of_one), InProcess)


def test_a_worker_has_a_core_for_each_thread(
    context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alpha_assets.pipeline.executor.cores", lambda: 4)
    two = project.open_context(
        "tiny", storage=context.store.url, overrides=["training.threads=2"], device="cpu"
    )
    found = [executor_named("auto", one) for one in (replace(context, device="cpu"), two)]
    assert [one.n_workers for one in found if isinstance(one, Processes)] == [4, 2]
    assert isinstance(executor_named(1, context), InProcess)
    assert cores() >= 1


def test_months_are_tasks_of_their_own_unless_one_starts_from_another(
    tiny_market: Path, tmp_path: Path
) -> None:
    storage = str(linked(tiny_market, tmp_path / "storage"))

    def due(*overrides: str, months: tuple[str, ...] = MONTHS) -> tuple[list[list[str]], str]:
        opened = project.open_context("tiny", storage=storage, overrides=[*SHORT, *overrides])
        stages = month_stages(opened.recipe)[:2]
        tasks = tasks_of(opened, stages, months)
        assert all(task.stages == ("checkpoint", "predictions") for task in tasks)
        return [list(task.parts) for task in tasks], in_order(opened, tasks)

    assert due() == ([[month] for month in MONTHS], "")
    chained, why = due("training.warm_start=true")
    assert chained == [list(MONTHS)]
    assert why.startswith("4 months are 1 tasks, up to 4 months in order each, by training.warm_s")
    shared, why = due("training.retrain_every=2")
    assert sorted(map(len, shared), reverse=True) == [2, 2] or list(map(len, shared)) == [1, 2, 1]
    assert "by training.retrain_every = 2: months share a model" in why


def test_a_run_makes_the_earlier_model_that_its_first_month_points_to(
    tiny_market: Path, tmp_path: Path
) -> None:
    storage = str(linked(tiny_market, tmp_path / "storage"))
    opened = project.open_context(
        "tiny", storage=storage, overrides=[*SHORT, "training.retrain_every=3"]
    )
    (stage, *_) = month_stages(opened.recipe)
    leaning = next(month for month in MONTHS if stage.leans_on(opened, month, Seen()))
    (earlier,) = stage.leans_on(opened, leaning, Seen())

    runner.run(opened, leaning, leaning)

    assert opened.checkpoint(earlier).manifest() is not None
    assert opened.predictions.months() == (leaning,)


def test_nothing_is_a_task_where_all_is_fresh(tiny_run: Path) -> None:
    opened = project.open_context("tiny", storage=str(tiny_run))
    assert tasks_of(opened, month_stages(opened.recipe), ("2021-07", "2021-08")) == []


def test_one_task_alone_starts_no_worker(
    context: RecipeContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    monkeypatch.setattr(Task, "run", lambda task: ran.append(os.getpid()))
    Processes(2, FAKE).run(fake(context, "made"), lambda *_: None)
    assert ran == [os.getpid()]
    assert pids(folder) == []


def test_a_task_whose_worker_is_killed_is_tried_again_and_the_kill_is_named(
    context: RecipeContext, folder: Path
) -> None:
    lines: list[str] = []
    tasks = fake(context, "made", f"killed {RETRIES}", "made", "made")

    Processes(2, FAKE).run(tasks, lambda stage, what: lines.append(f"{stage}: {what}"))

    assert len(list(folder.glob("done-*"))) == len(tasks)
    tried = [line.split()[0] for line in (folder / "tries-2021-02").read_text().splitlines()]
    assert len(set(tried)) == RETRIES + 1  # a new process each time
    for number, pid in enumerate(tried[:RETRIES], 1):
        (line,) = [line for line in lines if f"process {pid} on" in line]
        assert line.endswith(
            f" was killed by SIGKILL making tiny 2021-02; it is tried again, {number} of {RETRIES}"
        )
    assert {line for line in lines if line.startswith("fake: 2021-02")} == {
        f"fake: 2021-02: killed, {number}" for number in range(1, RETRIES + 2)
    }
    assert not any(map(lives, pids(folder)))


def test_a_task_whose_workers_are_killed_each_time_stops_the_run(
    context: RecipeContext, folder: Path
) -> None:
    tasks = fake(context, "killed 9", "made")
    with pytest.raises(WorkerLost, match="3 workers ended making tiny 2021-01; the last, process "):
        Processes(2, FAKE).run(tasks, lambda *_: None)
    assert len((folder / "tries-2021-01").read_text().splitlines()) == RETRIES + 1


def test_workers_that_never_come_up_stop_the_run(context: RecipeContext, folder: Path) -> None:
    (folder / "unfit").touch()
    with pytest.raises(
        WorkerLost, match=r"3 workers ended at start-up; the last, process .* exit code 3"
    ):
        Processes(1, FAKE).run(fake(context, "made", "made"), lambda *_: None)


def test_the_first_task_that_is_refused_stops_the_run_once_those_before_it_are_done(
    context: RecipeContext, folder: Path
) -> None:
    tasks = fake(context, "made", "refused 2021-03", "refused", "made")

    with pytest.raises(DegenerateModel, match=r"^2021-02: layer head is dead$"):
        Processes(2, FAKE).run(tasks, lambda *_: None)

    assert (folder / "done-2021-01").exists()
    assert len((folder / "tries-2021-02").read_text().splitlines()) == 1  # no second try
    assert not (folder / "tries-2021-04").exists()
    assert not any(map(lives, pids(folder)))


def test_a_task_after_the_one_that_is_refused_ends_with_it(
    context: RecipeContext, folder: Path
) -> None:
    with pytest.raises(DegenerateModel, match=r"^2021-01"):
        Processes(2, FAKE).run(fake(context, "refused 2021-02", "long"), lambda *_: None)
    assert not (folder / "done-2021-02").exists()  # it would take ten minutes
    assert not any(map(lives, pids(folder)))


def test_a_bug_of_a_worker_shows_where_it_is(context: RecipeContext, folder: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="2021-01") as raised:
        Processes(2, FAKE).run(fake(context, "broken", "made"), lambda *_: None)
    assert "fake_worker.py" in "".join(raised.value.__notes__)


def test_whatever_ends_the_run_ends_its_workers(context: RecipeContext, folder: Path) -> None:
    def interrupted(stage: str, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Processes(2, FAKE).run(fake(context, "long", "long"), interrupted)
    assert not any(map(lives, pids(folder)))


RUN = f"""
import sys
from alpha_assets import project
from alpha_assets.pipeline.executors.processes import Processes
from tests.pipeline.test_executor import fake
context = project.open_context("tiny", storage=sys.argv[1])
Processes(2, "{FAKE}").run(fake(context, "long", "long"), lambda *_: None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(
    sign: signal.Signals, folder: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUN, str(tmp_path / "storage")],
        stderr=subprocess.DEVNULL,
    ) as run:
        until(lambda: len(list(folder.glob("tries-*"))) == 2)
        workers = pids(folder)
        assert all(map(lives, workers))
        run.send_signal(sign)
        assert run.wait(SECONDS) != 0
    until(lambda: not any(map(lives, workers)))


def unnamed_files(pid: int, storage: Path) -> set[int]:
    """Return the inodes of the files below a storage that a process maps and that have no name."""
    rows = (line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines())
    return {
        int(row[4]) for row in rows if row[-1] == "(deleted)" and row[5].startswith(str(storage))
    }


def contents(storage: Path) -> dict[str, str]:
    opened = project.open_context("tiny", storage=str(storage))
    return {
        f"{stage.name} {month}": stage.made(opened, month).content_hash
        for stage in month_stages(opened.recipe)
        for month in ("2021-07", "2021-08")
    } | {"backtest": stage_of(opened, "backtest").made(opened).content_hash}


def test_two_processes_give_the_bits_of_one_though_one_is_killed(
    tiny_run: Path, tmp_path: Path
) -> None:
    storage = linked(tiny_run, tmp_path / "storage")
    shutil.rmtree(storage / "tiny" / "tiny")
    killed: list[int] = []
    lines: list[str] = []

    own: set[int] = set()
    maps: list[set[int]] = []  # files without a name that a worker maps as it trains

    def progress(stage: str, what: str) -> None:
        lines.append(what)
        if stage == "worker" and not killed:
            killed.append(int(what.split()[1]))
            os.kill(killed[0], signal.SIGKILL)
        elif what.endswith(" sessions"):
            pids = {int(line.split()[1]) for line in lines if line.startswith("process ")}
            own.update(unnamed_files(os.getpid(), storage))
            maps.extend(unnamed_files(pid, storage) for pid in pids if lives(pid))

    months = {"first_month": "2021-07", "last_month": "2021-08"}
    aa.run("tiny", storage=str(storage), workers=2, progress=progress, **months)

    assert contents(storage) == contents(tiny_run)
    assert [line for line in lines if f"process {killed[0]} on" in line][1].endswith(
        "it is tried again, 1 of 2"
    )
    assert not any(line.startswith("each worker reads") for line in lines)
    assert maps
    assert {frozenset(files) for files in maps if files} == {frozenset(own)}
    assert len(own) == 1, "one array of all months, which all of them map"
    workers = {line.split()[1] for line in lines if line.startswith("process ")}
    assert str(os.getpid()) not in workers
    assert len(workers) >= 2
