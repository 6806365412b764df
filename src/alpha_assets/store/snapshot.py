"""Files of one folder as they lay together, while others may be replacing the folder.

A reader opens the directory once and every file through it, so that it never pairs the
manifest of one version with the rows of another.  Bytes are checked against the manifest
before anything reads meaning into them.
"""

import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from alpha_assets.errors import BadInput, MissingOutput, StorageError
from alpha_assets.store.hashing import HASH_LENGTH
from alpha_assets.store.manifest import MANIFEST, Manifest, StoredFile, parse_manifest
from alpha_assets.store.os_errors import disk_errors

T = TypeVar("T")

_TRIES = 1000  # each is lost only to a writer that replaced the folder meanwhile
_CHUNK = 1 << 20  # bytes

# Device, inode, times, size and hash of files whose bytes were hashed: once a process.  The time
# of the last change of status cannot be set back by hand, unlike that of the last write.
_found_whole: set[tuple[int, int, int, int, int, str]] = set()


@dataclass(frozen=True)
class Snapshot:
    """One version of a folder, held open."""

    path: Path
    handle: int
    manifest: Manifest

    def stored(self, name: str) -> StoredFile:
        """Return what the manifest says of a file.

        Raises:
            MissingOutput: the folder was made without it.
        """
        if name not in self.manifest.files:
            raise MissingOutput(
                f"{self.path} holds no {name}; it has {', '.join(sorted(self.manifest.files))} "
                f"and its status is {self.manifest.status!r}"
            )
        return self.manifest.files[name]

    def open(self, name: str) -> IO[bytes]:
        """Return a file, open, its bytes found to be those that were written.

        Raises:
            StorageError: truncated or changed since.
        """
        return self._opened(name, anew=False)

    def moved(self, *, verify: bool = False) -> dict[str, os.stat_result]:
        """Return the files that are whole and whose stat differs: a storage that was copied.

        Args:
            verify: hash every file; default: only those whose size, time or inode differ.

        Raises:
            StorageError: a file is gone, truncated or changed.
        """
        found = {}
        for name, stored in self.manifest.files.items():
            now = os.stat(name, dir_fd=self.handle)
            differs = (now.st_mtime_ns, now.st_ino) != (stored.mtime_ns, stored.inode)
            if verify or differs or now.st_size != stored.size:
                self._opened(name, anew=verify).close()
            if differs:
                found[name] = now
        return found

    def _opened(self, name: str, *, anew: bool) -> IO[bytes]:
        stored = self.stored(name)
        file = _open(self.handle, self.path, name)
        try:
            _check(file, stored, self.path / name, anew)
        except BaseException:
            file.close()
            raise
        return file


def read_snapshot(path: Path, use: Callable[[Snapshot], T], way_out: str) -> T:
    """Return what `use` reads from one version of a folder.

    Args:
        path: the folder.
        use: reads through the snapshot; it is called again if the folder was replaced
            under its hands, and must not keep the snapshot.
        way_out: what to do about a folder that is not whole.

    Raises:
        FileNotFoundError: no folder, or one without a manifest.
        StorageError: a file is gone, truncated, changed, or cannot be read.
    """
    for _ in range(_TRIES):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with _open(handle, path, MANIFEST) as file:
                manifest = parse_manifest(file.read(), path / MANIFEST)
        except DamagedFile as error:
            os.close(handle)
            raise StorageError(f"{error}; {way_out}") from None
        except FileNotFoundError:
            replaced = _was_replaced(path, handle)
            os.close(handle)
            if replaced:
                continue
            raise
        except BaseException:
            os.close(handle)
            raise
        try:
            return use(Snapshot(path, handle, manifest))
        except FileNotFoundError as error:
            if not _was_replaced(path, handle):
                raise StorageError(f"{path / str(error.filename)} is gone; {way_out}") from None
        except DamagedFile as error:
            raise StorageError(f"{error}; {way_out}") from None
        finally:
            os.close(handle)
    raise StorageError(f"{path} was replaced {_TRIES} times while it was read; stop its writers")


class DamagedFile(Exception):
    """A file is not what its manifest says; becomes a `StorageError` with the way out."""


def checked_columns(known: Sequence[str], wanted: Sequence[str] | None, name: str) -> list[str]:
    """Return the columns to read of a table; default: all that it has.

    Raises:
        BadInput: one that it does not have.
    """
    unknown = [column for column in wanted or () if column not in known]
    if unknown:
        raise BadInput(f"{name} has no column {unknown[0]!r}; it has {', '.join(known)}")
    return list(known if wanted is None else wanted)


def _open(handle: int, path: Path, name: str) -> IO[bytes]:
    # Without O_NONBLOCK the opening of a pipe would wait for who writes into it.
    file = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=handle)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise DamagedFile(f"{path / name} is a folder, a pipe or a device and should be a file")
    return os.fdopen(file, "rb")


def _was_replaced(path: Path, handle: int) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return True
    return not os.path.samestat(now, os.fstat(handle))


def _check(file: IO[bytes], stored: StoredFile, path: Path, anew: bool) -> None:
    with disk_errors(path, "read"):
        now = os.fstat(file.fileno())
        if now.st_size != stored.size:
            raise DamagedFile(
                f"{path} has {now.st_size:,} bytes and its manifest says {stored.size:,}: "
                "it was truncated or changed"
            )
        wanted = stored.bytes_hash or f"CRC-32 {stored.crc32:08x}"
        times = (now.st_mtime_ns, now.st_ctime_ns)
        seen = (now.st_dev, now.st_ino, *times, now.st_size, wanted)
        if seen in _found_whole and not anew:
            return
        found = _hash_of(file, stored)
        if found != wanted:
            raise DamagedFile(
                f"{path} has other bytes than were written (their hash is {found}, its manifest "
                f"says {wanted}): it is corrupt"
            )
        file.seek(0)
        _found_whole.add(seen)


def _hash_of(file: IO[bytes], stored: StoredFile) -> str:
    """Return the hash of a file's bytes, in the form in which its manifest names it."""
    checksum, whole = 0, hashlib.sha256()
    while chunk := file.read(_CHUNK):
        if stored.bytes_hash is None:
            checksum = zlib.crc32(chunk, checksum)
        else:
            whole.update(chunk)
    if stored.bytes_hash is None:
        return f"CRC-32 {checksum:08x}"
    return whole.hexdigest()[:HASH_LENGTH]
