"""`import-check`: all that is wrong or odd about a folder, at once, with places."""

import json
import re
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.sources.conftest import SESSIONS, Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds.problem import Problem
from alpha_assets.sources.files.check import ImportReport, import_check
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec

PLAIN = bars({"A": [10.0, 11.0, 12.0, 11.0, 10.0, 11.0, 12.0, 13.0], "B": [5.0, 6.0] * 4})


def named(problems: tuple[Problem, ...]) -> dict[str, Problem]:
    return {f"{problem.feed}.{problem.rule}": problem for problem in problems}


def first(problem: Problem) -> str:
    return str(problem.examples[0])


# By hand.


def test_a_sound_folder_has_nothing_to_say(write: Write, new_york: Calendar) -> None:
    listed = pl.DataFrame({"symbol": ["A", "B"], "sector": ["T", "T"]})
    spells = pl.DataFrame({"symbol": ["A"], "start": [SESSIONS[0]], "end": [None]})
    spells = spells.cast({"end": pl.Date})
    folder = write(daily_bars=PLAIN, listings=listed, membership=spells)
    report = import_check(folder, new_york)
    assert report.errors == ()
    assert report.warnings == ()
    assert report.rows == {"daily_bars": 16, "listings": 2, "membership": 1}
    assert "an import would go through" in report.text()


def test_all_errors_are_reported_at_once_with_places(write: Write, new_york: Calendar) -> None:
    table = PLAIN.with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(-1.0).otherwise(pl.col("open")).alias("open"),
        pl.when(pl.int_range(pl.len()) == 9).then(1.0).otherwise(pl.col("high")).alias("high"),
        pl.when(pl.int_range(pl.len()) == 15)
        .then(date(2020, 1, 12))  # a Sunday
        .otherwise(pl.col("date"))
        .alias("date"),
    )
    table = pl.concat([table, table[[0]]])
    listed = pl.DataFrame(
        {
            "symbol": ["A", "B"],
            "sector": ["T", "T"],
            "start": [SESSIONS[3], None],
            "end": [SESSIONS[1], None],
            "exit": ["active", "gone"],
        }
    )
    spells = pl.DataFrame({"symbol": ["A"], "start": [SESSIONS[3]], "end": [SESSIONS[1]]})
    rates = pl.DataFrame({"date": SESSIONS[:1], "rate": [0.01]})
    folder = write(daily_bars=table, listings=listed, membership=spells, rates=rates)
    (folder / "benchmark.parquet").write_bytes(b"PAR1 no more")

    found = named(import_check(folder, new_york).errors)

    assert set(found) == {
        "daily_bars.duplicate_key",
        "daily_bars.price_not_positive",
        "daily_bars.high_below_low",
        "daily_bars.outside_high_low",
        "daily_bars.outside_calendar",
        "listings.end_before_start",
        "listings.unknown_exit",
        "membership.end_before_start",
        "rates.missing_column",
        "benchmark.unreadable",
    }
    assert found["daily_bars.duplicate_key"].count == 2
    assert first(found["daily_bars.price_not_positive"]).startswith(
        "daily_bars.parquet row 2: 2020-01-03 A open = -1.0"
    )
    assert first(found["daily_bars.high_below_low"]).startswith(
        "daily_bars.parquet row 10: 2020-01-03 B high = 1.0, low = 5.9"
    )
    assert first(found["daily_bars.outside_calendar"]) == (
        "daily_bars.parquet row 16: 2020-01-12 B"
    )
    assert first(found["listings.unknown_exit"]) == "listings.parquet row 2: B exit = gone"
    assert "'cash_rate_annual'; it has date, rate" in first(found["rates.missing_column"])


