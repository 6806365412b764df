"""What holds for the whole market: open days, the price of money, the price of borrowing."""

from dataclasses import dataclass
from datetime import time
from typing import ClassVar

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import Column, Feed, Publication

DIVISIONS = ("0", "1", "2", "3")
HALF_DAY = "2"
SESSION_DIVISIONS = ("1", HALF_DAY)  # shares trade


@dataclass(frozen=True)
class YearBefore(Publication):
    """Published at the end of March of the year before, for the whole year."""

    described: ClassVar[str] = (
        "published at the end of March of the year before, for the whole year"
    )

    at: time = time(0, 0)

    def dates(self, dates: Dates, calendar: Calendar) -> Dates:
        """Return 31 March of the year before each date."""
        year = dates.astype("datetime64[Y]") - np.timedelta64(1, "Y")
        april = year.astype("datetime64[M]") + np.timedelta64(3, "M")
        return np.asarray(april.astype("datetime64[D]") - np.timedelta64(1, "D"))


TRADING_CALENDAR = Feed(
    name="trading_calendar",
    key=("event_date",),
    scope="market",
    columns=(
        Column(
            "division",
            pl.String,
            "code",
            "0 closed, 1 session, 2 half day, 3 derivatives trade on a holiday",
            required=True,
        ),
    ),
    publication=YearBefore(),
    max_stale=None,
    about="Every calendar day of the exchange, weekends included.",
    known_ahead=True,
)

BORROW = Feed(
    name="borrow",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("fee_bps_annual", pl.Float64, "basis points a year", "lender's fee", required=True),
        Column("available_shares", pl.Float64, "shares", "shares that can be borrowed"),
    ),
    publication=Publication(at=time(18, 0)),
    max_stale=20,
    about="What it costs to borrow a share, as quoted at the end of the day.",
)

RATES = Feed(
    name="rates",
    key=("event_date",),
    scope="market",
    columns=(
        Column(
            "cash_rate_annual", pl.Float64, "fraction a year", "interest on cash", required=True
        ),
    ),
    publication=Publication(at=time(18, 0)),
    max_stale=20,
    about="The overnight rate of the market's currency.",
)
