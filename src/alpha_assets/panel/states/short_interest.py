"""Open short positions of the American market, and how old they are once they are known."""

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.panel.states.moments import session_numbers

SHORT_INTEREST_COLUMNS = {
    "shares_short": "open on the settlement date, shares",
    "average_volume": "a session, as reported beside it, shares",
    "lag": "sessions from the settlement date to this state",
}


def short_interest_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the rows as they are, each with the sessions since the day that it describes."""
    day_R = np.searchsorted(calendar.sessions, rows["event_date"].to_numpy())
    lag_R = session_numbers(rows, calendar) - day_R
    return rows.select(
        "event_date",
        "symbol",
        "shares_short",
        "average_volume",
        pl.Series("lag", lag_R, dtype=pl.Float64),
        "available_at",
        "revision",
    )
