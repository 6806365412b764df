"""The clock: sessions, decision instants, and when a row becomes effective."""

from datetime import date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha_assets import calendar
from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import (
    Calendar,
    CalendarSpec,
    RebalanceRule,
    as_date,
    month_of,
    month_range,
    month_start,
    next_month,
)
from alpha_assets.errors import RangeError, SpecError
from alpha_assets.spec import digest, parse_spec

TOKYO_SPEC = CalendarSpec(
    exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
)
NEW_YORK_SPEC = CalendarSpec(
    exchange="XNYS", zone="America/New_York", decision_time=time(9), sessions_per_year=252
)
TOKYO = Calendar.load(TOKYO_SPEC)
NEW_YORK = Calendar.load(NEW_YORK_SPEC)


def utc(text: str) -> np.datetime64:
    return np.datetime64(text, "us")


def effective_session(calendar: Calendar, instant: np.datetime64) -> date:
    return as_date(calendar.sessions[calendar.effective(instant)])


@pytest.mark.parametrize(
    ("published", "session"),
    [
        # Bars of a Friday, of the session before the halt, of the year's last day;
        # options of Friday published on Saturday before a holiday Monday; weekly margin
        # over Silver Week; the same for an investor-types correction.
        (("2026-10-02", time(16, 30), 0), date(2026, 10, 5)),
        (("2020-09-30", time(16, 30), 0), date(2020, 10, 2)),
        (("2026-12-30", time(16, 30), 0), date(2027, 1, 4)),
        (("2026-10-09", time(3, 0), 1), date(2026, 10, 13)),
        (("2026-09-25", time(16, 30), 0), date(2026, 9, 28)),
        (("2026-10-16", time(18, 0), 0), date(2026, 10, 19)),
    ],
)
def test_a_row_is_effective_at_the_next_decision_after_its_publication(
    published: tuple[str, time, int], session: date
) -> None:
    day, at, days = published
    assert effective_session(TOKYO, TOKYO.instant(day, at, days=days)) == session


def test_a_row_readable_at_the_decision_instant_itself_is_effective_that_session() -> None:
    decided = TOKYO.decision("2026-10-05")
    one = np.timedelta64(1, "us")

    assert effective_session(TOKYO, decided) == date(2026, 10, 5)
    assert effective_session(TOKYO, decided + one) == date(2026, 10, 6)


def test_decision_instants_follow_daylight_saving() -> None:
    assert NEW_YORK.decision("2020-03-06") == utc("2020-03-06T14:00")  # winter, UTC-5
    assert NEW_YORK.decision("2020-03-09") == utc("2020-03-09T13:00")  # summer, UTC-4
    assert TOKYO.decision("2020-03-09") == utc("2020-03-08T23:30")


def test_a_row_after_the_last_known_session_is_never_effective() -> None:
    assert TOKYO.effective(utc("2100-01-01")) == len(TOKYO.sessions)


@settings(max_examples=50)
@given(
    st.datetimes(
        min_value=datetime(2000, 1, 1),  # noqa: DTZ001
        max_value=datetime(2026, 1, 1),  # noqa: DTZ001
    )
)
def test_effective_is_the_first_session_decided_at_or_after(instant: object) -> None:
    number = int(TOKYO.effective(np.datetime64(instant, "us")))  # type: ignore[call-overload]

    assert TOKYO.decisions[number] >= np.datetime64(instant, "us")  # type: ignore[call-overload]
    assert TOKYO.decisions[number - 1] < np.datetime64(instant, "us")  # type: ignore[call-overload]


def test_the_tokyo_halt_of_2020_is_no_session() -> None:
    assert not TOKYO.is_session("2020-10-01")
    assert as_date(TOKYO.after("2020-09-30")) == date(2020, 10, 2)
    with pytest.raises(
        RangeError, match="2020-10-01 is no session of XTKS; the next one is 2020-10-02"
    ):
        TOKYO.index_of(["2020-10-01"])


def test_steps_count_sessions_not_days() -> None:
    assert as_date(TOKYO.after("2026-09-18", n=2)) == date(2026, 9, 25)  # Silver Week between
    assert as_date(TOKYO.before("2026-09-25", n=2)) == date(2026, 9, 18)
    assert as_date(TOKYO.on_or_after("2026-09-19")) == date(2026, 9, 24)


def test_nights_span_weekends_and_holidays() -> None:
    nights = dict(zip(TOKYO.sessions.tolist(), TOKYO.nights().tolist(), strict=True))
    assert nights[date(2026, 9, 17)] == 1
    assert nights[date(2026, 9, 18)] == 6
    assert nights[date(2026, 10, 2)] == 3


def test_weekly_rebalances_on_the_first_session_of_the_iso_week() -> None:
    sessions = TOKYO.between("2026-09-14", "2026-10-02")
    weekly = sessions[TOKYO.rebalances(sessions, "weekly")]
    assert [as_date(s).isoformat() for s in weekly] == ["2026-09-14", "2026-09-24", "2026-09-28"]
    # A slice that starts midweek does not make its own first session a rebalance.
    assert not TOKYO.rebalances(TOKYO.between("2026-09-15", "2026-09-17"), "weekly").any()


