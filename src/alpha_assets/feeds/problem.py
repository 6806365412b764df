"""Errors and warnings about rows, each with the places where they are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from alpha_assets.errors import FeedError
from alpha_assets.printable import printable

Severity = Literal["error", "warning"]

# Where a row was read from; carried beside the values until they are checked.
FILE, ROW = "_file", "_row"
ADJ_CLOSE = "_adj_close"  # what a factor was read from, for how far it is rounded
N_EXAMPLES = 3
WIDTH = 400  # characters of one part of an example
CELL = 80  # of one value in it


@dataclass(frozen=True)
class Example:
    """One place at which a rule is broken."""

    file: str  # empty where rows do not come from a file
    row: int | None  # 1 is the first row of values
    key: str
    value: str

    def __post_init__(self) -> None:
        # A value of a file is shown, never printed as it is: it may hold terminal escapes, or a
        # megabyte.
        for name in ("file", "key", "value"):
            object.__setattr__(self, name, printable(getattr(self, name), WIDTH))

    def __str__(self) -> str:
        place = f"{self.file} row {self.row}" if self.row is not None else self.file
        return ": ".join(part for part in (place, " ".join((self.key, self.value)).strip()) if part)


@dataclass(frozen=True)
class Problem:
    """One rule that a table breaks, how often, and where first."""

    severity: Severity
    feed: str
    rule: str
    wanted: str  # the rule in words, and the way out
    count: int = 1
    examples: tuple[Example, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "wanted", printable(self.wanted, 3 * WIDTH))

    @property
    def line(self) -> str:
        """The problem with its first example, in one line."""
        first = f"; first: {self.examples[0]}" if self.examples and str(self.examples[0]) else ""
        return f"{self.feed}: {self.rule} ({self.count:,}): {self.wanted}{first}"

    def __str__(self) -> str:
        lines = [f"{self.severity}: {self.feed}: {self.rule} ({self.count:,}): {self.wanted}"]
        return "\n".join(lines + [f"    {example}" for example in self.examples])


def violations(
    severity: Severity,
    feed: str,
    rule: str,
    wanted: str,
    rows: pl.DataFrame,
    *,
    key: Sequence[str],
    values: Sequence[str] = (),
    count: int | None = None,
) -> list[Problem]:
    """Return one problem where `rows` break a rule, else none.

    Args:
        severity: `error` stops, `warning` is kept in the report.
        feed: the table's name.
        rule: a short name of the rule.
        wanted: the rule in words, and the way out.
        rows: those that break it; the first few become examples.
        key: columns that name a row.
        values: columns that show what is wrong.
        count: how often, where that is not the number of rows.
    """
    if rows.is_empty():
        return []
    examples = tuple(
        Example(
            file=row.get(FILE) or "",
            row=row.get(ROW),
            key=" ".join(printable(str(row[name]), CELL) for name in key if name in row),
            value=", ".join(
                f"{name} = {printable(str(row[name]), CELL)}" for name in values if name in row
            ),
        )
        for row in rows.head(N_EXAMPLES).iter_rows(named=True)
    )
    return [Problem(severity, feed, rule, wanted, count or rows.height, examples)]


def raise_errors(problems: Iterable[Problem], origin: str) -> None:
    """Raise all errors among `problems` at once.

    Raises:
        FeedError: with one paragraph per rule that is broken.
    """
    errors = [str(problem) for problem in problems if problem.severity == "error"]
    if errors:
        raise FeedError(f"{origin}: {len(errors)} kinds of error\n" + "\n".join(errors))
