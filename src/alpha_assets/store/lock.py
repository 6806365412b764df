"""One writer per output folder.

A lock is a small file under `storage/_tmp/locks/` that names its owner.  It is looked at and
changed only under a kernel lock that is held for microseconds and that the kernel drops with
its process, so two waiters cannot both take over from one dead owner.
"""

import fcntl
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alpha_assets.errors import LockHeld
from alpha_assets.store.owner import Owner
from alpha_assets.store.trouble import disk_errors

log = logging.getLogger(__name__)

DEFAULT_WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.02

# (process, thread, lock file) -> how often held: a thread may lock what it has locked.
_held: dict[tuple[int, int, Path], int] = {}


@contextmanager
def folder_lock(
    locks: Path, folder: str, wait_seconds: float = DEFAULT_WAIT_SECONDS
) -> Iterator[None]:
    """Hold the only right to write a folder.

    Args:
        locks: the directory of lock files.
        folder: the output, as `market/panel/month=2023-07`.
        wait_seconds: how long to wait for another living owner.

    Raises:
        LockHeld: the other owner did not finish in time; the message names it.
    """
    name = hashlib.sha256(folder.encode()).hexdigest()[:24]
    lock = locks / f"{name}.lock"
    mine = (os.getpid(), threading.get_ident(), lock)
    if mine not in _held:
        _acquire(lock, folder, wait_seconds)
    _held[mine] = _held.get(mine, 0) + 1
    try:
        yield
    finally:
        _held[mine] -= 1
        if not _held[mine]:
            del _held[mine]
            with disk_errors(lock, "write"), _guard(locks):
                if _read(lock)[0] == Owner.current():
                    lock.unlink()


def _acquire(lock: Path, folder: str, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        with disk_errors(lock, "write"):
            lock.parent.mkdir(parents=True, exist_ok=True)
            with _guard(lock.parent):
                owner, since = _read(lock)
                if owner is None or owner.is_dead():
                    _write(lock, folder)
                    break
        if time.monotonic() >= deadline:
            raise LockHeld(
                f"{folder} is being written by {owner.words} since {since}; waited "
                f"{wait_seconds:g} s. Let it finish and run again; if that process is gone, "
                f"delete {lock}"
            )
        time.sleep(_PAUSE_SECONDS)
    if owner is not None:
        log.warning("%s: took over the lock of %s, which is gone", folder, owner.words)


@contextmanager
def _guard(locks: Path) -> Iterator[None]:
    with (locks / "guard").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(lock: Path) -> tuple[Owner | None, str]:
    """Return who holds the lock, and since when; nobody where the file is not whole."""
    try:
        record = json.loads(lock.read_text(encoding="utf-8"))
        owner = Owner(str(record["host"]), int(record["pid"]), str(record["start"]))
        return owner, str(record["since"])
    except FileNotFoundError:
        return None, ""
    except (ValueError, KeyError, TypeError):
        # A lock appears whole or not at all; this file was changed by hand.
        log.warning("%s says nothing about its owner; taken over", lock)
        return None, ""


def _write(lock: Path, folder: str) -> None:
    owner = Owner.current()
    record = {
        "folder": folder,
        "host": owner.host,
        "pid": owner.pid,
        "start": owner.start,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    draft = lock.with_suffix(".draft")
    draft.write_text(json.dumps(record), encoding="utf-8")
    draft.replace(lock)
