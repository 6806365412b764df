"""The backend that keeps outputs in a folder of this machine.

Files are written and synced in `_tmp/` and renamed into place (`atomic_replace`); a reader opens
the directory once and every file through it, so that it never pairs the manifest of one version
with the rows of another.
"""

import errno
import os
import resource
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, TypeVar

from alpha_assets.errors import StorageError
from alpha_assets.store.atomic_replace import (
    Entry,
    discard,
    finish_interrupted,
    publish,
    settle,
    stage,
    sweep,
    sync_directory,
)
from alpha_assets.store.backend import (
    Backend,
    DamagedFile,
    FileStat,
    Listing,
    NotFinished,
    Stamp,
    Version,
    copy_files,
)
from alpha_assets.store.location import TMP
from alpha_assets.store.lock import check_held, folder_lock
from alpha_assets.store.manifest import MANIFEST
from alpha_assets.store.os_errors import disk_errors

T = TypeVar("T")

_NO_LINKS = {errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP}
_ABSENT = (FileNotFoundError, NotADirectoryError)
_TRIES = 1000  # each is lost only to a writer that replaced the folder meanwhile
_MOVES_AWAITED = 1000  # a move takes microseconds
_PAUSE_SECONDS = 0.001
_YOUNG_NS = 1_000_000_000  # coarser than the clock of any file system in use
_OPEN_FILES = 8192  # several tables of thirty years, each month a file held open


@dataclass(frozen=True)
class FolderVersion:
    """One version of a folder, its directory held open.

    Attributes:
        path: of the folder, for messages.
        handle: of the open directory.
        manifest: the text of its manifest.
    """

    path: Path
    handle: int
    manifest: bytes

    def stat(self, name: str) -> FileStat:
        """Return what is known of a file; FileNotFoundError where it is gone."""
        with _gone(name):
            return _file_stat(os.stat(name, dir_fd=self.handle))

    def open(self, name: str) -> tuple[IO[bytes], FileStat]:
        """Return an open file and its stat; see `Version.open`."""
        with _gone(name):
            file = _open(self.handle, self.path, name)
        return file, _file_stat(os.fstat(file.fileno()))


@dataclass(frozen=True)
class FolderBackend:
    """Outputs below one folder; it need not exist before something is written."""

    root: Path

    @property
    def at_once(self) -> int:
        """One at a time; see `Backend.at_once`."""
        return 1

    def address(self, name: str = "") -> str:
        """Return the path of an output, a file, or the root."""
        return str(self._at(name))

    def path(self, name: str) -> Path | None:
        """Return the path of a file."""
        return self._at(name)

    def read(self, name: str, use: Callable[[Version], T]) -> T:
        """Return what `use` reads from one version of a folder; see `Backend.read`.

        Waits where a dead or living writer left the folder on its way to its place.
        """
        _allow_open_files()
        path = self._at(name)
        for _ in range(_MOVES_AWAITED):
            try:
                with disk_errors(path, "read", passing=_ABSENT):
                    return _read_version(path, use)
            except NotFinished:
                if not finish_interrupted(self.root) and not (path / MANIFEST).exists():
                    raise
                time.sleep(_PAUSE_SECONDS)
        raise NotFinished(name)

    def replace(
        self,
        name: str,
        files: Mapping[str, bytes],
        manifest: Callable[[Mapping[str, FileStat]], bytes],
        keep: Collection[str] = (),
    ) -> bytes:
        """Build the folder in `_tmp/` and rename it into place; see `Backend.replace`."""
        path = self._at(name)
        with disk_errors(path, "write"):
            sweep(self.root)
            _check_replaceable(path)
            entry = stage(self.root, name)
            try:
                kept = _kept(path, entry, keep)
                text = _fill(entry, files, kept, manifest)
                check_held(self._locks, name)
                publish(entry, path)
            finally:
                settle(entry, path)
        return text

    def replace_manifest(self, name: str, text: bytes) -> None:
        """Rename another `manifest.json` over the one of a folder."""
        path = self._at(name)
        with disk_errors(path, "write"):
            entry = stage(self.root, name)
            try:
                draft = entry.new / MANIFEST
                _write_file(draft, text)
                draft.replace(path / MANIFEST)
            finally:
                discard(entry)

    def list(self, name: str = "") -> Listing:
        """Return the folders and files directly below a folder."""
        path = self._at(name)
        if not path.is_dir():
            return Listing()
        with disk_errors(path, "read"), os.scandir(path) as found:
            folders: dict[bool, set[str]] = {True: set(), False: set()}
            for entry in found:
                folders[entry.is_dir()].add(entry.name)
        return Listing(frozenset(folders[True]), frozenset(folders[False]))

    def finished(self, name: str) -> dict[str, Stamp | None]:
        """Return the folders directly below a folder that have a manifest, and its stamp."""
        found = self._finished(name)
        return found | self._finished(name) if finish_interrupted(self.root) else found

    def is_finished(self, name: str) -> bool:
        """Return whether a folder has a manifest."""
        return (self._at(name) / MANIFEST).exists()

    def stamp(self, name: str) -> Stamp | None:
        """Return inode, size and times of a folder's manifest; see `Backend.stamp`."""
        try:
            return _stamp(self._at(f"{name}/{MANIFEST}").stat())
        except OSError:
            return None

    def lock(self, name: str, wait_seconds: float) -> AbstractContextManager[None]:
        """Return the exclusive right to write a folder; see `Backend.lock`."""
        return folder_lock(self._locks, name, wait_seconds)

    def get(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none."""
        path = self._at(name)
        with disk_errors(path, "read"):
            try:
                return path.read_bytes()
            except _ABSENT:
                return None

    def put(self, name: str, content: bytes) -> None:
        """Write a file beside its place, sync it, and rename it into place."""
        path = self._at(name)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with disk_errors(path, "write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_file(partial, content)
            partial.replace(path)

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all that it holds."""
        assert name, "the root is not deleted"
        path = self._at(name)
        with disk_errors(path, "write", passing=(FileNotFoundError,)):
            try:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            except FileNotFoundError:
                pass

    def copy_from(self, other: Backend, name: str) -> None:
        """Take over what lies below `name`: by hard links from another folder, else by copies."""
        source, target = other.path(name), self._at(name)
        with disk_errors(target, "write"):
            if source is None:
                copy_files(other, self, name)
            elif source.is_dir():
                shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True)

    @property
    def _locks(self) -> Path:
        return self.root / TMP / "locks"

    def _at(self, name: str) -> Path:
        return _below(self.root, name) if name else self.root

    def _finished(self, name: str) -> dict[str, Stamp | None]:
        found = dict[str, Stamp | None]()
        inside = os.fspath(self._at(name))  # a path of each manifest takes longer than its stat
        for inner in self.list(name).folders:
            with suppress(OSError):
                found[inner] = _stamp(os.stat(f"{inside}/{inner}/{MANIFEST}"))  # noqa: PTH116
        return found


