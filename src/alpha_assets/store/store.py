"""The storage root: where every output folder is found by its parts."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alpha_assets.store.folder import Folder
from alpha_assets.store.location import DEFAULT_STORAGE, TMP, storage_root


@dataclass(frozen=True)
class Store:
    """All outputs below one root; nothing is made on the disk until something is written."""

    url: str = DEFAULT_STORAGE

    @cached_property
    def root(self) -> Path:
        """The folder that the URL names."""
        return storage_root(self.url)

    @property
    def tmp(self) -> Path:
        """Where unfinished outputs and locks lie."""
        return self.root / TMP

    def folder(self, *parts: str) -> Folder:
        """Return the output folder `<root>/<part>/<part>/…`, whether or not it was made."""
        return Folder(self.root, parts)
