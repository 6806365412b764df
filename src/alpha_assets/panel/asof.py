"""What was known at each decision: a feed's rows joined backwards in time, by its clock.

A row is known at session D if it is effective by D.  Among several the one with the greatest
(`event_date`, `available_at`, `revision`) counts, so that a late row about an old period never
hides a newer one.  The same join serves feeds keyed by symbol, sector, section or market.
Shape letters: R rows of the feed, L rows to be filled, D sessions, K keys.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.asof import latest_rows
from alpha_assets.arrays.places import codes
from alpha_assets.arrays.types import Index, Mask, Places
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import Scope
from alpha_assets.feeds.flows import SPLICED
from alpha_assets.panel.bars import known_rows, session_numbers
from alpha_assets.panel.history_pruning import needed_rows
from alpha_assets.panel.joins import Join

# For each scope the column that names the key in states.
SCOPE_KEYS: Mapping[Scope, str | None] = {
    "symbol": "symbol",
    "sector": "sector",
    "section": "section",
    "market": None,
}


@dataclass(frozen=True, eq=False)
class History:
    """A feed's rows in order of precedence, and the session from which each is known."""

    frame: pl.DataFrame
    effective_R: Index

    @classmethod
    def of(
        cls,
        rows: pl.DataFrame | pl.LazyFrame,
        calendar: Calendar,
        until: int,
        *,
        feed: str,
        by: str | None,
    ) -> "History":
        """Return the rows that are effective at session `until` or before."""
        frame = known_rows(rows, calendar, until, feed)
        within = [by] if by is not None else []
        order = ["event_date", *within, "available_at", "revision"]
        if not _is_sorted(frame, order):
            frame = frame.sort(order, maintain_order=True)
        frame = frame.rechunk()
        return cls(frame, calendar.effective(frame["available_at"].to_numpy()))


def as_of(
    left: pl.DataFrame,
    rows: pl.DataFrame | pl.LazyFrame,
    calendar: Calendar,
    *,
    feed: str,
    values: Sequence[str],
    by: tuple[str, str] | None,
    max_stale: int | None = None,
    lasting: Collection[str] = (),
) -> pl.DataFrame:
    """Return the feed's values of each row of `left`, as known at that row's session.

    Args:
        left: rows with a `session` and the key; in any order.
        rows: the feed's raw rows; those that no session of `left` can know change nothing.
        calendar: of the market.
        feed: its name, for the age column and for errors.
        values: the feed's columns wanted.
        by: names of the key in `left` and in `rows`; None where the feed holds for all.
        max_stale: sessions since the row became effective after which its values are
            missing; None: never.
        lasting: those of the values that the limit does not concern.

    Returns:
        Row for row beside `left`: `values` (null where nothing is known, or it is too old)
        and `<feed>_age`, Int16 sessions since the row became effective; it stays where the
        values are too old, and says why they are missing.
    """
    if not left.height:
        schema = rows.lazy().collect_schema()
        return pl.DataFrame(schema={**{v: schema[v] for v in values}, f"{feed}_age": pl.Int16})
    session_L = session_numbers(left["session"], calendar)
    span = range(int(session_L.min()), int(session_L.max()) + 1)
    past = History.of(rows, calendar, span.stop - 1, feed=feed, by=by[1] if by else None)
    if by is None:
        code_L, code_R, n_keys = np.zeros_like(session_L), np.zeros_like(past.effective_R), 1
    else:
        keys = left[by[0]].cast(pl.String).unique().drop_nulls().sort()
        code_L, code_R = codes(left[by[0]], keys), codes(past.frame[by[1]], keys)
        n_keys = max(len(keys), 1)
    row_DK = latest_rows(past.effective_R, code_R, span, n_keys)
    row_L = row_DK.ravel()[(session_L - span.start) * n_keys + code_L]
    if by is not None and (code_L < 0).any():
        row_L = np.where(code_L < 0, np.int32(-1), row_L)
    return taken(
        past, row_L, session_L, feed=feed, values=values, max_stale=max_stale, lasting=lasting
    )


