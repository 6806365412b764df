"""The level of the one index that a market is compared with."""

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import BadInput

INDEX_COLUMNS = {"close": "level of the index at the close, points"}


def index_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the levels as they are.

    Raises:
        BadInput: the feed holds several indices.
    """
    names = rows["name"].unique().sort().to_list()
    if len(names) > 1:
        raise BadInput(
            f"the feed 'benchmark' holds {len(names)} indices ({', '.join(map(str, names))}), and "
            "a market is compared with one; keep one of them there and declare the others as "
            "feeds of your own"
        )
    return rows.select("event_date", pl.col("close").cast(pl.Float64), "available_at", "revision")
