"""Feeds whose rows are states as they are: one number per column, key and day."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.panel.states.moments import session_numbers

States = Callable[[pl.DataFrame, Calendar, int], pl.DataFrame]


LAG = "lag"
LAG_MEANING = "sessions from the day that the row is about to the session that knows it"


def plain_states(key: Sequence[str], columns: Sequence[str]) -> States:
    """Return a function that hands on the rows' own columns as numbers.

    Args:
        key: the columns of the feed's key, `event_date` among them.
        columns: what to hand on; `lag` is counted.
    """
    delivered = [name for name in columns if name != LAG]

    def states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
        states = rows.select(
            *key, *(pl.col(name).cast(pl.Float64) for name in delivered), "available_at", "revision"
        )
        return states if LAG not in columns else states.with_columns(_lag(rows, calendar))

    return states


def _lag(rows: pl.DataFrame, calendar: Calendar) -> pl.Series:
    day = calendar.index_of(calendar.on_or_after(rows["event_date"].to_numpy()))
    return pl.Series(LAG, (session_numbers(rows, calendar) - day).astype(np.float64))
