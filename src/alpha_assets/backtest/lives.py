"""The books of a symbol that lived twice: each life trades under a symbol of its own.

A ticker that is used again names another company.  Its marks, splits, known closes and trailing
windows begin with its own first bar, and what is held of the old one leaves at the old end, by
the exit that ended it.  Tables show the plain symbol.
"""

from collections.abc import Mapping

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.panel.lives import Births, births, by_date, judged_by_life, plain_symbol

DATED = ("listings", "dividends", "borrow")


def lives_of(raw: Mapping[str, pl.DataFrame], calendar: Calendar) -> Births:
    """Return every life after a symbol's first, by the listings as they are stored last."""
    return births(raw.get("listings"), calendar)


def raw_by_life(raw: Mapping[str, pl.DataFrame], of: Births) -> dict[str, pl.DataFrame]:
    """Return raw rows under the symbols of the lives that their dates lie in.

    Bars between two lives are of neither; what pays or is quoted between them is of the old one.
    """
    found = dict(raw)
    found["daily_bars"] = judged_by_life(raw["daily_bars"], of)
    for feed in DATED:
        if feed in raw:
            found[feed] = by_date(raw[feed], "event_date", of)
    return found


def shown(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table with plain symbols."""
    return table.with_columns(plain_symbol(pl.col("symbol")))
