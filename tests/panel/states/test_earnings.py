"""Dates of reports: by hand, against a slow loop, and only from what was announced."""

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.feeds.corporate import EARNINGS_DATES
from alpha_assets.panel.states.earnings import EARNINGS_DATE_COLUMNS, earnings_date_states

Row = tuple[str, str, str, str, str | None]  # symbol, announced on, period, year's end, scheduled


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return Calendar.load(
        CalendarSpec(
            exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
        )
    )


def raw(*rows: Row, revision: int = 0, delay: timedelta = timedelta()) -> pl.DataFrame:
    """Return announcements that are public at 10:05 in Tokyo, 1:05 UTC, of their day."""
    listed = []
    for symbol, day, period, end, scheduled in rows:
        announced = date.fromisoformat(day)
        stamp = datetime.combine(announced, time(1, 5), tzinfo=UTC) + delay
        said = None if scheduled is None else date.fromisoformat(scheduled)
        listed.append((announced, symbol, period, end, said, stamp, stamp, revision))
    frame = pl.DataFrame(listed, schema=list(EARNINGS_DATES.schema), orient="row")
    return frame.cast(EARNINGS_DATES.schema).sort("event_date", "symbol", "available_at")  # type: ignore[arg-type]


def told(
    rows: pl.DataFrame, calendar: Calendar, until: str = "2023-12-29"
) -> list[tuple[str, float | None]]:
    states = earnings_date_states(rows, calendar, int(calendar.index_of(np.datetime64(until))))
    return [(str(day), to) for day, to in states.select("event_date", "to").rows()]


def test_an_announced_day_counts_down_and_is_gone_the_session_after(calendar: Calendar) -> None:
    # Announced on Thursday 1 June 2023, known on Friday; Monday 5 to Thursday 8 are 4 more.
    rows = raw(("1111", "2023-06-01", "1Q", "0331", "2023-06-08"))

    assert told(rows, calendar) == [("2023-06-02", 4), ("2023-06-09", None)]
    assert told(rows, calendar, until="2023-06-08") == [("2023-06-02", 4)]


def test_the_latest_announcement_of_a_report_counts(calendar: Calendar) -> None:
    rows = raw(
        ("1111", "2023-06-01", "1Q", "0331", "2023-06-08"),
        ("1111", "2023-06-05", "1Q", "0331", "2023-06-12"),
    )

    assert told(rows, calendar) == [("2023-06-02", 4), ("2023-06-06", 4), ("2023-06-13", None)]


def test_a_day_that_is_taken_back_is_unknown(calendar: Calendar) -> None:
    rows = raw(
        ("1111", "2023-06-01", "1Q", "0331", "2023-06-08"),
        ("1111", "2023-06-05", "1Q", "0331", None),
    )

    assert told(rows, calendar) == [("2023-06-02", 4), ("2023-06-06", None)]


def test_of_two_reports_the_nearer_counts_and_then_the_other(calendar: Calendar) -> None:
    rows = raw(
        ("1111", "2023-06-01", "1Q", "0331", "2023-06-08"),
        ("1111", "2023-06-01", "2Q", "0331", "2023-06-14"),
    )

    assert told(rows, calendar) == [("2023-06-02", 4), ("2023-06-09", 3), ("2023-06-15", None)]


def test_a_day_on_which_nobody_trades_is_the_next_session(calendar: Calendar) -> None:
    rows = raw(("1111", "2023-06-01", "1Q", "0331", "2023-06-10"))  # a Saturday

    assert told(rows, calendar)[0] == ("2023-06-02", 6)  # Monday 12


def test_an_announcement_of_a_day_that_passed_says_nothing(calendar: Calendar) -> None:
    rows = raw(("1111", "2023-06-01", "1Q", "0331", "2023-05-31"))

    assert told(rows, calendar) == [("2023-06-02", None)]


