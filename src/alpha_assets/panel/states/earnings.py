"""When a company will report next, as announced so far."""

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.panel.states.event_times import decision_stamps, session_numbers
from alpha_assets.panel.states.filing_history import FOREVER, SPAN

EARNINGS_DATE_COLUMNS = {
    "to": "sessions from this state to the next report that is announced; 0 on its day",
}


def earnings_date_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the sessions to the next known report, whenever an announcement or its day changes it.

    The latest announcement of a report counts; one that takes the day back leaves none.  The
    session after the day of a report knows of the report that follows.
    """
    spells = _spells(rows, calendar)
    points = (
        pl.concat(
            [
                spells.select("symbol", "code", pl.col("start").alias("point")),
                spells.select("symbol", "code", pl.col("stop").alias("point")),
            ]
        )
        .filter(pl.col("point") <= until)
        .unique()
        .sort("code", "point")
    )
    code_K, point_K = points["code"].to_numpy(), points["point"].to_numpy()
    code_S, start_S, stop_S = (spells[name].to_numpy() for name in ("code", "start", "stop"))
    key_K = code_K * SPAN + point_K
    first_S = np.searchsorted(key_K, code_S * SPAN + start_S)
    count_S = np.searchsorted(key_K, code_S * SPAN + stop_S) - first_S
    # Every spell has a state at each point within it.
    step_P = np.arange(count_S.sum()) - np.repeat(np.cumsum(count_S) - count_S, count_S)
    next_K = np.full(len(key_K), FOREVER)
    scheduled_P = np.repeat(spells["scheduled"].to_numpy(), count_S)
    np.minimum.at(next_K, np.repeat(first_S, count_S) + step_P, scheduled_P)
    to = pl.Series("to", np.where(next_K < FOREVER, next_K - point_K, np.nan)).fill_nan(None)
    return points.select("symbol", to).with_columns(decision_stamps(point_K, calendar))


def _spells(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return from which session to which (exclusive) each announcement is the one that counts."""
    report = ["symbol", "period", "fiscal_year_end"]
    order = ["event_date", "available_at", "revision"]
    symbols = rows["symbol"].unique().sort()
    place = pl.Series("scheduled", np.searchsorted(calendar.sessions, rows["scheduled"].to_numpy()))
    is_known = rows["scheduled"].is_not_null() & (place < len(calendar.sessions))
    announced = (
        rows.with_columns(
            rows["symbol"].cast(pl.Enum(symbols)).to_physical().cast(pl.Int64).alias("code"),
            pl.Series("start", session_numbers(rows, calendar)),
            # An undecided day lies beyond all others.
            place.cast(pl.Int64).set(~is_known, FOREVER),
        )
        .sort(*report, *order)
        .with_columns(pl.int_range(pl.len()).over(report).alias("rank"))
        .sort(*report, "start", "rank")
        # An announcement that comes late, behind one made after it, changes nothing.
        .filter(pl.col("rank") == pl.col("rank").cum_max().over(report))
        .unique([*report, "start"], keep="last", maintain_order=True)
    )
    replaced = pl.col("start").shift(-1).over(report).fill_null(FOREVER)
    passed = pl.max_horizontal("start", pl.col("scheduled") + 1)
    return announced.select(
        "symbol", "code", "start", pl.min_horizontal(replaced, passed).alias("stop"), "scheduled"
    )
