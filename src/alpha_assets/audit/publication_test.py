"""The publication clock, feed by feed: when rows come out later, just the right cells move.

One feed's stamps are moved at a time.  Which cells of the panel then have to differ is worked
out from the book, which reads the raw rows session by session and shares nothing with the
panel's join.  A panel that reads a row too early or too late, or that does not look at stamps,
moves other cells, or none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.audit.reference_panel import CORE_FEEDS, Book, Raw, book_of
from alpha_assets.calendar import as_date
from alpha_assets.config.market import Market
from alpha_assets.errors import MissingOutput
from alpha_assets.pipeline import transforms
from alpha_assets.pipeline.context import MarketContext, silent
from alpha_assets.pipeline.frontier import frontier
from alpha_assets.progress import Pace, Progress
from alpha_assets.store.compare import Difference, changed_cells, compare_tables

SHIFTS: Mapping[str, timedelta] = {"+1 day": timedelta(days=1), "+1 hour": timedelta(hours=1)}
SESSIONS = 60

NOT_HELD = "the panel holds nothing of this feed"

CELL = (*KEYS, "column")


@dataclass(frozen=True)
class ClockTrial:
    """One feed whose rows come out later, and what became of the panel.

    Attributes:
        feed: whose stamps were moved.
        shift: by how much.
        rows: of the feed, revisions included.
        crossed: rows that one of the sessions knew before, and not any more.
        cells: of the panel that were compared.
        expected: cells that have to differ, by the book.
        moved: cells that did differ.
        hits: cells of both kinds.
        missed: the first cell that had to differ and did not.
        unexpected: the first cell that differed and had no reason to.
        note: why nothing had to move.
    """

    feed: str
    shift: str
    rows: int
    crossed: int
    cells: int
    expected: int
    moved: int
    hits: int
    missed: str | None = None
    unexpected: str | None = None
    note: str | None = None

    @property
    def precision(self) -> float:
        """Share of the cells that moved which had to; 1 where none moved."""
        return self.hits / self.moved if self.moved else 1.0

    @property
    def recall(self) -> float:
        """Share of the cells that had to move which did; 1 where none had to."""
        return self.hits / self.expected if self.expected else 1.0

    @property
    def passed(self) -> bool:
        """Whether just the right cells moved."""
        return self.cells > 0 and self.hits == self.moved == self.expected

    def lines(self) -> list[str]:
        """Return the trial as a person reads it."""
        shares = (self.precision, self.recall) if self.moved or self.expected else None
        precision, recall = (f"{x:.4f}" for x in shares) if shares else ("–", "–")
        line = (
            f"  {self.feed:<22}{self.shift:>8}{self.expected:>12,} expected{self.moved:>12,} moved"
            f"  precision {precision:>6}  recall {recall:>6}"
        )
        if not self.passed:
            line += "  FAILED"
        found = [line]
        if self.note is not None:
            found.append(f"    nothing moved: {self.note}")
        if self.missed is not None:
            found.append(f"    first that should have moved: {self.missed}")
        if self.unexpected is not None:
            found.append(f"    first that should not have moved: {self.unexpected}")
        return found


@dataclass(frozen=True)
class ClockReport:
    """The publication clock of every feed of a market over some sessions.

    Attributes:
        market: by name.
        first: first session compared.
        last: last session compared.
        cells: of the panel as it is.
        wrong: of them, those that the book has otherwise.
        difference: the first of those.
        trials: one per feed that has rows, and shift.
        silent: feeds without a stored row, of which nothing can be tested.
    """

    market: str
    first: str
    last: str
    cells: int
    wrong: int
    difference: Difference | None
    trials: tuple[ClockTrial, ...]
    silent: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the panel equals the reference, in this world and in all others."""
        tried = bool(self.trials) and self.cells > 0
        return tried and self.wrong == 0 and all(trial.passed for trial in self.trials)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        trials = [
            {
                **asdict(trial),
                "precision": trial.precision,
                "recall": trial.recall,
                "passed": trial.passed,
            }
            for trial in self.trials
        ]
        return {**asdict(self), "passed": self.passed, "text": self.text(), "trials": trials}

    def text(self) -> str:
        """Return the report as a person reads it."""
        lines = [
            f"publication clock of {self.market}, sessions {self.first} to {self.last}",
            f"  the panel is what the rows known at each session say: {self.cells:,} cells, "
            + ("same" if not self.wrong else f"{self.wrong:,} OTHERWISE"),
        ]
        if self.difference is not None:
            lines.append(f"    first (by the book, in the panel): {self.difference}")
        unheld = [trial for trial in self.trials if trial.note == NOT_HELD and trial.passed]
        for trial in self.trials:
            lines += [] if trial in unheld else trial.lines()
        if unheld:
            names = ", ".join(dict.fromkeys(trial.feed for trial in unheld))
            lines.append(f"  nothing moved, since {NOT_HELD}: {names}")
        if self.silent:
            lines.append(f"  without a stored row, not tried: {', '.join(self.silent)}")
        return "\n".join([*lines, f"clock: {'passed' if self.passed else 'FAILED'}"])


