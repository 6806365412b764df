"""Raw rows of a feed, read back as they were known at an instant.

What of the store decides which rows a stage reads: its code is in the digest of every stage, while
how files are kept (`Folder`, its backend) is not: of those, the manifest names the content.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import polars as pl

from alpha_assets.errors import RangeError, StorageError
from alpha_assets.store.folder import ROWS
from alpha_assets.store.snapshot import checked_columns
from alpha_assets.store.store import Store
from alpha_assets.store.table import MonthTable

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

_CLOCK = ("available_at", "revision")  # of one key, the greatest is what is known


class RawFeed(Protocol):
    """The part of a feed that the store depends on; `feeds.Feed` satisfies it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row, without `revision`."""
        ...

    @property
    def schema(self) -> Mapping[str, pl.DataType | type[pl.DataType]]:
        """Names and types of a row, in order, with `available_at` and `revision`."""
        ...

    @property
    def derived(self) -> tuple[str, ...]:
        """Columns that older storages may lack; they are read as null there."""
        ...


@dataclass(frozen=True)
class RawRows:
    """The stored rows of one feed of one market, to be read."""

    store: Store
    market: str
    feed: RawFeed
    zone: ZoneInfo

    @property
    def table(self) -> MonthTable:
        """The stored months."""
        return MonthTable(
            self.store, (self.market, "raw", self.feed.name), (*self.feed.key, "revision")
        )

    @property
    def name(self) -> str:
        """Its name below the root: `market/raw/daily_bars`."""
        return self.table.name

    def months(self, first: str | None = None, last: str | None = None) -> tuple[str, ...]:
        """Return the stored months of publication from `first` to `last`, ends included."""
        return self.table.months(first, last)

    def read(
        self,
        until: datetime | None = None,
        *,
        first: str | None = None,
        last: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """Return the rows that a subscriber could have read at an instant, revisions and all.

        A feed without stored rows gives an empty frame, which is no error; nor is a month
        without rows between others.

        Args:
            until: instant with a zone; rows with `available_at` at or before it.  Default: all.
            first: first month of publication.
            last: last month of publication.
            columns: which, and in which order; default: all.
        """
        columns = checked_columns(list(self.feed.schema), columns, self.name)
        if until is not None:
            last = min(last or "9999-12", self._month_of(until))
        months = self.months(first, last)
        if not months:
            return pl.LazyFrame(schema=dict(self.feed.schema)).select(columns)
        rows = self._scanned(months)
        if until is not None:
            rows = rows.filter(pl.col("available_at") <= until)
        return rows.select(columns)

    def _scanned(self, months: Sequence[str]) -> pl.LazyFrame:
        """Return the rows of stored months with all columns, null where a month lacks one."""
        # Where no month can lack a column, the first one stands for all: `scan` compares them.
        looked_at = months if self.feed.derived else months[:1]
        lacking = {month: self._check_stored(month) for month in looked_at}
        runs = groupby(months, key=lambda month: lacking.get(month, ()))
        return pl.concat([self._filled(self.table.scan(list(run)), lacks) for lacks, run in runs])

    def _filled(self, rows: Frame, lacks: Sequence[str]) -> Frame:
        """Return stored rows with all columns of the feed, those that they lack as null."""
        schema = self.feed.schema
        empty = [pl.lit(None, dtype=schema[name]).alias(name) for name in lacks]
        return rows.with_columns(empty).select(list(schema))

    def latest(self) -> pl.LazyFrame:
        """Return for each key its row with the greatest (available_at, revision), by key."""
        return self._one_per_key(self.read(), keep="last")

    def as_known_at(self, instant: datetime) -> pl.LazyFrame:
        """Return for each key the row that was known at an instant, by key.

        Args:
            instant: with a zone; later rows do not exist.
        """
        return self._one_per_key(self.read(until=instant), keep="last")

    def first_effective(self, until: datetime | None = None) -> pl.LazyFrame:
        """Return for each key its row as it first became available, by key.

        Args:
            until: instant with a zone; later rows do not exist.
        """
        return self._one_per_key(self.read(until=until), keep="first")

    def _one_per_key(self, rows: pl.LazyFrame, keep: str) -> pl.LazyFrame:
        key = list(self.feed.key)
        ordered = rows.sort([*key, *_CLOCK])
        return ordered.unique(
            subset=key, keep="first" if keep == "first" else "last", maintain_order=True
        )

    def _check_stored(self, month: str) -> tuple[str, ...]:
        """Return the columns that a stored month may lack and does; refuse other differences."""
        folder = self.table.folder(month)
        manifest = folder.manifest()
        wanted = {name: str(_instance(dtype)) for name, dtype in self.feed.schema.items()}
        stored = manifest.files[f"{ROWS}.parquet"].columns if manifest else wanted
        lacks = tuple(name for name in self.feed.derived if name not in (stored or {}))
        known = {name: dtype for name, dtype in wanted.items() if name not in lacks}
        if list((stored or {}).items()) != list(known.items()):
            raise StorageError(
                f"{folder.address} has the columns {stored}; feed {self.feed.name} now wants "
                f"{wanted}: use the version that wrote it, or choose another --storage"
            )
        return lacks

    def _month_of(self, instant: datetime) -> str:
        if instant.tzinfo is None:
            raise RangeError(f"instant {instant} has no time zone; want one, such as UTC")
        return instant.astimezone(self.zone).strftime("%Y-%m")


def _instance(dtype: pl.DataType | type[pl.DataType]) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype
