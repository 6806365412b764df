"""Margin trading: what customers owe in shares and money, weekly and then daily, and alerts."""

from dataclasses import dataclass
from datetime import date, time
from typing import ClassVar

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import Column, Feed, Publication

# Balances of this day and later are published every session; before, once a week.
DAILY_FROM = date(2026, 9, 25)
REASONS = (
    "restricted",
    "daily_publication",
    "monitoring",
    "restricted_by_lender",
    "caution_by_lender",
    "unclear_or_alert",
)


@dataclass(frozen=True)
class WeeklyThenDaily(Publication):
    """Two sessions after a weekly balance, one session after a daily one."""

    described: ClassVar[str] = "two sessions after a weekly balance, one session after a daily one"

    def dates(self, dates: Dates, calendar: Calendar) -> Dates:
        """Return the day of publication of each balance date."""
        is_daily = dates >= np.datetime64(DAILY_FROM, "D")
        return np.where(is_daily, calendar.after(dates, 1), calendar.after(dates, 2))


MARGIN = Feed(
    name="margin",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("published", pl.Date, "date", "day of publication; null in the weekly regime"),
        Column("issue_type", pl.String, "code", "1 margin issue, 2 loanable issue, 3 other"),
        Column("short", pl.Float64, "shares", "sold short on margin, all", required=True),
        Column("long", pl.Float64, "shares", "bought on margin, all", required=True),
        Column("short_negotiable", pl.Float64, "shares", "short on the broker's own terms"),
        Column("long_negotiable", pl.Float64, "shares", "long on the broker's own terms"),
        Column("short_standard", pl.Float64, "shares", "short on the exchange's terms"),
        Column("long_standard", pl.Float64, "shares", "long on the exchange's terms"),
        Column("short_value", pl.Float64, "money", "all that is short; daily regime only"),
        Column("long_value", pl.Float64, "money", "all that is long; daily regime only"),
    ),
    publication=WeeklyThenDaily(at=time(16, 30), stated="published"),
    max_stale=20,
    about="Balances of margin trading, in shares of the event date: splits never restate them.",
)

MARGIN_ALERTS = Feed(
    name="margin_alerts",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("published", pl.Date, "date", "day of publication", required=True),
        *(Column(name, pl.Boolean, "flag", f"why it is published: {name}") for name in REASONS),
        Column("short", pl.Float64, "shares", "short balance", required=True),
        Column("short_change", pl.Float64, "shares", "since the session before"),
        Column("short_ratio", pl.Float64, "percent of listed shares", "short balance"),
        Column("long", pl.Float64, "shares", "long balance", required=True),
        Column("long_change", pl.Float64, "shares", "since the session before"),
        Column("long_ratio", pl.Float64, "percent of listed shares", "long balance"),
        Column("short_to_long", pl.Float64, "percent", "short balance over long balance"),
        Column(
            "stage",
            pl.String,
            "code",
            "001 lender's caution, 002 daily publication, 003 to 006 restrictions, "
            "101 lifted, 102 supervision",
        ),
    ),
    publication=Publication(anchor="published", at=time(16, 30)),
    max_stale=5,
    about="Daily balances of issues under watch. A symbol that is absent is not under watch.",
    version="published",
    corrected=Publication(anchor="published", at=time(16, 30)),
)
