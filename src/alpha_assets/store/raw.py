"""Raw rows of a feed: appended, never overwritten, read as they were known at an instant.

A row is named by the feed's key and its `revision`; several rows of one key are one fact as
it was published and later corrected.  Rows lie in the month of their `available_at` in the
market's zone, so a correction lies in the month in which it came out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import polars as pl

from alpha_assets.errors import BadInput, FeedError, SourceMismatch, StorageError
from alpha_assets.store.folder import Folder
from alpha_assets.store.hashing import UNHASHED, combined_hash, content_hash, in_key_order
from alpha_assets.store.manifest import Manifest, ManifestInput
from alpha_assets.store.raw_rows import RawRows
from alpha_assets.store.side_by_side import side_by_side
from alpha_assets.store.table import DAMAGED

DATED = "by_date"  # of a month's manifest: content hashes of its rows by month of `event_date`


@dataclass(frozen=True)
class Appended:
    """The effect of an append."""

    rows: int  # that were not there before
    months: tuple[str, ...]  # whose files were rewritten


@dataclass(frozen=True)
class HashesByDate:
    """Content hashes of a feed's rows, by month of publication and by month of `event_date`.

    Attributes:
        of_month: by month of publication; of a damaged one, the word for that, without a date.
    """

    of_month: Mapping[str, Mapping[str, str]]

    def combined(self, published: tuple[str, str], dated: tuple[str, str]) -> str:
        """Return one hash of the rows of two spans of months, ends included."""
        return combined_hash(
            {
                f"{month} {day}": found
                for month, of_date in self.of_month.items()
                if published[0] <= month <= published[1]
                for day, found in of_date.items()
                if not day or dated[0] <= day <= dated[1]
            }
        )


@dataclass(frozen=True)
class RawTable(RawRows):
    """The stored rows of one feed of one market, and their growth."""

    def hashes(self, first: str | None = None, last: str | None = None) -> dict[str, str]:
        """Return the content hash of each stored month of a span."""
        return self.table.hashes(first, last)

    def combined_hash(self, first: str | None = None, last: str | None = None) -> str:
        """Return one hash for all stored months of a span."""
        return self.table.combined_hash(first, last)

    def hashes_by_date(self) -> HashesByDate:
        """Return the content hashes of all stored rows by the months of their dates.

        Of a month that an earlier version wrote they are computed from its rows.
        """
        found: dict[str, Mapping[str, str]] = {}
        for month in self.months():
            folder = self.table.folder(month)
            try:
                manifest = folder.manifest()
                if manifest is not None:
                    found[month] = manifest.extra.get(DATED) or _hashes_of(
                        folder, manifest.content_hash, self.table.key
                    )
            except StorageError:
                found[month] = {"": DAMAGED}
        return HashesByDate(found)

    def check_whole(self) -> None:
        """Refuse damaged rows: they cannot always be fetched again.

        Raises:
            StorageError: naming the first file, and the way out.
        """
        damaged = self.table.damaged()
        if damaged:
            more = f" (and {len(damaged) - 1} more months)" if len(damaged) > 1 else ""
            raise StorageError(f"{next(iter(damaged.values()))}{more}")

    def last_available(self) -> datetime | None:
        """Return the greatest `available_at` that is stored; None where nothing is."""
        months = self.months()
        if not months:
            return None
        rows = self.table.folder(months[-1]).read(columns=["available_at"])
        latest = rows["available_at"].max()
        assert isinstance(latest, datetime), "a stored month has rows"
        return latest

    def append(self, rows: pl.DataFrame, manifest: ManifestInput) -> Appended:
        """Add rows that are not stored yet; a month's file changes only if it gets some.

        A row whose key and revision are stored with the same values is left out, whenever
        it was ingested; so the same rows can be appended again.

        Args:
            rows: raw rows with all columns of the feed.
            manifest: its `digest` names the source; `extra["source"]` describes it.

        Raises:
            FeedError: columns or types are not the feed's, a key, `available_at` or `revision`
                is null, two rows share key and revision, or one differs from what is stored.
            SourceMismatch: another source's rows are stored.
        """
        rows = self._checked(rows)
        self._check_source(manifest)
        local = pl.col("available_at").dt.convert_time_zone(self.zone.key)
        parted = rows.with_columns(local.dt.strftime("%Y-%m").alias("month of publication"))
        by_month = parted.sort("month of publication").group_by(
            "month of publication", maintain_order=True
        )
        parts = ((str(month), part.select(rows.columns)) for (month,), part in by_month)

        def append(one: tuple[str, pl.DataFrame]) -> tuple[str, int]:
            return one[0], self._append_month(*one, manifest)

        counts = dict(side_by_side(append, parts, self.store.backend.at_once))
        touched = tuple(month for month, count in counts.items() if count)
        return Appended(sum(counts.values()), touched)

    def _append_month(self, month: str, part: pl.DataFrame, manifest: ManifestInput) -> int:
        folder = self.table.folder(month)
        with folder.lock():
            if not folder.exists():
                whole = part
                count = part.height
            else:
                # Rows that other code stored stay: so does the word that it did.
                manifest = manifest.model_copy(update={"code": self._code_of(folder)})
                stored = self._filled(folder.read(), self._check_stored(month))
                fresh = self._not_stored(part, stored, month)
                count = fresh.height
                whole = pl.concat([stored, fresh])
            if count:
                extra = {**manifest.extra, DATED: hashes_by_date(whole, self.table.key)}
                self.table.write(month, whole, manifest.model_copy(update={"extra": extra}))
        return count

    def _code_of(self, folder: Folder) -> str:
        manifest = folder.manifest()
        return manifest.code if manifest else ""

    def _not_stored(self, part: pl.DataFrame, stored: pl.DataFrame, month: str) -> pl.DataFrame:
        """Return the rows of `part` whose key and revision are not stored.

        Raises:
            FeedError: one of the others has other values than are stored.
        """
        key = list(self.table.key)
        values = [column for column in part.columns if column not in (*key, *UNHASHED)]
        both = part.join(stored, on=key, how="inner", suffix=" stored")
        differs = [pl.col(value).ne_missing(pl.col(f"{value} stored")) for value in values]
        changed = both.filter(pl.any_horizontal(differs)) if differs else both.clear()
        if changed.height:
            row = changed.row(0, named=True)
            value = next(v for v in values if not _same(row[v], row[f"{v} stored"]))
            raise FeedError(
                f"{changed.height} rows of {self.name} month {month} are stored with other values, "
                f"first {_named(row, key)}: {value} = {row[f'{value} stored']!r} is stored, "
                f"{row[value]!r} was given; stored rows do not change: append a correction with "
                "a higher revision"
            )
        return part.join(stored.select(key), on=key, how="anti")

    def _checked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with the feed's columns in its order, after checking them."""
        schema = dict(self.feed.schema)
        missing = [column for column in schema if column not in rows.columns]
        unknown = [column for column in rows.columns if column not in schema]
        if missing or unknown:
            raise FeedError(
                f"rows for {self.name} lack columns {missing} and have unknown columns {unknown}; "
                f"want {', '.join(schema)}"
            )
        for column, dtype in schema.items():
            if rows.schema[column] != dtype:
                raise FeedError(
                    f"rows for {self.name}: {column} is {rows.schema[column]}; want {dtype}"
                )
        for column in (*self.table.key, "available_at"):
            if rows[column].null_count():
                raise FeedError(
                    f"{rows[column].null_count()} rows for {self.name} have no {column}, first "
                    f"{rows.filter(pl.col(column).is_null()).row(0, named=True)}; every raw row "
                    "has its key, available_at and revision"
                )
        try:
            return in_key_order(rows.select(list(schema)), self.table.key, f"rows for {self.name}")
        except BadInput as error:
            raise FeedError(str(error)) from None

    def _check_source(self, manifest: ManifestInput) -> None:
        months = self.months()
        stored = self.table.folder(months[0]).manifest() if months else None
        if stored is not None and stored.digest != manifest.digest:
            raise SourceMismatch(
                f"{self.name} in {self.store.address} holds rows of {_source(stored)}, these are "
                f"of {_source(manifest)}; raw rows of two sources are not mixed: choose another "
                "--storage"
            )


def hashes_by_date(rows: pl.DataFrame, key: Sequence[str]) -> dict[str, str]:
    """Return the content hash of the rows of each month of `event_date`."""
    months = rows["event_date"].dt.strftime("%Y-%m")
    return {
        month: content_hash(rows.filter(months == month), key)
        for month in months.unique().sort().to_list()
    }


@lru_cache(maxsize=4096)  # the content hash names the rows, wherever they are stored
def _hashes_of(folder: Folder, content: str, key: tuple[str, ...]) -> Mapping[str, str]:
    """Return `hashes_by_date` of stored rows of a content hash."""
    return hashes_by_date(folder.read(), key)


def _same(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)


def _named(row: Mapping[str, object], key: Sequence[str]) -> str:
    return "(" + ", ".join(f"{column}={row[column]}" for column in key) + ")"


def _source(manifest: Manifest | ManifestInput) -> str:
    words = manifest.extra.get("source")
    return f"source {words!r} (digest {manifest.digest})" if words else f"digest {manifest.digest}"