def test_weekly_rebalances_agree_with_iso_weeks_over_all_history() -> None:
    sessions = TOKYO.sessions
    weeks = [as_date(s).isocalendar()[:2] for s in sessions]
    first = [True] + [a != b for a, b in zip(weeks[1:], weeks[:-1], strict=True)]
    assert TOKYO.rebalances(sessions, "weekly").tolist() == first


def test_monthly_rebalances_on_the_first_session_of_the_month() -> None:
    sessions = TOKYO.between("2026-09-14", "2026-11-02")
    monthly = sessions[TOKYO.rebalances(sessions, "monthly")]
    assert [as_date(s).isoformat() for s in monthly] == ["2026-10-01", "2026-11-02"]


def test_months_are_counted_and_refused_by_name() -> None:
    assert month_range("2019-11", "2020-02") == ("2019-11", "2019-12", "2020-01", "2020-02")
    assert next_month("2020-01", -1) == "2019-12"
    assert month_of(date(2020, 2, 29)) == "2020-02"
    with pytest.raises(RangeError, match="'2020-13' is not a month; want YYYY-MM"):
        month_start("2020-13")
    for odd in ("2020-1", "20-01", "\uff12020-01", "2020-01 ", "2020-001"):
        with pytest.raises(RangeError, match=f"'{odd}' is not a month; want YYYY-MM"):
            month_start(odd)
    with pytest.raises(RangeError, match="last month 2019-12 is before first month 2020-02; swap"):
        month_range("2020-02", "2019-12")
    with pytest.raises(RangeError, match="1850-01 has no sessions of XTKS"):
        TOKYO.month_sessions("1850-01")


def test_an_unknown_exchange_or_zone_is_named() -> None:
    with pytest.raises(SpecError, match=r"calendar\.exchange = 'XXXX' is not known"):
        Calendar.load(TOKYO_SPEC.model_copy(update={"exchange": "XXXX"}))
    with pytest.raises(SpecError, match=r"calendar\.zone = 'Tokyo' is not a time zone"):
        Calendar.load(TOKYO_SPEC.model_copy(update={"zone": "Tokyo"}))
    with pytest.raises(SpecError, match=r"calendar\.zone = 'America' is not a time zone"):
        Calendar.load(TOKYO_SPEC.model_copy(update={"zone": "America"}))  # a folder of zones


def loaded_or_refused(exchange: str) -> Calendar | str:
    """The calendar of an exchange, or the words with which it is refused."""
    try:
        return Calendar.load(TOKYO_SPEC.model_copy(update={"exchange": exchange}))
    except SpecError as error:
        return str(error)


STUMBLES = ("ASEX", "XBSE", "XBEL", "XCYS", "XTAE")  # with the pinned pandas


@pytest.mark.parametrize("exchange", STUMBLES)
def test_an_exchange_that_the_library_cannot_make_is_refused_by_name(exchange: str) -> None:
    """The library's own errors; where a later version makes the calendar, it must load."""
    found = loaded_or_refused(exchange)
    if isinstance(found, Calendar):
        assert len(found.sessions) > 1000
    else:
        library = f"exchange_calendars {exchange_calendars.__version__}"
        assert found.startswith(f"calendar.exchange = '{exchange}': {library} cannot make")
        assert "\n" not in found


@pytest.mark.slow
def test_every_calendar_of_the_library_loads_or_is_refused_by_name() -> None:
    for exchange in exchange_calendars.get_calendar_names(include_aliases=False):
        found = loaded_or_refused(exchange)
        if isinstance(found, Calendar):
            assert (np.diff(found.sessions).astype(int) > 0).all()
            assert (np.diff(found.decisions).astype("int64") > 0).all()
        else:
            assert exchange in STUMBLES
            assert f"calendar.exchange = {exchange!r}" in found


def changed(**days: tuple[date, ...]) -> Calendar:
    return Calendar.load(TOKYO_SPEC.model_copy(update=days))


def test_a_market_may_add_a_saturday_and_remove_a_phantom_session() -> None:
    saturday, phantom = date(2024, 1, 20), date(2023, 9, 1)  # a Friday that Tokyo held
    mended = changed(extra_sessions=(saturday,), closed=(phantom,))
    assert mended.is_session([saturday, phantom]).tolist() == [True, False]
    assert len(mended.sessions) == len(TOKYO.sessions)
    assert as_date(mended.after("2024-01-19")) == saturday
    assert as_date(mended.after(saturday)) == date(2024, 1, 22)
    assert as_date(mended.after("2023-08-31")) == date(2023, 9, 4)
    # 08:30 in Tokyo is 23:30 UTC of the day before, on a Saturday as well.
    assert mended.decision(saturday) == utc("2024-01-19T23:30")
    # Friday's bar, public at 16:30, is usable on the Saturday; the Saturday's on Monday.
    assert effective_session(mended, TOKYO.instant("2024-01-19", time(16, 30))) == saturday
    assert effective_session(mended, TOKYO.instant(saturday, time(16, 30))) == date(2024, 1, 22)
    # Friday to Saturday is one night, Saturday to Monday two: three before as well.
    nights = mended.nights()
    number = int(mended.index_of(saturday))
    assert (nights[number - 1], nights[number]) == (1, 2)


def test_a_day_that_a_market_removes_was_announced_and_not_held() -> None:
    # So rows of vendors that list the day without a price are known for what they are.
    mended = changed(closed=(date(2023, 9, 1),))
    assert mended.halts.astype(str).tolist() == ["2020-10-01", "2023-09-01"]
    assert mended.follows_halt(["2023-09-04", "2023-09-05"]).tolist() == [True, False]
    held_after_all = changed(extra_sessions=(date(2020, 10, 1),))
    assert not len(held_after_all.halts)


def test_the_first_session_of_a_month_or_week_may_be_one_that_a_market_adds() -> None:
    sunday = date(2023, 10, 1)  # October's first session is Monday the 2nd otherwise
    mended = changed(extra_sessions=(sunday,))
    assert as_date(mended.month_sessions("2023-10")[0]) == sunday
    asked = [sunday, date(2023, 10, 2)]
    assert mended.rebalances(asked, "monthly").tolist() == [True, False]
    assert mended.rebalances(asked, "weekly").tolist() == [False, True]  # the ISO week's last day


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ({"extra_sessions": (date(2024, 1, 19),)}, "2024-01-19: a session of the exchange already"),
        ({"extra_sessions": (date(1985, 1, 5),)}, "1985-01-05: the calendar of XTKS is known from"),
        ({"closed": (date(2024, 1, 20),)}, "closed: 2024-01-20: no session that could be removed"),
    ],
)
def test_a_change_that_changes_nothing_is_refused(
    days: dict[str, tuple[date, ...]], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        changed(**days)


@pytest.mark.parametrize(
    "days",
    [
        {"closed": ["2024-01-19", "2024-01-19"]},
        {"closed": ["2024-01-20"], "extra_sessions": ["2024-01-20"]},
    ],
)
def test_a_day_named_twice_is_refused(days: dict[str, list[str]]) -> None:
    table = {**TOKYO_SPEC.model_dump(mode="json"), **days}
    with pytest.raises(SpecError, match=r"mini.toml: .* stands twice in extra_sessions and closed"):
        parse_spec(table, CalendarSpec, origin="mini.toml")


def test_each_change_of_the_sessions_changes_what_is_named_by_them() -> None:
    mended = changed(extra_sessions=(date(2024, 1, 20),), closed=(date(2023, 9, 1),))
    assert mended.identity == "XTKS +2024-01-20 -2023-09-01"
    assert TOKYO.identity == "XTKS"
    assert digest(TOKYO_SPEC) != digest(TOKYO_SPEC.model_copy(update={"closed": mended.closed}))


def test_the_calendar_does_not_depend_on_the_day_it_is_loaded() -> None:
    assert TOKYO.sessions[0] == np.datetime64("1997-01-06")
    assert NEW_YORK.sessions[0] == np.datetime64("1990-01-02")
    assert TOKYO.zone == ZoneInfo("Asia/Tokyo")


def test_a_period_is_a_session_an_iso_week_or_a_month() -> None:
    # Tuesday 2019-04-30 to Tuesday 2019-05-07 is the long holiday of 2019: weeks 18 and 19.
    sessions = TOKYO.between("2019-04-22", "2019-05-14")

    def days(session: str, rule: RebalanceRule) -> list[str]:
        return [str(day) for day in TOKYO.period_sessions(session, rule)]

    assert days("2019-05-07", "weekly") == [f"2019-05-{day:02d}" for day in (7, 8, 9, 10)]
    assert days("2019-05-07", "daily") == ["2019-05-07"]
    assert days("2019-05-31", "monthly")[::18] == ["2019-05-07", "2019-05-31"]
    assert TOKYO.rebalances(sessions, "daily").all()
    assert len(set(TOKYO.period_of(sessions, "weekly").tolist())) == 3


class Opened(AssertionError):
    """The calendar library was asked."""


def test_sessions_are_kept_for_the_next_process_until_the_day_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(exchange: str) -> Dates:
        raise Opened(exchange)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = next_process("XTKS")
    assert len(first) > 5000
    monkeypatch.setattr(calendar, "_computed_sessions", asked)
    kept = next_process("XTKS")
    assert kept.dtype == first.dtype
    assert kept.tolist() == first.tolist()
    with pytest.raises(Opened):
        next_process("XNYS")
    (path,) = (tmp_path / "alpha-assets").iterdir()
    whole = path.read_text()
    path.write_text(whole.replace(f" {first[1]} ", " "))  # damaged
    with pytest.raises(Opened):
        next_process("XTKS")
    path.write_text(whole)
    monkeypatch.setattr(calendar, "_today", lambda: "2019-04-30")  # another day
    with pytest.raises(Opened):
        next_process("XTKS")


def next_process(exchange: str) -> Dates:
    """The sessions of an exchange, as a process finds them that has not asked before."""
    calendar._exchange_sessions.cache_clear()
    try:
        return calendar._exchange_sessions(exchange)
    finally:
        calendar._exchange_sessions.cache_clear()
