"""Short selling: each sector's share of the day's sales, and large reported positions.

The first is a flow (part of what was sold that day), the second a stock (what is still short);
the two are never mixed in one ratio.
"""

from datetime import time

import polars as pl

from alpha_assets.feeds.base import Column, Feed, Publication

SECTOR_SHORT_SELLING = Feed(
    name="sector_short_selling",
    key=("event_date", "sector"),
    scope="sector",
    columns=(
        Column("selling", pl.Float64, "money", "value of shares sold by owners", required=True),
        Column(
            "restricted",
            pl.Float64,
            "money",
            "value sold short under the price restriction",
            required=True,
        ),
        Column("exempt", pl.Float64, "money", "value sold short outside of it", required=True),
    ),
    publication=Publication(at=time(16, 30)),
    max_stale=10,
    about="Sales of a session by sector, the short ones apart. No row without trading.",
)

SHORT_POSITIONS = Feed(
    name="short_positions",
    key=("event_date", "symbol", "seller", "client", "fund"),
    scope="symbol",
    columns=(
        Column("disclosed", pl.Date, "date", "day of publication", required=True),
        Column("ratio", pl.Float64, "fraction of shares outstanding", "position", required=True),
        Column("shares", pl.Float64, "shares", "position"),
        Column("previous_date", pl.Date, "date", "day of the report before, if any"),
        Column("previous_ratio", pl.Float64, "fraction of shares outstanding", "as of that day"),
    ),
    publication=Publication(anchor="disclosed", at=time(17, 30)),
    max_stale=None,
    # A mass correction rounded the ratios of ten years to four decimals.
    about="Short positions of 0.5 % of a company and more, by holder, as of the event date.",
)
