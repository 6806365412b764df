"""One writer per output folder.

A lock is a small file under `storage/_tmp/locks/` that names its owner.  It is read and
changed only under a kernel lock that is held for microseconds and that the kernel drops with
its process, so two waiters cannot both take over from one dead owner.

Whether a process of this host lives is known.  Of another host it is not: its lock is a lease,
renewed once a minute while it is held, that runs out five minutes after the last renewal.
"""

import fcntl
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alpha_assets.errors import LockHeld
from alpha_assets.store.lease import LEASE, Place, lease, own
from alpha_assets.store.os_errors import disk_errors
from alpha_assets.store.owner import Owner

log = logging.getLogger(__name__)

DEFAULT_WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.02

Clock = Callable[[], datetime]

# (process, thread, lock file) -> lock file.
_held: dict[Place, Path] = {}


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Record:
    """The content of a lock file."""

    owner: Owner | None = None  # None: no lock
    since: str = ""
    renewed: datetime | None = None

    def is_free(self, now: datetime) -> bool:
        """Whether another process may take the lock."""
        if self.owner is None or self.owner.is_dead():
            return True
        if self.owner.is_here or self.renewed is None:
            return False
        return now - self.renewed >= LEASE


@contextmanager
def folder_lock(
    locks: Path,
    folder: str,
    wait_seconds: float = DEFAULT_WAIT_SECONDS,
    *,
    clock: Clock = utc_now,
) -> Iterator[None]:
    """Hold the only right to write a folder.

    Args:
        locks: the directory of lock files.
        folder: the output, as `market/panel/month=2023-07`.
        wait_seconds: how long to wait for another living owner; infinite for ever.
        clock: the present instant, with a zone.

    Raises:
        LockHeld: the other owner did not finish in time; the message names it.
    """
    lock = _lock_file(locks, folder)

    def take() -> Path:
        _acquire(lock, folder, wait_seconds, clock)
        return lock

    def give_back(lock: Path) -> None:
        with disk_errors(lock, "write"), _guard(locks):
            if _read(lock).owner == Owner.current():
                lock.unlink()

    def prolong(lock: Path) -> bool:
        return renew(locks, folder, clock=clock)

    with lease(_held, own(lock), folder, take, prolong, give_back):
        yield


def check_held(locks: Path, folder: str) -> None:
    """Refuse to go on where the lease of this process ran out and another process took it.

    Raises:
        LockHeld: naming the other process.
    """
    lock = _lock_file(locks, folder)
    with disk_errors(lock, "read"), _guard(locks):
        record = _read(lock)
    if record.owner is not None and record.owner != Owner.current():
        raise LockHeld(
            f"{folder}: {record.owner.words} took over the lock at {record.since}, since this "
            f"process did not renew it for {LEASE}; nothing was written: run again"
        )


def renew(locks: Path, folder: str, *, clock: Clock = utc_now) -> bool:
    """Prolong the lease of this process; False where the lock is no longer its own."""
    lock = _lock_file(locks, folder)
    with disk_errors(lock, "write"), _guard(locks):
        record = _read(lock)
        if record.owner != Owner.current():
            return False
        _write(lock, folder, record.since, clock())
    return True


def _lock_file(locks: Path, folder: str) -> Path:
    return locks / f"{hashlib.sha256(folder.encode()).hexdigest()[:24]}.lock"


def _acquire(lock: Path, folder: str, wait_seconds: float, clock: Clock) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        with disk_errors(lock, "write"):
            lock.parent.mkdir(parents=True, exist_ok=True)
            with _guard(lock.parent):
                record, now = _read(lock), clock()
                if record.is_free(now):
                    _write(lock, folder, now.isoformat(timespec="seconds"), now)
                    break
        assert record.owner is not None, "a lock without an owner is free"
        if time.monotonic() >= deadline:
            if record.owner.is_here:
                way_out = f"if that process is gone, delete {lock}"
            else:
                way_out = (
                    f"if that process is gone, its lock runs out {LEASE} after its last sign of "
                    f"life, {record.renewed}"
                )
            raise LockHeld(
                f"{folder} is being written by {record.owner.words} since {record.since}; waited "
                f"{wait_seconds:g} s. Let it finish and run again; {way_out}",
                owner=f"{record.owner.words} since {record.since}",
            )
        time.sleep(_PAUSE_SECONDS)
    if record.owner is not None:
        gone = "which is gone" if record.owner.is_dead() else f"silent since {record.renewed}"
        log.warning("%s: took over the lock of %s, %s", folder, record.owner.words, gone)


@contextmanager
def _guard(locks: Path) -> Iterator[None]:
    with (locks / "guard").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(lock: Path) -> _Record:
    """Return the owner of the lock and since when; no owner where the file is malformed."""
    try:
        record = json.loads(lock.read_text(encoding="utf-8"))
        owner = Owner(str(record["host"]), int(record["pid"]), str(record["start"]))
        since = str(record["since"])
        renewed = datetime.fromisoformat(record.get("renewed", since)).astimezone(UTC)
        return _Record(owner, since, renewed)
    except FileNotFoundError:
        return _Record()
    except (ValueError, KeyError, TypeError, AttributeError):
        # A lock appears whole or not at all; this file was changed by hand.
        log.warning("%s names no owner; taken over", lock)
        return _Record()


def _write(lock: Path, folder: str, since: str, renewed: datetime) -> None:
    owner = Owner.current()
    record = {
        "folder": folder,
        "host": owner.host,
        "pid": owner.pid,
        "start": owner.start,
        "since": since,
        "renewed": renewed.isoformat(timespec="seconds"),
    }
    draft = lock.with_suffix(".draft")
    draft.write_text(json.dumps(record), encoding="utf-8")
    draft.replace(lock)
