"""Source `files`: a folder of Parquet or CSV tables, one per feed.

`<feed>.parquet`, `<feed>.csv`, or a folder `<feed>/` of files of one kind.  Only `daily_bars`
must be there.  Rows may lie in any order.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import Basis, Feed, PriceLevel, Source
from alpha_assets.feeds.problem import raise_errors
from alpha_assets.sources.files.assess import CLOSES, Reference, assess
from alpha_assets.sources.files.content import require_regular
from alpha_assets.sources.files.delivery import (
    REQUIRED,
    Delivered,
    files_of,
    folder_problems,
    read_delivery,
    why_no_folder,
)
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.sources.files.tables import READABLE, header_of
from alpha_assets.spec import canonical_json

FOLDER_VARIABLE = "ALPHA_DATA"
# Dated events that a file states ahead: an end of next week, a dividend that was announced.
RESTATED = ("listings", "membership", "dividends")
SETTLED_NS = 2_000_000_000  # coarser than the times that any file system keeps
# What the graph of a market shows while no folder is named.
USUAL = ("daily_bars", "listings", "membership", "dividends", "borrow", "rates", "benchmark")


class FilesSource(Source):
    """Delivers what a folder holds now.

    Args:
        spec: the market's `[source]`.
        calendar: of the market.
        own: the feeds that the market declares for itself, by name.
        declared: every feed, with the market's publication times; default: with the usual ones.

    Raises:
        SpecError: a setting of a feed that no folder has.
    """

    complete_feeds = ("listings", "membership")
    restated_feeds = RESTATED

    def __init__(
        self,
        spec: FilesSourceSpec,
        calendar: Calendar,
        own: Mapping[str, Feed] | None = None,
        declared: Mapping[str, Feed] | None = None,
    ) -> None:
        self.spec = spec
        self.calendar = calendar
        self.own = dict(own or {})
        self._feeds = {**FEEDS, **self.own, **(declared or {})}
        self._contents: dict[tuple[Path, int, int, int, int], str] = {}
        spec.check(self.own)
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._read: tuple[tuple[tuple[str, int, int], ...], Delivered] | None = None

    @property
    def readable(self) -> tuple[str, ...]:
        """Every feed that a folder of this market may hold."""
        return (*READABLE, *self.own)

    @property
    def folder(self) -> Path:
        """The folder that is read.

        Raises:
            FeedError: none was named, or it does not exist.
        """
        named = self.spec.path or os.environ.get(FOLDER_VARIABLE)
        if not named:
            raise FeedError(
                "this market reads files, and no folder was named: use --data DIR, set "
                f"{FOLDER_VARIABLE}, or write [source] path in the market's file"
            )
        folder = Path(named)
        if not folder.is_dir():
            raise FeedError(f"{folder}: {why_no_folder(folder)}")
        return folder

    @property
    def is_named(self) -> bool:
        """Whether there is a folder to look into; the graph can be drawn without one."""
        return bool(self.spec.path or os.environ.get(FOLDER_VARIABLE))

    @property
    def data_folder(self) -> Path | None:
        """The folder, resolved; None while none is named.

        Raises:
            FeedError: it does not exist.
        """
        return self.folder.resolve() if self.is_named else None

    @property
    def identity(self) -> Mapping[str, str]:
        """The folder; a changed file of it is a correction, another folder another source."""
        if not self.is_named:
            return {"kind": "files", "folder": "(none named)"}
        return {"kind": "files", "folder": str(self.folder.resolve())}

    @cached_property
    def bar_columns(self) -> tuple[str, ...]:
        """Columns of the bars as delivered; none while no folder is named."""
        if not self.is_named or not files_of(self.folder, REQUIRED):
            return ()
        names: dict[str, None] = {}
        form = self.spec.form(REQUIRED)
        for path in files_of(self.folder, REQUIRED):
            names.update(dict.fromkeys(header_of(path, form)))
        return tuple(form.words.get(name, name) for name in names)

    @property
    def price_level(self) -> PriceLevel:
        """`split_adjusted` where an adjusted close is given, unless declared otherwise."""
        if self.spec.price_level is not None:
            return self.spec.price_level
        known = bool(self.bar_columns) and "adj_close" not in self.bar_columns
        return "raw" if known else "split_adjusted"

    @property
    def basis(self) -> Basis:
        """`total_return` where factors are read from an adjusted close."""
        return "total_return" if "adj_close" in self.bar_columns else "price"

    def feeds(self) -> tuple[str, ...]:
        """Return the feeds that the folder has; the usual ones while no folder is named.

        Raises:
            FeedError: the folder has no bars, or a feed in two forms.
        """
        if not self.is_named:
            return (*USUAL, *self.own)
        there = tuple(name for name in self.readable if files_of(self.folder, name))
        if REQUIRED not in there:
            files = sorted(path.name for path in self.folder.iterdir())
            raise FeedError(
                f"{self.folder}: there is no {REQUIRED}.parquet, {REQUIRED}.csv or folder "
                f"{REQUIRED}/, and nothing works without; "
                + (f"it holds {', '.join(files[:8])}" if files else "the folder is empty")
            )
        return there

    def off(self) -> Mapping[str, str]:
        """Return the feeds that the folder lacks."""
        here = self.feeds()
        absent = {
            name: f"the folder has no {name}.parquet, .csv or folder {name}/"
            for name in self.readable
            if name not in here
        }
        return {**absent, "trading_calendar": "a folder of files has none; the exchange's is used"}

    def how_to_enable(self, feed: str) -> str:
        """Return which table to add to the folder."""
        return (
            f"put the table {feed}.parquet (or .csv, or a folder {feed}/) into the folder; "
            "docs/FILES.md lists its columns"
        )

    def fingerprint(self, feed: str) -> str:
        """Return a name of how the feed's files are read and of their state on disk.

        A file's size and times stand for its bytes; those of a file that changed just now are
        read, since a further change may leave no trace in its times.

        Raises:
            FeedError: one of them cannot be read.
        """
        return self._name(feed, {name: self._state(path) for name, path in self._paths(feed)})

    def content(self, feed: str) -> str:
        """Return a name of the bytes that the feed's rows are made from, and of how.

        Raises:
            FeedError: one of them cannot be read.
        """
        return self._name(feed, self.files(feed))

    def _name(self, feed: str, files: Mapping[str, str]) -> str:
        declared = [str(self._feeds[feed].schema)] if feed in self.own else []
        form = self.spec.form(feed)
        words = canonical_json(
            [self.spec.exit_words, self.spec.columns, form.separator, form.has_trailer, declared]
        )
        digest = hashlib.blake2b(words.encode(), digest_size=16)
        for name, state in files.items():
            digest.update(f"{name} {state}\n".encode())
        return digest.hexdigest()

    def files(self, feed: str) -> Mapping[str, str]:
        """Return the files that make up a delivery of the feed, each with a hash of its bytes.

        Events that are stated ahead are delivered again with each delivery of bars; starts and
        ends that listings leave out are read from the bars, too.
        """
        return {name: self._content(path) for name, path in self._paths(feed)}

    def _paths(self, feed: str) -> list[tuple[str, Path]]:
        names = (feed, REQUIRED) if feed in self.restated_feeds else (feed,)
        paths = [path for name in names for path in files_of(self.folder, name)]
        return [(str(path.relative_to(self.folder)), path) for path in paths]

    def _state(self, path: Path) -> str:
        """Return the size and times of a file; a hash of its bytes where it changed just now."""
        require_regular(path)
        seen = _stat(path)
        # The time of change is the system's: no copying tool can set it back.
        if time.time_ns() - seen.st_ctime_ns < SETTLED_NS:
            return self._content(path)
        return f"{seen.st_ino} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}"

    def _content(self, path: Path) -> str:
        """Return a hash of a file's bytes, read once as long as the file is the same."""
        require_regular(path)
        seen = _stat(path)
        known = (path, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        if known not in self._contents:
            try:
                with path.open("rb") as file:
                    self._contents[known] = hashlib.file_digest(
                        file, lambda: hashlib.blake2b(digest_size=16)
                    ).hexdigest()
            except OSError as error:
                raise _unreadable(path, error) from None
        return self._contents[known]

    def rows(self, feed: str) -> pl.DataFrame:
        """Return the feed's rows, in the form of raw rows and in key order.

        Raises:
            FeedError: the folder lacks it, a file cannot be read, or a rule is broken; all
                of it is named at once.
        """
        delivered = read_delivery(self.folder, feed, self.spec.form(feed), self.own.get(feed))
        delivered.sound(self.folder)
        assessment = assess(
            self._feeds[feed],
            delivered,
            self.calendar,
            self.spec.exit_words,
            self._reference(delivered),
        )
        raise_errors(assessment.problems, f"{self.folder}: {feed}")
        of_folder = folder_problems(self.folder, self.readable) if feed == REQUIRED else []
        self._warnings[feed] = tuple(problem.line for problem in (*of_folder, *assessment.problems))
        return assessment.rows

    def warnings(self, feed: str) -> tuple[str, ...] | None:
        """Return the warnings about the rows of a feed when they were last read."""
        return self._warnings.get(feed)

    def _reference(self, delivered: Delivered) -> Reference:
        """Return the bars and listings with which a feed is compared.

        Raises:
            FeedError: the bars are needed to fill in what listings leave out, and cannot be read.
        """
        if delivered.feed != "listings" and not files_of(self.folder, REQUIRED):
            return Reference()
        bars = self._closes(delivered if delivered.feed == REQUIRED else None)
        if delivered.feed == "listings":
            bars.sound(self.folder)
        listings = None
        if delivered.feed == REQUIRED and files_of(self.folder, "listings"):
            listings = read_delivery(self.folder, "listings", self.spec.form("listings")).frame
        if delivered.feed == "listings":
            listings = delivered.frame
        return Reference.of(bars.frame, listings, self.spec.exit_words)

    def _closes(self, delivered: Delivered | None) -> Delivered:
        """Return the closes of the bars, read once as long as their files stay as they are."""
        files = files_of(self.folder, REQUIRED)
        stats = [(path.name, path.stat()) for path in files if path.exists()]
        state = tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
        if self._read is None or self._read[0] != state or delivered is not None:
            bars = delivered or read_delivery(self.folder, REQUIRED, self.spec.form(REQUIRED))
            closes = bars.frame.select(name for name in CLOSES if name in bars.frame.columns)
            self._read = state, replace(bars, frame=closes)
        return self._read[1]


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> FeedError:
    return FeedError(f"{path} cannot be read: {error.strerror}")
