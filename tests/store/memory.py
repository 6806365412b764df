"""A backend that keeps everything in memory: the second one, so that the seam has two sides."""

import io
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, TypeVar

from alpha_assets.errors import LockHeld, StorageError
from alpha_assets.store.backend import (
    Backend,
    FileStat,
    Listing,
    NotFinished,
    Stamp,
    Version,
    copy_files,
)
from alpha_assets.store.manifest import MANIFEST

T = TypeVar("T")

_numbers = count(1)


@dataclass(frozen=True)
class MemoryFile:
    """Bytes that were put, and their number: what an object store calls their e-tag."""

    content: bytes
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def stat(self) -> FileStat:
        return FileStat(len(self.content), self.number, self.number, ("memory", self.number))


@dataclass(frozen=True)
class MemoryVersion:
    """The files of one moment: a dictionary that nothing changes."""

    files: Mapping[str, MemoryFile]

    @property
    def manifest(self) -> bytes:
        return self.files[MANIFEST].content

    def stat(self, name: str) -> FileStat:
        return self._file(name).stat

    def open(self, name: str) -> tuple[IO[bytes], FileStat]:
        return io.BytesIO(self._file(name).content), self._file(name).stat

    def _file(self, name: str) -> MemoryFile:
        if name not in self.files:
            raise FileNotFoundError(2, "No such file", name)
        return self.files[name]


@dataclass(eq=False)
class MemoryBackend:
    """Files by name; a change of several is one change of the dictionary."""

    url: str = "memory://"
    files: dict[str, MemoryFile] = field(default_factory=dict)
    locks: dict[str, threading.RLock] = field(default_factory=dict)

    @property
    def at_once(self) -> int:
        return 1

    def address(self, name: str = "") -> str:
        return f"{self.url}/{name}" if name else self.url

    def path(self, name: str) -> Path | None:
        return None

    def read(self, name: str, use: Callable[[Version], T]) -> T:
        files = self._below(name)
        if MANIFEST not in files:
            raise NotFinished(name)
        return use(MemoryVersion(files))

    def replace(
        self,
        name: str,
        files: Mapping[str, bytes],
        manifest: Callable[[Mapping[str, FileStat]], bytes],
        keep: Collection[str] = (),
    ) -> bytes:
        inner = [key for key in self._below(name) if key.endswith(f"/{MANIFEST}")]
        if inner:
            raise StorageError(
                f"{self.address(name)} holds other finished outputs, first "
                f"{self.address(name)}/{inner[0].removesuffix(f'/{MANIFEST}')}; move it away"
            )
        before = self._below(name)
        stored = {inside: before[inside] for inside in keep if inside in before}
        stored |= {inside: MemoryFile(content) for inside, content in files.items()}
        text = manifest({inside: file.stat for inside, file in stored.items()})
        stored[MANIFEST] = MemoryFile(text)
        kept = {k: f for k, f in self.files.items() if not k.startswith(f"{name}/")}
        self.files = kept | {f"{name}/{inside}": file for inside, file in stored.items()}
        return text

    def replace_manifest(self, name: str, text: bytes) -> None:
        self.put(f"{name}/{MANIFEST}", text)

    def list(self, name: str = "") -> Listing:
        parts = [key.split("/") for key in (self._below(name) if name else self.files)]
        return Listing(
            frozenset(first for first, *more in parts if more),
            frozenset(first for first, *more in parts if not more),
        )

    def finished(self, name: str) -> dict[str, Stamp | None]:
        return {
            inner: self.stamp(f"{name}/{inner}")
            for inner in self.list(name).folders
            if self.is_finished(f"{name}/{inner}")
        }

    def is_finished(self, name: str) -> bool:
        return f"{name}/{MANIFEST}" in self.files

    def stamp(self, name: str) -> Stamp | None:
        found = self.files.get(f"{name}/{MANIFEST}")
        return None if found is None else (found.number,)

    @contextmanager
    def lock(self, name: str, wait_seconds: float) -> Iterator[None]:
        lock = self.locks.setdefault(name, threading.RLock())
        if not lock.acquire(timeout=min(wait_seconds, 600)):
            raise LockHeld(f"{name} is being written by another thread")
        try:
            yield
        finally:
            lock.release()

    def get(self, name: str) -> bytes | None:
        return self.files[name].content if name in self.files else None

    def put(self, name: str, content: bytes) -> None:
        self.files = {**self.files, name: MemoryFile(content)}

    def delete(self, name: str) -> None:
        gone = {key for key in self.files if key == name or key.startswith(f"{name}/")}
        self.files = {key: file for key, file in self.files.items() if key not in gone}

    def copy_from(self, other: Backend, name: str) -> None:
        copy_files(other, self, name)

    def _below(self, name: str) -> dict[str, MemoryFile]:
        files = self.files
        return {
            key.removeprefix(f"{name}/"): file
            for key, file in files.items()
            if key.startswith(f"{name}/")
        }
