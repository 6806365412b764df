"""One training at a time, on a device and of a model: the others report whom they wait for."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
import torch

from alpha_assets.errors import BadInput
from alpha_assets.store.store import Store
from alpha_assets.store.wait import TRIES_BETWEEN_LINES
from alpha_assets.training import device
from alpha_assets.training.device import cores, device_alone, model_alone

MODEL = ("tiny", "tiny", "checkpoint", "2021-08")
HOLDER = f"""
import sys
from alpha_assets.training.device import cores, device_alone, model_alone
from alpha_assets.store.store import Store
store = Store(sys.argv[1])
device = device_alone(store, "cpu", print, threads=cores())
with model_alone(store.folder(*{MODEL}), print), device:
    print("holds", flush=True)
    input()
"""


@pytest.mark.parametrize("name", ["gpu", "mps", "cpu:0", "CPU", "", "cpu "])
def test_what_nothing_trains_on_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=f"--device {name}: nothing here trains on one; want cpu"):
        device.device_named(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_that_is_absent_is_refused_and_never_replaced(name: str) -> None:
    words = f"--device {name}: there is no such device here, which has no CUDA .*want cpu, or auto"
    with pytest.raises(BadInput, match=words):
        device.device_named(name)
    assert device.device_named("auto") == "cpu"


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that trains a model on the CPU."""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "holds\n"
    return child


class Signalled(BaseException):
    """What a signal's handler raises."""


def test_the_second_sleeps_and_says_for_whom_until_the_first_is_killed(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    lines: list[str] = []
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == TRIES_BETWEEN_LINES + 1:
            holder.kill()
            holder.communicate()

    other = device_alone(Store(str(tmp_path)), "cuda", lambda *_: lines.append("cuda"), sleep=sleep)
    with other:
        assert not slept  # another device is another lock
    with device_alone(
        Store(str(tmp_path)), "cpu", lambda *line: lines.append(line[1]), sleep=sleep
    ):
        pass
    assert slept == [1.0] * (TRIES_BETWEEN_LINES + 1)  # never without a pause
    assert len(lines) == 2  # one at once, one a minute
    assert "waits for the device cpu of " in lines[0]
    assert f"on which process {holder.pid} on " in lines[0]


def test_the_second_of_two_equal_runs_reports_which_process_trains_its_model(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    lines: list[tuple[str, str]] = []
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == TRIES_BETWEEN_LINES + 1:
            holder.kill()
            holder.communicate()

    def progress(stage: str, line: str) -> None:
        lines.append((stage, line))

    with model_alone(store.folder(*MODEL[:-1], "2021-07"), progress, sleep=sleep):
        assert not slept  # another month is another model
    with model_alone(store.folder(*MODEL), progress, sleep=sleep):
        pass
    assert len(slept) == TRIES_BETWEEN_LINES + 1
    assert len(lines) == 2  # one at once, one a minute
    stage, line = lines[0]
    assert stage == "checkpoint"
    assert line.startswith(f"waits for tiny/tiny/checkpoint/2021-08, which process {holder.pid} on")
    assert line.endswith(" trains")


def test_a_signal_ends_the_wait(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    def sleep(seconds: float) -> None:
        raise Signalled

    with (
        pytest.raises(Signalled),
        device_alone(Store(str(tmp_path)), "cpu", lambda *_: None, sleep=sleep),
    ):
        raise AssertionError("the device was not free")
    holder.kill()
    holder.communicate()


def test_a_processor_has_a_place_for_each_core_and_a_gpu_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cores", lambda: 3)
    lines: list[str] = []

    def sleep(seconds: float) -> None:
        raise Signalled

    def trains(name: str, threads: int = 1) -> bool:
        """Whether another process would train at once; a thread may lock what it has locked."""
        store, found = Store(str(tmp_path)), []

        def wait() -> None:
            with (
                suppress(Signalled),
                device_alone(
                    store, name, lambda *line: lines.append(line[1]), threads=threads, sleep=sleep
                ),
            ):
                found.append(name)

        other = Thread(target=wait)
        other.start()
        other.join()
        return bool(found)

    store = Store(str(tmp_path))
    with device_alone(store, "cuda", print):
        assert not trains("cuda")
        assert not trains("cuda:0")
        assert trains("cuda:1")
    with device_alone(store, "cpu", print, threads=2):
        assert trains("cpu")
        assert not trains("cpu", threads=2)
        assert trains("cpu"), "who waits for two cores keeps none meanwhile"
        assert f"on which process {os.getpid()} on " in lines[-1]
        assert lines[-1].count(f"process {os.getpid()}") == 1
    assert trains("cpu", threads=8), "all that there are"
    assert cores() >= 1
