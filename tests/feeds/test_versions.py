"""Versions of a row that are delivered side by side: their numbers, their stamps, any order."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import permutations
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS, Feed
from alpha_assets.feeds.base import INSTANT, Basis, PriceLevel, Source
from alpha_assets.feeds.ingest import Ingested, ingest
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

D = date
FLOWS, ALERTS = FEEDS["investor_types"], FEEDS["margin_alerts"]
TOKYO = ZoneInfo("Asia/Tokyo")
NOW = datetime(2026, 12, 1, 3, tzinfo=UTC)
WEEK = D(2026, 10, 2)
FIRST, FIXED, AGAIN = D(2026, 10, 8), D(2026, 10, 15), D(2026, 10, 22)


@dataclass
class Told(Source):
    """A source that delivers a given table."""

    table: pl.DataFrame
    price_level: PriceLevel = "raw"
    basis: Basis = "price"

    @property
    def identity(self) -> Mapping[str, str]:
        return {"kind": "given"}

    def fingerprint(self, feed: str) -> str:
        return str(self.table.hash_rows().to_list())

    def rows(self, feed: str) -> pl.DataFrame:
        return self.table


@dataclass
class Place:
    """A store, and what is ingested into it."""

    root: Path
    calendar: Calendar

    def table(self, feed: Feed = FLOWS) -> RawTable:
        return RawTable(Store(str(self.root)), "jp", feed, self.calendar.zone)

    def take(
        self,
        told: pl.DataFrame,
        now: datetime = NOW,
        feed: Feed = FLOWS,
        months: list[str] | None = None,
    ) -> Ingested:
        return ingest(self.table(feed), feed, Told(told), self.calendar, now=now, months=months)  # type: ignore[arg-type]

    def history(self, feed: Feed = FLOWS) -> list[tuple[date, int, str]]:
        """Return of each row: day of publication, revision, session that first sees it."""
        rows = self.table(feed).read().sort(*feed.key, "revision").collect()
        instants = rows["available_at"].dt.replace_time_zone(None).to_numpy()
        effective = self.calendar.sessions[self.calendar.effective(instants)]
        return [
            (published, revision, str(session))
            for published, revision, session in zip(
                rows["published"], rows["revision"], effective, strict=True
            )
        ]

    def known(self) -> list[date]:
        return self.table().latest().collect()["published"].to_list()


@pytest.fixture
def place(tmp_path: Path, tokyo_calendar: Calendar) -> Place:
    return Place(tmp_path / "storage", tokyo_calendar)


def weeks(
    *published: date, stamps: list[datetime | None] | None = None, **more: float
) -> pl.DataFrame:
    """Return one week's trades of one section as they were published on each of these days."""
    numbers = [c.name for c in FLOWS.columns if c.dtype == pl.Float64]
    table = pl.DataFrame(
        {
            "event_date": WEEK,
            "section": "Prime",
            "start": D(2026, 9, 28),
            "published": list(published),
            **{name: [float(day.day) for day in published] for name in numbers},
        }
    ).with_columns(pl.lit(value).alias(name) for name, value in more.items())
    return (
        table
        if stamps is None
        else table.with_columns(available_at=pl.Series(stamps, dtype=INSTANT))
    )


# By hand.  Tokyo decides at 08:30; 2026-10-12 is a holiday, the 16th a Friday.


def test_a_week_and_its_correction_are_public_on_their_own_days(place: Place) -> None:
    done = place.take(weeks(FIRST, FIXED))
    assert (done.new, done.revised, done.unchanged) == (1, 1, 0)
    # Thursday 8th 18:00, seen on Friday the 9th.  Announced on Thursday the 15th, in the table
    # on Friday the 16th at 18:00, seen on Monday the 19th.
    assert place.history() == [(FIRST, 0, "2026-10-09"), (FIXED, 1, "2026-10-19")]


