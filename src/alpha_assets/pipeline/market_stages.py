"""The market's stages, each from the stored rows of the one before to its own months.

Every function takes the months to make, reads what their look-back needs, and writes one
folder a month with the hashes of all that it read.  Making a month again, alone or with
others, gives the same bits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import polars as pl

from alpha_assets.calendar import as_date, month_of, month_start, next_month
from alpha_assets.errors import MissingOutput, StorageError
from alpha_assets.feeds.delivery_note import DELIVERIES, Findings, note_folder
from alpha_assets.feeds.delivery_warnings import delivery_warnings
from alpha_assets.feeds.ingest import Ingested, ingest
from alpha_assets.panel.schema import PANEL_SCHEMA
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import (
    Made,
    MarketContext,
    manifest_of,
    require_months,
    staleness,
)
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.transforms import (
    feature_rows,
    market_wide,
    panel_rows,
    panel_start,
    section_rows,
    series_of,
    series_start,
    span_of,
    universe_start,
)
from alpha_assets.progress import Pace
from alpha_assets.store.table import MonthTable

Inputs = dict[str, dict[str, str]]  # month -> input -> hash

MONTHS_AT_ONCE = 12


def ingest_feed(context: MarketContext, feed: str, months: Sequence[str] | None = None) -> Ingested:
    """Store what the source delivers of a feed and the store does not have yet.

    Raises:
        SourceMismatch: the store holds rows of another source.
        FeedError: rows that cannot be right.
        StorageError: stored rows of it are damaged.
    """
    context.progress("raw", feed)
    context.market.source.progress = Pace(context.progress, "raw")
    context.raw[feed].check_whole()
    done = ingest(
        context.raw[feed],
        context.market.feeds[feed],
        context.market.source,
        context.market.calendar,
        now=context.clock(),
        months=months,
    )
    odd = tuple(delivery_warnings(context.raw[feed], context.market.source))
    for line in odd:
        context.progress("raw", f"warning: {line}")
    for note in done.notes:
        context.progress("raw", f"{feed}: {note}")
    return replace(done, warnings=odd)


def lost_months(context: MarketContext, feed: str) -> dict[str, str]:
    """Return the months of a feed whose stored rows are damaged or gone, and what is wrong."""
    table = context.raw[feed].table
    lost = table.damaged()
    try:
        note = context.store.folder(context.market.name, DELIVERIES, feed).manifest()
    except StorageError:
        note = None  # the next delivery is read whole again
    known = note.extra.get("stored", ()) if note else ()
    gone = {*known} - {*table.months()} - {*lost}
    return lost | dict.fromkeys(sorted(gone), "its stored rows are gone; run fetches them anew")


def stored_months(context: MarketContext, feed: str, months: Sequence[str]) -> list[Made]:
    """Return what is stored of a feed in `months`; a month without rows is not among them."""
    table = context.raw[feed].table
    found = []
    for month in months:
        folder = table.folder(month)
        if folder.exists():
            found.append(Made.found(f"raw/{feed}", month, folder))
    return found


def raw_until(context: MarketContext, month: str) -> dict[str, pl.LazyFrame]:
    """Return every stored row of every feed that was readable by the end of `month`."""
    return {name: table.read(last=month) for name, table in context.raw.items() if table.months()}


def panel_inputs(context: MarketContext, months: Sequence[str]) -> Inputs:
    """Return what each month of the panel is made from: every feed's months up to its own."""
    known = {
        f"raw/{name}": context.hashes(table.table)
        for name, table in context.raw.items()
        if table.months()
    }
    return {
        month: {name: hashes.combined(None, month) for name, hashes in known.items()}
        for month in months
    }


def features_inputs(context: MarketContext, months: Sequence[str]) -> Inputs:
    """Return what each month of features is made from."""
    panel = context.hashes(context.panel)
    return {
        month: {"panel": panel.combined(month_of(panel_start(context.market, first)), month)}
        for month, first in _firsts(context, months)
    }


def cross_section_inputs(context: MarketContext, universe: str, months: Sequence[str]) -> Inputs:
    """Return what each month of a cross-section is made from."""
    rules = context.market.universe(universe)
    panel, features = context.hashes(context.panel), context.hashes(context.features)
    return {
        month: {
            "features": features.combined(month_of(series_start(context.market, first)), month),
            "panel": panel.combined(month_of(universe_start(context.market, rules, first)), month),
        }
        for month, first in _firsts(context, months)
    }


