"""The table of a day as it was known at each decision at which some of its rows became usable."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Index
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import INSTANT

MOMENT = "moment"
_KNOWN = "known from"


def moments(
    rows: pl.DataFrame, group: Sequence[str], row: Sequence[str], calendar: Calendar
) -> pl.DataFrame:
    """Return, for each group and each of its moments, the latest version of every row by then.

    A moment is the decision of a session: rows that become effective at the same one belong
    together, however many instants they were published at.

    Args:
        rows: raw rows, with `available_at` and `revision`.
        group: columns that rows are put together by, such as `event_date`.
        row: further columns that tell the rows of a group apart.
        calendar: of the market.

    Returns:
        The rows, repeated for each `moment`, sorted by group, moment and row.
    """
    _, stamp, _ = decision_stamps(session_numbers(rows, calendar), calendar)
    known = pl.Series(_KNOWN, stamp)
    rows = rows.with_columns(known, known.alias(MOMENT))
    several = pl.col(MOMENT).n_unique().over(group) > 1
    at_once, apart = rows.filter(~several), rows.filter(several)
    if apart.height:
        decisions = apart.select(*group, pl.col(MOMENT)).unique()
        apart = (
            apart.drop(MOMENT)
            .join(decisions, on=list(group))
            .filter(pl.col(_KNOWN) <= pl.col(MOMENT))
        )
    both = pl.concat([at_once, apart.select(at_once.columns)]).drop(_KNOWN)
    key = [*group, MOMENT, *row]
    return both.sort(*key, "available_at", "revision").unique(key, keep="last", maintain_order=True)


def sums(rows: pl.DataFrame, by: Sequence[str], values: Sequence[str]) -> pl.DataFrame:
    """Return the sums of some columns per group, added in the order of the rows.

    Unknown values add nothing; a sum of nothing but unknown ones is null.

    Args:
        rows: sorted by `by`.
        by: columns of the group.
        values: columns to add up.
    """
    keys = rows.select(by)
    starts = np.flatnonzero((keys != keys.shift(1)).fill_null(True).to_numpy().any(axis=1))
    group_R = np.zeros(rows.height, dtype=np.int64)
    group_R[starts[1:]] = 1
    np.cumsum(group_R, out=group_R)
    made = []
    for name in values:
        value_R = rows[name].cast(pl.Float64).to_numpy()
        known_R = ~np.isnan(value_R)
        total = np.bincount(group_R, np.where(known_R, value_R, 0.0), minlength=len(starts))
        count = np.bincount(group_R, known_R, minlength=len(starts))
        made.append(pl.Series(name, np.where(count > 0, total, np.nan)).fill_nan(None))
    return keys[starts].with_columns(made)


def session_numbers(rows: pl.DataFrame, calendar: Calendar) -> Index:
    """Return the number of the session from which each row is known."""
    return calendar.effective(rows["available_at"].to_numpy())


def decision_stamps(number: Index, calendar: Calendar) -> list[pl.Series]:
    """Return the clock of states that hold from some sessions' decisions on.

    `event_date` is the session itself, `available_at` its decision instant, `revision` 0.
    """
    stamp = pl.Series("available_at", calendar.decisions[number].astype("datetime64[us]"))
    return [
        pl.Series("event_date", calendar.sessions[number].astype("datetime64[D]")),
        stamp.dt.replace_time_zone("UTC").cast(INSTANT),
        pl.Series("revision", np.zeros(len(number), dtype=np.int16)),
    ]
