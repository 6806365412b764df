"""What one look at the storage found."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from alpha_assets.errors import StorageError
from alpha_assets.store.folder import Folder
from alpha_assets.store.table import AGAIN, DAMAGED, FamilyMonths, KnownHashes, MonthFolders

MISSING = "missing"  # in the place of the content hash of an output that was never made
Place = MonthFolders | Folder  # where a stage's outputs lie
T = TypeVar("T")


class Seen:
    """Content hashes, and what follows from stored rows, each read from the storage once.

    A look ages: a writer takes a new one.  A status, which writes nothing,
    plans instead: what would be made again has no hash, and neither has what is made from it.
    """

    def __init__(self) -> None:
        """Begin with nothing seen and nothing planned."""
        self._hashes: dict[str, dict[str, str]] = {}
        self._known: dict[str, KnownHashes] = {}
        self._planned: dict[str, set[str]] = {}
        self._found: dict[str, Any] = {}

    def plan(self, place: Place, months: Iterable[str] = ("",)) -> None:
        """Note that months of an output are to be made again, and all that follows with them."""
        self._planned.setdefault(place.name, set()).update(months)
        self._known.pop(place.name, None)

    def hashes(self, place: MonthFolders) -> KnownHashes:
        """Return the content hashes of an output's months, less what is to be made again."""
        name = place.name
        if name in self._known:
            return self._known[name]
        if name not in self._hashes and isinstance(place, FamilyMonths):
            of_table = place.table.hashes_by_family()
            self._hashes |= {place.table.of(family).name: of for family, of in of_table.items()}
        if name not in self._hashes:
            self._hashes[name] = place.hashes()
        planned = frozenset(self._planned.get(name, ()))
        self._known[name] = KnownHashes(self._hashes[name], planned)
        return self._known[name]

    def forget(self, place: Place) -> None:
        """Read the content hashes of an output anew when they are next asked for."""
        self._hashes.pop(place.name, None)
        self._known.pop(place.name, None)

    def hash_of(self, folder: Folder) -> str:
        """Return the content hash of an output, or a word where it has none."""
        if self._planned.get(folder.name):
            return AGAIN
        try:
            manifest = folder.manifest()
        except StorageError:
            return DAMAGED
        return manifest.content_hash if manifest else MISSING

    def once(self, name: str, find: Callable[[], T]) -> T:
        """Return what `find` returns, asked once by this name."""
        if name not in self._found:
            self._found[name] = find()
        return cast(T, self._found[name])
