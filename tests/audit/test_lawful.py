"""Stamps against an independent table: every feed's earliest lawful instant, and who breaks it."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from alpha_assets.audit.lawful import EARLIEST, KEYS, early_rows, unknown_feeds
from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.feeds import FEEDS
from alpha_assets.pipeline.context import RecipeContext

# Publications of Tokyo as its data service states them: the feed, one row, and the earliest
# instant by the wall clock of Tokyo.  Worked by hand from the calendar: 20 to 23 September 2026
# are weekend and holidays, so are 10 to 12 October.
FACTS = [
    ("daily_bars", {"event_date": date(2026, 10, 2)}, "2026-10-02 16:30"),
    ("benchmark", {"event_date": date(2026, 10, 2)}, "2026-10-02 16:30"),
    ("sector_indices", {"event_date": date(2026, 10, 2)}, "2026-10-02 16:30"),
    ("sector_short_selling", {"event_date": date(2026, 10, 2)}, "2026-10-02 16:30"),
    ("valuation", {"event_date": date(2026, 10, 2)}, "2026-10-02 16:30"),
    ("breakdown", {"event_date": date(2026, 10, 2)}, "2026-10-02 18:00"),
    # The option surface of a Friday is loaded on Saturday, at "27:00".
    ("index_options", {"event_date": date(2026, 10, 9)}, "2026-10-10 03:00"),
    # Weekly balances of Friday the 11th are out on Tuesday; of the 18th only on the 25th.
    ("margin", {"event_date": date(2026, 9, 11), "published": None}, "2026-09-15 16:00"),
    ("margin", {"event_date": date(2026, 9, 18), "published": None}, "2026-09-25 16:00"),
    (
        "margin",
        {"event_date": date(2026, 9, 25), "published": date(2026, 9, 28)},
        "2026-09-28 16:00",
    ),
    (
        "margin_alerts",
        {"event_date": date(2026, 10, 1), "published": date(2026, 10, 2)},
        "2026-10-02 16:30",
    ),
    (
        "short_positions",
        {"event_date": date(2026, 10, 1), "disclosed": date(2026, 10, 5)},
        "2026-10-05 17:30",
    ),
    (
        "investor_types",
        {"event_date": date(2026, 10, 2), "published": date(2026, 10, 8), "revision": 0},
        "2026-10-08 16:30",
    ),
    # A correction that is dated the 15th is in the table on the 16th, a Friday.
    (
        "investor_types",
        {"event_date": date(2026, 10, 2), "published": date(2026, 10, 15), "revision": 1},
        "2026-10-16 16:30",
    ),
    (
        "statements",
        {"event_date": date(2026, 8, 7), "disclosed_at": "15:30:00"},
        "2026-08-07 18:00",
    ),
    (
        "statements",
        {"event_date": date(2026, 8, 7), "disclosed_at": "19:10:00"},
        "2026-08-07 19:10",
    ),
    ("earnings_dates", {"event_date": date(2026, 10, 9)}, "2026-10-09 10:05"),
    ("news", {"event_date": date(2026, 10, 10)}, "2026-10-10 00:00"),  # a Saturday
    (
        "listings",
        {"event_date": date(2026, 4, 1), "end": None, "exit": "active"},
        "2026-04-01 00:00",
    ),
    (
        "listings",
        {"event_date": date(2026, 4, 1), "end": date(2026, 5, 1), "exit": "delisted"},
        "2026-05-01 15:00",
    ),
    ("membership", {"event_date": date(2026, 4, 1)}, "2026-04-01 00:00"),
    ("dividends", {"event_date": date(2026, 9, 29)}, "2026-09-29 00:00"),
    ("trading_calendar", {"event_date": date(2026, 10, 2)}, "2025-03-01 00:00"),
]
# The lines of the feeds' page that say so: words that stand in one row of its table.
PAGE = {
    "daily_bars": ("| bars `Date=T` | T | 16:30 |"),
    "sector_indices": ("| TOPIX, indices `T` | T | 16:30 |"),
    "sector_short_selling": ("| short-ratio `T` | T | 16:30 |"),
    "valuation": ("| valuation `T` | T | 16:30"),
    "breakdown": ("| breakdown `T` | T | 18:00 |"),
    "index_options": ("| 225 options `T` | calendar day after T, 03:00"),
    "margin": ("2nd session after `Date` (normally Tuesday) | 16:30 |"),
    "margin_alerts": ("| margin-alert | `PubDate` (= next session after AppDate) | 16:30 |"),
    "short_positions": ("| short-sale-report | `DiscDate` | 17:30 |"),
    "investor_types": ("| investor types | `PubDate` | 16:30 (older docs 18:00) |"),
    "statements": ("18:00 flash / next day 00:30 final"),
    "earnings_dates": ("| earnings-date | `PubDate` | 10:05 |"),
}


@pytest.fixture(scope="module")
def tokyo() -> Calendar:
    return Calendar.load(
        CalendarSpec(
            exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
        )
    )


@pytest.fixture(scope="module")
def stored(context: RecipeContext) -> dict[str, pl.DataFrame]:
    return {name: table.read().collect() for name, table in context.raw.items() if table.months()}


def one_row(feed: str, row: dict[str, object], stamp: datetime) -> pl.DataFrame:
    schema = FEEDS[feed].schema
    whole = {**dict.fromkeys(schema), "revision": 0, **row, "available_at": stamp}
    return pl.DataFrame([whole], schema=schema)


@pytest.mark.parametrize(("feed", "row", "local"), FACTS, ids=[f"{f[0]} {f[2]}" for f in FACTS])
def test_a_row_is_lawful_from_its_instant_and_not_before(
    tokyo: Calendar, feed: str, row: dict[str, object], local: str
) -> None:
    instant = datetime.strptime(local, "%Y-%m-%d %H:%M").replace(tzinfo=tokyo.zone).astimezone(UTC)
    before = one_row(feed, row, instant - timedelta(minutes=1))

    assert early_rows({feed: one_row(feed, row, instant)}, tokyo) == []
    (found,) = early_rows({feed: before}, tokyo)
    assert (found.feed, found.rows, found.of) == (feed, 1, 1)
    assert f"lawful from {local}" in str(found)


def test_every_feed_has_an_instant_and_the_own_ones_are_named() -> None:
    assert set(EARLIEST) == set(FEEDS)
    for name, feed in FEEDS.items():
        assert KEYS.get(name, ("event_date", "symbol")) == feed.key
    assert unknown_feeds({"daily_bars": pl.DataFrame(), "sentiment": pl.DataFrame()}) == [
        "sentiment"
    ]


def test_the_feeds_page_says_the_same() -> None:
    page = Path(__file__).resolve().parents[3] / "shared" / "feeds.md"
    if not page.is_file():
        pytest.skip("the feeds' page is not beside this checkout (../shared/feeds.md)")
    text = page.read_text()
    for feed, words in PAGE.items():
        assert words in text, feed


def test_the_simulated_exchange_stamps_nothing_too_early(
    stored: dict[str, pl.DataFrame], context: RecipeContext
) -> None:
    assert early_rows(stored, context.market.calendar) == []


def moved(rows: pl.DataFrame, by: timedelta) -> pl.DataFrame:
    return rows.with_columns(pl.col("available_at") + by)


@pytest.mark.parametrize(
    ("feed", "by"),
    [
        ("daily_bars", -timedelta(hours=8, minutes=30)),  # at 08:00 of the day itself
        ("margin", -timedelta(days=1)),
        ("margin_alerts", -timedelta(days=1)),
        ("short_positions", -timedelta(hours=10)),
        ("sector_short_selling", -timedelta(hours=8, minutes=30)),
        ("investor_types", -timedelta(days=4)),
        ("index_options", -timedelta(hours=12)),
        ("valuation", -timedelta(hours=8, minutes=30)),
        ("statements", -timedelta(hours=17)),
        ("earnings_dates", -timedelta(hours=2)),
        ("news", -timedelta(days=1)),
        ("rates", -timedelta(hours=10)),
        ("borrow", -timedelta(hours=10)),
    ],
)
def test_a_feed_stamped_before_its_rule_is_named(
    stored: dict[str, pl.DataFrame], context: RecipeContext, feed: str, by: timedelta
) -> None:
    (found,) = early_rows({**stored, feed: moved(stored[feed], by)}, context.market.calendar)

    assert found.feed == feed
    assert 0 < found.rows <= found.of == stored[feed].height
    assert "stamped before they can have been public" in str(found)


def test_exits_known_a_month_early_are_named(
    stored: dict[str, pl.DataFrame], context: RecipeContext
) -> None:
    listings = stored["listings"]
    is_exit = pl.col("exit") != "active"
    assert listings.filter(is_exit).height
    early = listings.with_columns(
        pl.when(is_exit)
        .then(pl.col("available_at") - timedelta(days=30))
        .otherwise("available_at"),
        pl.when(is_exit).then(pl.col("event_date") - timedelta(days=30)).otherwise("event_date"),
    )
    (found,) = early_rows({**stored, "listings": early}, context.market.calendar)

    # The date of the row was moved with its stamp; the day of the last bar was not.
    assert (found.feed, found.rows) == ("listings", listings.filter(is_exit).height)


def test_a_correction_that_is_no_later_than_what_it_corrects_is_named(
    stored: dict[str, pl.DataFrame], context: RecipeContext
) -> None:
    bars = stored["daily_bars"]
    first = bars.filter(pl.col("revision") == 0).select(
        "event_date", "symbol", pl.col("available_at").alias("first")
    )
    joined = bars.join(first, on=["event_date", "symbol"], maintain_order="left")
    hasty = joined.with_columns(pl.col("first").alias("available_at")).drop("first")
    (found,) = early_rows({**stored, "daily_bars": hasty}, context.market.calendar)

    assert found.rows == (bars["revision"] > 0).sum() > 0
    assert "not after the revision that it corrects" in str(found)
