"""The storage: resolves output folders, scratch files and locks by name."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from alpha_assets.errors import BadInput
from alpha_assets.spec import PickledByFields
from alpha_assets.store.backend import Backend
from alpha_assets.store.folder import Folder
from alpha_assets.store.folder_backend import FolderBackend
from alpha_assets.store.location import (
    DEFAULT_STORAGE,
    OBJECT_STORES,
    TMP,
    check_parts,
    check_root,
    scheme_of,
    shown,
    storage_root,
)
from alpha_assets.store.lock import DEFAULT_WAIT_SECONDS
from alpha_assets.store.scratch import Scratch, UnnamedFile, folder_of_unnamed


def _folder_backend(url: str) -> Backend:
    return FolderBackend(storage_root(url))


def _object_backend(url: str) -> Backend:
    try:
        from alpha_assets.store.object_backend import open_object_backend
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise BadInput(
            f"storage = {shown(url)!r}: obstore is not installed, which reads and writes object "
            "stores; pip install 'alpha-assets[object-store]'"
        ) from None
    return open_object_backend(url)


# What opens a storage URL, by its scheme; "" is a plain path.
BACKENDS: dict[str, Callable[[str], Backend]] = {
    "": _folder_backend,
    "file": _folder_backend,
    **dict.fromkeys(OBJECT_STORES, _object_backend),
}


@dataclass(frozen=True)
class Store(PickledByFields):
    """All outputs below one root; nothing is made there until something is written.

    Attributes:
        url: of the storage: a path, `file:///absolute/path`, or of an object store
            `s3://bucket/prefix`, `gs://…`, `az://…`.
        verify: damage checks hash every byte instead of comparing size, time and inode.
    """

    url: str = DEFAULT_STORAGE
    verify: bool = False

    @cached_property
    def backend(self) -> Backend:
        """What holds the bytes.

        Raises:
            SpecError: a URL of a kind of storage that is not supported.
        """
        # `storage_root` refuses what no backend opens, by name.
        return BACKENDS.get(scheme_of(self.url), _folder_backend)(self.url)

    def checked(self) -> Self:
        """Return this store.

        Raises:
            SpecError: nothing can be stored there, by the kind of storage or by what lies there.
        """
        _ = self.backend
        if scheme_of(self.url) in ("", "file"):
            check_root(self.url)
        else:
            self.backend.list(TMP)  # asks for the bucket, and the right to look into it
        return self

    @property
    def address(self) -> str:
        """How messages name the root: a path or a URL."""
        return self.backend.address()

    def folder(self, *parts: str) -> Folder:
        """Return the output folder `<root>/<part>/<part>/…`, whether or not it was made."""
        return Folder(self.backend, parts, self.verify)

    def finished(self, *parts: str) -> tuple[str, ...]:
        """Return the names of the finished folders directly below a folder, sorted."""
        check_parts(parts)
        return tuple(sorted(self.backend.finished("/".join(parts))))

    def folders(self, *parts: str) -> tuple[str, ...]:
        """Return the names of the folders directly below a folder, finished or not, sorted."""
        check_parts(parts)
        return tuple(sorted(self.backend.list("/".join(parts)).folders))

    def record(self, *parts: str) -> bytes | None:
        """Return the content of a single file outside of outputs; None where there is none."""
        check_parts(parts)
        return self.backend.get("/".join(parts))

    def put_record(self, content: bytes, *parts: str) -> None:
        """Write a single file outside of outputs, whole or not at all."""
        check_parts(parts)
        self.backend.put("/".join(parts), content)

    def scratch(self, *parts: str) -> Scratch:
        """Return a place for unfinished work that its owner removes: `_tmp/<part>/<part>/…`."""
        return Scratch(self.backend, parts)

    def unnamed_file(self) -> UnnamedFile:
        """Return memory that lies on the storage's disk and is gone with the process."""
        return UnnamedFile(folder_of_unnamed(self.backend))

    def lock(
        self, name: str, wait_seconds: float = DEFAULT_WAIT_SECONDS
    ) -> AbstractContextManager[None]:
        """Return an exclusive right among all that use this storage, to be held with `with`.

        Raises:
            LockHeld: another living process has it; the message names it.
        """
        return self.backend.lock(name, wait_seconds)

    def copy_from(self, other: "Store", *parts: str) -> None:
        """Take over all that lies below a folder of another storage, if any, byte for byte."""
        check_parts(parts)
        self.backend.copy_from(other.backend, "/".join(parts))
