"""The last session that may be decided, whatever came late, and sessions that know little."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.errors import MissingOutput
from alpha_assets.feeds import DAILY_BARS
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.frontier import frontier, last_bar, months_of_data, thin_sessions
from alpha_assets.store.manifest import ManifestInput
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

DECEMBER = date(2016, 12, 30)


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return Calendar.load(
        CalendarSpec(
            exchange="XNYS", zone="America/New_York", decision_time=time(9), sessions_per_year=252
        )
    )


@pytest.fixture
def table(tmp_path: Path, calendar: Calendar) -> RawTable:
    return RawTable(Store(str(tmp_path)), "us", DAILY_BARS, calendar.zone)


def road_of(table: RawTable, calendar: Calendar) -> RecipeContext:
    market = SimpleNamespace(name="us", calendar=calendar)
    return SimpleNamespace(raw={"daily_bars": table}, market=market)  # type: ignore[return-value]


def put(
    table: RawTable,
    day: date,
    symbol: str = "A",
    *,
    published: date | None = None,
    close: float | None = 1.0,
    revision: int = 0,
) -> None:
    """Append one bar, public at 21:30 UTC of its day or of another."""
    stamp = datetime.combine(published or day, time(21, 30), UTC)
    row = {"event_date": day, "symbol": symbol, "close": close, "available_at": stamp}
    row |= {"ingested_at": stamp + timedelta(hours=1), "revision": revision}
    rows = pl.DataFrame([row], schema_overrides=dict(DAILY_BARS.schema))
    absent = [c for c in DAILY_BARS.schema if c not in rows.columns]
    types = DAILY_BARS.schema
    rows = rows.with_columns(pl.lit(None, dtype=types[c]).alias(c) for c in absent)
    schema = list(types)
    table.append(rows.select(schema), ManifestInput(digest="0123456789ab"))


def test_the_frontier_is_the_session_after_the_last_bar(
    table: RawTable, calendar: Calendar
) -> None:
    for day in (date(2016, 11, 30), date(2016, 12, 29), DECEMBER):
        put(table, day)
    context = road_of(table, calendar)
    assert last_bar(context) == DECEMBER
    assert frontier(context) == date(2017, 1, 3)


def test_a_correction_or_a_late_row_of_an_old_day_moves_it_nowhere(
    table: RawTable, calendar: Calendar
) -> None:
    for day in (date(2015, 6, 1), date(2016, 12, 28), DECEMBER):
        put(table, day)
    put(table, date(2015, 6, 1), published=date(2026, 11, 2), revision=1)
    put(table, date(2016, 12, 28), "B", published=date(2017, 1, 9))
    put(table, date(2014, 6, 10), "B", published=date(2017, 3, 9))
    context = road_of(table, calendar)
    assert frontier(context) == date(2017, 1, 3)
    assert months_of_data(context)[0] == "2014-06"
    assert months_of_data(context)[-1] == "2016-12"


def test_a_late_bar_is_the_last_one_where_no_other_is_later(
    table: RawTable, calendar: Calendar
) -> None:
    put(table, date(2016, 12, 28))
    put(table, DECEMBER, published=date(2017, 1, 9))
    assert last_bar(road_of(table, calendar)) == DECEMBER


def test_a_row_without_a_close_is_no_bar(
    table: RawTable, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "alpha-assets run makes it"
    monkeypatch.setattr("alpha_assets.pipeline.frontier.run_again", lambda context: words)
    with pytest.raises(MissingOutput, match="no bars of market 'us' are stored"):
        frontier(road_of(table, calendar))
    put(table, date(2016, 12, 29))
    put(table, DECEMBER, close=None)
    put(table, date(2017, 1, 3), close=None)
    assert last_bar(road_of(table, calendar)) == date(2016, 12, 29)


def test_sessions_that_know_fewer_than_half_of_the_names_before_are_named() -> None:
    closes = {
        **{1: [1.0] * 5, 2: [1.0] * 3, 3: [1.0, None, None], 4: [None] * 4, 5: [1.0] * 4},
        **{6: [None] * 4, 7: [None] * 4, 8: [1.0, None, None, None], 9: [1.0] * 4},
    }
    panel = pl.DataFrame(
        [{"session": date(2020, 1, n), "close": c} for n, row in closes.items() for c in row]
    )
    # 3 of 5 are more than half; 1 of 3 is not, nor is 1 of 4 after two sessions without any.
    named = [
        "session 2020-01-03 was decided from the bars of 1 names; the session before knew 3",
        "session 2020-01-04 had no bar of the session before, of any name: not decided",
        "2 sessions from 2020-01-06 to 2020-01-07 had no bar of the session before, of any name: "
        "not decided",
        "session 2020-01-08 was decided from the bars of 1 names; the last with any, 2020-01-05, "
        "knew 4",
    ]
    assert thin_sessions(panel.lazy(), date(2020, 1, 1)) == named
    # What comes before the first one to name is only compared with.
    assert thin_sessions(panel.lazy(), date(2020, 1, 8)) == named[3:]
