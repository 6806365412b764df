"""When a row of a side feed is first known in Tokyo, decided at 08:30: worked by hand.

2026-10-12 (Sports Day), 2026-09-21 to 23 (Silver Week) and 2020-10-01 (the halt) are no sessions.
"""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS, SIDE_FEEDS, Feed
from alpha_assets.feeds.american import AMERICAN
from alpha_assets.feeds.base import Publication
from alpha_assets.feeds.describe import publication_words

every_side_feed = pytest.mark.parametrize("feed", SIDE_FEEDS.values(), ids=lambda feed: feed.name)


def stamped(feed: str, calendar: Calendar, rule: Publication | None, **dates: str | None) -> str:
    """Return the wall time at which a row with these dates is public, to the minute."""
    row = {
        name: pl.Series([None if day is None else date.fromisoformat(day)], dtype=pl.Date)
        for name, day in dates.items()
    }
    stamp = (rule or FEEDS[feed].publication).stamp(pl.DataFrame(row), calendar)
    assert stamp.dtype == pl.Datetime("us", "UTC")
    return stamp.dt.convert_time_zone(calendar.zone.key).dt.to_string("%Y-%m-%d %H:%M")[0]


def known_from(stamp: str, calendar: Calendar) -> str:
    """Return the first session decided at or after a wall time."""
    local = datetime.fromisoformat(stamp).replace(tzinfo=calendar.zone)
    instant = np.datetime64(int(local.timestamp()), "s")
    return str(calendar.sessions[calendar.effective(instant)])


@pytest.mark.parametrize(
    ("feed", "dates", "public", "session"),
    [
        # Friday's options are out at 27:00, before Saturday's dawn; Monday is a holiday.
        ("index_options", {"event_date": "2026-10-09"}, "2026-10-10 03:00", "2026-10-13"),
        # Of a Thursday: 27:00 is five and a half hours before Friday's decision.
        ("index_options", {"event_date": "2026-10-08"}, "2026-10-09 03:00", "2026-10-09"),
        (
            "investor_types",
            {"event_date": "2026-10-02", "published": "2026-10-08"},
            "2026-10-08 18:00",
            "2026-10-09",
        ),
        # Weekly balances are published after two sessions: Monday 14, Tuesday 15.
        (
            "margin",
            {"event_date": "2026-09-11", "published": None},
            "2026-09-15 16:30",
            "2026-09-16",
        ),
        # ... Thursday 24 and Friday 25 after Silver Week, known on Monday 28.
        (
            "margin",
            {"event_date": "2026-09-18", "published": None},
            "2026-09-25 16:30",
            "2026-09-28",
        ),
        # Daily balances of a Friday, the first ones, say themselves: Monday.
        (
            "margin",
            {"event_date": "2026-09-25", "published": "2026-09-28"},
            "2026-09-28 16:30",
            "2026-09-29",
        ),
        # ... and without a word: one session later, not two.
        (
            "margin",
            {"event_date": "2026-09-25", "published": None},
            "2026-09-28 16:30",
            "2026-09-29",
        ),
        # The day before the daily regime begins: two sessions.
        (
            "margin",
            {"event_date": "2026-09-24", "published": None},
            "2026-09-28 16:30",
            "2026-09-29",
        ),
        (
            "margin_alerts",
            {"event_date": "2026-10-08", "published": "2026-10-09"},
            "2026-10-09 16:30",
            "2026-10-13",
        ),
        # 10:05 comes after the day's own decision.
        ("earnings_dates", {"event_date": "2026-10-09"}, "2026-10-09 10:05", "2026-10-13"),
        ("sector_short_selling", {"event_date": "2026-10-02"}, "2026-10-02 16:30", "2026-10-05"),
        ("sector_short_selling", {"event_date": "2020-09-30"}, "2020-09-30 16:30", "2020-10-02"),
        ("sector_short_selling", {"event_date": "2026-12-30"}, "2026-12-30 16:30", "2027-01-04"),
        # A position counts from its disclosure, however old its day is.
        (
            "short_positions",
            {"event_date": "2026-10-05", "disclosed": "2026-10-08"},
            "2026-10-08 17:30",
            "2026-10-09",
        ),
        # The day's last load ends at 24:30; it is public for the decision of the next session.
        ("statements", {"event_date": "2026-10-08"}, "2026-10-09 00:30", "2026-10-09"),
        ("statements", {"event_date": "2026-10-09"}, "2026-10-10 00:30", "2026-10-13"),
        ("statements", {"event_date": "2026-12-30"}, "2026-12-31 00:30", "2027-01-04"),
        ("index_options", {"event_date": "2026-12-30"}, "2026-12-31 03:00", "2027-01-04"),
        ("sector_indices", {"event_date": "2026-10-09"}, "2026-10-09 16:30", "2026-10-13"),
        ("valuation", {"event_date": "2026-10-08"}, "2026-10-08 16:30", "2026-10-09"),
        ("valuation", {"event_date": "2026-10-09"}, "2026-10-09 16:30", "2026-10-13"),
        ("breakdown", {"event_date": "2026-10-08"}, "2026-10-08 18:00", "2026-10-09"),
        # Articles of a Saturday are public at midnight after it.
        ("news", {"event_date": "2026-10-10"}, "2026-10-11 00:00", "2026-10-13"),
        ("news", {"event_date": "2026-10-08"}, "2026-10-09 00:00", "2026-10-09"),
    ],
)
def test_a_row_is_public_at_its_time_and_known_at_the_next_decision(
    feed: str, dates: dict[str, str | None], public: str, session: str, tokyo_calendar: Calendar
) -> None:
    stamp = stamped(feed, tokyo_calendar, None, **dates)

    assert stamp == public
    assert known_from(stamp, tokyo_calendar) == session


