"""The last stored revision of each bar: what judges and training labels read.

An exchange fills at the real price and splits on the real day, whatever the vendor published
that evening.  So what judges a decision (labels of evaluation, fills, marks, splits) reads a
bar's last revision, while the panel keeps the bar as it was when it first became effective.

A vendor's restatement (one ratio on all earlier prices of a symbol) is a level, not a
correction: `level` is the ratio of a revision's prices to those of the bar's first one, and
prices are divided by it (volume is multiplied).
Shape letters: R bars, V revisions.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from alpha_assets.arrays.places import codes
from alpha_assets.arrays.types import Index
from alpha_assets.calendar import Calendar
from alpha_assets.panel.bars import Bars, first_effective, known_rows, session_numbers

LEVEL = "level"
LEVELLED_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, eq=False)
class BarRevisions:
    """Bars as they first became effective, as they are stored last, and all steps between.

    Attributes:
        first: one row per bar, ordered by session and symbol.
        last: row for row beside `first.frame`, the last revision.
        revised: every revision of the bars that have several, oldest first within a bar.
        bar_V: row in `first` of each row of `revised`.
        usable_V: number of the first session that may use it.
    """

    first: Bars
    last: pl.DataFrame
    revised: pl.DataFrame
    bar_V: Index
    usable_V: Index

    def __post_init__(self) -> None:
        assert self.last.height == self.first.frame.height, "one last revision per bar"


def bar_revisions(
    rows: pl.DataFrame | pl.LazyFrame,
    calendar: Calendar,
    until: int,
    symbols: pl.Series | None = None,
) -> BarRevisions:
    """Return what the store holds of each bar, rows effective at session `until` or before.

    Prices and volumes are on the level of the bar's first revision; a revision that states no
    factor keeps the one before.

    Args:
        rows: raw rows of `daily_bars`, revisions included, in any order.
        calendar: of the market.
        until: number of a session; rows that are not effective by it do not exist.
        symbols: those to count by, sorted; default: those of the rows.

    Raises:
        FeedError: a row without `available_at`, or two rows of the same bar and clock.
    """
    known = factors_kept(levelled(known_rows(rows, calendar, until, "daily_bars")))
    first = first_effective(known, calendar, until, symbols)
    if first.frame.height == known.height:  # no bar has two rows
        nothing = np.empty(0, dtype=np.int64)
        return BarRevisions(first, first.frame, known.clear(), nothing, nothing)
    key = ["event_date", "symbol"]
    changed = known.filter(pl.col("revision") > 0).select(key).unique()
    several = known.join(changed, on=key, how="semi").sort(*key, "available_at", "revision")
    code_V = codes(several["symbol"], first.symbols)
    session_V = session_numbers(several["event_date"], calendar)
    n_symbols = len(first.symbols)
    bar_V = np.searchsorted(
        first.session_R * n_symbols + first.code_R, session_V * n_symbols + code_V
    )
    is_last_V = np.append(bar_V[1:] != bar_V[:-1], True)
    place_R = np.arange(first.frame.height)
    place_R[bar_V[is_last_V]] = first.frame.height + np.flatnonzero(is_last_V)
    effective_V = calendar.effective(several["available_at"].to_numpy())
    return BarRevisions(
        first=first,
        last=pl.concat([first.frame, several])[place_R],
        revised=several,
        bar_V=bar_V,
        usable_V=np.maximum(effective_V, session_V + 1),
    )


def levelled(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows on the level of each bar's first revision: prices / level, volume · level."""
    if LEVEL not in rows.columns:
        return rows
    if rows.select((pl.col(LEVEL).fill_null(1.0) == 1.0).all()).item():
        return rows
    return rows.with_columns(
        at_first_level(name) for name in (*LEVELLED_PRICES, "volume") if name in rows.columns
    )


def at_first_level(name: str) -> pl.Expr:
    """Return a column of bars on the level of each bar's first revision."""
    level = pl.col(LEVEL).fill_null(1.0)
    if name in LEVELLED_PRICES:
        return pl.col(name) / level
    return pl.col(name) * level if name == "volume" else pl.col(name)


def factors_kept(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows in which a revision that states no factor has that of the revision before.

    An unknown factor takes nothing back: a vendor whose adjusted close is missing today has not
    withdrawn the split of last week.  The panel reads factors by the same rule
    (`panel.adjustment.moves_of`).
    """
    factor, share = pl.col("adjustment_factor"), pl.col("share_factor")
    if "share_factor" not in rows.columns:
        share = pl.lit(None, dtype=pl.Float64)
    key = ["event_date", "symbol"]
    silent = rows.filter((pl.col("revision") > 0) & factor.is_null() & share.is_null())
    if silent.is_empty():
        return rows
    bars = silent.select(key).unique()
    several = rows.join(bars, on=key, how="semi").sort(*key, "available_at", "revision")
    # A factor without shares beside it moves shares by its inverse, whatever was stated before.
    stated = pl.when(share.is_null() & factor.is_not_null()).then(float("inf")).otherwise(share)
    kept = {
        "adjustment_factor": factor.forward_fill().over(key),
        "share_factor": stated.forward_fill().over(key).replace(float("inf"), None),
    }
    several = several.with_columns(**{n: kept[n] for n in kept if n in rows.columns})
    return pl.concat([rows.join(bars, on=key, how="anti"), several])
