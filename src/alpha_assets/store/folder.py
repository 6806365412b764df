"""One output folder: tables and files with their manifest, read and replaced as one thing."""

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

import polars as pl

from alpha_assets.errors import MissingOutput, SpecError, StorageError
from alpha_assets.store.backend import Backend, DamagedFile, FileStat, NotFinished, Stamp
from alpha_assets.store.hashing import (
    bytes_hash,
    column_digest,
    combined_hash,
    content_hash,
    in_key_order,
)
from alpha_assets.store.location import check_parts
from alpha_assets.store.lock import DEFAULT_WAIT_SECONDS
from alpha_assets.store.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    SHARED,
    Family,
    Manifest,
    ManifestInput,
    StoredFile,
    file_of,
    of_family,
    parse_manifest,
    sealed_text,
    with_family,
)
from alpha_assets.store.os_errors import disk_errors
from alpha_assets.store.snapshot import Snapshot, checked_columns, read_snapshot

T = TypeVar("T")

ROWS = "rows"  # the table of a folder that holds one
ZSTD_LEVEL = 1  # of features a sixth faster than polars' own 3, of panels a quarter; no larger
MONTH = "month="  # begins the name of a month's folder
_MONTH = re.compile(rf"{MONTH}(\d{{4}}-\d{{2}})")


