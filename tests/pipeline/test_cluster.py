"""Tasks on a Ray cluster: strangers are refused by name, and content is that of one process."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tests.conftest import PIPELINES, linked
from tests.pipeline.fake_driver import FOLDER, WORDS

from alpha_assets import project
from alpha_assets.errors import BadInput, WorkerLost
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.executor import Task, executor_named
from alpha_assets.pipeline.executors import cluster, ray_driver, ray_task, versions
from alpha_assets.pipeline.executors.messages import Batch, Failed, Sent
from alpha_assets.pipeline.executors.ray_task import Home, work
from alpha_assets.store.owner import Owner

HERE = Owner.current().words
FAKE = "tests.pipeline.fake_driver"
PROGRAM = Path(__file__).with_name("ray_run.py")


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))


@pytest.fixture
def context(tmp_path: Path) -> RecipeContext:
    return project.open_context("tiny", storage=str(tmp_path / "storage"))


@pytest.fixture
def home(context: RecipeContext, tmp_path: Path) -> Home:
    found = Home("ours", str(tmp_path), versions.versions(), context.store.address)
    found.probe.write(b"ours")
    return found


def test_without_ray_the_extra_that_brings_it_is_named(
    context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"ray is not installed; pip install 'alpha-assets\[ray\]'"):
        executor_named("ray", context)


def test_without_an_address_no_cluster_is_started(
    context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(BadInput, match="RAY_ADDRESS names no cluster; set it to the address of"):
        executor_named("ray", context)


def test_an_address_at_which_nothing_listens_is_refused_at_once(
    context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))  # it is asked for nothing
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    task = Task(context, ("checkpoint",), ("2021-07",))
    with pytest.raises(BadInput, match=r"RAY_ADDRESS = '127\.0\.0\.1:1': no cluster answers there"):
        executor_named("ray", context).run([task], lambda *_: None)


def test_other_packages_are_refused_with_both_versions(home: Home) -> None:
    home.refuse_strangers()
    other = replace(home, versions={**home.versions, "torch": "1.0", "lightgbm": "none"})
    mine = home.versions["torch"]
    with pytest.raises(BadInput) as refused:
        other.refuse_strangers()
    words = str(refused.value)
    assert words.startswith(f"{HERE}, a worker of Ray, has other packages than who asked: torch ")
    assert f"torch {mine} here, 1.0 there, lightgbm {home.versions['lightgbm']} here, none" in words


def test_a_worker_that_does_not_see_the_storage_is_named(home: Home, tmp_path: Path) -> None:
    elsewhere = replace(home, storage=str(tmp_path / "another"))
    another_run = replace(home, run="theirs")
    for stranger in (elsewhere, another_run):
        with pytest.raises(BadInput, match=f"{HERE}, a worker of Ray, does not see the storage /"):
            stranger.refuse_strangers()
    (tmp_path / "file").touch()
    broken = replace(home, storage=str(tmp_path / "file"))
    with pytest.raises(BadInput, match=r"does not see|cannot read the storage"):
        broken.refuse_strangers()


def test_a_task_returns_why_it_was_refused_and_names_where_it_ran(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.folder)  # a task leaves the folder that it was started in
    lines: list[tuple[int, str, str]] = []

    class Queue:
        put = staticmethod(lines.append)

    sent = Sent(4, 0, b"", {}, ("checkpoint",), ("2021-07",), "cpu")
    monkeypatch.setattr(ray_task, "versions", lambda: {"python": "2.7"})
    found = work(home, sent, b"", Queue())
    assert isinstance(found, Failed)
    assert (found.number, type(found.error)) == (4, BadInput)
    assert lines == [(4, "worker", f"{HERE}: checkpoint 2021-07")]


class Listener:
    """What answers at the address of a cluster, until it is closed."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.socket.getsockname()[1]}"


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))  # it is asked for nothing
    found = Listener()
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    with found.socket:
        yield found