def test_what_is_odd_is_counted_and_shown(write: Write, new_york: Calendar) -> None:
    prices = bars(
        {
            "JUMP": [10.0, 10.5, 21.0, 22.0, 21.0, 22.0, 21.0, 22.0],
            "GAP": [10.0, 11.0, 12.0, 13.0, 12.0, 11.0, 12.0, 13.0],
            "STALE": [7.0, 7.0, 7.0, 7.0, 7.0, 8.0, 7.0, 7.0],
            "GONE": [3.0, 3.1, 3.2],
        }
    )
    day, symbol = pl.col("date"), pl.col("symbol")
    table = prices.filter(
        (day != SESSIONS[6]),  # for all
        ~((symbol == "GAP") & day.is_in(SESSIONS[2:5])),
    ).with_columns(
        pl.when((symbol == "JUMP") & (day == SESSIONS[1]))
        .then(0.0)
        .otherwise(pl.col("volume"))
        .alias("volume"),
        pl.when((symbol == "GONE") & (day == SESSIONS[1]))
        .then(None)
        .otherwise(pl.col("open"))
        .alias("open"),
        note=pl.lit("x"),
    )
    folder = write(daily_bars=table.reverse().sort("close"), gossip=table)
    (folder / "README").write_text("hello")

    report = import_check(folder, new_york)

    found = named(report.warnings)
    assert report.errors == ()
    assert {name: problem.count for name, problem in found.items()} == {
        "(folder).unknown_file": 2,
        "daily_bars.unknown_column": 1,
        "daily_bars.unsorted": 1,
        "daily_bars.partly_empty": 1,
        "daily_bars.jump": 1,
        "daily_bars.session_missing_for_all": 1,
        "daily_bars.gap": 1,
        "daily_bars.zero_volume": 1,
        "daily_bars.stale_run": 1,
        "daily_bars.vanished_symbol": 1,
    }
    assert "gossip.parquet: neither a feed that this version reads nor one that" in report.text()
    assert "before = 10.5, now = 21.0" in first(found["daily_bars.jump"])
    assert f"{SESSIONS[5]} GAP sessions_missing = 3" in first(found["daily_bars.gap"])
    assert str(SESSIONS[6]) in first(found["daily_bars.session_missing_for_all"])
    assert f"{SESSIONS[0]} STALE close = 7.0, bars = 5" in first(found["daily_bars.stale_run"])
    assert f"{SESSIONS[2]} GONE" in first(found["daily_bars.vanished_symbol"])


def test_an_adjusted_jump_is_none(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [100.0, 50.0, 51.0]})
    split = table.with_columns(adjustment_factor=pl.Series([1.0, 0.5, 1.0]))
    assert not import_check(write(daily_bars=split), new_york).warnings
    restated = table.with_columns(adj_close=pl.Series([50.0, 50.0, 51.0]))
    assert not import_check(write(daily_bars=restated), new_york).warnings
    assert "daily_bars.jump" in named(import_check(write(daily_bars=table), new_york).warnings)


def test_tables_that_disagree_are_named(write: Write, new_york: Calendar) -> None:
    listed = pl.DataFrame(
        {
            "symbol": ["A", "NOBARS"],
            "sector": ["T", "T"],
            "start": [SESSIONS[1], SESSIONS[0]],
            "end": [SESSIONS[3], None],
            "exit": ["delisted", "active"],
        }
    )
    spells = pl.DataFrame(
        [
            ("A", SESSIONS[0], SESSIONS[4]),
            ("A", SESSIONS[2], SESSIONS[5]),
            ("B", SESSIONS[1], SESSIONS[1]),
            ("M", SESSIONS[1], None),
            ("M", SESSIONS[3], None),
        ],
        schema=["symbol", "start", "end"],
        orient="row",
    )
    folder = write(daily_bars=PLAIN, listings=listed, membership=spells)
    found = named(import_check(folder, new_york).warnings)
    assert {name: first(problem) for name, problem in found.items()} == {
        "listings.listing_without_bars": "listings.parquet row 2: NOBARS",
        "daily_bars.bars_without_listing": "B",
        "daily_bars.bars_outside_listing": (
            "A first = 2020-01-02, start = 2020-01-03, last = 2020-01-13, end = 2020-01-07"
        ),
        "membership.overlapping_spells": (
            "membership.parquet row 2: A start = 2020-01-06, end = 2020-01-09, "
            "end_before = 2020-01-08"
        ),
        "membership.empty_spell": (
            "membership.parquet row 3: B start = 2020-01-03, end = 2020-01-03"
        ),
        "membership.member_without_bars": "membership.parquet row 4: M",
    }
    assert found["membership.overlapping_spells"].count == 2


# Promises.


def test_the_report_is_plain_values(write: Write, new_york: Calendar) -> None:
    folder = write(daily_bars=PLAIN.with_columns(low=pl.lit(-1.0)))
    told = json.loads(json.dumps(import_check(folder, new_york).as_json()))
    assert set(told) == {"errors", "warnings", "feeds", "rows"}
    assert told["feeds"] == ["daily_bars"]
    assert told["rows"] == {"daily_bars": 16}
    (error,) = told["errors"]
    assert (error["rule"], error["count"]) == ("price_not_positive", 16)
    assert error["examples"][0]["file"] == "daily_bars.parquet"
    assert error["examples"][0]["row"] == 1
    assert error["examples"][0]["key"] == "2020-01-02 A"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t,
        lambda t: t.with_columns(high=pl.col("low") / 2),
        lambda t: t.drop("volume"),
        lambda t: t.with_columns(pl.col("close").cast(pl.String)),
        lambda t: pl.concat([t, t[:2]]),
        lambda t: t.with_columns(symbol=pl.lit(None, pl.String)),
        lambda t: t.with_columns(date=pl.col("date") + timedelta(days=2)),
        lambda t: t.clear(),
    ],
)
def test_what_the_check_lets_through_can_be_read_and_nothing_else(
    write: Write, new_york: Calendar, change: object
) -> None:
    folder = write(daily_bars=change(PLAIN))  # type: ignore[operator]
    report = import_check(folder, new_york)
    source = FilesSource(FilesSourceSpec(path=str(folder)), new_york)
    if report.errors:
        with pytest.raises(FeedError) as raised:
            source.rows("daily_bars")
        assert all(problem.rule in str(raised.value) for problem in report.errors)
    else:
        assert source.rows("daily_bars").height == PLAIN.height


