"""How far stored bars reach: which sessions can be decided, and which were from too few bars."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from alpha_assets.calendar import as_date, month_of, month_range, month_start, next_month
from alpha_assets.errors import MissingOutput
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.transforms import span_of


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


def months_of_data(context: MarketContext) -> tuple[str, ...]:
    """Return the months from the first stored bar's to the last one's.

    Raises:
        MissingOutput: no bars are stored.
    """
    bars = context.raw["daily_bars"]
    if not bars.months():
        raise MissingOutput(f"market {context.market.name!r} has no bars in this storage")
    last = last_bar(context)
    dated = bars.read(columns=["event_date", "close"]).filter(pl.col("close").is_not_null())
    first = dated.select(pl.col("event_date").min()).collect().item()
    return month_range(month_of(first), month_of(last))


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
