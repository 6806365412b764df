"""States of short interest say how old they are when they become known."""

from datetime import UTC, date, datetime, time

import polars as pl

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.feeds.american import SHORT_INTEREST
from alpha_assets.panel.states.short_interest import SHORT_INTEREST_COLUMNS, short_interest_states


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
            "published": [None, None],
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
    states = short_interest_states(rows, calendar, len(calendar.sessions) - 1)

    # Nine sessions after the settlement date in the evening: known on the tenth.
    assert states["lag"].to_list() == [10, 10]
    assert states["shares_short"].to_list() == [100, 120]
    assert states["average_volume"].to_list() == [10, None]
    assert set(SHORT_INTEREST_COLUMNS) <= set(states.columns)
    empty = short_interest_states(rows.clear(), calendar, 5)
    assert empty.schema == states.schema
