"""Who is listed, and who belongs to the index: dated events, each known from its own moment."""

from dataclasses import dataclass
from datetime import time
from typing import ClassVar

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import Column, Feed, Publication, instants_of

ACTIVE = "active"
SOURCE_END = "source_end"
EXITS = (ACTIVE, "delisted", "acquired", SOURCE_END)


def repeats_exit() -> pl.Expr:
    """Return whether an event states again the exit of a day before its own.

    Such a row corrects an exit, or a start, that a later delivery moved: on that day the symbol
    had left already, and nothing happened on it.
    """
    is_exit = pl.col("exit").fill_null(ACTIVE) != ACTIVE
    return (is_exit & (pl.col("end") < pl.col("event_date"))).fill_null(False)


@dataclass(frozen=True)
class ListingPublication(Publication):
    """A start is known when its day begins, an end after the close of its day.

    So an exit is effective from the session after the last bar's, and not before.
    """

    described: ClassVar[str] = (
        "a start is known when its day begins, an end after the close of its day"
    )

    at: time = time(0, 0)
    exit_at: time = time(23, 0)

    def stamp(self, frame: pl.DataFrame, calendar: Calendar) -> pl.Series:
        """Return `available_at` of each event row, UTC."""
        dates = frame["event_date"].to_numpy().astype("datetime64[D]")
        starts = instants_of(calendar, dates, self.at)
        ends = instants_of(calendar, dates, self.exit_at)
        return ends.zip_with(frame["exit"] != ACTIVE, starts)


LISTINGS = Feed(
    name="listings",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("ticker", pl.String, "text", "code in use at the time, for display"),
        Column("name", pl.String, "text", "the company's name"),
        Column("sector", pl.String, "text", "sector of the vendor's scheme", required=True),
        Column("market_segment", pl.String, "text", "section of the exchange"),
        Column("shortable", pl.Boolean, "flag", "may be sold short; null = not known"),
        Column("start", pl.Date, "date", "first bar session"),
        Column("end", pl.Date, "date", "last bar session, inclusive; null while active"),
        Column("exit", pl.String, "word", f"one of {', '.join(EXITS)}", default=ACTIVE),
        Column("exit_return", pl.Float64, "fraction", "return from the last close to the exit"),
        Column(
            "sector_is_static",
            pl.Boolean,
            "flag",
            "the sector comes without dates: today's word, used for all of the past",
            default=False,
        ),
    ),
    publication=ListingPublication(),
    max_stale=None,
    about="One row when a symbol starts (exit = active), one when it ends.",
)

MEMBERSHIP = Feed(
    name="membership",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("member", pl.Boolean, "flag", "in the index from this date on", required=True),
    ),
    publication=Publication(at=time(0, 0)),
    max_stale=None,
    about="One row when a symbol joins the index (true), one when it leaves (false).",
)