def taken(
    past: History,
    row_L: Places,
    session_L: Index,
    *,
    feed: str,
    values: Sequence[str],
    max_stale: int | None,
    lasting: Collection[str] = (),
) -> pl.DataFrame:
    """Return the values of chosen rows and their age; null where there is no row (-1)."""
    if not past.frame.height:
        nothing = pl.DataFrame(schema={v: past.frame.schema[v] for v in values})
        ages = pl.Series(f"{feed}_age", [], dtype=pl.Int16)
        return nothing.with_columns(ages).clear(len(row_L))
    known_L = row_L >= 0
    # -1 reads some row, then erased.  An age needs no more than 16 bits, and fresh memory costs.
    age_L = past.effective_R.astype(np.int16).take(row_L)
    np.subtract(session_L.astype(np.int16), age_L, out=age_L)
    age = nullable(f"{feed}_age", age_L, known_L)
    lasts = [name for name in values if name in lasting]
    limited = [name for name in values if name not in lasting]
    fresh_L = known_L if max_stale is None else known_L & (age_L <= max_stale)
    found = rows_at(past.frame, limited, row_L, fresh_L)
    if lasts:
        found = found.hstack(rows_at(past.frame, lasts, row_L, known_L)).select(values)
    return found.with_columns(age)


def rows_at(
    frame: pl.DataFrame, columns: Sequence[str], row_L: Places, known_L: Mask
) -> pl.DataFrame:
    """Return the rows at some places, all columns at once; null where there is none."""
    if not frame.height:
        return frame.select(columns)[nullable("", row_L.view(np.uint32), known_L)]
    # Nulls among the places would be looked for anew in every column.
    found = frame.select(columns)[pl.Series(np.maximum(row_L, 0).view(np.uint32))]
    if known_L.all():
        return found
    is_known = pl.lit(pl.Series(known_L))
    return found.select(pl.when(is_known).then(pl.all()).name.keep())


def nullable(name: str, value_L: NDArray[np.generic], known_L: Mask) -> pl.Series:
    """Return values as a series, null where they are not known."""
    series = pl.Series(name, value_L)
    return series if known_L.all() else series.set(pl.Series(~known_L), None)


def join_states(
    panel: pl.DataFrame, rows: pl.DataFrame | pl.LazyFrame, join: Join, calendar: Calendar
) -> pl.DataFrame:
    """Return the panel with a feed's values of each row's key, and their age.

    Args:
        panel: `session`, `symbol`, and `sector` or `market_segment` where the scope needs it:
            each is what was known at the session, too.
        rows: the feed's raw rows; those that no session of the panel can know change nothing.
        join: how they enter.
        calendar: of the market.
    """
    if not panel.height:
        columns = dict.fromkeys(join.panel_columns[:-1], pl.Float64)
        empty = pl.DataFrame(schema={**columns, f"{join.name}_age": pl.Int16})
        return panel.hstack(empty)
    until = int(calendar.index_of(panel["session"].max()))
    span = range(int(calendar.index_of(panel["session"].min())), until + 1)
    known = needed_rows(rows, join, calendar, span)
    key = SCOPE_KEYS[join.scope]
    key_columns = [name for name in known.columns if name in ("event_date", key)]
    order = [*key_columns, "available_at", "revision"]
    if not _is_sorted(known, order):
        known = known.sort(order, maintain_order=True)
    states = join.states(known, calendar, until)
    left = panel.select("session", *([] if key is None else [_key_of(join.scope)]))
    found = as_of(
        left,
        states,
        calendar,
        feed=join.name,
        values=list(join.columns),
        by=None if key is None else (key, key),
        max_stale=join.max_stale,
        lasting=join.lasting,
    )
    return panel.hstack(found.rename({name: f"{join.name}_{name}" for name in join.columns}))


def _key_of(scope: Scope) -> pl.Expr:
    """Return the panel's expression for the key of a scope."""
    if scope == "section":
        # Sections were reorganised once; each new one takes over the series of an old one.
        spliced = pl.col("market_segment").replace_strict(SPLICED, default=None)
        return spliced.cast(pl.String).alias("section")
    key = SCOPE_KEYS[scope]
    assert key is not None, "a market-wide feed has no key"
    return pl.col(key)


def _is_sorted(frame: pl.DataFrame, names: Sequence[str]) -> bool:
    """Return whether rows ascend by the columns, the first one weighing most."""
    ascends = pl.lit(True)
    for name in reversed(names):
        value, before = pl.col(name), pl.col(name).shift(1)
        ascends = (value > before) | ((value == before) & ascends)
    return bool(frame.select(ascends.slice(1).fill_null(False).all()).item())
