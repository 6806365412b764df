"""Append-only tables and finished folders: written whole, read as known at an instant."""

from alpha_assets.store.folder import ROWS, Folder
from alpha_assets.store.hashing import combined_hash, content_hash
from alpha_assets.store.location import DEFAULT_STORAGE, STORAGE_VARIABLE, TMP, storage_root
from alpha_assets.store.lock import DEFAULT_WAIT_SECONDS
from alpha_assets.store.manifest import COMPLETE, Manifest, ManifestInput
from alpha_assets.store.raw import Appended, RawTable
from alpha_assets.store.raw_rows import RawFeed
from alpha_assets.store.store import Store
from alpha_assets.store.table import MonthTable

__all__ = [
    "COMPLETE",
    "DEFAULT_STORAGE",
    "DEFAULT_WAIT_SECONDS",
    "ROWS",
    "STORAGE_VARIABLE",
    "TMP",
    "Appended",
    "Folder",
    "Manifest",
    "ManifestInput",
    "MonthTable",
    "RawFeed",
    "RawTable",
    "Store",
    "combined_hash",
    "content_hash",
    "storage_root",
]
