"""Atomic replacement of folders.

A folder is built whole in an *entry* of `storage/_tmp/`, whose name holds the target and the
process, and is then moved into place:

- where the kernel can exchange two names (Linux, most local file systems), in one step;
- elsewhere in two renames: the target into the entry as `old`, then `new` to the target.
  While both `old` and `new` lie in the entry the move is incomplete; where its process is dead,
  the next reader or writer completes it.

An entry without that pair is garbage once its process is gone: unfinished, or replaced.
"""

import ctypes
import errno
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from alpha_assets.errors import LockHeld
from alpha_assets.store.location import TMP
from alpha_assets.store.lock import folder_lock
from alpha_assets.store.owner import Owner

log = logging.getLogger(__name__)

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


@dataclass(frozen=True)
class Entry:
    """A folder of `storage/_tmp/` in which one process prepares one target."""

    path: Path
    owner: Owner

    @property
    def new(self) -> Path:
        """What will take the place; after an exchange, what had it."""
        return self.path / "new"

    @property
    def old(self) -> Path:
        """What had the place, while two renames are under way."""
        return self.path / "old"

    @property
    def folder(self) -> str | None:
        """The target below the root; None where the entry was left before it was named."""
        with suppress(FileNotFoundError):
            return (self.path / "target").read_text(encoding="utf-8") or None
        return None

    @property
    def is_under_way(self) -> bool:
        """Whether two renames have begun and not ended."""
        return self.old.exists() and self.new.exists()


def stage(root: Path, folder: str) -> Entry:
    """Return a new entry of this process for the target `folder`, with an empty `new`."""
    owner = Owner.current()
    name = hashlib.sha256(folder.encode()).hexdigest()[:24]
    path = root / TMP / f"{name},{owner},{secrets.token_hex(4)}"
    path.mkdir(parents=True)
    (path / "target").write_text(folder, encoding="utf-8")
    entry = Entry(path, owner)
    entry.new.mkdir()
    return entry


def publish(entry: Entry, target: Path) -> None:
    """Atomically replace `target` with `entry.new`; the caller must hold the lock."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        entry.new.rename(target)
    elif not exchange(entry.new, target):
        target.rename(entry.old)
        entry.new.rename(target)
    sync_directory(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two existing paths in one step; False where that is unsupported."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    failed = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def settle(entry: Entry, target: Path) -> None:
    """Complete the move of an entry and remove it; the caller must hold the target's lock."""
    if entry.is_under_way and not target.exists():
        entry.new.rename(target)
    discard(entry)


def discard(entry: Entry) -> None:
    """Remove an entry; what cannot be removed is left and logged."""
    try:
        shutil.rmtree(entry.path)
    except FileNotFoundError:
        pass  # another process cleans up too
    except OSError as error:
        log.warning("%s cannot be removed (%s); delete it by hand", entry.path, error)


def entries(root: Path) -> Iterator[Entry]:
    """Yield the entries in `storage/_tmp/`, of every process."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted((root / TMP).iterdir()):
            owner = Owner.parse(path.name.partition(",")[2].rpartition(",")[0])
            if owner is not None:
                yield Entry(path, owner)


def sweep(root: Path) -> None:
    """Settle the entries of dead processes in `storage/_tmp/`.

    A process of another host counts as dead where it does not hold the target's lock: it holds
    the lock from before its entry is created until the entry is removed.
    """
    for entry in entries(root):
        if _may_be_dead(entry):
            _settle_of_dead(root, entry, "cleaned up after")


def finish_interrupted(root: Path) -> bool:
    """Complete the moves of dead processes; True if any move is under way.

    A living process's own move is left to it: it takes microseconds.
    """
    found = False
    for entry in entries(root):
        if entry.is_under_way:
            found = True
            if _may_be_dead(entry):
                _settle_of_dead(root, entry, "finished the move of")
    return found


def _may_be_dead(entry: Entry) -> bool:
    return entry.owner.is_dead() or not entry.owner.is_here


def _settle_of_dead(root: Path, entry: Entry, what: str) -> None:
    folder = entry.folder
    if folder is None:
        if entry.owner.is_dead():
            discard(entry)
            log.warning("%s: %s %s, which is gone", entry.path, what, entry.owner.words)
        return
    # Where another process writes the same target, it or the next one will clean up.
    with suppress(LockHeld), folder_lock(root / TMP / "locks", folder, wait_seconds=0.0):
        settle(entry, root / folder)
        log.warning("%s: %s %s, which is gone", entry.path, what, entry.owner.words)


def sync_directory(path: Path) -> None:
    """Sync a directory, so that the names in it survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
