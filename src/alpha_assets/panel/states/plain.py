"""Feeds whose rows are states as they are: one number per column, key and day."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.panel.states.event_times import session_numbers
from alpha_assets.panel.states.news import WIDTH, projected

States = Callable[[pl.DataFrame, Calendar, int], pl.DataFrame]


WIDEST = 64  # numbers of a vector that is taken as it is; a wider one is projected
LAG = "lag"
LAG_MEANING = "sessions from the day that the row is about to the session that knows it"


def plain_states(
    key: Sequence[str], columns: Sequence[str], vectors: Mapping[str, int] | None = None
) -> States:
    """Return a function that hands on the rows' own columns as numbers.

    Args:
        key: the columns of the feed's key, `event_date` among them.
        columns: what to hand on; `lag` is counted.
        vectors: columns that hold several numbers, and how many.
    """
    delivered = [name for name in columns if name != LAG]
    vectors = vectors or {}

    def states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
        states = rows.select(
            *key,
            *(pl.col(name).cast(pl.Float64) for name in delivered),
            *(part for name, width in vectors.items() for part in _parts(rows[name], width)),
            "available_at",
            "revision",
        )
        return states if LAG not in columns else states.with_columns(_lag(rows, calendar))

    return states


def parts_of(name: str, width: int) -> list[str]:
    """Return the columns that a vector is spread over: its numbers, or their projection's."""
    return [f"{name}_{place}" for place in range(width if width <= WIDEST else WIDTH)]


def _parts(vector: pl.Series, width: int) -> list[pl.Series]:
    names = parts_of(vector.name, width)
    if isinstance(vector.dtype, pl.List):
        vector = vector.list.to_array(width)
    if width <= WIDEST:
        return [
            vector.arr.get(place).cast(pl.Float64).alias(name) for place, name in enumerate(names)
        ]
    known = vector.is_not_null()
    number = np.full((len(vector), WIDTH), np.nan)
    vectors = np.asarray(vector.drop_nulls().to_numpy(), dtype=np.float32).reshape(-1, width)
    number[known.to_numpy()] = projected(vectors)
    return [pl.Series(name, number[:, k]).fill_nan(None) for k, name in enumerate(names)]


def _lag(rows: pl.DataFrame, calendar: Calendar) -> pl.Series:
    day = calendar.index_of(calendar.on_or_after(rows["event_date"].to_numpy()))
    return pl.Series(LAG, (session_numbers(rows, calendar) - day).astype(np.float64))
