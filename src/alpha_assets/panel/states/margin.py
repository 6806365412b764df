"""Margin balances in both regimes, and the issues under daily watch."""

import numpy as np
import polars as pl

from alpha_assets.arrays.asof import at_or_before
from alpha_assets.arrays.places import codes
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.margin import MARGIN, MARGIN_ALERTS, REASONS
from alpha_assets.panel.states.event_times import decision_stamps, session_numbers

# Columns of the feeds that enter as they are: what they mean is declared there.
BALANCES = ("long", "short", "long_standard", "short_standard")
ALERTS = ("short", "long", "short_change", "long_change", "short_ratio", "long_ratio")
MARGIN_COLUMNS = {
    **MARGIN.meanings(*BALANCES, "issue_type"),
    "is_daily": "1 in the daily regime",
    "is_week_end": "1 where the balance day is the last session of its week",
    "lag": "sessions from the balance day to the session that knows it",
}
ALERT_COLUMNS = {
    "listed": "1 while the issue is under watch, 0 after",
    "spell": "sessions from the entry under watch to this state",
    **MARGIN_ALERTS.meanings(*ALERTS, "short_to_long"),
    "stage": "0 none, 1 caution to 6 the strictest, -1 lifted, 7 supervision",
    **{f"is_{name}": "1 where that is a reason" for name in REASONS},
}
BOARD_COLUMNS = {"listed": "issues under watch, count"}
_STAYS = {
    "symbol": pl.String,
    "number": pl.Int64,
    "publication": pl.Int64,
    "listed": pl.Boolean,
    "has_row": pl.Boolean,
    "entry": pl.Int64,
    "was": pl.Boolean,
}
_FAR = 1 << 32  # more than there are publications
STAGES = {"001": 1, "002": 2, "003": 3, "004": 4, "005": 5, "006": 6, "101": -1, "102": 7}


def margin_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return each balance, with what distinguishes the weekly from the daily regime."""
    day = calendar.on_or_after(rows["event_date"].to_numpy())
    is_week_end = calendar.rebalances(calendar.after(day), "weekly")
    lag = session_numbers(rows, calendar) - calendar.index_of(day)
    return rows.select(
        "event_date",
        "symbol",
        *BALANCES,
        pl.col("issue_type").cast(pl.Float64, strict=False),
        pl.col("published").is_not_null().cast(pl.Float64).alias("is_daily"),
        pl.Series("is_week_end", is_week_end.astype(np.float64)),
        pl.Series("lag", lag.astype(np.float64)),
        "available_at",
        "revision",
    )


def alert_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the issues under watch, and their leaving: the next publication that lacks them.

    A publication is that of a day: a row that becomes usable late joins the publication of its
    own day, and from then on the spell is what it would have been had the row been in time.
    """
    rows = rows.with_columns(pl.Series("number", session_numbers(rows, calendar)))
    publications = _publications(rows)
    stays = _stays(rows, publications)
    watched = _under_watch(rows, stays)
    return pl.concat(
        [
            watched.drop("number"),
            _rejoined(watched, stays, publications, calendar),
            _left(stays, publications, calendar),
        ]
    )


