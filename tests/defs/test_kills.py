"""Runs that are killed: what comes after them goes on, and the storage stays readable."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.defs.reaper import OWNER_TAG
from alpha_assets.pipeline import runner as walking
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.frontier import months_of_data
from alpha_assets.pipeline.status import status
from alpha_assets.store.store import Store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "pipelines"
PATIENCE = 400  # seconds for a process to come as far as it should
HOLDER = """
import sys
from alpha_assets.training.device import device_alone
from alpha_assets.store.store import Store
with device_alone(Store(sys.argv[1]), "cpu", lambda *line: None, threads=1_000):
    print("holds", flush=True)
    input()
"""
JOB = "tiny_tiny_month"
SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
WORKSPACE = str(ROOT / "workspace.yaml")
STOPPED = """
import runpy
import sys
from alpha_assets.defs import resources
def wait(*_):
    print("stands before its first step", flush=True)
    sys.stdin.read()
resources.sign = wait
runpy.run_module("dagster", run_name="__main__", alter_sys=True)
"""
CHECKPOINT = ["asset", "materialize", "-m", "alpha_assets.definitions", "--select"]
CHECKPOINT += ['key:"tiny/tiny/checkpoint"', "--partition", "2021-07-01"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with all that training reads."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(TINY))
        market = load_market("tiny")
        context = RecipeContext(market, Store(str(folder)), recipe=load_recipe("tiny", market))
        walking.ingest_all(context)
        walking.make_market_stages(context, months_of_data(context))
    return folder


@pytest.fixture
def storage(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage of its own, with a Dagster instance that is set up as ours is."""
    shutil.copytree(stored, tmp_path / "storage")
    shutil.copytree(TINY, tmp_path / "pipelines")
    home = tmp_path / "storage" / "_dagster"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    for name, value in {
        "DAGSTER_HOME": home,
        "ALPHA_DAGSTER_DIR": home,
        "ALPHA_STORAGE": tmp_path / "storage",
        "ALPHA_PIPELINES": tmp_path / "pipelines",
        "ALPHA_DEVICE": "cpu",
        "PYTHONWARNINGS": "ignore",
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "storage"


@pytest.fixture
def held(storage: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that trains on the device, so that a run is caught in its checkpoint step."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(storage)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        yield holder
        holder.kill()


def launch(*arguments: str, log: Path, module: str = "dagster") -> subprocess.Popen[bytes]:
    """Start Dagster as a user does, its log in a file, in a group of processes of its own."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def until(holds: Callable[[], bool], log: Path, pause: float = 0.5) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(pause)


def is_waiting(log: Path, times: int = 1) -> bool:
    return log.exists() and log.read_text().count("waits for the device cpu") >= times


def statuses() -> list[dg.DagsterRunStatus]:
    """Of all runs, the latest first."""
    with dg.DagsterInstance.get() as instance:
        return [run.status for run in instance.get_runs()]


def processes() -> list[int]:
    with dg.DagsterInstance.get() as instance:
        tags = [run.tags[OWNER_TAG] for run in instance.get_runs() if OWNER_TAG in run.tags]
    return [int(tag.split(",")[1]) for tag in tags]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_readable(storage: Path) -> None:
    """Every month that is listed can be read, and nothing half-made is among them."""
    market = load_market("tiny")
    context = RecipeContext(market, Store(str(storage)), recipe=load_recipe("tiny", market))
    assert status(context)
    for table in (context.panel, context.features, context.section):
        assert table.read().collect().height


def test_after_a_kill_the_next_launch_trains(
    storage: Path, held: subprocess.Popen[str], tmp_path: Path
) -> None:
    log, after = tmp_path / "killed.log", tmp_path / "next.log"
    with launch(*CHECKPOINT, log=log) as run:
        until(lambda: is_waiting(log), log)
        before = cpu_seconds(run.pid)
        time.sleep(5)
        assert cpu_seconds(run.pid) - before < 1.0  # waiting burns no core
        run.kill()
    assert statuses() == [dg.DagsterRunStatus.STARTED]
    held.kill()  # the device's owner is killed, too
    with launch(*CHECKPOINT, log=after) as again:
        assert again.wait(PATIENCE) == 0, after.read_text()
    assert statuses() == [SUCCESS, FAILURE]
    assert "is gone: killed, or out of memory or power" in after.read_text()
    is_readable(storage)


def test_a_waiting_run_hears_sigterm(
    storage: Path, held: subprocess.Popen[str], tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    with launch(*CHECKPOINT, log=log) as run:
        until(lambda: is_waiting(log), log)
        run.terminate()
        assert run.wait(30) != 0
    assert dg.DagsterRunStatus.STARTED not in statuses()
    is_readable(storage)


def test_after_a_kill_of_its_worker_the_next_queued_run_trains(
    storage: Path, held: subprocess.Popen[str], tmp_path: Path
) -> None:
    log = tmp_path / "dev.log"
    with dev(log):
        launch_job(log)
        until(lambda: "checkpoint" in steps(), log)
        os.kill(processes()[0], signal.SIGKILL)
        until(lambda: statuses() == [FAILURE], log)
        held.kill()
        launch_job(log)
        until(lambda: statuses() == [SUCCESS, FAILURE], log)
    is_readable(storage)


def test_after_a_kill_of_the_daemon_its_run_ends_and_the_queued_one_trains(
    storage: Path, held: subprocess.Popen[str], tmp_path: Path
) -> None:
    log = tmp_path / "dev.log"
    with dev(log) as running:
        launch_job(log)
        until(lambda: "checkpoint" in steps(), log)
        launch_job(log)
        assert statuses()[0] == dg.DagsterRunStatus.QUEUED  # the first has the pool's only slot
        (daemon,) = (pid for pid in group(running) if " dagster._daemon " in words_of(pid))
        kill([daemon])
        running.wait(PATIENCE)  # `dagster dev` ends without its daemon; what trains goes on
        held.kill()
        until(lambda: statuses() == [dg.DagsterRunStatus.QUEUED, SUCCESS], log)
    begun = time.time()
    with dev(log):
        until(lambda: statuses() == [SUCCESS, SUCCESS], log)
    measured("daemon", begun)
    is_free()
    is_readable(storage)


def test_after_a_kill_of_the_whole_tree_in_training_the_queued_run_trains(
    storage: Path, tmp_path: Path
) -> None:
    log, recipe = tmp_path / "dev.log", tmp_path / "pipelines" / "recipes" / "tiny.toml"
    short = recipe.read_text()
    endless = short.replace("max_epochs = 2", "max_epochs = 1000000")
    endless = endless.replace("patience = 1", "patience = 1000000")
    assert endless.count("1000000") == 2
    recipe.write_text(endless)
    with dev(log) as running:
        launch_job(log)
        until(lambda: trains(storage), log)
        launch_job(log)
        assert statuses() == [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED]
        recipe.write_text(short)
        kill(group(running))
    assert trains(storage)  # by the lock that the dead run left
    begun = time.time()
    with dev(log):
        until(lambda: statuses() == [SUCCESS, FAILURE], log)
    measured("whole tree in training", begun)
    is_free()
    is_readable(storage)


def test_after_a_kill_of_a_worker_before_its_first_step_the_queued_run_trains(
    storage: Path, tmp_path: Path
) -> None:
    log = tmp_path / "dev.log"
    launch_job(log)
    launch_job(log)
    assert statuses() == [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.QUEUED]
    with dev(log) as running:
        until(lambda: bool(workers(running)), log, pause=0.002)
        kill(workers(running))  # as it starts Python, long before its first step
        begun = time.time()
        assert processes() == []
        until(lambda: statuses() == [SUCCESS, FAILURE], log)
    measured("worker before the first step", begun)
    is_free()
    is_readable(storage)


def test_after_a_kill_of_a_launch_before_its_first_step_the_queued_run_trains(
    storage: Path, tmp_path: Path
) -> None:
    log = tmp_path / "dev.log"
    (tmp_path / "stopped.py").write_text(STOPPED)
    with dev(log):
        with log.open("ab") as out:
            run = subprocess.Popen(
                [sys.executable, str(tmp_path / "stopped.py"), *CHECKPOINT],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
            )
        with run:
            until(lambda: "stands before its first step" in log.read_text(), log)
            assert statuses() == [dg.DagsterRunStatus.STARTED]
            assert processes() == []
            run.kill()
        begun = time.time()
        until(lambda: statuses() == [FAILURE], log)
        launch_job(log)
        until(lambda: statuses() == [SUCCESS, FAILURE], log)
    measured("launch before its first step", begun)
    is_free()
    is_readable(storage)


@contextmanager
def dev(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the whole tree of `dagster dev`; nothing of it is left at the end."""
    arguments = ("dev", "-w", WORKSPACE, "-h", "127.0.0.1", "-p", "0")
    running = launch(*arguments, log=log, module="alpha_assets.defs.launch")
    try:
        yield running
    finally:
        while pids := group(running):
            kill(pids)
        running.wait()


def launch_job(log: Path) -> None:
    """Put a run of one month into the queue."""
    tags = ("--tags", '{"dagster/partition": "2021-07-01"}')
    put = launch("job", "launch", "-w", WORKSPACE, "-j", JOB, *tags, log=log)
    assert put.wait(PATIENCE) == 0, log.read_text()


def kill(pids: list[int]) -> None:
    """Kill processes of ours, and wait until they are gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def words_of(pid: int) -> str:
    """Return the command line of a process; nothing where it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def workers(tree: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes in which the code server of a tree runs what is queued."""
    return [pid for pid in group(tree) if "spawn_main" in words_of(pid)]


def trains(storage: Path) -> bool:
    """Return whether the lock of the device names the process of the first run."""
    (pid,) = processes() or [0]
    with suppress(OSError):
        locks = [path.read_text() for path in (storage / "_tmp" / "locks").iterdir()]
        return any("device cpu" in lock and f'"pid": {pid},' in lock for lock in locks)
    return False


def measured(victim: str, begun: float) -> None:
    """Write (`-s` shows it) when the first run had ended, the next was dequeued, and trained."""
    with dg.DagsterInstance.get() as instance:
        later, dead = instance.get_run_records()
        entries = instance.all_logs(later.dagster_run.run_id)
    kinds = [(e.timestamp, e.dagster_event_type, str(e.step_key)) for e in entries]
    dequeued = [t for t, kind, _ in kinds if kind == dg.DagsterEventType.RUN_STARTING]
    began = [t for t, kind, _ in kinds if kind == dg.DagsterEventType.RUN_START]
    (trained,) = (
        t
        for t, kind, step in kinds
        if kind == dg.DagsterEventType.STEP_START and "checkpoint" in step
    )
    seconds = [at - begun for at in (dead.end_time or 0, dequeued[0], began[0], trained)]
    words = "ended {:.0f} s, next dequeued {:.0f} s, begun {:.0f} s, trains {:.0f} s"
    sys.stdout.write(f"\n{victim}: {words.format(*seconds)}\n")


def is_free() -> None:
    """No run that has ended holds a place in the pool."""
    with dg.DagsterInstance.get() as instance:
        for pool in instance.event_log_storage.get_concurrency_keys():
            assert not instance.event_log_storage.get_concurrency_info(pool).active_run_ids


def group(leader: subprocess.Popen[bytes]) -> list[int]:
    """Processes of the session that a process leads, whoever their parent is by now."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader.pid and fields[0] not in "ZX":
                found.append(int(stat.parent.name))
    return found


def steps() -> set[str]:
    """Assets whose step has started in the latest run."""
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(limit=1)
        logs = [
            entry
            for run in runs
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
        ]
    return {(entry.get_dagster_event().step_key or "").rpartition("__")[2] for entry in logs}