def audit_clock(context: MarketContext, sessions: int = SESSIONS) -> ClockReport:
    """Return the publication-clock test of every feed of a market.

    Args:
        context: whose stored raw rows are read; nothing is written.
        sessions: how many of the last decision sessions are compared.

    Raises:
        MissingOutput: no bars are stored.
    """
    edge = int(context.market.calendar.index_of(frontier(context)))
    span = range(max(edge - sessions + 1, 0), edge + 1)
    raw = {name: table.read().collect() for name, table in context.raw.items() if table.months()}
    return clock_report(context.market, raw, span, progress=context.progress)


def clock_report(
    market: Market,
    raw: Raw,
    span: Sequence[int],
    *,
    feeds: Sequence[str] | None = None,
    progress: Progress = silent,
) -> ClockReport:
    """Return the publication-clock test over some sessions.

    Args:
        market: whose panel is built.
        raw: stored rows of every feed.
        span: numbers of consecutive sessions.
        feeds: whose stamps are moved, one feed at a time; default: all with rows.
        progress: called with what is being done.

    Raises:
        MissingOutput: no bars are stored.
    """
    if "daily_bars" not in raw:
        raise MissingOutput(f"market {market.name!r} has no bars stored; run it first")
    first, last = (as_date(market.calendar.sessions[number]) for number in (span[0], span[-1]))
    book = book_of(market, raw, span)
    panel = transforms.panel_rows(market, _lazy(raw), first, last)
    agreed = compare_tables("panel", book.rows, panel, KEYS)
    silent = [name for name in market.feeds if name not in raw or not raw[name].height]
    moved = feeds or [name for name in market.feeds if name not in silent]
    n_panels = len(moved) * len(SHIFTS)
    progress(
        "clock",
        f"{n_panels} panels of {len(span)} sessions: {len(moved)} feeds, "
        f"stamps moved by {' and '.join(SHIFTS)}",
    )
    pace = Pace(progress, "clock")
    pace("panels", 0, n_panels)
    trials: list[ClockTrial] = []
    for name in moved:
        for shift, delay in SHIFTS.items():
            later = raw[name].with_columns(pl.col("available_at") + delay)
            other = transforms.panel_rows(market, _lazy({**raw, name: later}), first, last)
            other_book = book.with_rows(name, later)
            trials.append(_trial(name, shift, book, other_book, panel, other))
            pace("panels", len(trials), n_panels)
    return ClockReport(
        market=market.name,
        first=first.isoformat(),
        last=last.isoformat(),
        cells=agreed.cells,
        wrong=agreed.changed,
        difference=agreed.first,
        trials=tuple(trials),
        silent=tuple(silent),
    )


def _trial(
    feed: str, shift: str, here: Book, there: Book, panel: pl.DataFrame, other: pl.DataFrame
) -> ClockTrial:
    expected = _cells(here.rows, there.rows)
    moved = _cells(panel, other)
    missed = expected.join(moved, on=CELL, how="anti")
    unexpected = moved.join(expected, on=CELL, how="anti")
    crossed = _crossed(feed, here, there)
    return ClockTrial(
        feed=feed,
        shift=shift,
        rows=here.raw[feed].height,
        crossed=crossed,
        cells=panel.height * (panel.width - len(KEYS)),
        expected=expected.height,
        moved=moved.height,
        hits=expected.height - missed.height,
        missed=_first(missed),
        unexpected=_first(unexpected),
        note=None if expected.height or moved.height else _why_nothing(feed, here.market, crossed),
    )


def _cells(here: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    """Return session, symbol and column of each cell that differs, sorted."""
    found = changed_cells("panel", here, there, KEYS)
    row, column = np.nonzero(found.changed_RC)
    names = pl.Series("column", found.columns, dtype=pl.String)
    keys = found.here.select(KEYS)[row]
    return keys.with_columns(names.gather(column)).sort(CELL)


def _crossed(feed: str, here: Book, there: Book) -> int:
    """Return how many rows some session knew, and does not know where they come out later."""
    numbers = [
        np.array(book.effective(book.raw[feed]["available_at"]), dtype=np.int64)
        for book in (here, there)
    ]
    sessions = np.array(here.sessions)
    known = [np.searchsorted(sessions, number) for number in numbers]
    return int((known[0] != known[1]).sum())


def _why_nothing(feed: str, market: Market, crossed: int) -> str:
    if feed not in (*CORE_FEEDS, *(join.feed for join in market.joins)):
        return NOT_HELD
    if not crossed:
        return "no decision instant lies between the true and the moved stamp of any row"
    return (
        f"{crossed:,} rows come out a session later, and each says what was known before, or "
        "speaks of a symbol without a row"
    )


def _first(cells: pl.DataFrame) -> str | None:
    if not cells.height:
        return None
    session, symbol, column = cells.row(0)
    return f"{session} {symbol} {column}"


def _lazy(raw: Raw) -> dict[str, pl.LazyFrame]:
    return {name: rows.lazy() for name, rows in raw.items()}