@pytest.fixture
def drivers(listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fake drivers leave the numbers of the tasks that they were given."""
    folder = tmp_path / "drivers"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    monkeypatch.setattr(cluster, "SECONDS_BETWEEN_CALLS", 0.01)
    return folder


def run_fake(context: RecipeContext, words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run three tasks by fake drivers, which do what the words say; return the lines."""
    monkeypatch.setenv(WORDS, words)
    lines: list[str] = []
    tasks = [Task(context, (), (f"2021-0{n}",)) for n in (1, 2, 3)]
    cluster.Cluster(FAKE).run(tasks, lambda stage, what: lines.append(what))
    return [line for line in lines if not line.startswith("months")]


def given(drivers: Path) -> list[str]:
    return [
        (drivers / name).read_text() for name in sorted(path.name for path in drivers.iterdir())
    ]


def test_what_a_lost_cluster_has_not_done_is_handed_out_again(
    context: RecipeContext, listener: Listener, drivers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = run_fake(context, "first none all", monkeypatch)
    assert given(drivers) == ["0 1 2", "1 2", "1 2"]
    assert lines[0] == "made tiny 2021-01"
    here = f"the Ray cluster at {listener.address}"
    assert lines[1].startswith(f"{here} was lost (the process that spoke to it ended with exit")
    assert lines[2] == f"{here} answers again; 2 tasks are left"
    assert len(lines) == 5


def test_a_cluster_that_is_lost_again_and_again_is_given_up(
    context: RecipeContext, drivers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorkerLost, match="was lost 3 times with no task done between"):
        run_fake(context, "none", monkeypatch)
    assert given(drivers) == ["0 1 2"] * 3


def test_a_lost_cluster_that_does_not_come_back_is_named(
    context: RecipeContext, listener: Listener, drivers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SECONDS_TO_COME_BACK", 0.1)
    silent_from_now = iter([None])
    monkeypatch.setattr(
        cluster, "silence", lambda _: next(silent_from_now, ConnectionError("refused"))
    )
    with pytest.raises(WorkerLost, match=r"did not come back within .* minutes \(refused\)"):
        run_fake(context, "first", monkeypatch)


def test_a_cluster_that_refuses_is_asked_again_only_where_it_was_lost(
    context: RecipeContext, drivers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_fake(context, "first refused refused all", monkeypatch)
    assert given(drivers) == ["0 1 2", "1 2", "1 2", "1 2"]
    monkeypatch.setattr(cluster, "SECONDS_TO_COME_BACK", 0.0)
    with pytest.raises(BadInput, match="no machine has room"):
        run_fake(context, "refused", monkeypatch)
    assert len(given(drivers)) == 5


class Nodes:
    """As much of Ray as names the machines of a cluster."""

    def __init__(self, *resources: Mapping[str, float]) -> None:
        self._nodes = [{"Alive": True, "Resources": one} for one in resources]

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes


@pytest.mark.parametrize(
    ("device", "nodes", "needs"),
    [
        ("auto", [{"CPU": 1}], {"CPU": 1}),
        ("auto", [{"CPU": 1}, {"CPU": 1, "GPU": 2}], {"CPU": 1, "GPU": 1}),
        ("cpu", [{"CPU": 1, "GPU": 2}], {"CPU": 1}),
        ("cuda", [{"CPU": 1, "GPU": 2}], {"CPU": 1, "GPU": 1}),
    ],
)
def test_auto_is_a_gpu_where_the_cluster_has_one(
    device: str, nodes: list[Mapping[str, float]], needs: Mapping[str, float]
) -> None:
    batch = Batch("", b"", {}, {}, {}, threads=1, device=device)
    run = ray_driver.Run(Nodes(*nodes), batch, lambda _: None)
    assert run._refuse_small_cluster() == needs
    assert run.batch.device == ("cuda" if "GPU" in needs else "cpu")


class TaskRaised(Exception):
    """An error of Ray: the function itself raised."""


class Unloaded:
    """As much of Ray as tells that no task can be loaded; see `Nodes`."""

    exceptions = SimpleNamespace(RayTaskError=TaskRaised, RayError=Exception)

    def wait(self, refs: list[object], timeout: float) -> tuple[list[object], list[object]]:
        return refs, []

    def get(self, ref: object) -> object:
        raise TaskRaised("ray::tiny\n  in a file\nImportError: alpha_assets")

    def cancel(self, ref: object, *, force: bool) -> None:
        """Nothing runs."""


def test_a_worker_without_our_packages_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    batch = Batch("", b"", {0: None, 1: None}, {}, {}, threads=1, device="cpu")  # type: ignore[dict-item]
    run = ray_driver.Run(Unloaded(), batch, sent.append)
    monkeypatch.setattr(run, "_hand_out", lambda number: run.refs.update({f"ref {number}": number}))
    monkeypatch.setattr(run, "_report", lambda: None)
    run.run()
    assert [(one.number, type(one.error)) for one in sent] == [(0, BadInput), (1, BadInput)]
    words = "a worker of Ray cannot load what a task needs (ray::tiny … ImportError: alpha_assets);"
    assert words in str(sent[0].error)


def test_more_cores_or_gpus_than_any_machine_has_are_refused() -> None:
    batch = Batch("", b"", {}, {}, {}, threads=2, device="cuda")
    run = ray_driver.Run(Nodes({"CPU": 1}, {"CPU": 8}), batch, lambda _: None)
    with pytest.raises(BadInput) as refused:
        run._refuse_small_cluster()
    words = "a task takes 2 CPU and 1 GPU, and no machine of the cluster has as much (1 CPU, 0 GPU;"
    assert words in str(refused.value)


@pytest.fixture(scope="module")
def ran(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What happened on a cluster of two nodes, in a network that is loopback alone."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    alone = ["unshare", "-r", "-n", "-p", "-f", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("this system gives no network of its own (unshare), and Ray listens on all")
    folder = tmp_path_factory.mktemp("ray")
    linked(tiny_run, folder / "storage")
    done = subprocess.run(
        [*alone, sys.executable, "-W", "ignore", str(PROGRAM), str(folder)],
        check=False,
        stdout=subprocess.PIPE,
        env={**os.environ, "ALPHA_PIPELINES": str(PIPELINES)},
        timeout=1500,
    )
    assert done.returncode == 0
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_a_cluster_gives_the_bits_of_one_process_though_a_worker_is_killed(
    ran: Mapping[str, Any],
) -> None:
    assert ran["contents"] == ran["expected"]
    (line,) = [line for line in ran["lines"] if "was lost" in line]
    assert line.startswith(f"process {ran['killed']} on ")
    assert line.endswith("(WorkerCrashedError); it is tried again, 1 of 2")


@pytest.mark.slow
def test_a_run_goes_on_by_itself_once_the_head_is_restarted(ran: Mapping[str, Any]) -> None:
    assert ran["restarted"] == ran["expected"]
    lost, back = [line for line in ran["of_restart"] if "the Ray cluster at" in line]
    assert "was lost (the process that spoke to it ended with exit code" in lost  # by us or Ray
    assert back.endswith("answers again; 2 tasks are left")


@pytest.mark.slow
def test_what_a_cluster_cannot_run_is_refused_by_name(ran: Mapping[str, Any]) -> None:
    refused = ran["refused"]
    assert "has other packages than who asked: torch " in refused["versions"]
    assert "does not see the storage" in refused["storage"]
    assert refused["gpu"].startswith(
        "--workers ray: a task takes 1 CPU and 1 GPU, and no machine of the cluster has as much ("
    )