def test_the_same_delivery_again_changes_nothing(place: Place) -> None:
    place.take(weeks(FIRST, FIXED))
    before = place.table().hashes()
    done = place.take(weeks(FIXED, FIRST), now=NOW + timedelta(days=9))
    assert (done.new, done.revised, done.unchanged, done.months) == (0, 0, 2, ())
    assert place.table().hashes() == before


def test_a_correction_that_is_delivered_alone_later_has_its_own_day(place: Place) -> None:
    place.take(weeks(FIRST), now=datetime(2026, 10, 9, tzinfo=UTC))
    done = place.take(weeks(FIXED))
    assert (done.new, done.revised) == (0, 1)
    assert place.history() == [(FIRST, 0, "2026-10-09"), (FIXED, 1, "2026-10-19")]
    assert place.take(weeks(FIRST)).unchanged == 1  # stored, and superseded since
    assert place.known() == [FIXED]


def test_what_was_superseded_before_it_came_is_left_out(place: Place) -> None:
    place.take(weeks(FIXED))
    before = place.table().hashes()
    done = place.take(weeks(FIRST))
    assert (done.new, done.revised, done.unchanged) == (0, 0, 1)
    assert place.table().hashes() == before
    # Nobody said that there was an earlier one: the first that came counts as the first.
    assert place.history() == [(FIXED, 0, "2026-10-16")]


def test_a_correction_stamped_before_what_it_corrects_is_public_when_ingested(
    place: Place,
) -> None:
    noon = datetime(2026, 10, 8, 12, tzinfo=TOKYO)  # the first version came out at 18:00
    place.take(weeks(FIRST, FIXED, stamps=[None, noon]))
    assert place.history() == [(FIRST, 0, "2026-10-09"), (FIXED, 1, "2026-12-02")]
    assert place.known() == [FIXED]


def test_a_correction_with_a_stamp_of_its_own_keeps_it(place: Place) -> None:
    morning = datetime(2026, 10, 15, 8, 30, tzinfo=TOKYO)  # the very instant of the decision
    place.take(weeks(FIRST, FIXED, stamps=[None, morning]))
    assert place.history() == [(FIRST, 0, "2026-10-09"), (FIXED, 1, "2026-10-15")]


def test_two_versions_of_one_instant_are_both_kept_and_the_greater_is_known(
    place: Place,
) -> None:
    # Saturday's and Sunday's corrections are both in the table on Tuesday the 13th.
    saturday, sunday = D(2026, 10, 10), D(2026, 10, 11)
    place.take(weeks(sunday, FIRST, saturday))
    assert place.history() == [
        (FIRST, 0, "2026-10-09"),
        (saturday, 1, "2026-10-14"),
        (sunday, 2, "2026-12-02"),  # not later than the one before: when it was ingested
    ]
    assert place.known() == [sunday]


def test_another_value_under_the_same_version_is_known_when_it_was_ingested(
    place: Place,
) -> None:
    place.take(weeks(FIRST))
    done = place.take(weeks(FIRST, total_buy=1.0))
    # Not by the rule for corrections, which would be Friday the 9th: nobody had it then.
    assert (done.revised, place.history()[1]) == (1, (FIRST, 1, "2026-12-02"))
    more = {"total_buy": 1.0, "unknown": 0.0}  # other bytes that say the same
    assert place.take(weeks(FIRST, **more)).unchanged == 1


def test_another_value_under_a_superseded_version_is_left_out(place: Place) -> None:
    place.take(weeks(FIRST, FIXED))
    done = place.take(weeks(FIRST, total_buy=1.0))
    assert (done.revised, done.unchanged, place.known()) == (0, 1, [FIXED])


def test_alerts_are_corrected_on_their_day_of_publication(place: Place) -> None:
    table = pl.DataFrame(
        {
            "event_date": D(2026, 10, 7),
            "symbol": "13010",
            "published": [FIRST, D(2026, 10, 9)],
            "short": [100.0, 90.0],
            "long": [10.0, 10.0],
        }
    )
    place.take(table, feed=ALERTS)
    # Thursday 16:30 and Friday 16:30; Monday is a holiday.
    assert place.history(ALERTS) == [
        (FIRST, 0, "2026-10-09"),
        (D(2026, 10, 9), 1, "2026-10-13"),
    ]


