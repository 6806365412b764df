"""What a folder says about itself: its content, what it was made from, and by what."""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alpha_assets import __version__
from alpha_assets.errors import StorageError

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
COMPLETE = "complete"


class ManifestInput(BaseModel):
    """What the maker of a folder knows about it; the store adds the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str  # of everything that may change the content: specs, sources
    code_version: str = __version__
    table: str = ""  # default: the folder's name
    inputs: dict[str, str] = Field(default_factory=dict)  # name -> content hash it was made from
    keys: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # frame -> what names a row
    status: str = COMPLETE
    extra: dict[str, Any] = Field(default_factory=dict)
    unhashed: tuple[str, ...] = ()  # files that are not content: timings, pictures, logs


class StoredFile(BaseModel):
    """One file of a folder, as it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)  # bytes
    crc32: int  # of the bytes: finds a truncated or rotten file, proves nothing
    content_hash: str  # of the table or, for other files, of the bytes
    rows: int | None = None  # of a table
    columns: dict[str, str] | None = None  # of a table: name -> type, in order


class Manifest(BaseModel):
    """`manifest.json`: it appears together with the files that it describes, or not at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    table: str
    content_hash: str  # of a single table, or of all files together
    rows: int  # of all tables together
    inputs: dict[str, str]
    digest: str
    code_version: str
    created_at: datetime
    status: str
    extra: dict[str, Any]
    files: dict[str, StoredFile]

    @property
    def is_complete(self) -> bool:
        """Whether the folder holds what its stage is for, not the reason why it does not."""
        return self.status == COMPLETE


def parse_manifest(content: bytes, path: Path) -> Manifest:
    """Return the manifest that a file holds.

    Raises:
        StorageError: not a manifest, or one of another version.
    """
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        raise StorageError(
            f"{path}: not a manifest: {where}: {problem['msg']}; it was truncated, changed by "
            f"hand or written by another version: delete {path.parent} and run again"
        ) from None
    if manifest.schema_version != SCHEMA_VERSION:
        raise StorageError(
            f"{path}: schema_version = {manifest.schema_version}, this version reads "
            f"{SCHEMA_VERSION}: use the version that wrote it, or delete {path.parent} and "
            "run again"
        )
    return manifest