def _firsts(context: MarketContext, months: Sequence[str]) -> list[tuple[str, date]]:
    """Return each month with its first session."""
    sessions = context.market.calendar.month_sessions
    return [(month, as_date(sessions(month)[0])) for month in months]


def make_panel(context: MarketContext, months: Sequence[str]) -> list[Made]:
    """Write what was known at each decision of `months`."""
    if not any(table.months() for table in context.raw.values()):
        raise MissingOutput(
            f"no raw rows of market {context.market.name!r} are stored; {run_again(context)}"
        )

    def rows(first: date, last: date) -> pl.DataFrame:
        return panel_rows(context.market, raw_until(context, month_of(last)), first, last)

    return _make_months(
        context, "panel", context.panel, months, identity.panel(context.market), panel_inputs, rows
    )


def make_features(context: MarketContext, months: Sequence[str]) -> list[Made]:
    """Write the catalogue on the panel for `months`."""

    def rows(first: date, last: date) -> pl.DataFrame:
        start = panel_start(context.market, first)
        made_by = identity.panel(context.market)
        require_months(context.panel, month_of(first), month_of(last), made_by, run_again(context))
        panel = context.panel.read(month_of(start), month_of(last)).filter(
            pl.col("session").is_between(start, last)
        )
        return feature_rows(context.market, panel.collect(), first, last)

    return _make_months(
        context,
        "features",
        context.features,
        months,
        identity.features(context.market),
        features_inputs,
        rows,
    )


def make_cross_section(context: MarketContext, universe: str, months: Sequence[str]) -> list[Made]:
    """Write the z-scored features inside a universe for `months`."""
    rules = context.market.universe(universe)

    def rows(first: date, last: date) -> pl.DataFrame:
        start = universe_start(context.market, rules, first)
        made_by = identity.features(context.market)
        require_months(
            context.features, month_of(first), month_of(last), made_by, run_again(context)
        )
        panel = context.panel.read(month_of(start), month_of(last)).filter(
            pl.col("session").is_between(start, last)
        )
        features = context.features.read(month_of(first), month_of(last))
        begin = series_start(context.market, first)
        names = [feature.name for feature in market_wide(context.market)]
        wide = context.features.read(month_of(begin), month_of(last)).select("session", *names)
        made = section_rows(
            context.market,
            rules,
            features.collect(),
            panel.select(*PANEL_SCHEMA).collect(),
            first,
            last,
            series=series_of(context.market, wide.collect(), begin, last),
        )
        return made.frame

    return _make_months(
        context,
        f"cross_section/{universe}",
        context.cross_section(universe),
        months,
        identity.cross_section(context.market, universe),
        lambda context, months: cross_section_inputs(context, universe, months),
        rows,
    )