# Promises.


@pytest.mark.parametrize("order", list(permutations((FIRST, FIXED, AGAIN))))
def test_the_order_of_rows_does_not_matter(place: Place, order: tuple[date, ...]) -> None:
    place.take(weeks(*order))
    assert place.history() == [
        (FIRST, 0, "2026-10-09"),
        (FIXED, 1, "2026-10-19"),
        (AGAIN, 2, "2026-10-26"),
    ]


@pytest.mark.parametrize("order", list(permutations((FIRST, FIXED, AGAIN))))
def test_the_greatest_version_is_known_in_whichever_order_they_came(
    place: Place, order: tuple[date, ...]
) -> None:
    for published in order:
        place.take(weeks(published))
    assert place.known() == [AGAIN]
    stamps = place.table().read().sort("revision").collect()["available_at"]
    assert stamps.is_sorted()


@pytest.mark.parametrize("months", list(permutations(("2026-10", "2026-11"))))
def test_months_may_be_ingested_in_any_order(place: Place, months: tuple[str, ...]) -> None:
    table = weeks(FIRST, FIXED, D(2026, 11, 5))
    for month in months:
        place.take(table, months=[month])
    assert place.history() == [
        (FIRST, 0, "2026-10-09"),
        (FIXED, 1, "2026-10-19"),
        (D(2026, 11, 5), 2, "2026-11-09"),
    ]


def test_what_would_come_out_after_its_successor_is_left_out(place: Place) -> None:
    november = D(2026, 11, 5)
    place.take(weeks(FIRST, november), months=["2026-11"])
    late = datetime(2026, 11, 20, tzinfo=UTC)
    place.take(weeks(FIRST, november, stamps=[late, None]))
    assert place.history() == [(november, 1, "2026-11-09")]


def test_a_source_that_numbers_its_revisions_is_believed(place: Place) -> None:
    numbered = weeks(FIRST, FIXED).with_columns(revision=pl.Series([0, 3], dtype=pl.Int16))
    place.take(numbered)
    assert [(day, revision) for day, revision, _ in place.history()] == [(FIRST, 0), (FIXED, 3)]


# Refusals.


def test_two_rows_of_one_version_are_refused(place: Place) -> None:
    with pytest.raises(FeedError, match=r"duplicate_key \(2\): event_date and section and publ"):
        place.take(weeks(FIRST, FIRST, FIXED))
    assert place.table().months() == ()


def test_a_row_without_its_version_is_refused(place: Place) -> None:
    table = weeks(FIRST, FIXED).with_columns(published=pl.Series([FIRST, None]))
    with pytest.raises(FeedError, match="missing_key"):
        place.take(table)


def test_a_feed_without_versions_still_refuses_equal_keys(place: Place) -> None:
    with pytest.raises(FeedError, match="duplicate_key"):
        place.take(weeks(FIRST, FIXED), feed=replace(FLOWS, version=None, corrected=None))


# A second way.


def test_a_slow_loop_over_the_rows_says_the_same(place: Place) -> None:
    days = [D(2026, 10, d) for d in (8, 9, 10, 11, 14, 15, 19)]
    deliveries = [days[2:3], days[4:5], days[0:6], days[6:]]
    stored: list[tuple[date, int, datetime]] = []
    for number, delivery in enumerate(deliveries):
        now = NOW + timedelta(days=number)
        for day in sorted(delivery):
            if any(day <= other for other, _, _ in stored):
                continue
            sessions = place.calendar.sessions
            local = day
            if stored:
                local = min(s for s in sessions.tolist() if s > day)
            stamp = datetime.combine(local, time(18), tzinfo=TOKYO).astimezone(UTC)
            if stored and stamp <= stored[-1][2]:
                stamp = max(now, stored[-1][2])
            stored.append((day, len(stored), stamp))
        place.take(weeks(*delivery), now=now)
    rows = place.table().read().sort("revision").collect()
    assert rows.select("published", "revision", "available_at").rows() == stored
