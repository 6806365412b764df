"""One writer per folder: others wait, the dead are replaced, the living are named."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alpha_assets.errors import LockHeld
from alpha_assets.store import lease
from alpha_assets.store import lock as lock_module
from alpha_assets.store import owner as owner_module
from alpha_assets.store.lock import check_held, folder_lock, renew
from alpha_assets.store.owner import Owner

FOLDER = "sim/panel/month=2023-07"


def the_lock(locks: Path) -> Path:
    """Return the only lock file."""
    (found,) = locks.glob("*.lock")
    return found


def leave_lock(locks: Path, **changed: object) -> None:
    """Write a lock as some other process would have left it."""
    with folder_lock(locks, FOLDER):
        path = the_lock(locks)
        record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **changed}))


def dead_pid() -> int:
    """Return the number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return child.pid


def test_a_lock_names_its_owner_while_it_is_held(tmp_path: Path) -> None:
    with folder_lock(tmp_path, FOLDER):
        record = json.loads(the_lock(tmp_path).read_text())
    me = Owner.current()

    assert (record["folder"], record["host"], record["pid"]) == (FOLDER, me.host, os.getpid())
    assert record["start"] == me.start
    assert not me.is_dead()
    assert list(tmp_path.glob("*.lock")) == []


def test_a_lock_is_given_back_when_its_holder_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), folder_lock(tmp_path, FOLDER):
        raise ZeroDivisionError

    assert list(tmp_path.glob("*.lock")) == []


def test_a_thread_may_lock_what_it_has_locked(tmp_path: Path) -> None:
    with folder_lock(tmp_path, FOLDER):
        with folder_lock(tmp_path, FOLDER, wait_seconds=0):
            pass
        assert the_lock(tmp_path).exists()


def test_another_folder_is_not_locked(tmp_path: Path) -> None:
    leave_lock(tmp_path, pid=os.getppid(), start="")

    with folder_lock(tmp_path, FOLDER.replace("07", "08"), wait_seconds=0):
        pass


def test_a_living_owner_is_named_when_the_wait_is_over(tmp_path: Path) -> None:
    leave_lock(tmp_path, pid=os.getppid(), start="")

    with (
        pytest.raises(
            LockHeld,
            match=rf"{FOLDER} is being written by process {os.getppid()} on .* since 20.*; waited "
            r"0.05 s. Let it finish .* delete .*\.lock",
        ),
        folder_lock(tmp_path, FOLDER, wait_seconds=0.05),
    ):
        pass
    assert the_lock(tmp_path).exists()


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def at(minutes: float) -> Callable[[], datetime]:
    """Return a clock that stands so many minutes after noon."""
    return lambda: NOON + timedelta(minutes=minutes)


def test_a_lock_of_another_host_is_a_lease_that_runs_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_lock(tmp_path, host="elsewhere", pid=dead_pid(), renewed=NOON.isoformat())

    with (
        pytest.raises(LockHeld, match=r"on elsewhere .*its lock runs out 0:05:00 after .*12:00"),
        folder_lock(tmp_path, FOLDER, wait_seconds=0, clock=at(4.9)),
    ):
        pass

    with (
        caplog.at_level(logging.WARNING),
        folder_lock(tmp_path, FOLDER, wait_seconds=0, clock=at(5)),
    ):
        assert json.loads(the_lock(tmp_path).read_text())["pid"] == os.getpid()
    assert re.search(r"took over the lock of process \d+ on elsewhere, silent since", caplog.text)


def test_a_lock_is_renewed_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = iter(range(100))
    renewed = threading.Event()

    def clock() -> datetime:
        minute = next(minutes)
        if minute >= 3:
            renewed.set()
        return NOON + timedelta(minutes=minute)

    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.001)
    with folder_lock(tmp_path, FOLDER, clock=clock):
        assert renewed.wait(30)
        record = json.loads(the_lock(tmp_path).read_text())
    assert record["since"] == NOON.isoformat(timespec="seconds")
    assert datetime.fromisoformat(record["renewed"]) > NOON


def test_a_lease_that_was_taken_over_is_not_renewed_and_stops_its_writer(tmp_path: Path) -> None:
    with folder_lock(tmp_path, FOLDER):
        check_held(tmp_path, FOLDER)
        path = the_lock(tmp_path)
        path.write_text(json.dumps({**json.loads(path.read_text()), "host": "elsewhere"}))

        assert not renew(tmp_path, FOLDER)
        with pytest.raises(
            LockHeld, match=r"on elsewhere took over the lock .*nothing was written"
        ):
            check_held(tmp_path, FOLDER)
    assert path.exists()  # it is the other's now


def test_a_dead_owner_is_taken_over_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = dead_pid()
    leave_lock(tmp_path, pid=gone)

    with caplog.at_level(logging.WARNING), folder_lock(tmp_path, FOLDER, wait_seconds=0):
        assert json.loads(the_lock(tmp_path).read_text())["pid"] == os.getpid()

    assert f"{FOLDER}: took over the lock of process {gone} on" in caplog.text


def test_a_number_that_was_used_again_is_not_its_first_owner(tmp_path: Path) -> None:
    leave_lock(tmp_path, pid=os.getppid(), start="otherboot.1")

    with folder_lock(tmp_path, FOLDER, wait_seconds=0):
        pass


def test_a_killed_owner_that_nobody_buried_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    start = owner_module._start(child.pid)
    alive = Owner(Owner.current().host, child.pid, start or "")
    assert not alive.is_dead()

    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, still a zombie

    assert alive.is_dead()
    assert child.stdin is not None
    child.stdin.close()
    child.wait()


def test_a_waiter_gets_the_lock_when_it_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, entered = threading.Event(), threading.Event()
    monkeypatch.setattr(lock_module.time, "sleep", lambda seconds: waiting.set())

    def second() -> None:
        with folder_lock(tmp_path, FOLDER, wait_seconds=30):
            entered.set()

    thread = threading.Thread(target=second)
    with folder_lock(tmp_path, FOLDER):
        thread.start()
        assert waiting.wait(30)
        assert not entered.is_set()
    thread.join(30)
    assert entered.is_set()


def test_only_one_of_many_takes_over(tmp_path: Path) -> None:
    leave_lock(tmp_path, pid=dead_pid())
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(10):
            with folder_lock(tmp_path, FOLDER, wait_seconds=60):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1] * 40


def test_a_lock_that_was_changed_by_hand_is_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_lock(tmp_path)
    the_lock(tmp_path).write_text("{}")

    with caplog.at_level(logging.WARNING), folder_lock(tmp_path, FOLDER, wait_seconds=0):
        pass

    assert "names no owner; taken over" in caplog.text


def test_an_owner_is_read_back_from_its_text() -> None:
    me = Owner.current()

    assert Owner.parse(str(me)) == me
    for text in ("", "resume", "a,b,c", "a,1", "a,1,b,c"):
        assert Owner.parse(text) is None
