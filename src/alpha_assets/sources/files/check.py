"""Check a whole folder of feeds and report every error and warning at once."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.ingest import with_clock
from alpha_assets.feeds.problem import Example, Problem, violations
from alpha_assets.printable import printable
from alpha_assets.sources.files.assess import Reference, assess
from alpha_assets.sources.files.delivery import (
    REQUIRED,
    Delivered,
    files_of,
    folder_problems,
    read_delivery,
    why_no_folder,
)
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.sources.files.tables import READABLE


@dataclass(frozen=True)
class ImportReport:
    """Errors, which stop an import, and warnings, which do not."""

    folder: str
    rows: dict[str, int]  # feed -> rows that could be read
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def feeds(self) -> tuple[str, ...]:
        """The feeds that the folder has."""
        return tuple(self.rows)

    def text(self) -> str:
        """Return the report for people."""
        read = ", ".join(f"{name} {n:,} rows" for name, n in self.rows.items()) or "nothing"
        lines = [f"{printable(self.folder)}: read {read}"]
        lines += [str(problem) for problem in (*self.errors, *self.warnings)]
        kinds = [
            f"{len(found)} {'kind' if len(found) == 1 else 'kinds'} of {name}"
            for name, found in (("error", self.errors), ("warning", self.warnings))
        ]
        end = "an import would stop" if self.errors else "an import would go through"
        lines.append(f"{', '.join(kinds)}; {end}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "errors": [asdict(problem) for problem in self.errors],
            "warnings": [asdict(problem) for problem in self.warnings],
            "feeds": list(self.feeds),
            "rows": dict(self.rows),
        }


def import_check(
    folder: Path,
    calendar: Calendar,
    spec: FilesSourceSpec | None = None,
    own: Mapping[str, Feed] | None = None,
    announce: Callable[[str], None] = lambda what: None,
    declared: Mapping[str, Feed] | None = None,
) -> ImportReport:
    """Return every problem of a folder, each with a count and its first places.

    Args:
        folder: what `--data` would name.
        calendar: of the market that would read it.
        spec: the market's `[source]`, for its exit words and its names of columns.
        own: the feeds that the market declares for itself, by name.
        announce: called with what is about to be read or assessed.
        declared: every feed, with the market's publication times; default: with the usual ones.

    Raises:
        FeedError: there is no such folder.
        SpecError: `spec` has a setting of a feed that no folder has.
    """
    if not folder.is_dir():
        raise FeedError(f"{folder}: {why_no_folder(folder)}")
    spec = spec or FilesSourceSpec()
    own = own or {}
    spec.check(own)
    words = spec.exit_words
    every = {**FEEDS, **own, **(declared or {})}
    known = {name: every[name] for name in (*READABLE, *own)}
    problems = [*folder_problems(folder, tuple(known))]
    there: dict[str, Delivered] = {}
    for feed in known:
        try:
            if files_of(folder, feed):
                announce(f"read {feed}")
                there[feed] = read_delivery(folder, feed, spec.form(feed), own.get(feed))
        except FeedError as error:
            example = (Example("", None, "", str(error)),)
            wanted = "a feed is there in one form"
            problems.append(Problem("error", feed, "two_forms", wanted, 1, example))
    bars = there[REQUIRED].frame if REQUIRED in there else pl.DataFrame()
    listings = there["listings"].frame if "listings" in there else None
    beside = Reference.of(bars, listings, words)
    for number, (feed, delivered) in enumerate(there.items(), 1):
        announce(f"check {feed}, {delivered.frame.height:,} rows ({number} of {len(there)} feeds)")
        assessment = assess(known[feed], delivered, calendar, words, beside)
        problems += assessment.problems
        if assessment.rows.height:
            problems += not_public_yet(known[feed], assessment.rows, calendar)
    return ImportReport(
        str(folder),
        {feed: delivered.frame.height for feed, delivered in there.items()},
        tuple(p for p in problems if p.severity == "error"),
        tuple(p for p in problems if p.severity == "warning"),
    )


def not_public_yet(feed: Feed, rows: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    """Return rows that an import now would leave out: they become public later."""
    now = datetime.now(UTC)
    stamped = with_clock(rows, feed, calendar, now)
    early = stamped.filter(pl.col("available_at") > now)
    wanted = (
        "a row is delivered after it became public (its available_at, else the feed's rule); "
        "these are left out until a later delivery brings them"
    )
    return violations(
        "warning", feed.name, "not_public_yet", wanted, early, key=feed.key, values=["available_at"]
    )
