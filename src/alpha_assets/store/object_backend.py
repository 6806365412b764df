"""The backend that keeps outputs in an object store: S3, Google Cloud Storage, Azure.

Of an output, `current.json` holds the manifest's text and names the object of each file; objects
lie under `_objects/`, named by the hash of their content and by the write that put them, and are
never changed: what was garbage once is never named again.  A writer puts the
objects first and `current.json` last, on condition that it is still the one that was read; so a
reader sees one version or the other, whatever a writer was doing when it was stopped.  Objects that
`current.json` no longer names are deleted by the next writer of the output.
"""

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar
from uuid import uuid4

from obstore.exceptions import AlreadyExistsError, PreconditionError

from alpha_assets.errors import LockHeld, StorageError
from alpha_assets.store.backend import Backend, FileStat, Listing, NotFinished, Stamp, Version
from alpha_assets.store.manifest import MANIFEST
from alpha_assets.store.object_lock import check_held, object_lock
from alpha_assets.store.objects import Found, Objects, open_objects
from alpha_assets.store.side_by_side import side_by_side

T = TypeVar("T")

log = logging.getLogger(__name__)

CURRENT = "current.json"  # of an output: its manifest, and which object each file is
OBJECTS = "_objects"  # of an output: the objects of its files
AT_ONCE = 16
_TRIES = 100  # each is lost only to a writer that replaced the output meanwhile
_PAUSE_SECONDS = 0.05
_HASH_LENGTH = 32  # hexadecimal digits: 128 bits
_WRITE_LENGTH = 16


