"""Consistent reads of one version of an output, verified against its manifest.

The backend gives the bytes of one version; here they are checked against the manifest before
anything reads meaning into them.
"""

import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, TypeVar

from alpha_assets.errors import BadInput, MissingOutput, StorageError
from alpha_assets.store.backend import Backend, DamagedFile, FileStat, Version
from alpha_assets.store.hashing import HASH_LENGTH
from alpha_assets.store.manifest import Manifest, StoredFile, parse_manifest
from alpha_assets.store.os_errors import disk_errors

T = TypeVar("T")

_CHUNK = 1 << 20  # bytes

# Identity and hash of files that this process verified.
_verified: set[tuple[tuple[int | str, ...], str]] = set()


@dataclass(frozen=True)
class Snapshot:
    """One version of an output and its manifest."""

    address: str
    version: Version
    manifest: Manifest

    def stored(self, name: str) -> StoredFile:
        """Return the manifest's entry of a file.

        Raises:
            MissingOutput: the output was made without it.
        """
        if name not in self.manifest.files:
            raise MissingOutput(
                f"{self.address} holds no {name}; it has "
                f"{', '.join(sorted(self.manifest.files))} and its status is "
                f"{self.manifest.status!r}"
            )
        return self.manifest.files[name]

    def open(self, name: str) -> IO[bytes]:
        """Return an open file whose bytes were verified.

        Raises:
            StorageError: truncated or changed since.
        """
        return self._opened(name, anew=False)

    def content(self, name: str) -> bytes:
        """Return the bytes of a file as they were read, and hashed after that.

        Raises:
            StorageError: truncated or changed since.
        """
        stored = self.stored(name)
        file, now = self.version.open(name)
        address = f"{self.address}/{name}"
        with file, disk_errors(address, "read"):
            content = file.read()
        _check(io.BytesIO(content), now, stored, address, anew=True)
        return content

    def moved(self, names: Iterable[str], *, verify: bool = False) -> dict[str, FileStat]:
        """Return the intact files whose stat differs from the manifest: a storage that was copied.

        Args:
            names: of the files that are looked at.
            verify: hash every file; default: only those whose size, time or inode differ.

        Raises:
            StorageError: a file is gone, truncated or changed.
        """
        found = {}
        for name in names:
            stored = self.manifest.files[name]
            now = self.version.stat(name)
            differs = (now.mtime_ns, now.inode) != (stored.mtime_ns, stored.inode)
            if verify or differs or now.size != stored.size:
                self._opened(name, anew=verify).close()
            if differs:
                found[name] = now
        return found

    def _opened(self, name: str, *, anew: bool) -> IO[bytes]:
        stored = self.stored(name)
        file, now = self.version.open(name)
        try:
            _check(file, now, stored, f"{self.address}/{name}", anew)
        except BaseException:
            file.close()
            raise
        return file


def read_snapshot(backend: Backend, name: str, use: Callable[[Snapshot], T], way_out: str) -> T:
    """Return what `use` reads from one version of an output.

    Args:
        backend: where it lies.
        name: of the output.
        use: reads through the snapshot; it is called again if the output was replaced
            meanwhile, and must not keep the snapshot.
        way_out: the remedy for a damaged output, for messages.

    Raises:
        NotFinished: no such output, or one without a manifest.
        StorageError: a file is gone, truncated, changed, or cannot be read.
    """
    address = backend.address(name)

    def checked(version: Version) -> T:
        return use(Snapshot(address, version, parse_manifest(version.manifest, address)))

    try:
        return backend.read(name, checked)
    except FileNotFoundError as error:
        raise StorageError(f"{address}/{error.filename} is gone; {way_out}") from None
    except DamagedFile as error:
        raise StorageError(f"{error}; {way_out}") from None


def checked_columns(known: Sequence[str], wanted: Sequence[str] | None, name: str) -> list[str]:
    """Return the columns to read of a table; default: all that it has.

    Raises:
        BadInput: one that it does not have.
    """
    unknown = [column for column in wanted or () if column not in known]
    if unknown:
        raise BadInput(f"{name} has no column {unknown[0]!r}; it has {', '.join(known)}")
    return list(known if wanted is None else wanted)


def _check(file: IO[bytes], now: FileStat, stored: StoredFile, address: str, anew: bool) -> None:
    if now.size != stored.size:
        raise DamagedFile(
            f"{address} has {now.size:,} bytes and its manifest names {stored.size:,}: "
            "it was truncated or changed"
        )
    wanted = stored.bytes_hash or f"CRC-32 {stored.crc32:08x}"
    seen = (now.identity, wanted)
    if seen in _verified and not anew:
        return
    with disk_errors(address, "read"):
        found = _hash_of(file, stored)
        file.seek(0)
    if found != wanted:
        raise DamagedFile(
            f"{address} has other bytes than were written (their hash is {found}, its manifest "
            f"names {wanted}): it is corrupt"
        )
    _verified.add(seen)


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
