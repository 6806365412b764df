"""What a feed is: its columns, its key, and the moment at which a row becomes public.

Raw rows of every feed carry the same clock: `event_date` (the day or period end that they
describe), `available_at` (UTC instant at which a subscriber could first read them),
`ingested_at` (UTC) and `revision` (0 first).  A feed's publication rule stands beside its
columns only; it is used for rows that come without a stamp of their own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar
from alpha_assets.spec import Spec

Scope = Literal["symbol", "sector", "section", "market"]
PriceLevel = Literal["raw", "split_adjusted"]
Basis = Literal["price", "total_return"]
DataType = pl.DataType | type[pl.DataType]

INSTANT = pl.Datetime("us", "UTC")
CLOCK: Mapping[str, DataType] = {
    "available_at": INSTANT,
    "ingested_at": INSTANT,
    "revision": pl.Int16,
}


@dataclass(frozen=True)
class Column:
    """One value of a raw row."""

    name: str
    dtype: DataType
    unit: str
    meaning: str
    required: bool = False  # the delivery is refused without it
    default: float | str | bool | None = None  # what an absent value is known to mean
    absent: float | None = None  # the value of every row of a delivery without the column
    is_derived: bool = False  # computed at ingestion; no source delivers it


@dataclass(frozen=True)
class Publication:
    """When a row without a stamp of its own is taken to have become public.

    The instant is a local wall time in the market's zone, on the anchor's date moved by
    `sessions` of the calendar and then by `days` of the week.
    """

    anchor: str = "event_date"
    sessions: int = 0  # sessions strictly after the anchor's date
    days: int = 0  # calendar days on top
    at: time = time(16, 30)
    stated: str | None = None  # column with the very day, which wins where a row has it
    # A class whose dates follow another rule describes it here, for documentation.
    described: ClassVar[str] = ""

    def stamp(self, frame: pl.DataFrame, calendar: Calendar) -> pl.Series:
        """Return `available_at` of each row, UTC; null where the anchor is null."""
        anchor = frame[self.anchor]
        known = anchor.drop_nulls()
        dates = self.dates(known.to_numpy().astype("datetime64[D]"), calendar)
        if self.stated is not None:
            stated = frame[self.stated].filter(anchor.is_not_null()).to_numpy()
            stated = stated.astype("datetime64[D]")
            dates = np.where(np.isnat(stated), dates, stated)
        instants = instants_of(calendar, dates, self.at, self.days)
        if len(known) == len(anchor):
            return instants
        stamps = pl.Series("available_at", [None], dtype=INSTANT).new_from_index(0, len(anchor))
        return stamps.scatter(anchor.is_not_null().arg_true(), instants)

    def dates(self, dates: Dates, calendar: Calendar) -> Dates:
        """Return the date of publication before `days` is added."""
        return calendar.after(dates, self.sessions) if self.sessions else dates


@dataclass(frozen=True)
class Stamped(Publication):
    """No rule: every row has its own `available_at`."""

    def stamp(self, frame: pl.DataFrame, calendar: Calendar) -> pl.Series:
        """Return nothing known for any row."""
        return pl.Series("available_at", [None], dtype=INSTANT).new_from_index(0, frame.height)


def instants_of(calendar: Calendar, dates: Dates, at: time, days: int = 0) -> pl.Series:
    """Return the UTC instants of a local wall time, as a series named `available_at`."""
    instants = np.asarray(calendar.instant(dates, at, days), dtype="datetime64[us]")
    return pl.Series("available_at", instants, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")


@dataclass(frozen=True)
class Feed:
    """A named table of raw rows."""

    name: str
    key: tuple[str, ...]  # what identifies a row, `event_date` first, without `revision`
    scope: Scope
    columns: tuple[Column, ...]
    publication: Publication
    max_stale: int | None  # sessions after which a joined value is missing; None: never
    about: str
    tolerance: float = 0.0  # relative; a later delivery within it is the same number
    known_ahead: bool = False  # rows are public before the day that they describe
    # The column that distinguishes two versions of a row where a source delivers both side by
    # side, and when the later ones are public.
    version: str | None = None
    corrected: Publication | None = None
    joined: bool = True  # whether its rows enter the panel by themselves

    @cached_property
    def schema(self) -> dict[str, DataType]:
        """Names and types of a raw row, in contract order: key, values, clock."""
        declared = {column.name: column.dtype for column in self.columns}
        key = {name: declared.get(name, pl.String) for name in self.key}
        return {**key, "event_date": pl.Date, **declared, **CLOCK}

    @cached_property
    def derived(self) -> tuple[str, ...]:
        """The columns that ingestion computes; a storage from before they were added lacks them."""
        return tuple(column.name for column in self.columns if column.is_derived)

    @cached_property
    def values(self) -> tuple[Column, ...]:
        """The columns that are not part of the key."""
        return tuple(column for column in self.columns if column.name not in self.key)

    def meanings(self, *names: str) -> dict[str, str]:
        """Return what each of some columns means, with its unit, as declared here and only here."""
        self.check_columns(names, "a joined column")
        declared = {column.name: f"{column.meaning}, {column.unit}" for column in self.columns}
        return {name: declared[name] for name in names}

    def check_columns(self, names: Iterable[str], what: str) -> None:
        """Refuse a name that this feed does not declare: a name is written once."""
        unknown = sorted(set(names) - set(self.schema))
        assert not unknown, (
            f"{what} of the feed {self.name}: {', '.join(unknown)}; it declares "
            f"{', '.join(self.schema)}"
        )


Counting = Callable[[str, int, int], None]  # what is counted, parts done, parts in all


class SourceSpec(Spec):
    """`[source]` of a market; a kind of source derives its own, with `build(market) -> Source`."""

    @property
    def names_folder(self) -> bool:
        """Whether the market's file itself names the folder that rows are read from."""
        return False

    @property
    def folder_settings(self) -> Mapping[str, Any]:
        """What it declares of the files of a folder, which hold for any folder."""
        return {}


