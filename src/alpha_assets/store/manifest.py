"""The manifest of an output: its content, its inputs, and the code that wrote it."""

import json
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alpha_assets import __version__
from alpha_assets.errors import StorageError
from alpha_assets.store.hashing import bytes_hash

MANIFEST = "manifest.json"
SCHEMA_VERSION = 2
UNSEALED = 1  # earlier manifests: no seal, no hash of a table's bytes, no stat
COMPLETE = "complete"
SHARED = "shared"  # status of a reference to another folder

_NO_SEAL = b'"seal": ""'


class ManifestInput(BaseModel):
    """The part of a manifest that the caller of `Folder.write` supplies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str  # of everything that may change the content: specs, sources
    code: str = ""  # of the definitions that computed it; empty: not compared
    code_version: str = __version__
    table: str = ""  # default: the folder's name, of a month's folder that of its table
    inputs: dict[str, str] = Field(default_factory=dict)  # name -> content hash it was made from
    keys: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # frame -> what names a row
    status: str = COMPLETE
    extra: dict[str, Any] = Field(default_factory=dict)
    unhashed: tuple[str, ...] = ()  # files that are not content: timings, pictures, logs


class StoredFile(BaseModel):
    """One file of a folder, as it was written.

    Size, time and inode are compared with the file's wherever only its presence matters; the
    bytes are hashed whenever they are read, and where the stat differs (a copied storage).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)  # bytes
    mtime_ns: int | None = None
    inode: int | None = None
    bytes_hash: str | None = None  # None in manifests of version 1, which name a CRC-32
    crc32: int | None = None
    content_hash: str  # of the table or, for other files, of the bytes
    rows: int | None = None  # of a table
    columns: dict[str, str] | None = None  # of a table: name -> type, in order


class Family(BaseModel):
    """What a folder's manifest keeps of one family: columns in a file of their own, with the keys.

    Each family of a folder has its own digest, code and inputs, so that one can be made again
    while the others stay as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    content_hash: str
    key_hash: str  # of the keys alone, in order: families of equal key hashes stand row by row
    rows: int
    inputs: dict[str, str]
    digest: str
    code: str
    code_version: str
    created_at: datetime
    extra: dict[str, Any]


class Manifest(BaseModel):
    """`manifest.json`: it appears together with the files that it describes, or not at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    table: str
    month: str = ""  # of a table kept in one folder a month; older manifests name none
    content_hash: str  # of a single table, or of all files together
    rows: int  # of all tables together
    inputs: dict[str, str]
    digest: str
    code: str = ""
    code_version: str
    created_at: datetime
    status: str
    extra: dict[str, Any]
    files: dict[str, StoredFile]
    families: dict[str, Family] = Field(default_factory=dict)  # of a table in one file a family
    shares: str = ""  # name of the folder that holds the files, where this one refers to it
    seal: str = ""  # hash of this file's own text with an empty seal


def file_of(table: str) -> str:
    """Return the name of the file that holds a table, or a family of one."""
    return f"{table}.parquet"


def of_family(manifest: Manifest, family: str) -> Manifest | None:
    """Return the manifest as if the folder held this family alone; None where it has none."""
    held = manifest.families.get(family)
    if held is None:
        return None
    file = file_of(family)
    return manifest.model_copy(
        update={**dict(held), "files": {file: manifest.files[file]}, "families": {family: held}}
    )


def with_family(manifest: Manifest, family: str, changed: Manifest) -> Manifest:
    """Return a folder's manifest with what `changed`, the one of a family alone, records of it."""
    held = manifest.families[family].model_copy(
        update={name: getattr(changed, name) for name in ("code", "extra")}
    )
    return manifest.model_copy(update={"families": {**manifest.families, family: held}})


def sealed_text(manifest: Manifest) -> bytes:
    """Return the text of `manifest.json`: JSON whose last field is the hash of the rest."""
    bare = manifest.model_copy(update={"seal": ""})
    head, _, tail = (bare.model_dump_json(indent=2).encode() + b"\n").rpartition(_NO_SEAL)
    return head + _seal(head, tail) + tail


@lru_cache(maxsize=2048)  # of all feeds of a market, four years of months
def parse_manifest(content: bytes, folder: str) -> Manifest:
    """Return the manifest that a text is.

    Args:
        content: the text of `manifest.json`.
        folder: address of the output that it lies in, for messages.

    Raises:
        StorageError: not a manifest, one of another version, or one changed since it was
            written.
    """
    path = f"{folder}/{MANIFEST}"
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        _refuse_other_version(content, path, folder)
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        raise StorageError(
            f"{path}: not a manifest: {where}: {problem['msg']}; it was truncated, changed by "
            f"hand or written by another version: delete {folder} and run again"
        ) from None
    if manifest.schema_version not in (UNSEALED, SCHEMA_VERSION):
        _refuse_other_version(content, path, folder)
    if manifest.schema_version != UNSEALED and not _fits(manifest.seal, content):
        raise StorageError(
            f"{path}: its text is not what was written (its seal is {manifest.seal!r}): it was "
            f"changed by hand or is corrupt: delete {folder} and run again"
        )
    return manifest


def _refuse_other_version(content: bytes, path: str, folder: str) -> None:
    """Refuse the manifest of another version, whose other keys this one cannot know.

    Raises:
        StorageError: naming both versions.
    """
    try:
        version = json.loads(content)["schema_version"]
    except (ValueError, KeyError, TypeError):
        return  # no manifest of any version
    if isinstance(version, int) and version not in (UNSEALED, SCHEMA_VERSION):
        raise StorageError(
            f"{path}: schema_version = {version}, this version reads {SCHEMA_VERSION}: use the "
            f"version that wrote it, or delete {folder} and run again"
        )


def _fits(seal: str, content: bytes) -> bool:
    written = f'"seal": "{seal}"'.encode()
    head, found, tail = content.rpartition(written)
    return bool(found) and _seal(head, tail) == written


def _seal(head: bytes, tail: bytes) -> bytes:
    return f'"seal": "{bytes_hash(head + _NO_SEAL + tail)}"'.encode()
