"""Prices: daily bars, cash dividends and benchmark levels."""

from datetime import time

import polars as pl

from alpha_assets.feeds.base import Column, Feed, Publication

# Vendors re-round what they restate; smaller differences are the same number.
BAR_TOLERANCE = 1e-5

DAILY_BARS = Feed(
    name="daily_bars",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("open", pl.Float64, "money a share", "first auction price", required=True),
        Column("high", pl.Float64, "money a share", "highest price", required=True),
        Column("low", pl.Float64, "money a share", "lowest price", required=True),
        Column("close", pl.Float64, "money a share", "last auction price", required=True),
        Column("volume", pl.Float64, "shares", "traded shares", required=True),
        Column("turnover_value", pl.Float64, "money", "traded value, never adjusted"),
        Column(
            "adjustment_factor",
            pl.Float64,
            "ratio",
            "on the ex-date, what all earlier prices are multiplied by: 0.5 for a 1-to-2 split; "
            "null = not known yet",
            absent=1.0,
        ),
        Column(
            "share_factor",
            pl.Float64,
            "ratio",
            "shares after the ex-date per share before; null = 1 / adjustment_factor",
        ),
        Column(
            "level",
            pl.Float64,
            "ratio",
            "prices of this revision over those of the bar's first one, as far as the vendor "
            "restated them for later splits; null = 1",
            is_derived=True,
        ),
        Column("upper_limit", pl.Boolean, "flag", "the upper price limit was touched"),
        Column("lower_limit", pl.Boolean, "flag", "the lower price limit was touched"),
    ),
    publication=Publication(at=time(16, 30)),
    max_stale=0,  # bars join on their own session only
    about="Raw daily bars with the adjustment factor on its ex-date. All prices null = no trade.",
    tolerance=BAR_TOLERANCE,
)

DIVIDENDS = Feed(
    name="dividends",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("amount", pl.Float64, "money a raw share", "cash paid to holders", required=True),
    ),
    publication=Publication(at=time(0, 0)),
    max_stale=0,
    about="Cash dividends on their ex-date; paid to the holders of the close before.",
)

BENCHMARK = Feed(
    name="benchmark",
    key=("event_date", "name"),
    scope="market",
    columns=(Column("close", pl.Float64, "points", "level at the close", required=True),),
    publication=Publication(at=time(16, 30)),
    max_stale=0,
    about="Daily level of an index to compare with, by name.",
    tolerance=BAR_TOLERANCE,
)
