"""Ingestion: what becomes a revision, when it is public, what is refused before it is stored."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.sources.conftest import SESSIONS, Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError, RangeError, SourceMismatch
from alpha_assets.feeds import DAILY_BARS, FEEDS, LISTINGS, RATES, Feed
from alpha_assets.feeds.base import Basis, PriceLevel, Source
from alpha_assets.feeds.ingest import Ingested, ingest
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.store.folder import Folder
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

NOW = datetime(2020, 3, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=40)
SUMMER = datetime(2020, 7, 1, tzinfo=UTC)


@dataclass
class Told(Source):
    """A source that delivers a given table."""

    table: pl.DataFrame
    folder: str = "here"
    price_level: PriceLevel = "raw"
    basis: Basis = "price"
    reads: int = 0

    @property
    def identity(self) -> Mapping[str, str]:
        return {"kind": "given", "folder": self.folder}

    def feeds(self) -> tuple[str, ...]:
        return tuple(FEEDS)

    def off(self) -> Mapping[str, str]:
        return {}

    def fingerprint(self, feed: str) -> str:
        return str(self.table.hash_rows().to_list())

    def rows(self, feed: str) -> pl.DataFrame:
        self.reads += 1
        return self.table


def rates(*rows: tuple[object, ...], more: tuple[str, ...] = ()) -> pl.DataFrame:
    schema = {"event_date": pl.Date, "cash_rate_annual": pl.Float64}
    extra = {"available_at": pl.Datetime("us", "UTC"), "revision": pl.Int16}
    return pl.DataFrame(rows, {**schema, **{n: extra[n] for n in more}}, orient="row")


def day_bars(closes: dict[str, list[float | None]], **more: object) -> pl.DataFrame:
    return bars(closes, **more).rename({"date": "event_date"})


@dataclass
class Place:
    """A store, and what is ingested into it."""

    root: Path
    calendar: Calendar

    def table(self, feed: Feed = RATES) -> RawTable:
        return RawTable(Store(str(self.root)), "us", feed, self.calendar.zone)

    def take(
        self,
        told: pl.DataFrame | Told | FilesSource,
        feed: Feed = RATES,
        now: datetime = NOW,
        months: list[str] | None = None,
    ) -> Ingested:
        source = Told(told) if isinstance(told, pl.DataFrame) else told
        return ingest(self.table(feed), feed, source, self.calendar, now=now, months=months)  # type: ignore[arg-type]

    def rows(self, *columns: str, feed: Feed = RATES) -> list[tuple[object, ...]]:
        table = self.table(feed).read().collect()
        return table.sort([*feed.key, "revision"]).select(columns).rows()


@pytest.fixture
def place(tmp_path: Path, new_york: Calendar) -> Place:
    return Place(tmp_path / "storage", new_york)


JAN2, JAN3 = SESSIONS[:2]
EVENING = datetime(2020, 1, 2, 23, tzinfo=UTC)  # 18:00 in New York, the rule of rates


# By hand.


def test_a_first_row_is_public_by_the_rule_or_at_its_own_stamp(place: Place) -> None:
    own = datetime(2020, 1, 4, 7, tzinfo=UTC)
    done = place.take(rates((JAN2, 0.01, None), (JAN3, 0.02, own), more=("available_at",)))
    assert (done.new, done.revised, done.unchanged, done.months) == (2, 0, 0, ("2020-01",))
    assert place.rows("event_date", "available_at", "ingested_at", "revision") == [
        (JAN2, EVENING, NOW, 0),
        (JAN3, own, NOW, 0),
    ]


@pytest.mark.parametrize(
    ("own", "public"),
    [
        (None, LATER),
        (EVENING + timedelta(hours=1), EVENING + timedelta(hours=1)),  # later than what it corrects
        (EVENING, LATER),  # no later
        (EVENING - timedelta(hours=1), LATER),
    ],
)
def test_a_correction_is_public_at_its_own_later_stamp_or_when_ingested(
    place: Place, own: datetime | None, public: datetime
) -> None:
    place.take(rates((JAN2, 0.01)))
    done = place.take(rates((JAN2, 0.03, own), more=("available_at",)), now=LATER)
    assert (done.new, done.revised) == (0, 1)
    assert place.rows("cash_rate_annual", "available_at", "revision") == [
        (0.01, EVENING, 0),
        (0.03, public, 1),
    ]


def test_a_correction_is_never_public_before_what_it_corrects(place: Place) -> None:
    # Both are ingested at the moment of publication.
    place.take(rates((JAN2, 0.01)), now=EVENING)
    place.take(rates((JAN2, 0.03)), now=EVENING)
    assert place.rows("available_at", "revision") == [(EVENING, 0), (EVENING, 1)]
    assert place.table().latest().collect()["cash_rate_annual"].to_list() == [0.03]  # tie
    assert place.take(rates((JAN2, 0.03)), now=LATER).revised == 0


def test_a_correction_that_is_taken_back_is_a_further_revision(place: Place) -> None:
    for hours, rate in enumerate((0.01, 0.03, 0.01)):
        place.take(rates((JAN2, rate)), now=NOW + timedelta(hours=hours))
    assert place.rows("cash_rate_annual", "revision") == [(0.01, 0), (0.03, 1), (0.01, 2)]


def test_a_value_that_comes_or_goes_is_a_correction(place: Place) -> None:
    place.take(day_bars({"A": [1.0]}), DAILY_BARS)
    with_value = day_bars({"A": [1.0]}, turnover_value=pl.lit(5.0))
    assert place.take(with_value, DAILY_BARS, now=LATER).revised == 1
    assert place.take(day_bars({"A": [1.0]}), DAILY_BARS, now=LATER).revised == 1


@pytest.mark.parametrize(("scale", "revised"), [(1 + 9e-6, 0), (1 + 1.1e-5, 1)])
@pytest.mark.parametrize("column", ["close", "volume", "adjustment_factor"])
def test_bars_are_the_same_within_a_hundred_thousandth(
    place: Place, column: str, scale: float, revised: int
) -> None:
    table = day_bars({"A": [100.0]}, adjustment_factor=pl.lit(0.5))
    place.take(table, DAILY_BARS)
    moved = table.with_columns(pl.col(column) * scale)
    assert place.take(moved, DAILY_BARS, now=LATER).revised == revised


def test_other_feeds_are_the_same_only_if_equal(place: Place) -> None:
    place.take(rates((JAN2, 0.01)))
    assert place.take(rates((JAN2, 0.01 * (1 + 1e-12))), now=LATER).revised == 1


def test_numbered_revisions_are_believed_and_stamped_by_the_same_rule(place: Place) -> None:
    early, late = EVENING - timedelta(days=1), EVENING + timedelta(days=1)
    more = ("available_at", "revision")
    first = rates(
        (JAN2, 0.01, None, 0),
        (JAN2, 0.02, late, 1),
        (JAN2, 0.03, EVENING + timedelta(hours=1), 2),  # later than revision 0, not than 1
        (JAN3, 0.01, None, 0),
        (JAN3, 0.02, early + timedelta(days=2), 1),  # no later than the evening of JAN3
        more=more,
    )
    done = place.take(first)
    assert (done.new, done.revised) == (2, 3)
    assert place.rows("cash_rate_annual", "available_at", "revision") == [
        (0.01, EVENING, 0),
        (0.02, late, 1),
        (0.03, NOW, 2),
        (0.01, late, 0),
        (0.02, NOW, 1),
    ]
    again = rates(*first.rows(), (JAN3, 0.05, None, 2), more=more)
    done = place.take(again, now=LATER)
    assert (done.new, done.revised, done.unchanged) == (0, 1, 5)
    assert place.rows("available_at", "revision")[-1] == (LATER, 2)


def test_listings_end_after_the_close_of_their_last_session(place: Place) -> None:
    table = pl.DataFrame(
        {
            "event_date": [JAN2, JAN3],
            "symbol": "A",
            "sector": "T",
            "exit": ["active", "delisted"],
        }
    )
    place.take(table, LISTINGS)
    # Midnight and 23:00 in New York.
    assert place.rows("available_at", feed=LISTINGS) == [
        (datetime(2020, 1, 2, 5, tzinfo=UTC),),
        (datetime(2020, 1, 4, 4, tzinfo=UTC),),
    ]


# Promises.


def test_the_same_rows_again_change_nothing(place: Place) -> None:
    told = Told(day_bars({"A": [1.0, 2.0], "B": [3.0, None]}))
    place.take(told, DAILY_BARS)
    before = files(place.root)
    hashes = place.table(DAILY_BARS).hashes()

    done = place.take(told, DAILY_BARS, now=LATER)
    assert (done, told.reads) == (Ingested("daily_bars"), 1)  # not even read

    # Other bytes that say the same: in another order, within the tolerance.
    told.table = told.table.reverse().with_columns(pl.col("close") * (1 + 1e-7))
    done = place.take(told, DAILY_BARS, now=LATER)
    assert (done.new, done.revised, done.unchanged, done.months) == (0, 0, 4, ())
    assert told.reads == 2
    assert place.table(DAILY_BARS).hashes() == hashes
    raw = {path: when for path, when in files(place.root).items() if "_deliveries" not in path}
    assert raw == {path: when for path, when in before.items() if "_deliveries" not in path}


def test_daily_deliveries_equal_one_build(tmp_path: Path, new_york: Calendar, write: Write) -> None:
    table = bars({"A": [10.0, 11.0, 5.0, 6.0, 6.5], "B": [None, 3.0, 4.0, 4.0, 5.0]})
    table = table.with_columns(
        adj_close=pl.when(pl.col("date") < SESSIONS[2])
        .then(pl.col("close") / 2)
        .otherwise(pl.col("close"))
    )
    listed = pl.DataFrame({"symbol": ["A", "B"], "sector": ["T", "U"]})
    spells = pl.DataFrame({"symbol": ["A"], "start": [SESSIONS[1]], "end": [SESSIONS[3]]})
    daily, once = Place(tmp_path / "daily", new_york), Place(tmp_path / "once", new_york)
    for n in range(1, 6):
        day = SESSIONS[n - 1]
        so_far = table.filter(pl.col("date") <= day)
        # The vendor's adjusted closes of the day are scaled so that the last equals the close.
        after = table.filter((pl.col("date") == day) & (pl.col("symbol") == "A"))
        scale = after["close"][0] / after["adj_close"][0]
        rescaled = so_far.with_columns(pl.col("adj_close") * scale)
        known = spells.with_columns(end=pl.lit(None, pl.Date)) if n < 4 else spells
        folder = write(daily_bars=rescaled, listings=listed, membership=known)
        source = FilesSource(FilesSourceSpec(path=str(folder)), new_york)
        for feed in ("daily_bars", "listings", "membership"):
            place = daily
            done = place.take(source, FEEDS[feed], now=NOW + timedelta(days=n))
            assert done.revised == 0
    for feed in ("daily_bars", "listings", "membership"):
        once.take(source, FEEDS[feed], now=LATER)
        assert once.table(FEEDS[feed]).hashes() == daily.table(FEEDS[feed]).hashes()


def test_daily_deliveries_of_a_source_with_revisions_equal_one_build(
    tmp_path: Path, tokyo_calendar: Calendar
) -> None:
    first, last = date(2021, 1, 4), date(2021, 2, 26)
    spec = SimSpec(seed=2, n_symbols=20, first=first, last=last, corrected_share=0.05)
    daily, once = (
        Place(tmp_path / "daily", tokyo_calendar),
        Place(tmp_path / "once", tokyo_calendar),
    )
    ends = [*tokyo_calendar.between(date(2021, 2, 10), last)[::3].tolist(), last]
    for end in ends:
        source = SimSource(spec.model_copy(update={"last": end}), tokyo_calendar)
        for feed in source.feeds():
            place = daily
            place.take(source, FEEDS[feed], now=datetime.combine(end, time(12), UTC))
    revised = 0
    for feed in source.feeds():
        revised += once.take(source, FEEDS[feed], now=datetime.combine(last, time(12), UTC)).revised
        assert once.table(FEEDS[feed]).hashes() == daily.table(FEEDS[feed]).hashes(), feed
    assert revised > 5


def test_a_rescaled_adjusted_close_is_no_correction(
    place: Place, write: Write, new_york: Calendar
) -> None:
    table = bars({"A": [100.0, 101.0, 99.0, 103.0]}).with_columns(adj_close=pl.col("close") / 3)
    folder = write(daily_bars=table[:3])
    source = FilesSource(FilesSourceSpec(path=str(folder)), new_york)
    place.take(source, DAILY_BARS)
    write(daily_bars=table.with_columns(pl.col("adj_close") * 0.7))
    done = place.take(source, DAILY_BARS, now=LATER)
    assert (done.new, done.revised, done.unchanged) == (1, 0, 3)


def test_prices_restated_for_a_split_are_kept_as_corrections_with_the_same_factors(
    place: Place, write: Write, new_york: Calendar
) -> None:
    table = bars({"A": [100.0, 101.0, 99.0]}).with_columns(
        adj_close=pl.col("close") * pl.Series([0.98, 1.0, 1.0])
    )
    folder = write(daily_bars=table)
    source = FilesSource(FilesSourceSpec(path=str(folder)), new_york)
    place.take(source, DAILY_BARS)
    halved = [pl.col(name) / 2 for name in ("open", "high", "low", "close", "adj_close")]
    write(daily_bars=table.with_columns(*halved, volume=pl.col("volume") * 2))

    done = place.take(source, DAILY_BARS, now=LATER)

    assert (done.new, done.revised, done.months) == (0, 3, ("2020-04",))
    told = place.rows("event_date", "revision", "close", "adjustment_factor", feed=DAILY_BARS)
    assert [row[2] for row in told] == [100.0, 50.0, 101.0, 50.5, 99.0, 49.5]
    factors = pl.Series([row[3] for row in told]).to_list()
    assert factors == pytest.approx([1.0, 1.0, 0.98, 0.98, 1.0, 1.0], rel=1e-12)
    # As first effective, nothing has changed.
    first = place.table(DAILY_BARS).first_effective().collect()
    assert first["close"].to_list() == [100.0, 101.0, 99.0]


def test_a_window_of_bars_keeps_the_stored_factor_of_its_first(
    place: Place, write: Write, new_york: Calendar
) -> None:
    table = bars({"A": [100.0, 50.0, 50.0]}).with_columns(adj_close=pl.lit(50.0))
    folder = write(daily_bars=table[:2])
    source = FilesSource(FilesSourceSpec(path=str(folder)), new_york)
    place.take(source, DAILY_BARS)
    write(daily_bars=table[1:])  # by itself, its first factor would be 1
    done = place.take(source, DAILY_BARS, now=LATER)
    assert (done.new, done.revised, done.unchanged) == (1, 0, 1)

    later = SESSIONS[4:]
    write(daily_bars=bars({"A": [50.0], "NEW": [9.0]}, later).with_columns(adj_close=pl.lit(9.0)))
    words = r"1 symbols .* first A on 2020-01-08: .*deliver the last stored session again"
    with pytest.raises(FeedError, match=words):
        place.take(source, DAILY_BARS, now=LATER)


def test_months_keep_to_rows_published_in_them(place: Place, tmp_path: Path) -> None:
    january, february = SESSIONS[0], date(2020, 2, 3)
    told = Told(rates((january, 0.01), (february, 0.02)))
    done = place.take(told, months=["2020-02"])
    assert (done.new, done.months) == (1, ("2020-02",))
    assert place.take(told, months=["2020-02"]) == Ingested("rates")  # done before: not read
    assert told.reads == 1
    assert place.take(told, months=["2020-01"]).months == ("2020-01",)
    assert place.take(told, months=["2020-01", "2020-02"]) == Ingested("rates")
    assert place.take(told).unchanged == 2

    other = Place(tmp_path / "other", place.calendar)
    other.take(told)
    assert other.table().hashes() == place.table().hashes()


def test_a_month_that_is_gone_is_ingested_again(place: Place) -> None:
    told = Told(rates((JAN2, 0.01), (date(2020, 2, 3), 0.02)))
    place.take(told)
    hashes = place.table().hashes()
    gone = Path(place.table().table.folder("2020-02").address)
    gone.rename(place.root / "elsewhere")
    place.take(told, now=LATER)
    assert place.table().hashes() == hashes


def test_an_interrupted_ingest_is_taken_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(rates(*[(date(2020, month, 3), month / 100) for month in range(1, 6)]))
    write = Folder.write
    count = 0

    def breaks(self: Folder, *args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return write(self, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", breaks)
        with pytest.raises(KeyboardInterrupt):
            place.take(told, now=SUMMER)
    assert place.table().months() == ("2020-01", "2020-02")

    done = place.take(told, now=SUMMER)

    assert (done.new, done.unchanged, done.months) == (3, 2, ("2020-03", "2020-04", "2020-05"))
    whole = Place(place.root.parent / "whole", place.calendar)
    whole.take(told, now=SUMMER)
    assert whole.table().hashes() == place.table().hashes()


def test_a_feed_with_another_publication_time_stamps_by_it(place: Place) -> None:
    at_eight = replace(RATES, publication=replace(RATES.publication, at=time(20)))
    place.take(rates((JAN2, 0.01)), at_eight)
    assert place.rows("available_at") == [(EVENING + timedelta(hours=2),)]


def test_an_event_that_is_no_longer_told_is_corrected(
    place: Place, write: Write, new_york: Calendar
) -> None:
    prices = bars({"A": [1.0] * 8, "B": [1.0] * 8})
    gone = pl.DataFrame(
        {
            "symbol": ["A", "B"],
            "sector": "T",
            "end": [SESSIONS[3], None],
            "exit": ["delisted", None],
        }
    )
    spells = pl.DataFrame({"symbol": ["A", "B"], "start": [JAN2, SESSIONS[2]], "end": [JAN3, None]})
    folder = write(daily_bars=prices, listings=gone, membership=spells)
    source = FilesSource(FilesSourceSpec(path=str(folder)), new_york)
    for feed in ("listings", "membership"):
        place.take(source, FEEDS[feed])

    # A did not leave the exchange after all, left the index later, and B joined it later.
    stays = gone.with_columns(end=pl.lit(None, pl.Date), exit=pl.lit(None, pl.String))
    moved = pl.DataFrame(
        {"symbol": ["A", "B"], "start": [JAN2, SESSIONS[4]], "end": [SESSIONS[5], None]}
    )
    write(listings=stays, membership=moved)
    assert place.take(source, LISTINGS, now=LATER).revised == 1
    done = place.take(source, FEEDS["membership"], now=LATER)
    assert (done.new, done.revised) == (2, 2)

    latest = place.table(LISTINGS).latest().collect()
    assert latest.filter(event_date=SESSIONS[3])["exit"].to_list() == ["active"]
    told = place.rows("event_date", "symbol", "revision", "member", feed=FEEDS["membership"])
    assert told == [
        (JAN2, "A", 0, True),
        (JAN3, "A", 0, False),
        (JAN3, "A", 1, True),
        (SESSIONS[2], "B", 0, True),
        (SESSIONS[2], "B", 1, False),
        (SESSIONS[4], "B", 0, True),
        (SESSIONS[5], "A", 0, False),
    ]
    for feed in ("listings", "membership"):  # and then there is peace
        (folder / f"{feed}.parquet").touch()
        again = FilesSource(FilesSourceSpec(path=str(folder), exit_words={"x": "active"}), new_york)
        done = place.take(again, FEEDS[feed], now=LATER + timedelta(days=1))
        assert (done.new, done.revised) == (0, 0)


# Refusals.


def test_stamps_of_two_publication_times_are_not_mixed(place: Place) -> None:
    told = rates((JAN2, 0.01))
    place.take(told)
    at_eight = replace(RATES, publication=replace(RATES.publication, at=time(20)))
    with pytest.raises(SourceMismatch, match=r"set \[feeds.rates\] publication_time back, or"):
        place.take(told, at_eight, now=LATER)
    # Rows with stamps of their own do not mind.
    own = rates((JAN3, 0.01, EVENING + timedelta(days=1)), more=("available_at",))
    assert place.take(own, at_eight, now=LATER).new == 1


def test_another_source_is_refused_though_it_says_the_same(place: Place) -> None:
    place.take(rates((JAN2, 0.01)))
    other = Told(rates((JAN2, 0.01)), folder="elsewhere")
    with pytest.raises(SourceMismatch, match=r"'kind': 'given'.*elsewhere.*another --storage"):
        place.take(other)
    assert other.reads == 0


def test_errors_stop_before_anything_is_stored(place: Place) -> None:
    bad = day_bars({"A": [1.0, 2.0], "B": [3.0, -4.0]})
    with pytest.raises(FeedError, match=r"'kind': 'given'.*daily_bars: .*\n.*price_not_positive"):
        place.take(bad, DAILY_BARS)
    assert place.table(DAILY_BARS).months() == ()
    with pytest.raises(FeedError, match=r"daily_bars lacks the columns close; it has event_date"):
        place.take(bad.drop("close"), DAILY_BARS)
    with pytest.raises(FeedError, match="has a column of a wrong type"):
        place.take(rates((JAN2, 1.0)).with_columns(cash_rate_annual=pl.lit("x")))


def test_a_numbered_revision_with_other_values_is_refused(place: Place) -> None:
    more = ("revision",)
    place.take(rates((JAN2, 0.01, 0), (JAN2, 0.02, 1), more=more))
    words = r"\(2020-01-02, 1\): cash_rate_annual = 0.05 \(stored 0.02\); .* a higher one"
    with pytest.raises(FeedError, match=words):
        place.take(rates((JAN2, 0.01, 0), (JAN2, 0.05, 1), more=more), now=LATER)
    assert len(place.rows("revision")) == 2


def test_two_rows_of_one_key_are_refused(place: Place) -> None:
    with pytest.raises(FeedError, match=r"duplicate_key \(2\): event_date name one row"):
        place.take(rates((JAN2, 0.01), (JAN2, 0.02)))


def test_a_clock_without_a_zone_is_refused(place: Place) -> None:
    with pytest.raises(RangeError, match="has no time zone"):
        place.take(rates((JAN2, 0.01)), now=datetime(2020, 1, 1))  # noqa: DTZ001


def files(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.stat().st_mtime_ns
        for path in root.rglob("*")
        if path.is_file()
    }


# Not public yet.


def morning(n: int) -> datetime:
    """Return 10:00 in New York of a session."""
    return datetime.combine(SESSIONS[n], time(15), UTC)


def test_a_live_last_row_is_left_out_and_the_real_bar_is_its_first_revision(
    place: Place, write: Write, new_york: Calendar
) -> None:
    final = bars({"A": [100.0, 102.0, 104.0, 103.0]})
    for n in range(1, 4):
        live = final.head(n + 1).with_columns(
            pl.when(pl.col("date") == SESSIONS[n]).then(pl.col(c) * k).otherwise(pl.col(c)).alias(c)
            for c, k in {"close": 1.005, "volume": 0.1}.items()
        )
        folder = write(daily_bars=live)
        source = FilesSource(FilesSourceSpec(path=str(folder), price_level="raw"), new_york)
        done = place.take(source, DAILY_BARS, now=morning(n))
        assert (done.new, done.revised, done.omitted) == (2 if n == 1 else 1, 0, 1) or n == 1
        assert re.search(
            rf"1 row was not public yet .*first \({SESSIONS[n]}, A\), public {SESSIONS[n]} 21:30",
            done.notes[0],
        )
    assert place.rows("close", "volume", "revision", feed=DAILY_BARS) == [
        (100.0, 100.0, 0),
        (102.0, 101.0, 0),
        (104.0, 102.0, 0),
    ]


def test_the_same_bytes_are_the_same_delivery_whenever_they_are_read(
    place: Place, write: Write, new_york: Calendar
) -> None:
    spec = FilesSourceSpec(path=str(write(daily_bars=bars({"A": [100.0, 102.0]}))))
    source = FilesSource(spec, new_york)
    assert place.take(source, DAILY_BARS, now=morning(1)).omitted == 1
    again = place.take(FilesSource(spec, new_york), DAILY_BARS, now=LATER)
    assert (again.new, again.omitted) == (0, 1)
    assert "2020-01-03 15:00 UTC" in again.notes[0]  # when it was first read
    # Months one by one read the file again, as it was delivered then.
    other = Place(place.root.parent / "other", new_york)
    other.take(source, DAILY_BARS, now=morning(1), months=["2019-12"])
    assert other.take(source, DAILY_BARS, now=LATER, months=["2020-01"]).omitted == 1
    assert other.rows("event_date", feed=DAILY_BARS) == [(SESSIONS[0],)]


def test_an_interrupted_ingest_keeps_the_instant_of_its_delivery(
    place: Place, write: Write, new_york: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(daily_bars=bars({"A": [100.0, 102.0]}))
    source = FilesSource(FilesSourceSpec(path=str(folder)), new_york)

    def breaks(self: FilesSource, feed: str) -> pl.DataFrame:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FilesSource, "rows", breaks)
        with pytest.raises(KeyboardInterrupt):
            place.take(source, DAILY_BARS, now=morning(1))
    assert place.take(source, DAILY_BARS, now=LATER).omitted == 1


def test_a_file_beside_newer_ones_keeps_its_own_instant(
    place: Place, tmp_path: Path, new_york: Calendar
) -> None:
    folder = tmp_path / "parts" / "daily_bars"
    folder.mkdir(parents=True)
    table = bars({"A": [100.0, 102.0, 104.0]})
    source = FilesSource(FilesSourceSpec(path=str(folder.parent)), new_york)
    table.head(2).write_parquet(folder / "1.parquet")
    assert place.take(source, DAILY_BARS, now=morning(1)).omitted == 1
    table.tail(1).write_parquet(folder / "2.parquet")
    done = place.take(source, DAILY_BARS, now=LATER)
    # The second bar was a snapshot when its file came; the file of the third says nothing of it.
    assert (done.new, done.omitted) == (1, 1)
    assert [row[0] for row in place.rows("event_date", feed=DAILY_BARS)] == [
        SESSIONS[0],
        SESSIONS[2],
    ]


def test_a_query_with_rows_that_were_not_public_is_due_again(place: Place) -> None:
    told = Told(rates((JAN2, 0.01), (JAN3, 0.02)))
    assert place.take(told, now=EVENING).omitted == 1
    done = place.take(told, now=LATER)
    assert (done.new, done.omitted, done.notes) == (1, 0, ())
    assert told.reads == 2
    assert place.take(told, now=LATER).new == 0
    assert told.reads == 2


def test_events_of_a_day_to_come_wait_for_a_later_delivery(
    place: Place, write: Write, new_york: Calendar
) -> None:
    table = bars({"A": [1.0] * 3, "B": [1.0] * 3})
    listed = pl.DataFrame(
        {
            "symbol": ["A", "B"],
            "sector": "x",
            "start": [SESSIONS[0]] * 2,
            "end": [None, SESSIONS[2]],
            "exit": ["active", "delisted"],
        }
    )
    spells = pl.DataFrame(
        {"symbol": ["A"], "start": [SESSIONS[0]], "end": [SESSIONS[5]]},
        schema_overrides={"end": pl.Date},
    )
    paid = pl.DataFrame(
        {"symbol": ["A"] * 2, "ex_date": [SESSIONS[0], SESSIONS[5]], "amount": [0.5, 0.25]}
    )
    folder = write(daily_bars=table, listings=listed, membership=spells, dividends=paid)
    source = FilesSource(FilesSourceSpec(path=str(folder)), new_york)
    stated = ("listings", "membership", "dividends")
    for feed in stated:
        assert place.take(source, FEEDS[feed], now=morning(2)).omitted == 1
    assert [row[1] for row in place.rows("symbol", "exit", feed=LISTINGS)] == ["active"] * 2
    assert place.rows("member", feed=FEEDS["membership"]) == [(True,)]
    assert place.rows("amount", feed=FEEDS["dividends"]) == [(0.5,)]
    for feed in stated:  # the same bytes, and no new bars: the same delivery
        assert place.take(source, FEEDS[feed], now=LATER).omitted == 1
    # New bars are a new delivery of all events, though the bytes of their files never change.
    source = FilesSource(FilesSourceSpec(path=str(write(daily_bars=table.reverse()))), new_york)
    for feed in stated:
        done = place.take(source, FEEDS[feed], now=LATER)
        assert (done.new, done.revised, done.omitted) == (1, 0, 0)
    assert place.rows("event_date", "member", feed=FEEDS["membership"])[1:] == [
        (SESSIONS[5], False)
    ]


# Factors that come late.


def adjusted(closes: list[float], shares: list[float | None]) -> pl.DataFrame:
    table = bars({"A": closes})
    return table.with_columns(adj_close=pl.col("close") * pl.Series(shares, dtype=pl.Float64))


@pytest.mark.parametrize("factor", [0.97, 0.5])
def test_a_factor_that_was_not_given_is_unknown_until_a_delivery_has_it(
    place: Place, write: Write, new_york: Calendar, factor: float
) -> None:
    closes = [100.0, 101.0, 101.0 * factor, 102.0 * factor]

    def deliver(table: pl.DataFrame, n: int) -> Ingested:
        spec = FilesSourceSpec(path=str(write(daily_bars=table)), price_level="raw")
        return place.take(FilesSource(spec, new_york), DAILY_BARS, now=NOW + timedelta(days=n))

    deliver(adjusted(closes[:2], [1.0, 1.0]), 0)
    assert deliver(adjusted(closes[:3], [factor, factor, None]), 1).notes == ()
    assert place.rows("adjustment_factor", feed=DAILY_BARS) == [(1.0,), (1.0,), (None,)]
    done = deliver(adjusted(closes, [factor, factor, 1.0, 1.0]), 2)
    assert (done.new, done.revised) == (1, 1)
    assert f"not known, now {factor}; panel rows of sessions before" in done.notes[0]
    told = place.rows("revision", "adjustment_factor", "available_at", feed=DAILY_BARS)
    assert [row[:2] for row in told] == [
        (0, 1.0),
        (0, 1.0),
        (0, None),
        (1, pytest.approx(factor, rel=1e-12)),
        (0, 1.0),
    ]
    assert told[3][2] == NOW + timedelta(days=2)  # known from then on


def test_a_forgotten_factor_is_a_revision_and_those_that_follow_stay(place: Place) -> None:
    closes = {"A": [100.0, 50.0, 51.0, 52.0]}
    plain = [1.0, 1.0, 1.0, 1.0]
    place.take(day_bars({"A": closes["A"][:3]}, adjustment_factor=pl.Series(plain[:3])), DAILY_BARS)
    mended = day_bars(closes, adjustment_factor=pl.Series([1.0, 0.5, 1.0, 1.0]))
    done = place.take(mended, DAILY_BARS, now=LATER)
    assert (done.new, done.revised) == (1, 1)
    assert done.notes == (
        "the adjustment factor of 1 stored bars was corrected, first A of 2020-01-03: 1, now 0.5; "
        "panel rows of sessions before this correction keep the old one",
    )
    again = place.take(mended.reverse(), DAILY_BARS, now=LATER)
    assert (again.new, again.revised, again.notes) == (0, 0, ())


def test_a_factor_of_a_column_with_gaps_is_unknown_and_without_the_column_one(
    place: Place,
) -> None:
    gaps = day_bars({"A": [1.0, 2.0]}, adjustment_factor=pl.Series([1.0, None]))
    place.take(gaps, DAILY_BARS)
    other = Place(place.root.parent / "other", place.calendar)
    other.take(day_bars({"A": [1.0, 2.0]}), DAILY_BARS)
    assert place.rows("adjustment_factor", feed=DAILY_BARS) == [(1.0,), (None,)]
    assert other.rows("adjustment_factor", feed=DAILY_BARS) == [(1.0,), (1.0,)]


def test_a_delivery_without_the_column_of_factors_takes_no_split_back(place: Place) -> None:
    closes = {"A": [10.0, 5.0]}
    split = day_bars(closes, adjustment_factor=pl.Series([1.0, 0.5]), turnover_value=pl.lit(7.0))
    place.take(split, DAILY_BARS)
    with pytest.raises(FeedError, match=r"neither adjustment_factor nor adj_close, and 1 stored"):
        place.take(day_bars(closes), DAILY_BARS, now=LATER)
    assert place.rows("adjustment_factor", feed=DAILY_BARS) == [(1.0,), (0.5,)]
    # Another column may go, and is named.
    done = place.take(split.drop("turnover_value"), DAILY_BARS, now=LATER)
    assert [note.split(";")[0] for note in done.notes] == [
        "the column turnover_value is delivered no more"
    ]


def test_rounding_of_a_penny_share_corrects_no_factor(
    place: Place, write: Write, new_york: Calendar
) -> None:
    closes = [0.52, 0.53, 0.51, 0.54, 0.52, 0.55]

    def deliver(scale: float, n: int, day: int) -> Ingested:
        table = bars({"A": closes[:n]}).with_columns(
            pl.col("open", "high", "low", "close").round(2),
            adj_close=(pl.col("close") * scale).round(2),
        )
        spec = FilesSourceSpec(path=str(write(daily_bars=table)))
        return place.take(FilesSource(spec, new_york), DAILY_BARS, now=NOW + timedelta(days=day))

    deliver(1.0, 5, 0)
    # A dividend of 7 % after the stored bars: all adjusted closes are rounded again.
    done = deliver(0.93, 5, 1)
    assert (done.revised, done.notes) == (0, ())


def test_a_damaged_note_is_written_anew(place: Place) -> None:
    told = rates((JAN2, 0.01))
    place.take(told)
    note = place.root / "us" / "_deliveries" / "rates" / "manifest.json"
    note.write_text(note.read_text()[:40])
    assert place.take(told).unchanged == 1
    assert place.take(told).unchanged == 0  # covered again
