"""Outputs kept in one folder a month: tables, and other files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import IO, ClassVar

import polars as pl

from alpha_assets.calendar import month_range, month_start
from alpha_assets.errors import MissingOutput, StorageError
from alpha_assets.store.backend import Stamp
from alpha_assets.store.folder import MONTH, ROWS, Folder
from alpha_assets.store.hashing import combined_hash
from alpha_assets.store.lock import DEFAULT_WAIT_SECONDS
from alpha_assets.store.manifest import Manifest, ManifestInput
from alpha_assets.store.os_errors import disk_errors
from alpha_assets.store.snapshot import checked_columns
from alpha_assets.store.store import Store

_MONTH = re.compile(r"\d{4}-\d{2}")
DAMAGED = "damaged"  # in the place of the content hash of a month with a damaged manifest
OF_ONE_FILE = "holds all columns in one file, as an earlier version wrote it"
AGAIN = "to be made again"  # in the place of the hash of a stale, missing or damaged month


@lru_cache(maxsize=4096)
def _is_month(name: str) -> bool:
    return _MONTH.fullmatch(name) is not None


@dataclass(frozen=True)
class MonthFolders:
    """The months of one output, a folder each; nothing is stored until one is written."""

    PREFIX: ClassVar[str] = ""  # in front of the month in the name of its folder

    store: Store
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name below the root: `market/panel`."""
        return "/".join(self.parts)

    def folder(self, month: str) -> Folder:
        """Return the folder of a month, whether or not it was made.

        Raises:
            RangeError: not a month `YYYY-MM`.
        """
        month_start(month)
        return self.store.folder(*self.parts, f"{self.PREFIX}{month}")

    def months(self, first: str | None = None, last: str | None = None) -> tuple[str, ...]:
        """Return the finished months from `first` to `last`, ends included, sorted."""
        return tuple(self._stamps(first, last))

    def _stamps(self, first: str | None, last: str | None) -> dict[str, Stamp | None]:
        """Return the finished months of a span, sorted, and the stamp of each manifest."""
        finished = self.store.backend.finished(self.name)
        return {
            month: finished[f"{self.PREFIX}{month}"]
            for month in sorted(self._months(finished))
            if (first is None or month >= first) and (last is None or month <= last)
        }

    def hashes(self, first: str | None = None, last: str | None = None) -> dict[str, str]:
        """Return the content hash of each finished month of a span, as its manifest names it."""
        found: dict[str, str] = {}
        for month, stamp in self._stamps(first, last).items():
            try:
                manifest = self.folder(month).manifest(stamp)
            except StorageError:
                found[month] = DAMAGED
                continue
            if manifest is not None:
                found[month] = self.hash_of(manifest)
        return found

    def manifests(self) -> dict[str, Manifest]:
        """Return the manifest of each finished month, but for those that cannot be read."""
        found: dict[str, Manifest] = {}
        for month, stamp in self._stamps(None, None).items():
            with suppress(StorageError):
                manifest = self.folder(month).manifest(stamp)
                if manifest is not None:
                    found[month] = manifest
        return found

    def hash_of(self, manifest: Manifest) -> str:
        """Return the hash of what a month holds, from its manifest."""
        return manifest.content_hash

    def complete_months(self, first: str | None, last: str | None) -> list[str]:
        """Return the months of a span that is read.

        Raises:
            MissingOutput: there is none, or one between two others, or the last one asked for,
                was never made.
        """
        stored = self.months(last=last)
        wanted = [month for month in stored if first is None or month >= first]
        if not wanted:
            raise MissingOutput(
                f"{self.name} has no month from {first or 'the start'} to {last or 'the end'} in "
                f"{self.store.address}; run the stage that makes it"
            )
        start = max(first or stored[0], stored[0])
        gaps = sorted(set(month_range(start, last or wanted[-1])) - set(wanted))
        if gaps:
            raise MissingOutput(
                f"{self.name} lacks {len(gaps)} of the months {start} to {last or wanted[-1]}, "
                f"first {gaps[0]}; run the stage that makes it for them"
            )
        return wanted

    def damaged(self) -> dict[str, str]:
        """Return the months whose files differ from their manifest, and how.

        A month's folder without a manifest is one of them: folders are moved into place whole.
        """
        found = {}
        folders = self.store.backend.list(self.name).folders
        finished = self.store.backend.finished(self.name)
        for month in sorted(self._months(folders)):
            folder, name = self.folder(month), f"{self.PREFIX}{month}"
            wrong = folder.look(finished[name])[1] if name in finished else folder.lost()
            if wrong:
                found[month] = wrong
        return found

    def combined_hash(self, first: str | None = None, last: str | None = None) -> str:
        """Return one hash over the names and content hashes of all finished months of a span."""
        return combined_hash(self.hashes(first, last))

    def hashes_at_hand(self) -> "KnownHashes":
        """Return the hashes of all finished months, read once."""
        return KnownHashes(self.hashes())

    def _months(self, folders: Iterable[str]) -> set[str]:
        """Return the months that folders are named after; other names are no months."""
        named = {name.removeprefix(self.PREFIX) for name in folders if name.startswith(self.PREFIX)}
        return {name for name in named if _is_month(name)}


