"""A storage as one look finds it: what lies where, and what stamp it has, is asked once.

`status` asks of every stage which months are stored, and of each month whether its files are what
its manifest names: hundreds of times which folders there are.  Files are read and compared as ever:
where a month was replaced meanwhile, the inodes of its files differ, and it is read anew.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from alpha_assets.store.backend import Backend, FileStat, Listing, Stamp, Version
from alpha_assets.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Look(Store):
    """A store that remembers which outputs there are; not for what waits for others to write."""

    @cached_property
    def backend(self) -> Backend:
        """What holds the bytes, asked once for each listing and stamp."""
        return _Remembering(Store(self.url, self.verify).backend)


class _Remembering:
    """A backend whose listings and stamps are those of the first time that they were asked for."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._finished: dict[str, Mapping[str, Stamp | None]] = {}
        self._stamps: dict[str, Stamp | None] = {}

    @property
    def at_once(self) -> int:
        """How many outputs one process reads or writes side by side."""
        return self._backend.at_once

    # Manifests that were read are kept by backend: one look knows those of the one before.
    def __eq__(self, other: object) -> bool:
        return self._backend == (other._backend if isinstance(other, _Remembering) else other)

    def __hash__(self) -> int:
        return hash(self._backend)

    def finished(self, name: str) -> Mapping[str, Stamp | None]:
        """Return the outputs directly below a name and their stamps, as they were first seen."""
        if name not in self._finished:
            self._finished[name] = self._backend.finished(name)
        return self._finished[name]

    def stamp(self, name: str) -> Stamp | None:
        """Return the stamp of an output, as it was first seen."""
        above, _, own = name.rpartition("/")
        if above in self._finished:
            return self._finished[above].get(own)
        if name not in self._stamps:
            self._stamps[name] = self._backend.stamp(name)
        return self._stamps[name]

    def replace_manifest(self, name: str, text: bytes) -> None:
        """Put another text in the place of a manifest, and forget its stamp."""
        self._backend.replace_manifest(name, text)
        self._forget(name)

    def replace(
        self,
        name: str,
        files: Mapping[str, bytes],
        manifest: Callable[[Mapping[str, FileStat]], bytes],
        keep: Collection[str] = (),
    ) -> bytes:
        """Put a whole output in the place of the one before, and forget its stamp."""
        try:
            return self._backend.replace(name, files, manifest, keep)
        finally:
            self._forget(name)

    def delete(self, name: str) -> None:
        """Delete a file, or everything below a name, and forget all that was seen."""
        self._backend.delete(name)
        self._finished.clear()
        self._stamps.clear()

    def copy_from(self, other: Backend, name: str) -> None:
        """Take over everything that lies below `name`, and forget all that was seen."""
        self._backend.copy_from(other, name)
        self._finished.clear()
        self._stamps.clear()

    def _forget(self, name: str) -> None:
        self._stamps.pop(name, None)
        self._finished.pop(name.rpartition("/")[0], None)

    def address(self, name: str = "") -> str:
        """Return how messages name an output."""
        return self._backend.address(name)

    def path(self, name: str) -> Path | None:
        """Return the path of a file."""
        return self._backend.path(name)

    def read(self, name: str, use: Callable[[Version], T]) -> T:
        """Return what `use` reads from one version of an output."""
        return self._backend.read(name, use)

    def list(self, name: str = "") -> Listing:
        """Return what lies directly below a name."""
        return self._backend.list(name)

    def is_finished(self, name: str) -> bool:
        """Return whether an output has a manifest."""
        return self._backend.is_finished(name)

    def lock(self, name: str, wait_seconds: float) -> AbstractContextManager[None]:
        """Return the exclusive right to write `name`."""
        return self._backend.lock(name, wait_seconds)

    def get(self, name: str) -> bytes | None:
        """Return the content of a single file outside of outputs."""
        return self._backend.get(name)

    def put(self, name: str, content: bytes) -> None:
        """Write a single file outside of outputs."""
        self._backend.put(name, content)