@dataclass(frozen=True)
class Current:
    """What `current.json` of an output holds.

    Attributes:
        text: of the manifest.
        keys: of the object of each file, below the output.
        token: of `current.json`, see `Found.token`; empty before it is written.
    """

    text: bytes
    keys: Mapping[str, str] = field(default_factory=dict)
    token: str = ""

    def content(self) -> bytes:
        """Return the bytes of `current.json`."""
        return json.dumps({"files": dict(self.keys), "manifest": self.text.decode()}).encode()


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an output: its objects, which nothing changes."""

    objects: Objects
    name: str
    current: Current

    @property
    def manifest(self) -> bytes:
        """The text of its manifest."""
        return self.current.text

    def stat(self, name: str) -> FileStat:
        """Return what is known of a file; FileNotFoundError where it is gone."""
        found = self.objects.head(self._key(name))
        if found is None:
            raise FileNotFoundError(2, "No such object", name)
        return _stat(self.objects, self._key(name), found)

    def open(self, name: str) -> tuple[IO[bytes], FileStat]:
        """Return the bytes of a file in memory, and its stat; see `Version.open`."""
        found = self.objects.get(self._key(name))
        if found is None:
            raise FileNotFoundError(2, "No such object", name)
        return io.BytesIO(found.content), _stat(self.objects, self._key(name), found)

    def _key(self, name: str) -> str:
        if name not in self.current.keys:
            raise FileNotFoundError(2, "No such object", name)
        return f"{self.name}/{self.current.keys[name]}"


@dataclass(frozen=True)
class ObjectBackend:
    """Outputs below `s3://bucket/prefix`; equal where the URL is."""

    objects: Objects

    @property
    def at_once(self) -> int:
        """How many requests a process has on their way at a time; see `Backend.at_once`."""
        return AT_ONCE

    def __reduce__(self) -> tuple[Callable[[str], "ObjectBackend"], tuple[str]]:
        """Open the URL anew in the process that reads the pickle."""
        return open_object_backend, (self.objects.url,)

    def address(self, name: str = "") -> str:
        """Return the URL of an output, a file, or the root."""
        return self.objects.address(name)

    def path(self, name: str) -> Path | None:
        """Return None: no program opens an object by a path."""
        return None

    def read(self, name: str, use: Callable[[Version], T]) -> T:
        """Return what `use` reads from one version of an output; see `Backend.read`."""
        for _ in range(_TRIES):
            current = self._current(name)
            if current is None:
                raise NotFinished(name)
            try:
                return use(ObjectVersion(self.objects, name, current))
            except FileNotFoundError:
                now = self._current(name)
                if now is not None and now.token == current.token:
                    raise
            time.sleep(_PAUSE_SECONDS)
        raise StorageError(
            f"{self.address(name)} was replaced {_TRIES} times while it was read; stop its writers"
        )

    def replace(
        self,
        name: str,
        files: Mapping[str, bytes],
        manifest: Callable[[Mapping[str, FileStat]], bytes],
        keep: Collection[str] = (),
    ) -> bytes:
        """Put the objects of the files, then `current.json`; see `Backend.replace`."""
        found = self.objects.below(name)
        inner = next((one.key for one in found if _is_inner(one.key, name)), None)
        if inner is not None:
            raise StorageError(
                f"{self.address(name)} holds other finished outputs, first "
                f"{self.address(inner.removesuffix(f'/{CURRENT}'))}; it cannot be replaced as one: "
                "move it away or choose another name"
            )
        before = self._current(name)
        keys = {file: before.keys[file] for file in keep if before and file in before.keys}
        stats = self._stats(name, keys)
        keys = {file: key for file, key in keys.items() if file in stats}
        write = uuid4().hex
        new = {file: _key_of(file, content, write) for file, content in files.items()}
        stats |= self._put_all(name, {new[file]: files[file] for file in files}, new)
        keys |= new
        text = manifest(stats)
        check_held(self.objects, name)
        self._publish(name, Current(text, keys), before)
        named = {f"{name}/{key}" for key in keys.values()}
        there = (one.key for one in found if one.key.startswith(f"{name}/{OBJECTS}/"))
        self._collect(name, [key for key in there if key not in named])
        return text

    def replace_manifest(self, name: str, text: bytes) -> None:
        """Put `current.json` with another text and the same objects."""
        before = self._current(name)
        if before is None:
            raise StorageError(f"{self.address(name)} is gone; run again")
        self._publish(name, Current(text, before.keys), before)

    def list(self, name: str = "") -> Listing:
        """Return what lies directly below a name; of an output, its files by their names."""
        folders, files = self.objects.directly_below(name)
        if not folders and not files:
            return _listing(self._inside(name))
        current = self._current(name) if CURRENT in files else None
        if current is None:
            return Listing(folders, files)
        held = _listing(current.keys)
        return Listing(
            folders - {OBJECTS} | held.folders, files - {CURRENT} | {MANIFEST} | held.files
        )

    def finished(self, name: str) -> dict[str, Stamp | None]:
        """Return the names directly below a name that are outputs with a manifest, and its stamp.

        The keys of all that lies below are listed, a thousand a request.
        """
        start = len(name) + 1 if name else 0
        inner = ((one.key[start:].split("/"), one) for one in self.objects.below(name))
        return {
            parts[0]: _stamp(one.tag, one.size)
            for parts, one in inner
            if len(parts) == 2 and parts[1] == CURRENT
        }

    def is_finished(self, name: str) -> bool:
        """Return whether an output has a manifest."""
        return self.objects.head(f"{name}/{CURRENT}") is not None

    def stamp(self, name: str) -> Stamp | None:
        """Return the e-tag of `current.json` as a number; see `Backend.stamp`."""
        found = self.objects.head(f"{name}/{CURRENT}")
        return None if found is None else _stamp(found.tag, found.size)

    def lock(self, name: str, wait_seconds: float) -> AbstractContextManager[None]:
        """Return the exclusive right to write an output; see `Backend.lock`."""
        return object_lock(self.objects, name, wait_seconds)

    def get(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none."""
        found = self.objects.get(name)
        if found is not None:
            return found.content
        output, _, file = name.rpartition("/")
        if file == MANIFEST:
            current = self._current(output)
            if current is not None:
                return current.text
        key = self._inside(output).get(file)
        inside = self.objects.get(key) if key else None
        return inside.content if inside else None

    def put(self, name: str, content: bytes) -> None:
        """Write a single object outside of outputs."""
        self.objects.put(name, content)

    def delete(self, name: str) -> None:
        """Delete an object, or all below a name: of an output `current.json` first."""
        assert name, "the root is not deleted"
        keys = [one.key for one in self.objects.below(name)]
        first = [key for key in keys if key.endswith(f"/{CURRENT}")]
        self.objects.delete(name, *first, *(key for key in keys if key not in first))

    def copy_from(self, other: Backend, name: str) -> None:
        """Take over what lies below `name`: outputs as outputs, other files as they are."""
        text = other.get(f"{name}/{MANIFEST}") if other.is_finished(name) else None
        if text is not None:
            files = {file: other.get(f"{name}/{file}") for file in _files_of(other, name)}
            keys, write, contents = {}, uuid4().hex, {}
            for file, content in files.items():
                if content is None:
                    raise StorageError(f"{other.address(name)}/{file} is gone; run again there")
                keys[file] = _key_of(file, content, write)
                contents[keys[file]] = content
            self._put_all(name, contents, keys)
            self._publish(name, Current(text, keys), self._current(name))
            return
        below = other.list(name)
        for file in sorted(below.files):
            content = other.get(f"{name}/{file}")
            if content is not None:
                self.put(f"{name}/{file}", content)
        for folder in sorted(below.folders):
            self.copy_from(other, f"{name}/{folder}")

    def _inside(self, name: str) -> dict[str, str]:
        """Return the keys of files by their names below a name that lies inside of an output."""
        parts = name.split("/")
        for cut in range(len(parts), 0, -1):
            output, below = "/".join(parts[:cut]), "".join(f"{part}/" for part in parts[cut:])
            current = self._current(output)
            if current is not None:
                return {
                    file[len(below) :]: f"{output}/{key}"
                    for file, key in current.keys.items()
                    if file.startswith(below)
                }
        return {}

    def _current(self, name: str) -> Current | None:
        """Return what `current.json` of an output holds; None where there is no output."""
        found = self.objects.get(f"{name}/{CURRENT}" if name else CURRENT)
        if found is None:
            return None
        try:
            held = json.loads(found.content)
            return Current(held["manifest"].encode(), dict(held["files"]), found.token)
        except (ValueError, KeyError, TypeError, AttributeError):
            return Current(found.content, {}, found.token)  # no manifest, as its reader says

    def _stats(self, name: str, keys: Mapping[str, str]) -> dict[str, FileStat]:
        """Return the stats of files of an output by their names; of none that is gone."""

        def stat(key: str) -> FileStat | None:
            found = self.objects.head(f"{name}/{key}")
            return None if found is None else _stat(self.objects, f"{name}/{key}", found)

        found = zip(keys, side_by_side(stat, keys.values(), self.at_once), strict=True)
        return {file: one for file, one in found if one is not None}

    def _put_all(
        self, name: str, contents: Mapping[str, bytes], keys: Mapping[str, str]
    ) -> dict[str, FileStat]:
        """Put the objects of an output, by their keys; return their stats, by names of files."""

        def put(key: str) -> FileStat:
            return self._put(f"{name}/{key}", contents[key])

        return dict(zip(keys, side_by_side(put, keys.values(), self.at_once), strict=True))

    def _put(self, key: str, content: bytes) -> FileStat:
        """Put an object, whatever is in its place: content of this name that was damaged."""
        self.objects.put(key, content)
        found = self.objects.head(key)
        if found is None or found.size != len(content):
            raise StorageError(f"{self.address(key)} is not there after it was written; run again")
        return _stat(self.objects, key, found)

    def _publish(self, name: str, current: Current, before: Current | None) -> None:
        content, key = current.content(), f"{name}/{CURRENT}"
        token = before.token if before else ""
        try:
            self.objects.put(key, content, create=before is None, token=token)
        except (AlreadyExistsError, PreconditionError, StorageError) as error:
            # The write may have taken effect although its answer was lost.
            now = self.objects.get(key)
            if now is not None and now.content == content:
                return
            if isinstance(error, StorageError):
                raise
            raise LockHeld(
                f"{name}: another process wrote it meanwhile; nothing was written: run again"
            ) from None

    def _collect(self, name: str, garbage: Collection[str]) -> None:
        """Delete objects that lay there when a writer began and that its version does not name.

        What was put since is another writer's, who took the lock over.
        """
        try:
            self.objects.delete(*garbage)
        except StorageError as error:
            log.warning("%s: objects of earlier versions are left (%s)", name, error)


