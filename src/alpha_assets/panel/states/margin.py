"""Margin balances in both regimes, and the issues under daily watch."""

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds.margin import REASONS
from alpha_assets.panel.states.moments import decision_stamps, session_numbers

MARGIN_COLUMNS = {
    "long": "bought on margin, shares of the balance day",
    "short": "sold short on margin, shares of the balance day",
    "long_standard": "part of `long` on the exchange's terms, shares",
    "short_standard": "part of `short` on the exchange's terms, shares",
    "issue_type": "1 margin issue, 2 loanable issue, 3 other",
    "is_daily": "1 in the daily regime",
    "is_week_end": "1 where the balance day is the last session of its week",
    "lag": "sessions from the balance day to the session that knows it",
}
ALERT_COLUMNS = {
    "listed": "1 while the issue is under watch, 0 after",
    "spell": "sessions from the entry under watch to this state",
    "short": "short balance, shares of the balance day",
    "long": "long balance, shares of the balance day",
    "short_change": "since the session before, shares",
    "long_change": "since the session before, shares",
    "short_ratio": "percent of listed shares",
    "long_ratio": "percent of listed shares",
    "short_to_long": "percent",
    "stage": "0 none, 1 caution to 6 the strictest, -1 lifted, 7 supervision",
    **{f"is_{name}": "1 where that is a reason" for name in REASONS},
}
BOARD_COLUMNS = {"listed": "issues under watch, count"}
STAGES = {"001": 1, "002": 2, "003": 3, "004": 4, "005": 5, "006": 6, "101": -1, "102": 7}


def margin_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return each balance, with what tells the weekly and the daily regime apart."""
    day = calendar.on_or_after(rows["event_date"].to_numpy())
    is_week_end = calendar.rebalances(calendar.after(day), "weekly")
    lag = session_numbers(rows, calendar) - calendar.index_of(day)
    return rows.select(
        "event_date",
        "symbol",
        "long",
        "short",
        pl.col("long_standard"),
        pl.col("short_standard"),
        pl.col("issue_type").cast(pl.Float64, strict=False),
        pl.col("published").is_not_null().cast(pl.Float64).alias("is_daily"),
        pl.Series("is_week_end", is_week_end.astype(np.float64)),
        pl.Series("lag", lag.astype(np.float64)),
        "available_at",
        "revision",
    )


def alert_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the issues under watch, and their leaving: the next publication that lacks them."""
    rows = rows.with_columns(pl.Series("number", session_numbers(rows, calendar)))
    told = _publications(rows)
    listed = (
        rows.filter(pl.col("revision") == 0)
        .join(told.select("number", "publication"), on="number")
        .select("symbol", "publication", "number")
        .unique()
        .sort("symbol", "publication")
        .with_columns(
            (
                (pl.col("publication") - pl.col("publication").shift(1))
                .over("symbol")
                .ne_missing(1)
            ).alias("enters")
        )
        .with_columns(
            pl.when("enters").then("number").forward_fill().over("symbol").alias("entry"),
        )
    )
    return pl.concat([_under_watch(rows, listed), _left(listed, told, calendar)])


def board_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return how many issues each publication lists; that there was one is what matters."""
    rows = rows.with_columns(pl.Series("number", session_numbers(rows, calendar)))
    told = _publications(rows)
    return told.select(pl.col("listed").cast(pl.Float64)).with_columns(
        decision_stamps(told["number"].to_numpy(), calendar)
    )


def _publications(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions that a publication became effective at, numbered from 0."""
    first = rows.filter(pl.col("revision") == 0)
    return (
        first.group_by("number")
        .agg(pl.col("symbol").n_unique().alias("listed"), pl.col("event_date").max())
        .sort("number")
        .with_columns(pl.int_range(pl.len()).alias("publication"))
    )


def _under_watch(rows: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """Return a state for every row, corrections included."""
    entries = listed.select("symbol", "number", "entry").sort("number")
    found = rows.sort("number", maintain_order=True).join_asof(
        entries, on="number", by="symbol", check_sortedness=False
    )
    return found.select(
        "event_date",
        "symbol",
        pl.lit(1.0).alias("listed"),
        (pl.col("number") - pl.col("entry")).cast(pl.Float64).alias("spell"),
        "short",
        "long",
        "short_change",
        "long_change",
        "short_ratio",
        "long_ratio",
        "short_to_long",
        pl.col("stage").replace_strict(STAGES, default=None, return_dtype=pl.Float64),
        *(pl.col(name).cast(pl.Float64).alias(f"is_{name}") for name in REASONS),
        "available_at",
        "revision",
    )


def _left(listed: pl.DataFrame, told: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return a state of zeros at each publication that lacks an issue of the one before."""
    next_one = pl.col("publication").shift(-1).over("symbol")
    gone = (
        listed.filter((next_one - pl.col("publication")).ne_missing(1))
        .select("symbol", "entry", (pl.col("publication") + 1).alias("publication"))
        .join(told.select("publication", "number", "event_date"), on="publication")
    )
    zeros = ["short", "long", "short_change", "long_change", "short_ratio", "long_ratio"]
    stamps = decision_stamps(gone["number"].to_numpy(), calendar)
    return gone.select(
        "event_date",
        "symbol",
        pl.lit(0.0).alias("listed"),
        (pl.col("number") - pl.col("entry")).cast(pl.Float64).alias("spell"),
        *(pl.lit(0.0).alias(name) for name in zeros),
        pl.lit(None, pl.Float64).alias("short_to_long"),
        pl.lit(0.0).alias("stage"),
        *(pl.lit(0.0).alias(f"is_{name}") for name in REASONS),
        stamps[1],
        stamps[2],
    )
