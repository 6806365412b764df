"""The storage root, from a URL.

Rooms above the store name outputs by parts
(`"sim", "panel", "month=2023-07"`), never by path; another kind of storage is a `Backend` under
its URL scheme in `store.BACKENDS`.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alpha_assets.errors import SpecError

STORAGE_VARIABLE = "ALPHA_STORAGE"  # read by the callers, not in this room
DEFAULT_STORAGE = "storage"
TMP = "_tmp"  # unfinished outputs and locks
OBJECT_STORES = ("s3", "gs", "az")  # schemes of storages that have no folder of this machine

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(?=:)")
_SECRET = re.compile(r"(?<=//)[^/]*(?=@)")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=@\-]*")


def shown(url: str) -> str:
    """Return a storage URL as messages show it: without the key that some put before a host."""
    return _SECRET.sub("...", url)


def scheme_of(url: str) -> str:
    """Return the scheme of a storage URL in lower case; empty for a plain path."""
    scheme = _SCHEME.match(url)
    return scheme.group().lower() if scheme else ""


def is_object_store(url: str) -> bool:
    """Return whether a storage URL names an object store, and no folder of this machine."""
    return scheme_of(url) in OBJECT_STORES


def storage_root(url: str) -> Path:
    """Return the folder that a storage URL names: a path, or `file:///absolute/path`.

    The folder need not exist yet.

    Raises:
        SpecError: nothing, another scheme, or a `file:` URL of another host.
    """
    if not url.strip():
        raise SpecError(f"storage = {shown(url)!r}: want a folder, such as {DEFAULT_STORAGE!r}")
    scheme = _SCHEME.match(url)
    if scheme is None:
        return Path(url).expanduser().absolute()
    if scheme.group().lower() != "file":
        raise SpecError(
            f"storage = {shown(url)!r}: {scheme.group()!r} storage is not supported, only a local "
            "folder, file:///absolute/path, or s3://, gs:// or az:// with a bucket"
        )
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise SpecError(
            f"storage = {shown(url)!r}: a file URL names no other machine and an absolute path; "
            "want three slashes, file:///absolute/path, or just the path"
        )
    return Path(unquote(parts.path))


def check_root(url: str) -> None:
    """Refuse a storage URL of this machine at which no folder is and none can be made.

    Raises:
        SpecError: a file lies there, or on the way there; or see `storage_root`.
    """
    root = storage_root(url)
    there = next(path for path in (root, *root.parents) if path.exists())
    if not there.is_dir():
        raise SpecError(
            f"storage = {shown(url)!r}: {there} is no folder; want one, or a path where "
            "one can be made"
        )


def check_parts(parts: Sequence[str]) -> None:
    """Refuse names that could lead out of the storage root, or into `_tmp`.

    Raises:
        SpecError: no part, an odd character, or a first part that is `_tmp`.
    """
    _check_parts(tuple(parts))


@lru_cache(maxsize=1 << 14)  # the same folders are looked at again and again
def _check_parts(parts: tuple[str, ...]) -> None:
    if not parts:
        raise SpecError("an output folder needs a name below the storage root")
    for part in parts:
        if not _PART.fullmatch(part):
            raise SpecError(
                f"{part!r} cannot name an output folder; want letters, digits and _ . = @ - "
                "and no leading dot or dash"
            )
    if parts[0] == TMP:
        raise SpecError(f"{'/'.join(parts)}: {TMP} is where unfinished outputs lie; rename it")
