"""Feeds whose rows are states as they are: one number per column, key and day."""

from collections.abc import Callable, Sequence

import polars as pl

from alpha_assets.calendar import Calendar

States = Callable[[pl.DataFrame, Calendar, int], pl.DataFrame]


def plain_states(key: Sequence[str], columns: Sequence[str]) -> States:
    """Return a function that hands on the rows' own columns as numbers.

    Args:
        key: the columns of the feed's key, `event_date` among them.
        columns: what to hand on.
    """

    def states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
        return rows.select(
            *key, *(pl.col(name).cast(pl.Float64) for name in columns), "available_at", "revision"
        )

    return states
