"""The seam under the store: all that it asks of the place where outputs lie.

An output is addressed by its name below the root (`market/panel/month=2023-07`), a file by its
name inside its output.  `FolderBackend` is a folder of this machine; an object store fits the
same members: data objects put first and named by their content, the manifest put last and
replaced on condition of its e-tag, a lock created on condition that it does not exist.

A backend moves bytes.  What they mean (manifests, hashes, tables, damage) is the store's, which
stands above it and is the same for every backend.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

T = TypeVar("T")
Stamp = tuple[int, ...]  # of a manifest: another one whenever it is written


@dataclass(frozen=True)
class FileStat:
    """What is known of a stored file without reading it.

    Attributes:
        size: bytes.
        mtime_ns: last change, in nanoseconds since 1970.
        inode: number that the backend gave to this file; another file in its place has another.
        identity: differs wherever the bytes may differ, across everything that the process reads.
    """

    size: int
    mtime_ns: int
    inode: int
    identity: tuple[int | str, ...]


@dataclass(frozen=True)
class Listing:
    """Names directly below a name: those that have something below them, and files."""

    folders: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


class NotFinished(Exception):
    """There is no output of this name, or it has no manifest."""


class DamagedFile(Exception):
    """A file is not what its manifest names; becomes a `StorageError` with the way out."""


class Version(Protocol):
    """One version of an output, held open: files and manifest of one moment."""

    @property
    def manifest(self) -> bytes:
        """The text of its manifest."""
        ...

    def stat(self, name: str) -> FileStat:
        """Return what is known of a file; FileNotFoundError where it is gone."""
        ...

    def open(self, name: str) -> tuple[IO[bytes], FileStat]:
        """Return a file that polars can scan, open at its start, and its stat.

        The open file keeps its bytes when the output is replaced.

        Raises:
            FileNotFoundError: it is gone.
            DamagedFile: what has its name is no file.
        """
        ...


class Backend(Protocol):
    """Where outputs lie; two that are equal keep them in one place."""

    @property
    def at_once(self) -> int:
        """How many outputs one process reads or writes side by side, in threads.

        1 where that gains nothing: on a disk of this machine.
        """
        ...

    def __hash__(self) -> int:
        """Return the same number for equal backends."""
        ...

    def address(self, name: str = "") -> str:
        """Return how messages name an output, a file, or the root: a path or a URL."""
        ...

    def path(self, name: str) -> Path | None:
        """Return the path of a file for programs that open paths; None where it has none."""
        ...

    def read(self, name: str, use: Callable[[Version], T]) -> T:
        """Return what `use` reads from one version of an output.

        Args:
            name: of the output.
            use: called again where the output was replaced meanwhile; must not keep the version.

        Raises:
            NotFinished: no such output, or one without a manifest.
            FileNotFoundError: `use` asked for a file that is gone.
        """
        ...

    def replace(
        self,
        name: str,
        files: Mapping[str, bytes],
        manifest: Callable[[Mapping[str, FileStat]], bytes],
        keep: Collection[str] = (),
    ) -> bytes:
        """Put a whole output in the place of the one before, in one step; return its manifest.

        Readers see the old version or the new one.  The caller holds the lock of `name`.

        Args:
            name: of the output.
            files: contents by name inside the output.
            manifest: makes the manifest's text from the stat of each file, once they are stored.
            keep: files of the version before that stay as they are; one that is gone stays gone,
                and has no stat.

        Raises:
            LockHeld: another process took the lock over; nothing was replaced.
            StorageError: other outputs lie below `name`, or the backend refused; the old
                version is untouched.
        """
        ...

    def replace_manifest(self, name: str, text: bytes) -> None:
        """Put another text in the place of an output's manifest; its files stay."""
        ...

    def list(self, name: str = "") -> Listing:
        """Return what lies directly below a name, finished or not; nothing where it is none."""
        ...

    def finished(self, name: str) -> Mapping[str, Stamp | None]:
        """Return the names directly below `name` that are outputs with a manifest, and its stamp.

        See `stamp`; all are asked for together, which an object store answers at once.
        """
        ...

    def is_finished(self, name: str) -> bool:
        """Return whether an output has a manifest, whatever the manifest holds."""
        ...

    def stamp(self, name: str) -> Stamp | None:
        """Return what changes whenever an output's manifest is written, without reading it.

        None where the output has no manifest, or one so young that a version written at the same
        moment could have the same stamp.
        """
        ...

    def lock(self, name: str, wait_seconds: float) -> AbstractContextManager[None]:
        """Return the exclusive right to write `name`; a thread may take what it has again.

        Raises:
            LockHeld: another living process has it; the message names it.
        """
        ...

    def get(self, name: str) -> bytes | None:
        """Return the content of a single file outside of outputs; None where there is none."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write a single file outside of outputs, whole or not at all."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file, or everything below a name; absent is as good as deleted."""
        ...

    def copy_from(self, other: "Backend", name: str) -> None:
        """Take over everything that lies below `name` in another backend, byte for byte."""
        ...


def copy_files(source: Backend, target: Backend, name: str) -> None:
    """Copy every file below a name from one backend to another."""
    below = source.list(name)
    for file in sorted(below.files):
        content = source.get(f"{name}/{file}")
        if content is not None:
            target.put(f"{name}/{file}", content)
    for folder in sorted(below.folders):
        copy_files(source, target, f"{name}/{folder}")