def board_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return how many issues each publication lists; that there was one is what matters."""
    rows = rows.with_columns(pl.Series("number", session_numbers(rows, calendar)))
    publications = _publications(rows)
    first = _first_rows(rows, publications)
    # A state at each newest publication: a late row lengthens its list.
    newest = publications["number"].to_numpy()
    place = at_or_before(newest, first["number"].to_numpy())
    listed = (
        first.filter(pl.Series(first["publication"].to_numpy() == place, dtype=pl.Boolean))
        .group_by("publication", "number")
        .agg(pl.len().alias("listed"))
        .sort("publication", "number")
        .with_columns(pl.col("listed").cum_sum().over("publication").cast(pl.Float64))
    )
    return listed.select("listed").with_columns(
        decision_stamps(listed["number"].to_numpy(), calendar)
    )


def _publications(rows: pl.DataFrame) -> pl.DataFrame:
    """Return each day's publication and the session that knew it first, numbered from 0.

    One that comes behind that of a later day is none: nothing is found lacking in it.
    """
    first = rows.filter(pl.col("revision") == 0)
    return (
        first.group_by("event_date")
        .agg(pl.col("number").min())
        .sort("event_date")
        .filter(pl.col("number") <= pl.col("number").cum_min(reverse=True))
        .with_columns(pl.int_range(pl.len()).alias("publication"))
    )


def _first_rows(rows: pl.DataFrame, publications: pl.DataFrame) -> pl.DataFrame:
    """Return which issue each publication lists, and the session that knew so."""
    return (
        rows.filter(pl.col("revision") == 0)
        .join(publications.select("event_date", "publication"), on="event_date")
        .group_by("symbol", "publication")
        .agg(pl.col("number").min())
        .sort("symbol", "publication")
    )


def _stays(rows: pl.DataFrame, publications: pl.DataFrame) -> pl.DataFrame:
    """Return for each issue and session that may change it: is it under watch, and since when.

    `publication` is the newest one known at `number`, `entry` the session that knew the first
    of the unbroken publications up to it that list the issue, as far as they are known then.
    """
    if not publications.height:
        return pl.DataFrame(schema=_STAYS)
    first = _first_rows(rows, publications)
    newest_P = publications["number"].to_numpy()
    listing = rows.filter(pl.col("revision") == 0)
    symbols = listing["symbol"].unique().sort()
    code_R = codes(first["symbol"], symbols)
    place_R, number_R = first["publication"].to_numpy(), first["number"].to_numpy()
    # What may change an issue: a row of it, and the publication after each that lists it.
    code_A, number_A = codes(listing["symbol"], symbols), listing["number"].to_numpy()
    after_R = newest_P[np.minimum(place_R + 1, len(newest_P) - 1)]
    points = (
        pl.DataFrame(
            {
                "code": np.concatenate([code_A, code_R]),
                "number": np.concatenate([number_A, np.maximum(after_R, number_R)]),
                "has_row": np.append(np.ones(len(code_A), bool), np.zeros(len(code_R), bool)),
            }
        )
        .group_by("code", "number")
        .agg(pl.col("has_row").any())
        .sort("code", "number")
    )
    code_K, number_K = points["code"].to_numpy(), points["number"].to_numpy()
    newest_K = at_or_before(newest_P, number_K)

    key_R = code_R * _FAR + place_R
    at_K = np.searchsorted(key_R, code_K * _FAR + newest_K)
    found_K = np.minimum(at_K, len(key_R) - 1)
    listed_K = (at_K < len(key_R)) & (key_R[found_K] == code_K * _FAR + newest_K)
    listed_K &= number_R[found_K] <= number_K

    row_R = np.arange(len(key_R))
    breaks_R = np.diff(key_R, prepend=-2) != 1
    start_K = np.maximum.accumulate(np.where(breaks_R, row_R, 0))[found_K]
    # Until a late row is there, the publication of its day lacks the issue.
    begin_K = np.searchsorted(code_K, code_R)
    end_K = np.searchsorted(code_K, code_R, side="right")
    for late in np.flatnonzero(number_R > newest_P[place_R]):
        own = slice(begin_K[late], end_K[late])
        apart = (found_K[own] > late) & (number_K[own] < number_R[late])
        start_K[own] = np.where(apart, np.maximum(start_K[own], late + 1), start_K[own])
    return pl.DataFrame(
        {
            "symbol": symbols.gather(code_K),
            "number": number_K,
            "publication": newest_K,
            "listed": listed_K,
            "has_row": points["has_row"],
            "entry": pl.Series(number_R[start_K]).set(pl.Series(~listed_K), None),
        }
    ).with_columns(
        pl.col("entry").forward_fill().over("symbol").fill_null(pl.col("number")),
        pl.col("listed").shift(1, fill_value=False).over("symbol").alias("was"),
    )


def _under_watch(rows: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """Return a state for every row, corrections included."""
    entries = stays.filter("listed").select("symbol", "number", "entry").sort("number")
    found = rows.sort("number", maintain_order=True).join_asof(
        entries, on="number", by="symbol", check_sortedness=False
    )
    return found.select(
        "number",
        "event_date",
        "symbol",
        pl.lit(1.0).alias("listed"),
        (pl.col("number") - pl.col("entry")).cast(pl.Float64).alias("spell"),
        *ALERTS,
        "short_to_long",
        pl.col("stage").replace_strict(STAGES, default=None, return_dtype=pl.Float64),
        *(pl.col(name).cast(pl.Float64).alias(f"is_{name}") for name in REASONS),
        "available_at",
        "revision",
    )


def _rejoined(
    watched: pl.DataFrame, stays: pl.DataFrame, publications: pl.DataFrame, calendar: Calendar
) -> pl.DataFrame:
    """Return the newest state again where a late row of a day before moves its entry."""
    before = pl.col("entry").shift(1).over("symbol")
    moved = (
        stays.filter(
            pl.col("listed") & pl.col("was") & pl.col("has_row") & (pl.col("entry") < before)
        )
        .join(publications.select("publication", "event_date"), on="publication")
        .sort("number")
    )
    versions = watched.drop("spell").sort("number", "available_at", "revision")
    found = moved.select("symbol", "number", "event_date", "entry").join_asof(
        versions, on="number", by=["symbol", "event_date"], check_sortedness=False
    )
    _, stamp, revision = decision_stamps(found["number"].to_numpy(), calendar)
    return found.with_columns(
        (pl.col("number") - pl.col("entry")).cast(pl.Float64).alias("spell"), stamp, revision
    ).select(name for name in watched.columns if name != "number")


def _left(stays: pl.DataFrame, publications: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return a state of zeros where an issue is found lacking that was there, or published late."""
    gone = stays.filter(~pl.col("listed") & (pl.col("was") | pl.col("has_row"))).join(
        publications.select("publication", "event_date"), on="publication"
    )
    stamps = decision_stamps(gone["number"].to_numpy(), calendar)
    return gone.select(
        "event_date",
        "symbol",
        pl.lit(0.0).alias("listed"),
        (pl.col("number") - pl.col("entry")).cast(pl.Float64).alias("spell"),
        *(pl.lit(0.0).alias(name) for name in ALERTS),
        pl.lit(None, pl.Float64).alias("short_to_long"),
        pl.lit(0.0).alias("stage"),
        *(pl.lit(0.0).alias(f"is_{name}") for name in REASONS),
        stamps[1],
        stamps[2],
    )
