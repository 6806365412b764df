"""A feed that a market declares for itself: its words, its clock, its rows, what is refused."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.sources.conftest import Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError, SpecError
from alpha_assets.feeds import FEEDS, Feed
from alpha_assets.feeds.base import INSTANT, Publication, Stamped
from alpha_assets.feeds.custom import OwnFeedSpec, check_name
from alpha_assets.feeds.ingest import Ingested, ingest
from alpha_assets.sources.files.check import ImportReport, import_check
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.spec import parse_spec
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

D = date
NOW = datetime(2020, 3, 2, 12, tzinfo=UTC)
EVENING = {"sessions": 0, "days": 0, "at": "18:00:00"}
FRIDAY, MONDAY, TUESDAY = D(2020, 1, 3), D(2020, 1, 6), D(2020, 1, 7)


def own(name: str = "mood", **settings: Any) -> Feed:
    tables = {"scope": "symbol", "columns": {"sentiment": "number"}, **settings}
    return parse_spec(tables, OwnFeedSpec, origin="us.toml").feed(name)


def plain_bars(n: int = 8) -> pl.DataFrame:
    return bars({"A": [10.0 + k % 3 for k in range(n)]})


def at(*words: str | None) -> pl.Series:
    instants = [None if word is None else datetime.fromisoformat(word) for word in words]
    return pl.Series("available_at", instants, dtype=INSTANT)


def reader(folder: Path, feed: Feed, calendar: Calendar, **spec: Any) -> FilesSource:
    spec = {"path": str(folder), **spec}
    return FilesSource(FilesSourceSpec.model_validate(spec), calendar, {feed.name: feed})


def stored(source: FilesSource, feed: Feed, root: Path) -> pl.DataFrame:
    table = RawTable(Store(str(root)), "us", feed, source.calendar.zone)
    ingest(table, feed, source, source.calendar, now=NOW)
    return table.read().sort(*feed.key).collect()


def seen(rows: pl.DataFrame, calendar: Calendar) -> list[str]:
    """Return the session that first sees each row."""
    instants = rows["available_at"].dt.replace_time_zone(None).to_numpy()
    return [str(day) for day in calendar.sessions[calendar.effective(instants)]]


def checked(folder: Path, feed: Feed, calendar: Calendar) -> ImportReport:
    return import_check(folder, calendar, FilesSourceSpec(), {feed.name: feed})


def rules(problems: tuple[Any, ...]) -> list[str]:
    return [f"{problem.feed}.{problem.rule}" for problem in problems]


# By hand.


def test_a_declaration_becomes_a_feed() -> None:
    feed = own(
        columns={"sentiment": "number", "is_loud": "flag", "topics": "vector(3)"},
        max_stale=5,
        publication={"sessions": 1, "days": 2, "at": "18:00:00"},
        about="What people say.",
    )
    assert (feed.name, feed.key, feed.scope) == ("mood", ("event_date", "symbol"), "symbol")
    assert {c.name: c.dtype for c in feed.columns} == {
        "sentiment": pl.Float64,
        "is_loud": pl.Boolean,
        "topics": pl.Array(pl.Float32, 3),
    }
    assert feed.publication == Publication("event_date", 1, 2, time(18))
    assert (feed.max_stale, feed.about, feed.joined) == (5, "What people say.", True)


def test_what_is_left_out_has_a_meaning() -> None:
    feed = own(scope="market")
    assert feed.key == ("event_date",)
    assert isinstance(feed.publication, Stamped)
    assert feed.max_stale == 20


def test_a_declared_publication_stamps_rows_and_their_own_stamp_wins(
    write: Write, new_york: Calendar, tmp_path: Path
) -> None:
    table = pl.DataFrame(
        {
            "date": [FRIDAY, MONDAY],
            "symbol": "A",
            "sentiment": [0.5, -0.5],
            "available_at": at(None, "2020-01-06T08:59:00-05:00"),
        }
    )
    feed = own(publication=EVENING)
    source = reader(write(daily_bars=plain_bars(), mood=table), feed, new_york)
    # Friday 18:00 is seen on Monday at 09:00; a stamp of a minute before the decision, then.
    assert seen(stored(source, feed, tmp_path / "s"), new_york) == ["2020-01-06", "2020-01-06"]


def test_publication_counts_sessions_and_then_days(
    write: Write, new_york: Calendar, tmp_path: Path
) -> None:
    table = pl.DataFrame({"date": [FRIDAY], "symbol": "A", "sentiment": [0.5]})
    folder = write(daily_bars=plain_bars(), mood=table)
    for sessions, days, session in ((0, 0, 6), (1, 0, 7), (0, 1, 6), (1, 1, 8), (2, 0, 8)):
        feed = own(publication={"sessions": sessions, "days": days, "at": "18:00:00"})
        rows = stored(reader(folder, feed, new_york), feed, tmp_path / f"s{sessions}{days}")
        assert seen(rows, new_york) == [f"2020-01-0{session}"]


def test_a_stamp_tells_the_date_of_the_market(
    write: Write, new_york: Calendar, tmp_path: Path
) -> None:
    # 02:00 UTC on the 7th is the evening of the 6th in New York.
    table = pl.DataFrame(
        {"symbol": ["A"], "sentiment": [0.5], "available_at": at("2020-01-07T02:00:00+00:00")}
    )
    feed = own()
    rows = stored(
        reader(write(daily_bars=plain_bars(), mood=table), feed, new_york), feed, tmp_path / "s"
    )
    assert rows["event_date"].to_list() == [MONDAY]
    assert seen(rows, new_york) == ["2020-01-07"]


def test_a_date_stands_where_both_are_given(
    write: Write, new_york: Calendar, tmp_path: Path
) -> None:
    table = pl.DataFrame(
        {
            "date": [FRIDAY, None],
            "symbol": "A",
            "sentiment": [0.5, 0.6],
            "available_at": at("2020-01-07T02:00:00+00:00", "2020-01-08T02:00:00+00:00"),
        }
    )
    feed = own()
    rows = stored(
        reader(write(daily_bars=plain_bars(), mood=table), feed, new_york), feed, tmp_path / "s"
    )
    assert rows["event_date"].to_list() == [FRIDAY, TUESDAY]


@pytest.mark.parametrize("scope", ["sector", "section", "market"])
def test_rows_may_be_of_a_sector_a_section_or_the_market(
    write: Write, new_york: Calendar, tmp_path: Path, scope: str
) -> None:
    key = {} if scope == "market" else {scope: "Tech"}
    table = pl.DataFrame({"date": [FRIDAY, MONDAY], **key, "sentiment": [0.5, 0.6]})
    feed = own(scope=scope, publication=EVENING)
    folder = write(daily_bars=plain_bars(), mood=table)
    rows = stored(reader(folder, feed, new_york), feed, tmp_path / "s")
    assert rows.select(feed.key).rows() == table.select("date", *key).rows()
    assert checked(folder, feed, new_york).errors == ()


def test_vectors_and_flags_are_read_from_lists(
    write: Write, new_york: Calendar, tmp_path: Path
) -> None:
    table = pl.DataFrame(
        {
            "date": [FRIDAY, MONDAY],
            "symbol": "A",
            "topics": [[1.0, 2.0, 3.0], None],
            "loud": [1, 0],
        }
    )
    feed = own(columns={"topics": "vector(3)", "loud": "flag"}, publication=EVENING)
    rows = stored(
        reader(write(daily_bars=plain_bars(), mood=table), feed, new_york), feed, tmp_path / "s"
    )
    assert rows["topics"].to_list() == [[1.0, 2.0, 3.0], None]
    assert rows["loud"].to_list() == [True, False]


def test_names_of_columns_are_mapped_for_it_too(write: Write, new_york: Calendar) -> None:
    table = pl.DataFrame({"Day": [FRIDAY], "symbol": "A", "score": [0.5]})
    feed = own(publication=EVENING)
    folder = write(daily_bars=plain_bars(), mood=table)
    words = {"mood": {"Day": "date", "score": "sentiment"}}
    source = reader(folder, feed, new_york, columns=words)
    assert source.rows("mood")["sentiment"].to_list() == [0.5]
    with pytest.raises(SpecError, match="'score' of mood is mapped to 'feeling'; want one of date"):
        reader(folder, feed, new_york, columns={"mood": {"score": "feeling"}})


# Promises.


def test_the_source_has_it_where_the_folder_does(write: Write, new_york: Calendar) -> None:
    table = pl.DataFrame({"date": [FRIDAY], "symbol": "A", "sentiment": [0.5]})
    feed = own(publication=EVENING)
    here = reader(write(daily_bars=plain_bars(), mood=table), feed, new_york)
    assert here.feeds() == ("daily_bars", "mood")
    absent = reader(write("other", daily_bars=plain_bars()), feed, new_york)
    assert absent.feeds() == ("daily_bars",)
    assert absent.off()["mood"] == "the folder has no mood.parquet, .csv or folder mood/"


def test_another_declaration_reads_the_same_file_again(write: Write, new_york: Calendar) -> None:
    table = pl.DataFrame({"date": [FRIDAY], "symbol": "A", "a": [0.5], "b": [1.0]})
    folder = write(daily_bars=plain_bars(), mood=table)
    one, two = own(columns={"a": "number"}), own(columns={"a": "number", "b": "number"})
    prints = {reader(folder, feed, new_york).fingerprint("mood") for feed in (one, two)}
    assert len(prints) == 2


def test_the_same_file_again_changes_nothing_and_a_correction_is_a_revision(
    write: Write, new_york: Calendar, tmp_path: Path
) -> None:
    table = pl.DataFrame({"date": [FRIDAY, MONDAY], "symbol": "A", "sentiment": [0.5, 0.6]})
    feed = own(publication=EVENING)

    def take(rows: pl.DataFrame, now: datetime) -> Ingested:
        source = reader(write(daily_bars=plain_bars(), mood=rows), feed, new_york)
        raw = RawTable(Store(str(tmp_path / "s")), "us", feed, new_york.zone)
        return ingest(raw, feed, source, new_york, now=now)

    assert take(table, NOW).new == 2
    assert take(table.reverse(), NOW).unchanged == 2
    done = take(table.with_columns(sentiment=pl.Series([0.5, 0.7])), NOW)
    assert (done.revised, done.unchanged) == (1, 1)


# Refusals.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("daily_bars", "there is a feed of that name"),
        ("news", "there is a feed of that name"),
        ("panel", "'panel' is in use here"),
        ("raw", "'raw' is in use here"),
        ("_mood", "'_mood' is no name of a feed"),
        ("Mood", "'Mood' is no name of a feed"),
        ("my mood", "is no name of a feed"),
        ("../mood", "is no name of a feed"),
        ("1mood", "is no name of a feed"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused(name: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        own(name)


def test_every_known_feed_keeps_its_name() -> None:
    for name in FEEDS:
        with pytest.raises(SpecError, match=rf"\[feeds.{name}\]"):
            check_name(name)
    check_name("mood")
    with pytest.raises(SpecError, match="'mood' is in use here"):
        check_name("mood", taken=["mood"])


@pytest.mark.parametrize(
    "word", ["float", "Number", "vector", "vector(0)", "vector(-1)", "vector(5000)", "vector(2.0)"]
)
def test_an_unknown_word_for_a_type_is_refused_with_the_list(word: str) -> None:
    with pytest.raises(SpecError, match=r"want one of number, flag, vector\(N\), N from 1 to 4096"):
        own(columns={"sentiment": word})


@pytest.mark.parametrize("column", ["symbol", "date", "available_at", "age", "_x", "Sentiment", ""])
def test_a_column_with_a_reserved_name_is_refused(column: str) -> None:
    with pytest.raises(SpecError, match="has no name for one"):
        own(columns={column: "number"})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"columns": {}}, "columns"),
        ({"columns": {"v": "vector(2)", "v_1": "number"}}, "'v_1' has the name of a vector's"),
        ({"scope": "world"}, "scope"),
        ({"max_stale": 0}, "max_stale"),
        ({"publication": {"sessions": -1, "at": "18:00:00"}}, "sessions"),
        ({"publication": {"sessions": 1}}, "publication.at"),
        ({"lag": 1}, "lag"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        own(**settings)


def test_without_a_publication_every_row_has_a_stamp(write: Write, new_york: Calendar) -> None:
    feed = own()
    bare = pl.DataFrame({"date": [FRIDAY], "symbol": "A", "sentiment": [0.5]})
    folder = write(daily_bars=plain_bars(), mood=bare)
    with pytest.raises(FeedError, match="there is no column 'available_at'"):
        reader(folder, feed, new_york).rows("mood")
    half = pl.concat([bare, bare.with_columns(date=pl.lit(MONDAY))]).with_columns(
        at("2020-01-03T23:00:00+00:00", None)
    )
    folder = write(daily_bars=plain_bars(), mood=half)
    with pytest.raises(
        FeedError, match=r"missing_available_at \(1\): .* \[feeds.mood.publication\]"
    ):
        reader(folder, feed, new_york).rows("mood")
    assert rules(checked(folder, feed, new_york).errors) == ["mood.missing_available_at"]


def test_with_neither_date_nor_stamp_nothing_can_be_said(write: Write, new_york: Calendar) -> None:
    feed = own(publication=EVENING)
    folder = write(
        daily_bars=plain_bars(), mood=pl.DataFrame({"symbol": ["A"], "sentiment": [0.5]})
    )
    with pytest.raises(FeedError, match="there is no column 'date or available_at'"):
        reader(folder, feed, new_york).rows("mood")
    assert rules(checked(folder, feed, new_york).errors) == ["mood.missing_column"]


def test_a_declared_column_that_is_not_there_is_named(write: Write, new_york: Calendar) -> None:
    feed = own(columns={"sentiment": "number", "topics": "vector(3)"}, publication=EVENING)
    table = pl.DataFrame({"date": [FRIDAY], "symbol": "A", "sentiment": [0.5]})
    folder = write(daily_bars=plain_bars(), mood=table)
    with pytest.raises(FeedError, match="there is no column 'topics'"):
        reader(folder, feed, new_york).rows("mood")


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        ([[1.0, 2.0, 3.0], [1.0, 2.0]], r"mood.parquet row 2: A length = 2"),
        ([[1.0, 2.0, 3.0], [1.0, None, 2.0]], r"mood.parquet row 2: A length = 3"),
        ([["a", "b", "c"], ["a", "b", "c"]], r"mood.parquet row 1: A length = 3, type = List"),
        ([0.5, 0.6], r"mood.parquet row 1: A type = Float64"),
    ],
)
def test_a_vector_of_another_width_is_named_with_its_row(
    write: Write, new_york: Calendar, topics: list[Any], words: str
) -> None:
    feed = own(columns={"topics": "vector(3)"}, publication=EVENING)
    table = pl.DataFrame({"date": [FRIDAY, MONDAY], "symbol": "A", "topics": topics})
    folder = write(daily_bars=plain_bars(), mood=table)
    with pytest.raises(FeedError, match=rf"topics is a list of 3 numbers, in Parquet.*\n.*{words}"):
        reader(folder, feed, new_york).rows("mood")


def test_a_vector_that_is_not_finite_is_named(write: Write, new_york: Calendar) -> None:
    feed = own(columns={"topics": "vector(2)"}, publication=EVENING)
    table = pl.DataFrame(
        {
            "date": [FRIDAY, MONDAY, TUESDAY],
            "symbol": "A",
            "topics": [[1.0, 2.0], None, [1.0, float("nan")]],
        }
    )
    with pytest.raises(FeedError, match=r"not_finite \(1\): topics: .*\n.*2020-01-07 A"):
        reader(write(daily_bars=plain_bars(), mood=table), feed, new_york).rows("mood")


def test_two_rows_of_a_day_are_refused(write: Write, new_york: Calendar) -> None:
    table = pl.DataFrame({"date": [FRIDAY] * 2, "symbol": "A", "sentiment": [0.5, 0.6]})
    feed = own(publication=EVENING)
    with pytest.raises(FeedError, match="event_date and symbol name one row"):
        reader(write(daily_bars=plain_bars(), mood=table), feed, new_york).rows("mood")


# What `import-check` says.


def test_a_sound_own_feed_has_nothing_to_say(write: Write, new_york: Calendar) -> None:
    table = pl.DataFrame({"date": [FRIDAY, MONDAY], "symbol": "A", "sentiment": [0.5, 0.6]})
    feed = own(publication=EVENING)
    report = checked(write(daily_bars=plain_bars(), mood=table), feed, new_york)
    assert (report.errors, report.warnings) == ((), ())
    assert report.rows["mood"] == 2


def test_a_row_that_came_after_its_successor_is_odd(write: Write, new_york: Calendar) -> None:
    stamps = [f"2020-01-{day:02}T23:00:00+00:00" for day in (9, 6, 7, 8, 9, 10)]
    days = [FRIDAY, MONDAY, TUESDAY]
    table = pl.DataFrame(
        {"date": days * 2, "symbol": ["A"] * 3 + ["B"] * 3, "sentiment": 0.5}
    ).with_columns(at(*stamps))
    both = bars({"A": [1.0, 2.0] * 4, "B": [1.0, 2.0] * 4})
    report = checked(write(daily_bars=both, mood=table), own(), new_york)
    (late,) = [p for p in report.warnings if p.rule == "published_late"]
    assert (late.count, late.examples[0].key) == (1, "2020-01-03 A")
    assert "successor_available_at = 2020-01-06 23:00" in str(late.examples[0])


@pytest.mark.parametrize(("rest", "count"), [(29, 0), (30, 1)])
def test_a_feed_that_stops_while_bars_go_on_is_odd(
    write: Write, new_york: Calendar, rest: int, count: int
) -> None:
    sessions = new_york.between("2020-01-02", "2020-12-31").tolist()
    prices = bars({"A": [10.0 + k % 3 for k in range(2 + rest)]}, sessions)
    table = pl.DataFrame(
        {"date": [sessions[0], sessions[1]], "symbol": "A", "sentiment": [0.5, 0.6]}
    )
    report = checked(write(daily_bars=prices, mood=table), own(publication=EVENING), new_york)
    silent = [p for p in report.warnings if p.rule == "silent"]
    assert len(silent) == count
    if silent:
        assert str(silent[0].examples[0]) == f"{sessions[1]} then 30 sessions without a row"


def test_a_slow_feed_may_be_silent_as_long_as_it_lasts(write: Write, new_york: Calendar) -> None:
    sessions = new_york.between("2020-01-02", "2020-12-31").tolist()
    prices = bars({"A": [10.0 + k % 3 for k in range(131)]}, sessions)
    table = pl.DataFrame(
        {"date": [sessions[0], sessions[66]], "symbol": "A", "sentiment": [0.5, 0.6]}
    )
    folder = write(daily_bars=prices, mood=table)
    for max_stale, n in ((20, 2), (65, 1), (66, 0)):
        feed = own(publication=EVENING, max_stale=max_stale)
        found = [p.count for p in checked(folder, feed, new_york).warnings if p.rule == "silent"]
        assert sum(found) == n


def test_unknown_columns_and_symbols_without_bars_are_said(
    write: Write, new_york: Calendar
) -> None:
    table = pl.DataFrame(
        {"date": [FRIDAY] * 3, "symbol": ["A", "X", "Y"], "sentiment": [0.5] * 3, "note": "n"}
    )
    feed = own(publication=EVENING)
    folder = write(daily_bars=plain_bars(), mood=table)
    report = checked(folder, feed, new_york)
    assert report.errors == ()
    assert rules(report.warnings) == ["mood.unknown_column", "mood.symbol_without_bars"]
    assert (report.warnings[1].count, report.warnings[1].examples[0].key) == (2, "X")
    assert "note" not in reader(folder, feed, new_york).rows("mood").columns


def test_a_file_that_nobody_declared_is_named(write: Write, new_york: Calendar) -> None:
    table = pl.DataFrame({"date": [FRIDAY], "symbol": "A", "sentiment": [0.5]})
    report = import_check(write(daily_bars=plain_bars(), mood=table), new_york)
    assert "mood.parquet: neither a feed that this version reads nor one" in report.text()


# Against real data.


def test_tweets_of_a_day_are_a_feed_of_their_own(
    shared_data: Path, new_york: Calendar, tmp_path: Path
) -> None:
    theirs = shared_data / "us_stocknet88"
    (tmp_path / "daily_bars.parquet").symlink_to(theirs / "daily_bars.parquet")
    (tmp_path / "tweets.parquet").symlink_to(theirs / "news.parquet")
    numbers = ["n_tweets", *(f"emb_{k:02}" for k in range(32))]
    feed = own(
        "tweets",
        columns=dict.fromkeys(numbers, "number"),
        publication={"days": 1, "at": "00:00:00"},
    )
    report = checked(tmp_path, feed, new_york)
    assert report.errors == ()
    rows = stored(reader(tmp_path, feed, new_york), feed, tmp_path / "s")
    raw = pl.read_parquet(theirs / "news.parquet").sort("date", "symbol")
    assert rows["emb_31"].to_list() == raw["emb_31"].cast(pl.Float64).to_list()
    # A day ends at midnight: its tweets are seen by the first decision after that.
    day = D(2014, 1, 3)  # a Friday
    friday = rows.filter(pl.col("event_date") == day)
    assert set(seen(friday, new_york)) == {"2014-01-06"}