@dataclass(frozen=True)
class Folder:
    """A folder below the storage root.  Readers need no lock; a writer holds it alone.

    Attributes:
        backend: where it lies.
        parts: its name below the root.
        verify: `damage` hashes every file, also where its stat is unchanged.
        family: of a table in one file a family: the one that is looked at, as if the folder held
            nothing else.
    """

    backend: Backend
    parts: tuple[str, ...]
    verify: bool = False
    family: str = ""

    def __post_init__(self) -> None:
        """Refuse names that lead out of the root."""
        check_parts(self.parts)

    @property
    def address(self) -> str:
        """How messages and metadata name where it lies: a path or a URL."""
        place = self.backend.address(self.name)
        return f"{place}/{file_of(self.family)}" if self.family else place

    @property
    def name(self) -> str:
        """Its name below the root: `market/panel/month=2023-07`."""
        return "/".join(self.parts)

    @property
    def month(self) -> str:
        """The month of a table that it holds; empty where it is no month's folder."""
        return month_named(self.parts[-1])

    @property
    def table(self) -> str:
        """What its manifest calls it: its own name, of a month's folder that of the table."""
        return self.parts[-2] if self.month and len(self.parts) > 1 else self.parts[-1]

    def exists(self) -> bool:
        """Whether it was ever finished."""
        return self.manifest() is not None

    def is_finished(self) -> bool:
        """Whether it has a manifest, readable or not."""
        return self.backend.is_finished(self.name)

    def manifest(self, stamp: Stamp | None = None) -> Manifest | None:
        """Return the manifest; None where the folder, or its family, was never finished.

        Args:
            stamp: of the manifest, where it is known already; see `Backend.finished`.

        Raises:
            StorageError: a manifest that cannot be read.
        """
        stamp = stamp or self.backend.stamp(self.name)
        try:
            if stamp is not None:
                own = _own_manifest(self.backend, self.parts, stamp)
                if not own.shares:
                    return _own_family(self, stamp) if self.family else own
            return self._read(lambda snapshot: self._seen(snapshot.manifest))
        except MissingOutput:
            return None

    def damage(self) -> str | None:
        """Return the first damage to the stored files and its remedy; None where they are intact.

        Size, time and inode are compared with the manifest, and bytes are hashed where these
        differ.  Where only the stat differs (the storage was copied) the manifest takes the new
        one, so that the next comparison is cheap again; on a read-only storage it stays as it is.
        """
        return self.look()[1]

    def look(self, stamp: Stamp | None = None) -> tuple[Manifest | None, str | None]:
        """Return the manifest, and the first damage to the stored files; see `damage`.

        Args:
            stamp: as of `manifest`.
        """
        try:
            untouched = self._untouched(stamp)
            if untouched is not None:
                return untouched, None
            manifest, moved = self._read(lambda s: (self._seen(s.manifest), self._moved(s)))
        except MissingOutput:
            return None, None
        except StorageError as error:
            return None, str(error)
        if moved:
            with suppress(StorageError):
                self.holder()._restat()
        return manifest, None

    def _untouched(self, stamp: Stamp | None) -> Manifest | None:
        """Return the manifest where all files have the stat that it names.

        None where they are to be looked at, also where nothing was ever finished.  The manifest is
        read once while its stamp stays, and no file is opened.  The inodes tell a version that
        another one has replaced meanwhile.
        """
        path = None if self.verify else self.backend.path(self.name)
        stamp = stamp or self.backend.stamp(self.name)
        if path is None or stamp is None:
            return None
        found = self.manifest(stamp)
        if found is None or found.shares:
            return None
        inside = os.fspath(path)  # a path of each file takes longer than its stat
        for name, stored in found.files.items():
            try:
                now = os.stat(f"{inside}/{name}")  # noqa: PTH116
            except OSError:
                return None
            known = (stored.size, stored.mtime_ns, stored.inode)
            if (now.st_size, now.st_mtime_ns, now.st_ino) != known:
                return None
        return found

    def is_of_one_file(self) -> bool:
        """Whether it is finished and holds no families: another version wrote it so."""
        try:
            return self._read(lambda snapshot: not snapshot.manifest.families)
        except MissingOutput:
            return False

    def of(self, family: str) -> "Folder":
        """Return the folder as if it held one family and nothing else."""
        return replace(self, family=family)

    def _seen(self, manifest: Manifest) -> Manifest | None:
        return of_family(manifest, self.family) if self.family else manifest

    def _moved(self, snapshot: Snapshot) -> dict[str, FileStat]:
        """Return which files of the family that is looked at were copied; refuse damaged ones."""
        seen = self._seen(snapshot.manifest)
        return snapshot.moved(seen.files if seen else (), verify=self.verify)

    def holder(self) -> "Folder":
        """Return the folder that holds the files: this one, or that which it refers to."""
        shares = self._in_place(lambda snapshot: snapshot.manifest.shares)
        return Folder(self.backend, tuple(shares.split("/")), self.verify) if shares else self

    def reference(self) -> Manifest | None:
        """Return its own manifest where it refers to another folder, whatever that is now.

        None where it holds its own files, or was never finished.

        Raises:
            StorageError: a manifest that cannot be read.
        """
        try:
            own = self._in_place(lambda snapshot: snapshot.manifest)
        except MissingOutput:
            return None
        return own if own.shares else None

    def read(self, name: str = "", columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return a table of the folder, by default its only one, in key order.

        Raises:
            MissingOutput: the folder or the table was never made.
            StorageError: truncated, corrupt, or not to be read.
        """
        manifest, file = self.opened(name)
        with file, disk_errors(self.address, "read"):
            wanted = self._columns(manifest, name, columns)
            return pl.read_parquet(file, columns=wanted, hive_partitioning=False).select(wanted)

    def scan(self, name: str = "", columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return a lazy frame over a table of the folder, as it is stored now.

        The file stays open, so that a later replacement does not change what is read.

        Raises:
            MissingOutput: the folder or the table was never made.
            StorageError: truncated, corrupt, or not to be read.
        """
        manifest, file = self.opened(name)
        with file, disk_errors(self.address, "read"):
            wanted = self._columns(manifest, name, columns)
            return pl.scan_parquet(file, hive_partitioning=False, glob=False).select(wanted)

    def opened(self, name: str = "") -> tuple[Manifest, IO[bytes]]:
        """Return the manifest and the open Parquet file of a table, both of one version.

        Raises:
            MissingOutput: the folder or the table was never made.
            StorageError: truncated, corrupt, or not to be read.
        """
        file = self.file(name)

        def found(snapshot: Snapshot) -> tuple[Manifest, IO[bytes]]:
            return self._seen(snapshot.manifest) or snapshot.manifest, snapshot.open(file)

        return self._read(found)

    def file(self, name: str = "") -> str:
        """Return the name of the file of a table; default: the family's, else of the only one."""
        return file_of(name or self.family or ROWS)

    def contents(self, *names: str) -> dict[str, bytes]:
        """Return files of the folder, all of one version; default: all but tables.

        Raises:
            MissingOutput: the folder or a file was never made.
            StorageError: truncated, corrupt, or not to be read.
        """

        def files(snapshot: Snapshot) -> dict[str, bytes]:
            stored = snapshot.manifest.files
            found: dict[str, bytes] = {}
            for name in names or [name for name in stored if stored[name].columns is None]:
                with snapshot.open(name) as file:
                    found[name] = file.read()
            return found

        return self._read(files)

    def lost(self) -> str | None:
        """Return the remedy for tables stored without a manifest; None where there are none."""
        if not any(name.endswith(".parquet") for name in self.backend.list(self.name).files):
            return None
        return f"{self.address}/{MANIFEST} is gone; {self.way_out}"

    def _restat(self) -> None:
        """Write the present stat of the files, once they are verified, into the manifest."""
        with self.lock(wait_seconds=0.0):
            manifest, moved = self._read(lambda found: (found.manifest, self._moved(found)))
            text = sealed_text(with_stats(manifest, moved))
            self.backend.replace_manifest(self.name, text)

    def restamp(self, found: Manifest, code: str, extra: Mapping[str, Any]) -> bool:
        """Record that other code makes the same content: only the manifest is replaced, whole.

        Args:
            found: the manifest that was looked at.
            code: digest of the code that makes the same content.
            extra: in the place of its `extra`.

        Returns:
            Whether it was replaced; not where another version was written meanwhile.

        Raises:
            LockHeld: another living process writes this folder.
            StorageError: the storage refused; the manifest before is untouched.
        """
        with self.lock():
            now = self.manifest()
            if now is None or (now.created_at, now.code) != (found.created_at, found.code):
                return False
            assert not now.shares, "a reference is made anew"
            changed = now.model_copy(update={"code": code, "extra": dict(extra)})
            if self.family:
                whole = replace(self, family="").manifest()
                assert whole is not None, "its family was just read"
                changed = with_family(whole, self.family, changed)
            self.backend.replace_manifest(self.name, sealed_text(changed))
        return True

    def lock(self, wait_seconds: float = DEFAULT_WAIT_SECONDS) -> AbstractContextManager[None]:
        """Return the exclusive right to write this folder, a context manager.

        `write` takes it by itself; hold it around reading and writing back.

        Raises:
            LockHeld: another living process has it; the message names it.
        """
        return self.backend.lock(self.name, wait_seconds)

    def write(
        self,
        frames: Mapping[str, pl.DataFrame],
        manifest: ManifestInput,
        files: Mapping[str, bytes | Path] | None = None,
        *,
        wait_seconds: float = DEFAULT_WAIT_SECONDS,
    ) -> Manifest:
        """Replace the whole folder by these tables and files, in one step.

        Args:
            frames: tables by name; each becomes `<name>.parquet`, its rows in key order.
            manifest: what they were made from; its `keys` name what identifies a row.
            files: other files by their path inside the folder.
            wait_seconds: how long to wait for another writer of this folder.

        Returns:
            The manifest as written.

        Raises:
            BadInput: two rows share a key.
            LockHeld: another living process writes this folder.
            StorageError: the disk refused; what was there before is untouched.
        """
        contents: dict[str, bytes] = {}
        stored: dict[str, StoredFile] = {}
        for name, frame in frames.items():
            file = file_of(name)
            key = manifest.keys.get(name, ())
            ordered = in_key_order(frame, key, f"{self.name}/{name}") if key else frame
            contents[file] = parquet(ordered)
            stored[file] = _stored(contents[file], ordered)
        for file, source in (files or {}).items():
            _check_file_name(file, taken=contents)
            with disk_errors(self.address, "read"):
                contents[file] = source.read_bytes() if isinstance(source, Path) else source
            stored[file] = _stored(contents[file], None)
        whole = self._manifest(manifest, stored)

        def sealed(stats: Mapping[str, FileStat]) -> bytes:
            return sealed_text(with_stats(whole, stats))

        with self.lock(wait_seconds):
            text = self.backend.replace(self.name, contents, sealed)
        return parse_manifest(text, self.address)

    def write_families(
        self,
        frames: Mapping[str, pl.DataFrame],
        manifests: Mapping[str, ManifestInput],
        key: Sequence[str],
        *,
        wait_seconds: float = DEFAULT_WAIT_SECONDS,
    ) -> Manifest:
        """Replace some families of a table in one step; the others stay, bit for bit.

        Args:
            frames: the columns of each family, with the keys; each becomes `<family>.parquet`.
            manifests: what each was made from.
            key: columns that identify a row, which every family has.
            wait_seconds: how long to wait for another writer of this folder.

        Returns:
            The manifest as written.

        Raises:
            BadInput: two rows of a family share a key.
            LockHeld: another living process writes this folder.
            StorageError: the disk refused; what was there before is untouched.
        """
        contents: dict[str, bytes] = {}
        stored: dict[str, StoredFile] = {}
        families: dict[str, Family] = {}
        keys, digests = pl.DataFrame(), dict[str, str]()  # families share them, as a rule
        for name, frame in frames.items():
            ordered = in_key_order(frame, key, f"{self.name}/{name}")
            file, given = file_of(name), manifests[name]
            if not keys.equals(ordered.select(key)):
                keys = ordered.select(key)
                digests = {column: column_digest(keys[column]) for column in key}
            contents[file] = parquet(ordered)
            stored[file] = _stored(contents[file], ordered, digests)
            families[name] = Family(
                content_hash=stored[file].content_hash,
                key_hash=content_hash(keys, digests=digests),
                rows=ordered.height,
                inputs=given.inputs,
                digest=given.digest,
                code=given.code,
                code_version=given.code_version,
                created_at=datetime.now(UTC),
                extra=given.extra,
            )

        with self.lock(wait_seconds):
            before = self._before()
            kept = {n: held for n, held in before.families.items() if n not in frames}

            def sealed(stats: Mapping[str, FileStat]) -> bytes:
                there = {name for name in kept if file_of(name) in stats}
                files = {file_of(name): before.files[file_of(name)] for name in there} | stored
                held = {name: kept[name] for name in there} | families
                whole = self._manifest(ManifestInput(digest="", code_version=""), files)
                whole = whole.model_copy(
                    update={
                        "families": dict(sorted(held.items())),
                        "rows": max(family.rows for family in held.values()),
                    }
                )
                # What is kept was not looked at: its stat stays the one that was verified.
                return sealed_text(with_stats(whole, {file: stats[file] for file in contents}))

            files = [file_of(name) for name in kept]
            text = self.backend.replace(self.name, contents, sealed, files)
        return parse_manifest(text, self.address)

    def _before(self) -> Manifest:
        """Return the manifest of the version in place; an empty one where there is none to keep."""
        try:
            found = replace(self, family="").manifest()
        except StorageError:  # its families cannot be known: they are made again
            found = None
        return found or self._manifest(ManifestInput(digest=""), {})

    def share(
        self,
        origin: "Folder",
        manifest: ManifestInput,
        *,
        wait_seconds: float = DEFAULT_WAIT_SECONDS,
    ) -> Manifest:
        """Replace the whole folder by a reference to another one, which is read in its place.

        The reference is damaged where the other folder is, where it is gone, and where it was
        made again from anything else.

        Args:
            origin: the other folder, of the same backend; holds its own files.
            manifest: digest, code and inputs of this output, which are those of the other.
            wait_seconds: how long to wait for another writer of this folder.

        Returns:
            The manifest as it is read.

        Raises:
            MissingOutput: the other folder was never made.
            LockHeld: another living process writes this folder.
            StorageError: the other folder is damaged or was made from something else, or the
                disk refused; what was there before is untouched.
        """
        whole = self._manifest(manifest, {})
        held = origin._in_place(lambda snapshot: snapshot.manifest)
        whole = whole.model_copy(
            update={
                "content_hash": held.content_hash,
                "rows": held.rows,
                "status": SHARED,
                "extra": held.extra,
                "shares": origin.name,
            }
        )
        try:
            shared = self._followed(whole, held)
        except DamagedFile as error:
            raise StorageError(f"{error}; run again") from None
        with self.lock(wait_seconds):
            self.backend.replace(self.name, {}, lambda _: sealed_text(whole))
        return shared

    def _followed(self, reference: Manifest, held: Manifest) -> Manifest:
        """Return what a reference stands for; refuse a folder that is not what it refers to."""
        changed = [
            what
            for what in ("content_hash", "digest", "code", "inputs")
            if getattr(reference, what) != getattr(held, what)
        ]
        if changed or held.shares:
            raise DamagedFile(
                f"{self.address} refers to {reference.shares}, which was made again since (its "
                f"{changed[0] if changed else 'status'} differs)"
            )
        return held.model_copy(update={"shares": reference.shares})

    def _manifest(self, given: ManifestInput, stored: Mapping[str, StoredFile]) -> Manifest:
        hashes = {
            name: file.content_hash for name, file in stored.items() if name not in given.unhashed
        }
        single = len(hashes) == 1 and next(iter(hashes)) == file_of(ROWS)
        return Manifest(
            schema_version=SCHEMA_VERSION,
            table=given.table or self.table,
            month=self.month,
            content_hash=next(iter(hashes.values())) if single else combined_hash(hashes),
            rows=sum(file.rows or 0 for file in stored.values()),
            inputs=given.inputs,
            digest=given.digest,
            code=given.code,
            code_version=given.code_version,
            created_at=datetime.now(UTC),
            status=given.status,
            extra=given.extra,
            files=dict(stored),
        )

    def _columns(self, manifest: Manifest, name: str, wanted: Sequence[str] | None) -> list[str]:
        known = list(manifest.files[self.file(name)].columns or ())
        return checked_columns(known, wanted, f"{self.name}/{name or self.family or ROWS}")

    def _read(self, use: Callable[[Snapshot], T]) -> T:
        """Return what `use` reads, of a reference from the folder that it refers to."""
        manifest, found = self._in_place(
            lambda found: (found.manifest, None if found.manifest.shares else [use(found)])
        )
        if found is not None:
            return found[0]

        def followed(snapshot: Snapshot) -> T:
            return use(replace(snapshot, manifest=self._followed(manifest, snapshot.manifest)))

        origin = Folder(self.backend, tuple(manifest.shares.split("/")), self.verify, self.family)
        try:
            return origin._in_place(followed, self.way_out)
        except MissingOutput:
            if origin.is_finished():
                raise
            raise StorageError(
                f"{self.address} refers to {manifest.shares}, which is gone; {self.way_out}"
            ) from None

    def _in_place(self, use: Callable[[Snapshot], T], way_out: str = "") -> T:
        """Return what `use` reads of this very folder."""

        def in_place(snapshot: Snapshot) -> T:
            self._check_place(snapshot.manifest)
            return use(snapshot)

        try:
            return read_snapshot(self.backend, self.name, in_place, way_out or self.way_out)
        except NotFinished:
            raise MissingOutput(
                f"{self.name} has not been made in {self.backend.address()}; run the stage that "
                "makes it, or choose the --storage that has it"
            ) from None

    def _check_place(self, manifest: Manifest) -> None:
        """Refuse a month's folder that was copied from another month or another table."""
        if manifest.month and (manifest.table, manifest.month) != (self.table, self.month):
            raise DamagedFile(
                f"{self.address} holds {manifest.table} of {manifest.month}, as its manifest "
                "records: it was copied from there"
            )

    @property
    def way_out(self) -> str:
        """The remedy where its files are damaged, for messages."""
        if self.parts[1:2] == ("raw",):
            return (
                f"restore {self.address} from a backup; or delete it and run again, which fetches "
                "it anew (revisions that the source no longer delivers are then lost)"
            )
        return f"delete {self.address} and run again"


@lru_cache(maxsize=1 << 13)
def _own_manifest(backend: Backend, parts: tuple[str, ...], stamp: Stamp) -> Manifest:
    """Return the manifest that a folder has while its stamp stays, read once."""
    return Folder(backend, parts)._in_place(lambda snapshot: snapshot.manifest)


@lru_cache(maxsize=1 << 13)
def _own_family(folder: Folder, stamp: Stamp) -> Manifest | None:
    """Return what the manifest of a folder says of its family, picked out once."""
    return of_family(_own_manifest(folder.backend, folder.parts, stamp), folder.family)


def month_named(folder: str) -> str:
    """Return the month that a folder is named after, `month=2023-07`; empty where none."""
    found = _MONTH.fullmatch(folder)
    return found.group(1) if found else ""


def parquet(frame: pl.DataFrame) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=ZSTD_LEVEL)
    return buffer.getvalue()


def _stored(
    content: bytes, frame: pl.DataFrame | None, digests: Mapping[str, str] | None = None
) -> StoredFile:
    whole = bytes_hash(content)
    return StoredFile(
        size=len(content),
        bytes_hash=whole,
        content_hash=whole if frame is None else content_hash(frame, digests=digests),
        rows=None if frame is None else frame.height,
        columns=None if frame is None else {n: str(t) for n, t in frame.schema.items()},
    )


def with_stats(manifest: Manifest, stats: Mapping[str, FileStat]) -> Manifest:
    """Return a manifest that names these stats of its files; the others as they were."""
    files = {
        name: stored.model_copy(
            update={"mtime_ns": stats[name].mtime_ns, "inode": stats[name].inode}
        )
        if name in stats
        else stored
        for name, stored in manifest.files.items()
    }
    return manifest.model_copy(update={"files": files})


def _check_file_name(name: str, taken: Mapping[str, bytes]) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or name in ("", "."):
        raise SpecError(f"{name!r} cannot name a file of an output folder; want a relative path")
    if name in taken or path.name == MANIFEST:
        raise SpecError(f"{name!r} cannot be a file of an output folder: the name is taken")
