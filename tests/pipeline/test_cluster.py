"""Tasks on a Ray cluster: strangers are refused by name, and content is that of one process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.conftest import PIPELINES, linked

from alpha_assets import project
from alpha_assets.errors import BadInput
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.executor import Task, executor_named
from alpha_assets.pipeline.executors import cluster, versions
from alpha_assets.pipeline.executors.cluster import Home, work
from alpha_assets.pipeline.executors.messages import Failed, Sent
from alpha_assets.store.owner import Owner

HERE = Owner.current().words
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
    lines: list[tuple[int, str, str]] = []

    class Queue:
        put = staticmethod(lines.append)

    sent = Sent(4, 0, b"", {}, ("checkpoint",), ("2021-07",), "cpu")
    monkeypatch.setattr(cluster, "versions", lambda: {"python": "2.7"})
    found = work(home, sent, b"", Queue())
    assert isinstance(found, Failed)
    assert (found.number, type(found.error)) == (4, BadInput)
    assert lines == [(4, "worker", f"{HERE}: checkpoint 2021-07")]


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
        timeout=900,
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
def test_what_a_cluster_cannot_run_is_refused_by_name(ran: Mapping[str, Any]) -> None:
    refused = ran["refused"]
    assert "has other packages than who asked: torch " in refused["versions"]
    assert "does not see the storage" in refused["storage"]
    assert refused["gpu"].startswith(
        "--workers ray: a task takes 1 CPU and 1 GPU, and no machine of the cluster has as much ("
    )
