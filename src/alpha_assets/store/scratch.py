"""Single files of unfinished work: resume states.  They are no outputs and have no manifest."""

import mmap
import os
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile, gettempdir

from alpha_assets.errors import StorageError
from alpha_assets.store.backend import Backend
from alpha_assets.store.location import TMP, check_parts
from alpha_assets.store.os_errors import disk_errors
from alpha_assets.store.owner import Owner


@dataclass(frozen=True)
class Document:
    """One file, written whole or not at all.

    Attributes:
        backend: where it lies.
        name: below the root.
    """

    backend: Backend
    name: str

    @property
    def address(self) -> str:
        """How messages name it: a path or a URL."""
        return self.backend.address(self.name)

    def read(self) -> bytes | None:
        """Return the content; None where there is none.

        Raises:
            StorageError: it cannot be read.
        """
        return self.backend.get(self.name)

    def write(self, content: bytes) -> None:
        """Replace the content, in one step.

        Raises:
            StorageError: the storage refuses; the content before is untouched.
        """
        self.backend.put(self.name, content)


@dataclass(eq=False)
class UnnamedFile:
    """Memory of a process that lies in a file without a name, in `_tmp/`.

    No other process sees the file, and it is gone with the process, whatever ends it: there is
    nothing to clean up after a kill.

    Attributes:
        folder: on whose disk it lies.
    """

    folder: Path
    _descriptor: int | None = field(default=None, init=False, repr=False)
    _n_bytes: int = field(default=0, init=False, repr=False)

    def mapped(self, n_bytes: int) -> mmap.mmap:
        """Return the first so many bytes, 0 where nothing was written; the file grows to them.

        What was mapped before stays valid, and shows the same bytes.  The disk is reserved here, so
        that no later write can find it full.

        Raises:
            StorageError: the disk is full, or the folder cannot be written.
        """
        with disk_errors(self.folder, "write"):
            if self._descriptor is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                with TemporaryFile(dir=self.folder) as file:
                    self._descriptor = os.dup(file.fileno())
                weakref.finalize(self, os.close, self._descriptor)
            if n_bytes > self._n_bytes:
                os.posix_fallocate(self._descriptor, self._n_bytes, n_bytes - self._n_bytes)
                self._n_bytes = n_bytes
            return mmap.mmap(self._descriptor, n_bytes)

    def shared(self) -> "SharedFile":
        """Return how other processes of this host map what was written, while this one lives.

        Raises:
            StorageError: nothing was written, or the system names no files of a process.
        """
        if self._descriptor is None:
            raise StorageError(f"{self.folder}: nothing was written that could be shared")
        path = Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")
        with disk_errors(path, "read"):
            found = path.stat()
        return SharedFile(path, (found.st_dev, found.st_ino), Owner.current())


@dataclass(frozen=True)
class SharedFile:
    """Memory of another process of this host that lies in a file without a name.

    Attributes:
        path: of the file, while that process lives.
        inode: device and number of the file: the path alone may name another one by then.
        owner: the process.
    """

    path: Path
    inode: tuple[int, int]
    owner: Owner

    def mapped(self, n_bytes: int) -> mmap.mmap:
        """Return the first so many bytes, without a copy; what is written to them stays here.

        Raises:
            StorageError: the process is gone, or it is one of another host.
        """
        if not self.owner.is_here or self.owner.is_dead():
            raise StorageError(f"{self.path} is of {self.owner.words}, gone or of another host")
        with disk_errors(self.path, "read"):
            descriptor = os.open(self.path, os.O_RDONLY)
        try:
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) != self.inode:
                raise StorageError(f"{self.path} is another file by now")
            return mmap.mmap(descriptor, n_bytes, access=mmap.ACCESS_COPY)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Scratch:
    """Documents below one name of `_tmp/`.

    Attributes:
        backend: where they lie.
        parts: the name below `_tmp/`.
    """

    backend: Backend
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse names that lead out of `_tmp/`."""
        check_parts(self.parts)

    def document(self, file: str) -> Document:
        """Return a document, whether or not it was written."""
        check_parts((file,))
        return Document(self.backend, "/".join((TMP, *self.parts, file)))

    def remove(self) -> None:
        """Remove all documents; where there are none this does nothing."""
        self.backend.delete("/".join((TMP, *self.parts)))


def folder_of_unnamed(backend: Backend) -> Path:
    """Return the folder of files without a name: `_tmp/`, or, elsewhere than on disk, the system's.

    Args:
        backend: of the storage.
    """
    return backend.path(TMP) or Path(gettempdir())