def test_the_market_s_exit_words_are_used(write: Write, new_york: Calendar) -> None:
    listed = pl.DataFrame({"symbol": ["A", "B"], "sector": "T", "exit": ["here", "here"]})
    folder = write(daily_bars=PLAIN, listings=listed)
    assert "listings.unknown_exit" in named(import_check(folder, new_york).errors)
    spec = FilesSourceSpec(exit_words={"here": "active"})
    assert import_check(folder, new_york, spec).errors == ()


def test_a_symbol_whose_exit_is_listed_did_not_vanish(write: Write, new_york: Calendar) -> None:
    prices = bars({"A": [1.0, 1.1, 1.2], "B": [1.0, 1.1]})
    listed = pl.DataFrame({"symbol": ["A", "B"], "sector": "T", "exit": ["active", "acquired"]})
    folder = write(daily_bars=prices, listings=listed)
    assert import_check(folder, new_york).warnings == ()


# Refusals.


def test_a_folder_that_is_empty_or_has_no_bars_is_an_error(
    new_york: Calendar, tmp_path: Path
) -> None:
    report = import_check(tmp_path, new_york)
    assert [problem.rule for problem in report.errors] == ["empty_folder"]
    assert report.text().splitlines()[1:] == [
        "error: (folder): empty_folder (1): nothing lies in it; lay daily_bars.parquet, "
        "daily_bars.csv or a folder daily_bars/ there",
        "1 kind of error, 0 kinds of warning; an import would stop",
    ]
    (tmp_path / "daily_bars").mkdir()  # holds no .parquet
    report = import_check(tmp_path, new_york)
    assert [problem.rule for problem in report.errors] == ["missing_feed"]
    assert "a folder without .parquet or .csv files" in report.text()
    with pytest.raises(FeedError, match="there is no such folder"):
        import_check(tmp_path / "nowhere", new_york)


def test_a_feed_in_two_forms_is_an_error(write: Write, new_york: Calendar) -> None:
    folder = write(daily_bars=PLAIN)
    PLAIN.write_csv(folder / "daily_bars.csv")
    (error,) = import_check(folder, new_york).errors
    assert (error.rule, "keep one of them" in first(error)) == ("two_forms", True)


# Agreement with what is known of the real data.


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("us_sp500", {"daily_bars": 1_850_756, "listings": 701, "membership": 726}),
        ("us_stocknet88", {"daily_bars": 108_592}),
    ],
)
def test_real_prices_have_no_errors(
    shared_data: Path, new_york: Calendar, name: str, counts: dict[str, int]
) -> None:
    words = {"active_at_cut": "active", "delisted_or_acquired": "delisted"}
    report = import_check(shared_data / name, new_york, FilesSourceSpec(exit_words=words))
    # One folder has tweets of a day in columns of their own: no `news` of the contract.
    assert [problem for problem in report.errors if problem.feed != "news"] == []
    assert {feed: n for feed, n in report.rows.items() if feed != "news"} == counts


def test_japan_lacks_two_sessions(shared_data: Path, tokyo_calendar: Calendar) -> None:
    spec = FilesSourceSpec(exit_words={"active_at_cut": "active"})
    report: ImportReport = import_check(shared_data / "jp_top500", tokyo_calendar, spec)
    assert report.errors == ()
    missing = named(report.warnings)["daily_bars.session_missing_for_all"]
    assert re.findall(r"\d{4}-\d\d-\d\d", str(missing)) == ["2015-12-25", "2016-07-11"]


def test_the_side_tables_are_named_as_none_of_ours(shared_data: Path, new_york: Calendar) -> None:
    report = import_check(shared_data / "side", new_york)
    assert [problem.rule for problem in report.errors] == ["missing_feed"]
    assert named(report.warnings)["(folder).unknown_file"].count == 6


def test_rows_that_are_not_public_yet_are_named(write: Write, new_york: Calendar) -> None:
    ahead = new_york.sessions[-3].item()  # years from now
    table = pl.concat([bars({"A": [1.0]}), bars({"A": [1.0]}, [ahead])])
    early = [
        p
        for p in import_check(write(daily_bars=table), new_york).warnings
        if p.rule == "not_public_yet"
    ]
    assert [p.count for p in early] == [1]
    assert str(ahead) in str(early[0])