@pytest.mark.parametrize(
    ("feed", "published", "public"),
    [
        # The table of investors holds a correction a session after its day: Tuesday 13.
        ("investor_types", "2026-10-09", "2026-10-13 18:00"),
        ("margin_alerts", "2026-10-09", "2026-10-09 16:30"),
    ],
)
def test_a_correction_that_stands_beside_its_row_has_a_rule_of_its_own(
    feed: str, published: str, public: str, tokyo_calendar: Calendar
) -> None:
    declared = FEEDS[feed]
    assert declared.version == "published"
    assert stamped(feed, tokyo_calendar, declared.corrected, published=published) == public


@pytest.mark.parametrize(
    ("feed", "dates", "public"),
    [
        ("short_volume", {"event_date": "2026-10-09"}, "2026-10-09 18:00"),
        # Settled on Thursday 15 January; Monday 19 is a holiday.  Nine sessions later:
        # 16, 20, 21, 22, 23, 26, 27, 28, 29.
        (
            "short_interest",
            {"event_date": "2026-01-15", "published": None},
            "2026-01-29 18:00",
        ),
        (
            "short_interest",
            {"event_date": "2026-01-15", "published": "2026-01-27"},
            "2026-01-27 18:00",
        ),
        ("option_summary", {"event_date": "2026-10-09"}, "2026-10-10 07:00"),
    ],
)
def test_american_rows_are_public_at_their_time_in_new_york(
    feed: str, dates: dict[str, str | None], public: str, new_york: Calendar
) -> None:
    assert feed in AMERICAN
    assert stamped(feed, new_york, None, **dates) == public


def test_no_row_is_known_at_the_session_that_it_describes(tokyo_calendar: Calendar) -> None:
    days = tokyo_calendar.between("2026-08-03", "2026-12-30")
    following = tokyo_calendar.after(days)
    day = pl.Series(days)
    rows = pl.DataFrame(
        {
            "event_date": day,
            "published": pl.Series([None], dtype=pl.Date).new_from_index(0, len(day)),
            "disclosed": day,
        }
    )
    for feed in SIDE_FEEDS.values():
        told = rows.with_columns(published=day) if feed.publication.anchor == "published" else rows
        stamp = feed.publication.stamp(told, tokyo_calendar)
        known = tokyo_calendar.sessions[tokyo_calendar.effective(stamp.to_numpy())]
        assert (known >= following).all(), feed.name


def test_a_row_whose_anchor_is_unknown_has_no_stamp(tokyo_calendar: Calendar) -> None:
    rule = FEEDS["short_positions"].publication
    rows = pl.DataFrame({"disclosed": [date(2026, 10, 8), None, date(2026, 10, 9)]})
    stamps = rule.stamp(rows, tokyo_calendar)

    assert stamps.is_null().to_list() == [False, True, False]
    assert stamps[2] - stamps[0] == timedelta(days=1)


@every_side_feed
def test_a_side_feed_says_what_each_of_its_numbers_means(feed: Feed) -> None:
    assert feed.key[0] == "event_date"
    assert len(feed.about) > 20
    names = [column.name for column in feed.columns]
    assert len(names) == len(set(names)) > 0
    for column in feed.columns:
        assert column.unit, column.name
        assert len(column.meaning) > 1, column.name
    key_of_scope = {"symbol": "symbol", "sector": "sector", "section": "section"}
    if feed.scope in key_of_scope:
        assert feed.key[1] == key_of_scope[feed.scope]
    assert list(feed.schema)[: len(feed.key)] == list(feed.key)
    assert list(feed.schema)[-3:] == ["available_at", "ingested_at", "revision"]


@every_side_feed
def test_what_a_rule_reads_is_a_column_of_the_feed(feed: Feed) -> None:
    for rule in (feed.publication, feed.corrected):
        if rule is not None:
            assert feed.schema[rule.anchor] == pl.Date
            assert rule.stated is None or feed.schema[rule.stated] == pl.Date
    assert (feed.version is None) == (feed.corrected is None)


def test_a_rule_with_dates_of_its_own_describes_them() -> None:
    own = [
        kind
        for kind in Publication.__subclasses__()
        if kind.dates is not Publication.dates or kind.stamp is not Publication.stamp
    ]
    assert {kind.__name__ for kind in own} >= {"WeeklyThenDaily", "YearBefore", "Stamped"}
    assert [kind.__name__ for kind in own if not kind.described] == ["Stamped"]
    daily = publication_words(FEEDS["margin"])
    assert daily == (
        "two sessions after a weekly balance, one session after a daily one, 16:30, or of the day "
        "in `published`: the session after"
    )
