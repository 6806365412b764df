"""Feeds of the American market: daily short volume, short interest, option summaries."""

from datetime import time

import polars as pl

from alpha_assets.feeds.base import Column, Feed, Publication

AMERICAN = ("short_volume", "short_interest", "option_summary")

SHORT_VOLUME = Feed(
    name="short_volume",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("short_volume", pl.Float64, "shares", "sold short, off exchange", required=True),
        Column("short_exempt_volume", pl.Float64, "shares", "of these, exempt from the rule"),
        Column("total_volume", pl.Float64, "shares", "reported, off exchange", required=True),
    ),
    publication=Publication(at=time(18, 0)),
    max_stale=5,
    about="Short sales of a session as FINRA's facilities report them.",
)

SHORT_INTEREST = Feed(
    name="short_interest",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("published", pl.Date, "date", "day of publication, where it is delivered"),
        Column("shares_short", pl.Float64, "shares", "open on the settlement date", required=True),
        Column("average_volume", pl.Float64, "shares", "a session, as reported beside it"),
    ),
    # Members report two sessions after the settlement date, the public reads it seven later.
    publication=Publication(sessions=9, at=time(18, 0), stated="published"),
    max_stale=30,
    about="Open short positions twice a month; the event date is the settlement date.",
)

OPTION_SUMMARY = Feed(
    name="option_summary",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("iv_30", pl.Float64, "fraction a year", "implied, at the money, 30 days"),
        Column("iv_60", pl.Float64, "fraction a year", "implied, at the money, 60 days"),
        Column("skew_25d", pl.Float64, "fraction a year", "put less call at a delta of 0.25"),
        Column("put_volume", pl.Float64, "contracts", "traded"),
        Column("call_volume", pl.Float64, "contracts", "traded"),
        Column("put_open_interest", pl.Float64, "contracts", "open"),
        Column("call_open_interest", pl.Float64, "contracts", "open"),
    ),
    # Open interest is counted overnight.
    publication=Publication(days=1, at=time(7, 0)),
    max_stale=5,
    about="One line a day about the options on a symbol.",
)