def open_object_backend(url: str) -> ObjectBackend:
    """Return the backend of a URL; see `open_objects`."""
    return ObjectBackend(open_objects(url))


def _key_of(file: str, content: bytes, write: str) -> str:
    """Return the key of a file's object: of no two writes the same, so that none is deleted anew.

    A writer that is slow to delete an object of an earlier version could else delete the one that
    another writer has just put with the same content.
    """
    digest = hashlib.sha256(content).hexdigest()[:_HASH_LENGTH]
    return f"{OBJECTS}/{digest}-{write[:_WRITE_LENGTH]}{PurePosixPath(file).suffix}"


def _is_inner(key: str, name: str) -> bool:
    return key.endswith(f"/{CURRENT}") and key != f"{name}/{CURRENT}"


def _listing(names: Iterable[str]) -> Listing:
    parts = [name.partition("/") for name in names]
    return Listing(
        frozenset(first for first, slash, _ in parts if slash),
        frozenset(first for first, slash, _ in parts if not slash),
    )


def _files_of(backend: Backend, name: str, inside: str = "") -> list[str]:
    """Return the files of an output but its manifest, by their names inside it."""
    below = backend.list(f"{name}/{inside}".rstrip("/"))
    found = [f"{inside}{file}" for file in sorted(below.files) if f"{inside}{file}" != MANIFEST]
    for folder in sorted(below.folders):
        found += _files_of(backend, name, f"{inside}{folder}/")
    return found


def _stat(objects: Objects, key: str, found: Found) -> FileStat:
    identity = (objects.url, key, found.tag, found.mtime_ns)
    return FileStat(found.size, found.mtime_ns, _number(found.tag), identity)


def _stamp(tag: str, size: int) -> Stamp:
    return _number(tag), size


def _number(tag: str) -> int:
    """Return a number that stands for an e-tag."""
    return int(hashlib.sha256(tag.encode()).hexdigest()[:12], 16)