def _stamp(found: os.stat_result) -> Stamp | None:
    """Return the stamp of a manifest; None where it is young, see `Backend.stamp`."""
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _YOUNG_NS:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=1 << 14)
def _below(root: Path, name: str) -> Path:
    """Return the path of an output; putting it together takes longer than opening it."""
    return root / name


def _read_version(path: Path, use: Callable[[Version], T]) -> T:
    for _ in range(_TRIES):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except _ABSENT:
            raise NotFinished(path) from None
        try:
            try:
                with _open(handle, path, MANIFEST) as file:
                    text = file.read()
            except FileNotFoundError:
                if _was_replaced(path, handle):
                    continue
                raise NotFinished(path) from None
            try:
                return use(FolderVersion(path, handle, text))
            except FileNotFoundError:
                if not _was_replaced(path, handle):
                    raise
        finally:
            os.close(handle)
    raise StorageError(f"{path} was replaced {_TRIES} times while it was read; stop its writers")


def _check_replaceable(path: Path) -> None:
    """Refuse to replace what holds finished folders, or is no folder at all."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise StorageError(f"{path} is not a folder of this store; move it away")
    inner = next((m for m in path.rglob(MANIFEST) if m.parent != path), None)
    if inner is not None:
        raise StorageError(
            f"{path} holds other finished outputs, first {inner.parent}; it cannot be "
            "replaced as one folder: move it away or choose another name"
        )


def _kept(path: Path, entry: Entry, keep: Collection[str]) -> dict[str, FileStat]:
    """Take files of the version in place over into the entry, by hard links where they can be."""
    stats = {}
    for name in keep:
        place = entry.new / name
        try:
            os.link(path / name, place, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            stats[name] = _write_file(place, (path / name).read_bytes())
            continue
        stats[name] = _file_stat(place.stat())
    return stats


def _fill(
    entry: Entry,
    files: Mapping[str, bytes],
    kept: Mapping[str, FileStat],
    manifest: Callable[[Mapping[str, FileStat]], bytes],
) -> bytes:
    """Write everything into the entry, the manifest last, and sync it; return the manifest."""
    folders = {entry.new}
    stats = dict(kept)
    for name, content in files.items():
        path = entry.new / name
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.add(path.parent)
        stats[name] = _write_file(path, content)
    text = manifest(stats)
    _write_file(entry.new / MANIFEST, text)
    for folder in folders:
        sync_directory(folder)
    return text


def _write_file(path: Path, content: bytes) -> FileStat:
    """Write a file and sync it; return its stat."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        return _file_stat(os.fstat(file.fileno()))


def _open(handle: int, path: Path, name: str) -> IO[bytes]:
    # Without O_NONBLOCK the opening of a pipe would wait for who writes into it.
    file = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=handle)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise DamagedFile(f"{path / name} is a folder, a pipe or a device and should be a file")
    return os.fdopen(file, "rb")


@contextmanager
def _gone(name: str) -> Iterator[None]:
    """Let a file in the place of a folder of `name` be what it is: the file is gone."""
    try:
        yield
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error


def _was_replaced(path: Path, handle: int) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return True
    return not os.path.samestat(now, os.fstat(handle))


def _file_stat(found: os.stat_result) -> FileStat:
    # The time of the last change of status cannot be set back by hand, unlike that of the last
    # write.
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return FileStat(
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        inode=found.st_ino,
        identity=(found.st_dev, found.st_ino, *times, found.st_size),
    )


@cache
def _allow_open_files() -> None:
    """Let this process hold as many files open as long tables have months."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
