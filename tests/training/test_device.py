"""One training at a time on a device: the others sleep, say what they wait for, and hear."""

import subprocess
import sys
from pathlib import Path

import pytest

from alpha_assets.store.store import Store
from alpha_assets.training.device import TRIES_BETWEEN_LINES, device_alone

HOLDER = """
import sys
from alpha_assets.training.device import device_alone
from alpha_assets.store.store import Store
with device_alone(Store(sys.argv[1]), "cpu", lambda stage, what: None):
    print("holds", flush=True)
    input()
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that trains on the CPU."""
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
