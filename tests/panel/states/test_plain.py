"""Rows that are states as they are may say how old they are when they become known."""

from datetime import UTC, date, datetime, time

import polars as pl

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.feeds.american import SHORT_INTEREST
from alpha_assets.panel.joins import JOINS


def test_the_lag_is_from_the_settlement_date_to_the_session_that_knows() -> None:
    calendar = Calendar.load(
        CalendarSpec(
            exchange="XNYS", zone="America/New_York", decision_time=time(9), sessions_per_year=252
        )
    )
    days = [date(2023, 6, 15), date(2023, 6, 30)]
    rows = pl.DataFrame(
        {
            "event_date": days,
            "symbol": ["A", "A"],
            "published": [None, date(2023, 7, 12)],
            "shares_short": [100.0, 120.0],
            "average_volume": [10.0, None],
        },
        schema_overrides={"published": pl.Date},
    )
    rows = rows.with_columns(
        SHORT_INTEREST.publication.stamp(rows, calendar),
        ingested_at=pl.lit(datetime(2024, 1, 1, tzinfo=UTC)),
        revision=pl.lit(0, pl.Int16),
    )
    join = JOINS["short_interest"]
    states = join.states(rows, calendar, len(calendar.sessions) - 1)

    # Nine sessions after the settlement date in the evening: known on the tenth.  The second
    # one says 12 July, seven sessions after 30 June (the 4th is a holiday): known on the eighth.
    assert states["lag"].to_list() == [10, 8]
    assert states["shares_short"].to_list() == [100, 120]
    assert states["average_volume"].to_list() == [10, None]
    assert join.states(rows.clear(), calendar, 5).schema == states.schema