class SourceMarket(Protocol):
    """What a source needs of the market that it is built for."""

    @property
    def name(self) -> str:
        """Name of the market."""
        ...

    @property
    def calendar(self) -> Calendar:
        """Sessions of its exchange."""
        ...

    @property
    def own_feeds(self) -> Mapping[str, Feed]:
        """The feeds that its file declares, by name."""
        ...

    @property
    def declared(self) -> Mapping[str, Feed]:
        """Every feed that there could be, with the market's publication times."""
        ...

    @property
    def landing(self) -> Path:
        """The folder below which fetched rows are kept."""
        ...


class Source(Protocol):
    """Where raw rows come from.

    Everything that depends on the kind of a source is answered by the source itself.  Classes
    that derive from it inherit the answers of a source that computes its rows.
    """

    # Called while a delivery goes on; None: not at all.
    progress: Counting | None = None
    # Whether rows are generated: results on them are marked as simulated.
    is_simulated: bool = False
    # Whether rows are fetched over a network, once, and kept in a landing folder.
    is_remote: bool = False
    # The last day that will ever have rows; None: there is always a next one.
    last_day: date | None = None
    # Feeds of which each delivery lists every event: a stored one that is absent was withdrawn.
    complete_feeds: tuple[str, ...] = ()
    # Feeds of dated events that a delivery may state ahead.  A file that never changes states
    # them again with each delivery of bars: the first one after an event's publication stores it.
    restated_feeds: tuple[str, ...] = ()

    @property
    def identity(self) -> Mapping[str, str]:
        """Kind, and what distinguishes this source from another of its kind."""
        ...

    @property
    def price_level(self) -> PriceLevel:
        """Whether prices are those that were traded, or carry later splits."""
        ...

    @property
    def basis(self) -> Basis:
        """`total_return` where `adjustment_factor` holds dividends too."""
        ...

    @property
    def data_folder(self) -> Path | None:
        """The folder of the user's that rows are read from; None where there is none."""
        return None

    def feeds(self) -> tuple[str, ...]:
        """Return the names of the feeds that it offers."""
        ...

    def off(self) -> Mapping[str, str]:
        """Return the feeds that it does not offer, each with the reason."""
        ...

    def how_to_enable(self, feed: str) -> str:
        """Return what a user does to have a feed that is off."""
        return f"no setting of this source brings {feed!r}: choose a market whose source has it"

    def refresh(self, feed: str) -> None:
        """Fetch what is due of a feed; other methods read what has been fetched."""
        return

    def fingerprint(self, feed: str) -> str:
        """Return a cheap name of what it delivers now; the same name, nothing to ingest.

        Another name does not imply other rows; see `content`.
        """
        ...

    def content(self, feed: str) -> str:
        """Return a name of the delivered bytes and of how they are read.

        The same bytes have the same name wherever they lie; may read all of them.
        """
        return self.fingerprint(feed)

    def warnings(self, feed: str) -> tuple[str, ...] | None:
        """Return the data-quality warnings of the rows last returned, a line a kind.

        None where no rows were returned, or the source has no such checks.
        """
        return None

    def files(self, feed: str) -> Mapping[str, str]:
        """Return the files that hold a feed's rows, each with a hash of its bytes.

        The names are those in the rows' column `FILE`.  Empty where rows are not read from
        files: rows that were not public yet are then requested again, while the same bytes
        stay the same delivery.
        """
        return {}

    def rows(self, feed: str) -> pl.DataFrame:
        """Return what it delivers now: key and values, perhaps `available_at` and `revision`."""
        ...
