"""Listings and membership as they are delivered, spells with a start and an end, made events."""

from collections.abc import Mapping
from datetime import date

import polars as pl

from alpha_assets.feeds.base import DataType
from alpha_assets.feeds.listings import ACTIVE, LISTINGS
from alpha_assets.feeds.problem import ROW, Problem, violations
from alpha_assets.feeds.validation import exit_errors

NEVER = date(9999, 12, 31)
LISTED: Mapping[str, DataType] = {
    column.name: column.dtype for column in LISTINGS.columns if column.name != "sector_is_static"
}


def membership_errors(frame: pl.DataFrame) -> list[Problem]:
    """Return what cannot be right about delivered membership spells."""
    return [
        *violations(
            "error",
            "membership",
            "missing_key",
            "every spell has symbol and start",
            frame.filter(pl.col("start").is_null()),
            key=("symbol",),
            values=("end",),
        ),
        *violations(
            "error",
            "membership",
            "end_before_start",
            "end, exclusive, is on or after start",
            frame.filter(pl.col("end") < pl.col("start")),
            key=("symbol",),
            values=("start", "end"),
        ),
    ]


def listing_spells(
    frame: pl.DataFrame, words: Mapping[str, str], bars: pl.DataFrame
) -> pl.DataFrame:
    """Return delivered listings with all columns, our words, and starts and ends filled in.

    A start that is not given is the first bar's session; an end that is not given, of a symbol
    that left, is the last one's.  A symbol without bars begins with the folder.

    Args:
        frame: one row a spell.
        words: the vendor's exit words and ours.
        bars: `symbol`, `first`, `last`: the sessions of each symbol's first and last bar.
    """
    absent = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in LISTED.items()
        if name not in frame.columns
    ]
    left = pl.col("exit") != ACTIVE
    frame = frame.with_columns(absent)
    return (
        frame.join(bars, on="symbol", how="left", maintain_order="left")
        .with_columns(pl.col("exit").replace(dict(words)).fill_null(ACTIVE))
        .with_columns(
            pl.coalesce("start", "first", pl.lit(bars["first"].min(), dtype=pl.Date)).alias(
                "start"
            ),
            pl.when(left).then(pl.col("end").fill_null(pl.col("last"))).otherwise(pl.col("end")),
            sector_is_static=pl.lit(not has_dated_sectors(frame)),
        )
        .drop("first", "last")
    )


def listing_errors(spells: pl.DataFrame) -> list[Problem]:
    """Return what cannot be right about listings, their starts and ends filled in."""
    twice = spells.filter(spells.select("symbol", "start").is_duplicated())
    return exit_errors("listings", spells) + violations(
        "error",
        "listings",
        "duplicate_key",
        "symbol and start name one row; keep the right one",
        twice.sort("symbol", "start", ROW),
        key=("symbol", "start"),
        values=("sector", "end", "exit"),
    )


def listing_events(spells: pl.DataFrame) -> pl.DataFrame:
    """Return listings as dated events: one at the start, one at the end of those that left.

    A symbol that left on the session on which it started has the end alone: one date can
    hold one event, and there is no session on which it was known to be active.
    """
    left = pl.col("exit") != ACTIVE
    start = spells.filter(~left | (pl.col("end") != pl.col("start"))).with_columns(
        event_date=pl.col("start"),
        exit=pl.lit(ACTIVE),
        exit_return=pl.lit(None, dtype=pl.Float64),
        end=pl.lit(None, dtype=pl.Date),
    )
    end = spells.filter(left).with_columns(
        event_date=pl.col("end"), exit_return=pl.col("exit_return").fill_null(0.0)
    )
    return pl.concat([start, end.select(start.columns)])


def has_dated_sectors(frame: pl.DataFrame) -> bool:
    """Return whether a symbol has different sectors in different spells."""
    sectors = frame.group_by("symbol").agg(pl.col("sector").n_unique())
    return bool((sectors["sector"] > 1).any())


def membership_events(frame: pl.DataFrame) -> pl.DataFrame:
    """Return membership as dated events: in at the start, out at the end, exclusive.

    Spells that overlap or touch are one: a member twice over is a member.  A spell that ends
    on its start holds no session and makes no event.
    """
    spells = (
        frame.select("symbol", "start", pl.col("end").fill_null(NEVER))
        .filter(pl.col("end") > pl.col("start"))
        .sort("symbol", "start", "end")
    )
    so_far = pl.col("end").cum_max().shift(1).over("symbol")
    opens = (pl.col("start") > so_far).fill_null(True)
    merged = (
        spells.with_columns(opens.cum_sum().over("symbol").alias("spell"))
        .group_by("symbol", "spell")
        .agg(pl.col("start").min(), pl.col("end").max())
    )
    entered = merged.select(pl.col("start").alias("event_date"), "symbol", member=pl.lit(True))
    left = merged.filter(pl.col("end") < NEVER).select(
        pl.col("end").alias("event_date"), "symbol", member=pl.lit(False)
    )
    return pl.concat([entered, left]).sort("symbol", "event_date")