@dataclass(frozen=True)
class MonthTable(MonthFolders):
    """The months of one table."""

    PREFIX: ClassVar[str] = MONTH

    key: tuple[str, ...]  # columns that identify a row, in the order of the rows

    def write(
        self,
        month: str,
        frame: pl.DataFrame,
        manifest: ManifestInput,
        *,
        wait_seconds: float = DEFAULT_WAIT_SECONDS,
    ) -> Manifest:
        """Replace a month by these rows; see `Folder.write`.

        Raises:
            BadInput: two rows share a key, or one has none.
        """
        named = manifest.model_copy(update={"keys": {ROWS: self.key}})
        return self.folder(month).write({ROWS: frame}, named, wait_seconds=wait_seconds)

    def read(
        self,
        first: str | None = None,
        last: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """Return the rows of a span of months, in month order, each month in key order.

        The frame is a snapshot: a month that is replaced before the frame is collected is still
        read as it was.

        Args:
            first: first month; default, or where the table starts later: its first month.
            last: last month; default: the table's last.
            columns: which, and in which order; default: all.

        Raises:
            MissingOutput: nothing stored in the span, or a month between two others, or the
                last one asked for, was never made.
            StorageError: a month is truncated or corrupt, or has other columns than the rest.
        """
        return self.scan(self.complete_months(first, last), columns)

    def scan(self, months: Sequence[str], columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows of just these stored months; see `read`."""
        return self.scanned(months, columns)[0]

    def scanned(
        self, months: Sequence[str], columns: Sequence[str] | None = None
    ) -> tuple[pl.LazyFrame, dict[str, Manifest]]:
        """Return the rows of just these stored months, and the manifests of what is read."""
        files: list[IO[bytes]] = []
        manifests: dict[str, Manifest] = {}
        schemas: dict[str, dict[str, str]] = {}
        with ExitStack() as stack:
            for month in months:
                folder = self.folder(month)
                manifests[month], file = folder.opened()
                files.append(stack.enter_context(file))
                schemas[month] = manifests[month].files[folder.file()].columns or {}
            self._check_alike(schemas)
            wanted = checked_columns(list(schemas[months[0]]), columns, self.name)
            with disk_errors(self.store.backend.address(self.name), "read"):
                rows = pl.scan_parquet(list(files), hive_partitioning=False, glob=False)
        return rows.select(wanted), manifests

    def _check_alike(self, schemas: dict[str, dict[str, str]]) -> None:
        """Refuse months that differ in their columns, naming the first and the last."""
        last = max(schemas)
        newest = list(schemas[last].items())
        for month, schema in schemas.items():
            if list(schema.items()) != newest:
                odd = sorted(dict(set(schema.items()) ^ set(newest))) or ["their order"]
                raise StorageError(
                    f"{self.name}: months {month} and {last} differ in their columns (first: "
                    f"{odd[0]}); another version wrote one of them: delete "
                    f"{self.folder(month).address} and run again"
                )


@dataclass(frozen=True)
class FamilyMonths(MonthTable):
    """The months of one family of a table, as if it were a table of its own."""

    family: str

    @property
    def name(self) -> str:
        """Its name below the root, the family's behind that of its table."""
        return f"{super().name}/{self.family}"

    @property
    def table(self) -> "FamilyTable":
        """The table that it is a family of."""
        return FamilyTable(self.store, self.parts, self.key)

    def folder(self, month: str) -> Folder:
        """Return the folder of a month, its family looked at alone."""
        return super().folder(month).of(self.family)

    def months(self, first: str | None = None, last: str | None = None) -> tuple[str, ...]:
        """Return the months from `first` to `last` that hold the family, sorted."""
        return tuple(self.hashes(first, last))

    def hashes(self, first: str | None = None, last: str | None = None) -> dict[str, str]:
        """Return the content hash of the family in each month of a span that holds it."""
        return self.table.hashes_by_family([self.family], first, last)[self.family]


@dataclass(frozen=True)
class FamilyTable(MonthFolders):
    """The months of a table whose columns are kept in one file a family, each with the keys.

    Attributes:
        key: columns that identify a row.
        families: those that are read, and that a month has to hold; none: those that every month
            of a span holds.
    """

    PREFIX: ClassVar[str] = MONTH

    key: tuple[str, ...]
    families: tuple[str, ...] = ()

    def only(self, families: Sequence[str]) -> "FamilyTable":
        """Return the table as some of its families see it."""
        return replace(self, families=tuple(families))

    def of(self, family: str) -> FamilyMonths:
        """Return the months of one family."""
        return FamilyMonths(self.store, self.parts, self.key, family)

    def months(self, first: str | None = None, last: str | None = None) -> tuple[str, ...]:
        """Return the months from `first` to `last` that hold the families, sorted."""
        if not self.families:
            return super().months(first, last)
        held = self.hashes_by_family(self.families, first, last)
        return tuple(sorted(set.intersection(*map(set, held.values()))))

    def hashes(self, first: str | None = None, last: str | None = None) -> dict[str, str]:
        """Return one hash of the families in each month that holds them."""
        if not self.families:
            return super().hashes(first, last)
        held = self.hashes_by_family(self.families, first, last)
        return {
            month: combined_hash({family: found[month] for family, found in held.items()})
            for month in sorted(set.intersection(*map(set, held.values())))
        }

    def hashes_by_family(
        self, families: Sequence[str] = (), first: str | None = None, last: str | None = None
    ) -> dict[str, dict[str, str]]:
        """Return, by family and month, the content hashes of what the months of a span hold.

        Args:
            families: which; default: all that some month holds.
            first: first month.
            last: last month.
        """
        found: dict[str, dict[str, str]] = {family: {} for family in families}
        damaged = []
        for month, stamp in self._stamps(first, last).items():
            try:
                manifest = self.folder(month).manifest(stamp)
            except StorageError:
                damaged.append(month)
                continue
            for family, held in manifest.families.items() if manifest else ():
                if not families or family in families:
                    found.setdefault(family, {})[month] = held.content_hash
        for of_months in found.values():
            of_months |= dict.fromkeys(damaged, DAMAGED)
        return {family: dict(sorted(of_months.items())) for family, of_months in found.items()}

    def held(self, months: Sequence[str]) -> tuple[str, ...]:
        """Return the families that every one of some months holds, sorted.

        Raises:
            StorageError: a month holds all columns in one file, as an earlier version wrote it.
        """
        found: set[str] | None = None
        for month in months:
            folder = self.folder(month)
            manifest = folder.manifest()
            if manifest is None:
                continue
            if not manifest.families:
                raise StorageError(f"{folder.address} {OF_ONE_FILE}; run again")
            here = set(manifest.families)
            found = here if found is None else found & here
        return tuple(sorted(found or ()))

    def write(
        self,
        month: str,
        frames: Mapping[str, pl.DataFrame],
        manifests: Mapping[str, ManifestInput],
        *,
        wait_seconds: float = DEFAULT_WAIT_SECONDS,
    ) -> Manifest:
        """Replace some families of a month, in one step; see `Folder.write_families`."""
        return self.folder(month).write_families(
            frames, manifests, self.key, wait_seconds=wait_seconds
        )

    def read(
        self,
        first: str | None = None,
        last: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """Return the rows of a span of months; see `MonthTable.read`.

        Args:
            first: first month; default, or where the table starts later: its first month.
            last: last month; default: the table's last.
            columns: which, of the families that hold them, and in which order; default: all.
        """
        return self.scan(self.complete_months(first, last), columns)

    def scan(self, months: Sequence[str], columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows of just these stored months; see `read`.

        Families of a month have the same rows in the same order, and are put side by side.

        Raises:
            BadInput: no family has a column of that name.
            StorageError: a family is truncated or corrupt, or two of them have other rows.
        """
        placed = self._placed(months, columns)
        parts: list[pl.LazyFrame] = []
        keys: dict[str, tuple[str, str]] = {}  # of a month: the first family that is read, its keys
        for family, wanted in placed.items():
            own = [name for name in wanted if name not in self.key]
            names = [*self.key, *own] if not parts else own
            rows, manifests = self.of(family).scanned(months, names)
            for month, manifest in manifests.items():
                of_keys = manifest.families[family].key_hash
                first = keys.setdefault(month, (family, of_keys))
                if first[1] != of_keys:
                    raise StorageError(
                        f"{self.folder(month).address}: {first[0]} and {family} have other rows; "
                        "one of them was made of another panel: run again"
                    )
            parts.append(rows)
        joined = pl.concat(parts, how="horizontal") if len(parts) > 1 else parts[0]
        return joined if columns is None else joined.select(columns)

    def _placed(self, months: Sequence[str], columns: Sequence[str] | None) -> dict[str, list[str]]:
        """Return the families that are read, and the columns of each."""
        families = self.families or self.held(months)
        columns_of: dict[str, list[str]] = {}
        for family in families:
            folder = self.of(family).folder(months[0])
            manifest = folder.manifest()
            if manifest is None:
                if folder.is_of_one_file():
                    raise StorageError(f"{self.folder(months[0]).address} {OF_ONE_FILE}; run again")
                raise MissingOutput(f"{folder.address} has not been made; run the stage again")
            columns_of[family] = list(manifest.files[folder.file()].columns or ())
        known = list(dict.fromkeys(name for names in columns_of.values() for name in names))
        wanted = set(checked_columns(known, columns, self.name)) - set(self.key)
        placed = {
            family: [name for name in names if name in wanted]
            for family, names in columns_of.items()
        }
        needed = {family: names for family, names in placed.items() if names or columns is None}
        return needed or dict(list(placed.items())[:1])


@dataclass(frozen=True)
class KnownHashes:
    """The content hashes of a table's months at one moment.

    Attributes:
        of_month: of each finished month.
        again: months to be made again, whether or not they are stored.
    """

    of_month: dict[str, str]
    again: frozenset[str] = frozenset()
    _combined: dict[tuple[str, str], str] = field(default_factory=dict, repr=False, compare=False)

    def combined(self, first: str | None = None, last: str | None = None) -> str:
        """Return one hash for all finished months of a span, as `MonthTable.combined_hash`.

        `AGAIN` where a month of the span is to be made.
        """
        low, high = first or "", last or "9999-12"
        if (low, high) not in self._combined:
            is_again = any(low <= month <= high for month in self.again)
            of_span = {m: h for m, h in self.of_month.items() if low <= m <= high}
            self._combined[low, high] = AGAIN if is_again else combined_hash(of_span)
        return self._combined[low, high]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored, or to be made again."""
        return not self.of_month and not self.again

    def within(self, first: str, last: str) -> tuple[str, ...]:
        """Return the finished months of a span, ends included."""
        return tuple(month for month in self.of_month if first <= month <= last)