def stale_months(
    table: MonthTable,
    months: Sequence[str],
    made_by: Identity,
    inputs: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    """Return the months that are missing or stale, and why."""
    found = {}
    for month in months:
        reason = staleness(table.folder(month), made_by, inputs[month])
        if reason:
            found[month] = reason
    return found


def frontier(context: MarketContext) -> date:
    """Return the last session that can be decided: the one after the last bar's.

    Later sessions have no rows yet: what they will know is still to be published.

    Raises:
        MissingOutput: no bars are stored.
    """
    return as_date(context.market.calendar.after(last_bar(context)))


def last_bar(context: MarketContext) -> date:
    """Return the greatest date of a stored bar with a close, whatever month it was published in.

    A correction or a late row of an old day does not move it.  No bar is public before its day,
    so months are read from the newest back, to where none could hold a later one.

    Raises:
        MissingOutput: no bars are stored.
    """
    bars = context.raw["daily_bars"]
    last: date | None = None
    for month in reversed(bars.months()):
        if last is not None and last >= as_date(month_start(next_month(month)) - 1):
            break
        rows = bars.read(first=month, last=month, columns=["event_date", "close"])
        dated = rows.filter(pl.col("close").is_not_null()).select(pl.col("event_date").max())
        found = dated.collect().item()
        last = found if last is None or (found is not None and found > last) else last
    if last is None:
        raise MissingOutput(
            f"no bars of market {context.market.name!r} are stored; {run_again(context)}"
        )
    return last


def thin_sessions(panel: pl.LazyFrame, first: date) -> list[str]:
    """Return, in words, the sessions decided from too few bars, and those that had none.

    Too few: fewer than half of the names that the last session with any had.

    Args:
        panel: rows of neighbouring sessions; a row with a close has the bar of the session before.
        first: of the sessions to name; earlier ones are what it is compared with.
    """
    some = pl.col("names") > 0
    counts = (
        panel.group_by("session")
        .agg(pl.col("close").count().cast(pl.Int64).alias("names"))
        .sort("session")
        .with_columns(
            last=pl.when(some).then("session").forward_fill().shift(1),
            before=pl.when(some).then("names").forward_fill().shift(1),
            neighbour=pl.col("session").shift(1),
            stretch=some.rle_id(),
        )
        .filter(pl.col("session") >= first)
        .collect()
    )
    found: dict[date, str] = {}
    for session, names, last, before, neighbour, _ in counts.filter(
        some & (2 * pl.col("names") < pl.col("before"))
    ).rows():
        which = "session before" if last == neighbour else f"last with any, {last},"
        found[session] = (
            f"session {session} was decided from the bars of {names} names; the {which} "
            f"knew {before}"
        )
    ends = (pl.col("session").min().alias("start"), pl.col("session").max().alias("end"))
    empty = counts.filter(~some).group_by("stretch").agg(*ends, n=pl.len())
    for _, start, end, n in empty.rows():
        days = f"session {start}" if n == 1 else f"{n} sessions from {start} to {end}"
        found[start] = f"{days} had no bar of the session before, of any name: not decided"
    return [found[session] for session in sorted(found)]


def thin_months(context: MarketContext, months: Sequence[str]) -> list[str]:
    """Return the thin sessions of stored months of the panel, in words."""
    stored = context.panel.months(next_month(months[0], -1), months[-1])
    first, _ = span_of(context.market.calendar.month_sessions(months[0]))
    if not stored:
        return []
    panel = context.panel.scan(stored).select("session", "close")
    return thin_sessions(panel, first)


def delivery_findings(context: MarketContext, feed: str) -> tuple[str, ...]:
    """Return what the last delivery of a feed left out, in words."""
    try:
        return Findings.of_note(note_folder(context.store, context.market.name, feed)).words()
    except StorageError:
        return ("the note of its last delivery is damaged; run reads the delivery again",)


def _make_months(
    context: MarketContext,
    stage: str,
    table: MonthTable,
    months: Sequence[str],
    made_by: Identity,
    inputs: Callable[[MarketContext, Sequence[str]], Inputs],
    rows: Callable[[date, date], pl.DataFrame],
) -> list[Made]:
    """Make a stage's months that are not fresh, neighbours in one go, and say of what."""
    if not months:
        return []
    _check_reach(context, stage, max(months))
    edge = frontier(context)
    known = inputs(context, months)
    stale = stale_months(table, months, made_by, known)
    pace, done = Pace(context.progress, stage), 0
    for run in neighbours(list(stale)):
        pace("months", done, len(stale))
        context.progress(stage, run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}")
        first, _ = span_of(context.market.calendar.month_sessions(run[0]))
        _, last = span_of(context.market.calendar.month_sessions(run[-1]))
        frame = rows(first, min(last, edge))
        for month in run:
            start, stop = span_of(context.market.calendar.month_sessions(month))
            of_month = frame.filter(pl.col("session").is_between(start, stop))
            table.write(month, of_month, manifest_of(made_by, known[month]))
        done += len(run)
    return [Made.found(stage, month, table.folder(month)) for month in sorted(months)]


def _check_reach(context: MarketContext, stage: str, month: str) -> None:
    """Refuse, before anything is made, months whose first session cannot be decided yet."""
    edge = frontier(context)
    first, _ = span_of(context.market.calendar.month_sessions(month))
    if edge < first:
        raise MissingOutput(
            f"{stage} of {month} cannot be made: the last session that stored bars let anyone "
            f"decide is {edge}; ask for months up to {month_of(edge)}, or ingest later bars"
        )


def neighbours(months: Sequence[str]) -> list[list[str]]:
    """Return the months in runs of consecutive ones, none so long that memory would matter."""
    runs: list[list[str]] = []
    for month in sorted(months):
        if runs and next_month(runs[-1][-1]) == month and len(runs[-1]) < MONTHS_AT_ONCE:
            runs[-1].append(month)
        else:
            runs.append([month])
    return runs