def test_an_announcement_that_comes_late_does_not_hide_a_newer_one(calendar: Calendar) -> None:
    late = raw(("1111", "2023-06-01", "1Q", "0331", "2023-06-08"), delay=timedelta(days=5))
    rows = pl.concat([late, raw(("1111", "2023-06-05", "1Q", "0331", "2023-06-12"))])

    assert told(rows.sort("event_date"), calendar) == [("2023-06-06", 4), ("2023-06-13", None)]


def test_a_correction_of_an_announcement_counts(calendar: Calendar) -> None:
    first = raw(("1111", "2023-06-01", "1Q", "0331", "2023-06-08"))
    right = raw(
        ("1111", "2023-06-01", "1Q", "0331", "2023-06-09"), revision=1, delay=timedelta(days=4)
    )

    assert told(pl.concat([first, right]), calendar) == [
        ("2023-06-02", 4),
        ("2023-06-06", 3),
        ("2023-06-12", None),
    ]


def random_rows(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for revision in (0, 1):
        for _ in range(80 if revision == 0 else 12):
            day = date(2022, 1, 4) + timedelta(days=int(rng.integers(0, 500)))
            ahead = timedelta(days=int(rng.integers(-3, 60)))
            row = (
                str(rng.choice(["1111", "2222", "3333"])),
                str(day),
                str(rng.choice(["1Q", "2Q", "FY"])),
                str(rng.choice(["0331", "1231"], p=[0.9, 0.1])),
                None if rng.random() < 0.15 else str(day + ahead),
            )
            delay = timedelta(hours=int(rng.choice([0, 0, 30, 400])) + 24 * revision)
            parts.append(raw(row, revision=revision, delay=delay))
    key = [*EARNINGS_DATES.key, "revision"]
    return pl.concat(parts).unique(key, keep="first").sort("event_date", "symbol", "available_at")


def slow_days(rows: pl.DataFrame, calendar: Calendar, symbol: str, session: int) -> int | None:
    """Return the sessions to the next report, from all announcements known at a session."""
    known: dict[tuple[str, str], date | None] = {}
    order = ("event_date", "available_at", "revision")
    for row in sorted(rows.to_dicts(), key=lambda row: tuple(row[name] for name in order)):
        is_known = calendar.effective(np.datetime64(row["available_at"].replace(tzinfo=None)))
        if row["symbol"] == symbol and is_known <= session:
            known[row["period"], row["fiscal_year_end"]] = row["scheduled"]
    days = [calendar.on_or_after(np.array([day], "datetime64[D]")) for day in known.values() if day]
    left = [int(calendar.index_of(day)[0]) - session for day in days]
    return min((n for n in left if n >= 0), default=None)


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_loop_over_all_sessions_gives_the_same(calendar: Calendar, seed: int) -> None:
    rows = random_rows(seed)
    span = calendar.index_of(calendar.between("2022-01-04", "2023-08-31"))
    states = earnings_date_states(rows, calendar, int(span[-1]))
    number = calendar.index_of(states["event_date"].to_numpy())
    states = states.with_columns(pl.Series("number", number))
    for symbol in ("1111", "2222", "3333"):
        own = states.filter(pl.col("symbol") == symbol).sort("number")
        for session in span.tolist():
            before = own.filter(pl.col("number") <= session).tail(1)
            to = before["to"][0] if before.height else None
            left = None if to is None else to - (session - before["number"][0])
            assert left == slow_days(rows, calendar, symbol, session), (symbol, session)


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_later_changes_no_state(calendar: Calendar, seed: int) -> None:
    rows = random_rows(seed)
    until = int(calendar.index_of(np.datetime64("2023-12-29")))
    whole = earnings_date_states(rows, calendar, until)
    for instant in rows["available_at"].unique().sort()[::4]:
        cut = pl.col("available_at") <= instant
        then = earnings_date_states(rows.filter(cut), calendar, until)
        assert then.filter(cut).equals(whole.filter(cut))


def test_no_announcements_give_no_states(calendar: Calendar) -> None:
    states = earnings_date_states(raw(), calendar, 100)

    assert states.is_empty()
    assert set(EARNINGS_DATE_COLUMNS) <= set(states.columns)
