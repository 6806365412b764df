"""Tables that lie in memory: every version of every row, and what of it shows at an instant."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl

from alpha_assets.feeds import FEEDS
from alpha_assets.sources.jquants.endpoints import Endpoint
from alpha_assets.sources.jquants.prices import REVISION, STAMP
from alpha_assets.sources.sim_jquants.queries import RULES

# Carried beside the API's columns: when a version appeared, which it is, its own stamp.
AT, VERSION, OWN = "_at", "_version", "_own"

Query = Mapping[str, str]


class Table(Protocol):
    """Something that answers queries."""

    endpoint: Endpoint
    nothing: Mapping[str, str]  # what a null of some columns is written as

    def select(self, query: Query, now: datetime) -> pl.DataFrame:
        """Return the rows that a checked query finds at an instant, in the API's columns."""
        ...

    def month(self, month: str, now: datetime) -> pl.DataFrame:
        """Return the rows of one month, for a file of history."""
        ...

    def months(self, now: datetime) -> list[str]:
        """Return the months that have rows."""
        ...


@dataclass
class Rows:
    """A table that lies in memory, every version of every row with its instant.

    Attributes:
        endpoint: whose rows.
        make: returns the rows: the API's columns, `AT`, `VERSION`, perhaps `OWN`.
        finished: what is made of the rows that show.
        every_version: whether corrected rows show beside what corrected them.
        nothing: what a null of some columns is written as.
    """

    endpoint: Endpoint
    make: Callable[[], pl.DataFrame]
    finished: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame
    every_version: bool = False
    nothing: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seen: tuple[int, pl.DataFrame] | None = None

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All rows, sorted, later versions after what they correct."""
        return self.make().sort(*self.endpoint.key, VERSION, maintain_order=True, nulls_last=True)

    @cached_property
    def _stamps(self) -> np.ndarray:
        return self.frame[AT].sort().dt.replace_time_zone(None).to_numpy()

    def visible(self, now: datetime) -> pl.DataFrame:
        """Return what a subscriber reads at an instant: of each row, the latest version."""
        n_public = int(np.searchsorted(self._stamps, instant(now), side="right"))
        seen = self._seen
        # As many rows are public as were before: they are the same ones.
        if seen is None or seen[0] != n_public:
            public = self.frame.filter(pl.col(AT) <= now.astimezone(UTC))
            if not self.every_version:
                public = public.unique(self.endpoint.key, keep="last", maintain_order=True)
            seen = n_public, self._columns(self.finished(public))
            self._seen = seen
        return seen[1]

    def select(self, query: Query, now: datetime) -> pl.DataFrame:
        """Return the rows that a checked query finds at an instant."""
        return RULES[self.endpoint.path].select(self.visible(now), query)

    def month(self, month: str, now: datetime) -> pl.DataFrame:
        """Return the rows of one month."""
        return self.visible(now).filter(pl.col(self.endpoint.day).str.slice(0, 7) == month)

    def months(self, now: datetime) -> list[str]:
        """Return the months that have rows."""
        return self.visible(now)[self.endpoint.day].str.slice(0, 7).unique().sort().to_list()

    def _columns(self, frame: pl.DataFrame) -> pl.DataFrame:
        names = [name for name in self.endpoint.columns if name in frame.columns]
        extra = []
        if self.every_version and OWN in frame.columns:
            extra = [
                pl.col(OWN).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f").alias(STAMP),
                pl.col(VERSION).alias(REVISION),
            ]
        return frame.select(*names, *extra)


def instant(now: datetime) -> np.datetime64:
    """Return an instant as numpy writes it, UTC."""
    return np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")


def columns_of(endpoint: Endpoint, skip: Collection[str] = ()) -> list[pl.Expr]:
    """Return the API's columns of the rows of its feed: the inverse of the source's reading.

    Args:
        endpoint: whose columns.
        skip: columns of the feed that are written otherwise.
    """
    schema = FEEDS[endpoint.feed].schema
    columns = []
    for ours, theirs in endpoint.theirs.items():
        if ours in skip:
            continue
        column = pl.col(ours)
        if schema[ours] == pl.Date:
            column = column.dt.to_string("%Y-%m-%d")
        elif schema[ours] == pl.Boolean:
            column = column.cast(pl.Int8).cast(pl.String)
        elif theirs in endpoint.units:
            column = column / endpoint.units[theirs]
        columns.append(column.alias(theirs))
    return columns
