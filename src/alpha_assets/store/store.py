"""The storage root: where every output folder is found by its parts."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alpha_assets.errors import StorageError
from alpha_assets.store.folder import Folder
from alpha_assets.store.location import DEFAULT_STORAGE, TMP, storage_root
from alpha_assets.store.os_errors import disk_errors


@dataclass(frozen=True)
class Store:
    """All outputs below one root; nothing is made on the disk until something is written.

    Attributes:
        url: the folder that holds it.
        verify: looks at outputs hash every byte instead of comparing size, time and inode.
    """

    url: str = DEFAULT_STORAGE
    verify: bool = False

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
        return Folder(self.root, parts, self.verify)

    def remove(self, path: Path) -> None:
        """Remove a folder of `tmp` that its owner is done with; absent is as good as removed.

        Raises:
            StorageError: it does not lie in `tmp`, or the disk refuses.
        """
        if not path.resolve().is_relative_to(self.tmp.resolve()) or path == self.tmp:
            raise StorageError(f"{path} does not lie in {self.tmp}; only what does is removed")
        with disk_errors(path, "write"):
            if path.exists():
                shutil.rmtree(path)
