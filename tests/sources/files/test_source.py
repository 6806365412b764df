"""The source `files`: forms, types, adjusted closes, spells, and what it refuses."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.sources.conftest import SESSIONS, Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError, SpecError
from alpha_assets.sources.files.check import import_check
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.spec import parse_spec

D = date


def source(folder: Path, calendar: Calendar, **spec: object) -> FilesSource:
    return FilesSource(FilesSourceSpec.model_validate({"path": str(folder), **spec}), calendar)


# By hand.


def test_a_factor_is_the_ratio_of_neighbouring_adjustments(
    write: Write, new_york: Calendar
) -> None:
    # A dividend of 2 on a close of 100, then a split of 1 to 2: adjusted closes of the vendor.
    adj = pl.Series("adj_close", [49.0, 50.0, 50.0, 51.0])
    table = bars({"A": [100.0, 100.0, 50.0, 51.0]}).with_columns(adj)

    rows = source(write(daily_bars=table), new_york).rows("daily_bars")

    # (49/100) / (50/100) = 0.98;  (50/100) / (50/50) = 0.5;  then nothing.
    assert rows["adjustment_factor"].to_list() == pytest.approx([1.0, 0.98, 0.5, 1.0], rel=1e-15)
    assert "adj_close" not in rows.columns


def test_a_factor_bridges_a_session_without_trade(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [100.0, None, 50.0]}).with_columns(adj_close=pl.Series([50.0, None, 50.0]))
    rows = source(write(daily_bars=table), new_york).rows("daily_bars")
    assert rows["adjustment_factor"].to_list() == [1.0, 1.0, 0.5]


def test_factors_are_computed_in_float64(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [100.0, 101.0]}).with_columns(adj_close=pl.Series([33.3, 33.9]))
    narrow = table.cast({"close": pl.Float32, "adj_close": pl.Float32})
    share = [float(narrow["adj_close"][i]) / float(narrow["close"][i]) for i in (0, 1)]
    rows = source(write(daily_bars=narrow), new_york).rows("daily_bars")
    assert rows["adjustment_factor"].dtype == pl.Float64
    assert rows["adjustment_factor"][1] == share[0] / share[1]


def test_limits_may_be_flags_or_prices(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [100.0, 100.0]})  # highs of 101, lows of 99
    flags = table.with_columns(upper_limit=pl.Series([0, 1]), lower_limit=pl.lit(False))
    rows = source(write(daily_bars=flags), new_york).rows("daily_bars")
    assert rows["upper_limit"].to_list() == [False, True]
    assert rows["lower_limit"].to_list() == [False, False]

    prices = table.with_columns(upper_limit=pl.Series([101.0, 130.0]), lower_limit=pl.lit(70.0))
    rows = source(write(daily_bars=prices), new_york).rows("daily_bars")
    assert rows["upper_limit"].to_list() == [True, False]
    assert rows["lower_limit"].to_list() == [False, False]


def test_listings_become_a_start_and_an_end(write: Write, new_york: Calendar) -> None:
    listed = pl.DataFrame(
        {
            "symbol": ["A", "B", "C"],
            "sector": ["Tech", "Food", "Food"],
            "start": [None, SESSIONS[1], None],
            "end": [None, None, SESSIONS[4]],
            "exit": ["here", "gone", "source_end"],
        }
    )
    prices = bars({"A": [1.0] * 8, "B": [1.0] * 3, "C": [1.0] * 5})
    folder = write(daily_bars=prices, listings=listed)
    words = {"here": "active", "gone": "delisted"}

    rows = source(folder, new_york, exit_words=words).rows("listings")

    told = rows.select("event_date", "symbol", "exit", "end", "exit_return").rows()
    assert told == [
        (SESSIONS[0], "A", "active", None, None),  # the first bar's session
        (SESSIONS[0], "C", "active", None, None),
        (SESSIONS[1], "B", "active", None, None),
        (SESSIONS[2], "B", "delisted", SESSIONS[2], 0.0),  # the last bar's session
        (SESSIONS[4], "C", "source_end", SESSIONS[4], 0.0),
    ]
    assert rows["sector_is_static"].all()


def test_a_symbol_of_one_session_has_its_end_alone(write: Write, new_york: Calendar) -> None:
    day = SESSIONS[0]
    listed = pl.DataFrame(
        {"symbol": ["A"], "sector": ["T"], "start": [day], "end": [day], "exit": ["delisted"]}
    )
    folder = write(daily_bars=bars({"A": [1.0]}), listings=listed)
    assert source(folder, new_york).rows("listings")["exit"].to_list() == ["delisted"]


def test_sectors_with_dates_are_not_static(write: Write, new_york: Calendar) -> None:
    listed = pl.DataFrame(
        {"symbol": ["A", "A"], "sector": ["Tech", "Food"], "start": [SESSIONS[0], SESSIONS[3]]}
    )
    folder = write(daily_bars=bars({"A": [1.0] * 5}), listings=listed)
    rows = source(folder, new_york).rows("listings")
    assert rows["sector"].to_list() == ["Tech", "Food"]
    assert not rows["sector_is_static"].any()


def test_membership_becomes_events_and_spells_that_touch_are_one(
    write: Write, new_york: Calendar
) -> None:
    spells = pl.DataFrame(
        [
            ("A", D(2020, 1, 6), None),
            ("B", D(2020, 1, 2), D(2020, 1, 6)),
            ("B", D(2020, 1, 6), D(2020, 1, 8)),  # touches
            ("B", D(2020, 1, 10), D(2020, 1, 10)),  # holds no session
            ("C", D(2020, 1, 2), D(2020, 1, 10)),
            ("C", D(2020, 1, 3), D(2020, 1, 6)),  # inside the one before
            ("C", D(2020, 1, 8), D(2020, 1, 13)),  # begins inside the first
        ],
        schema=["symbol", "start", "end"],
        orient="row",
    )
    folder = write(daily_bars=bars({"A": [1.0]}), membership=spells)
    rows = source(folder, new_york).rows("membership")
    assert rows.select("event_date", "symbol", "member").rows() == [
        (D(2020, 1, 2), "B", True),
        (D(2020, 1, 2), "C", True),
        (D(2020, 1, 6), "A", True),
        (D(2020, 1, 8), "B", False),
        (D(2020, 1, 13), "C", False),
    ]


# Promises.


def test_parquet_csv_and_a_folder_deliver_the_same(
    write: Write, new_york: Calendar, tmp_path: Path
) -> None:
    table = bars({"0050": [1.5, 2.5, None], "7203": [3.0, 3.25, 1e6]})
    whole = source(write(daily_bars=table), new_york).rows("daily_bars").drop("_file", "_row")
    text = tmp_path / "text"
    text.mkdir()
    table.write_csv(text / "daily_bars.csv")
    parts = tmp_path / "parts" / "daily_bars"
    parts.mkdir(parents=True)
    table[:4].write_parquet(parts / "1.parquet")
    table[4:].write_parquet(parts / "2.parquet")

    for folder in (text, tmp_path / "parts"):
        rows = source(folder, new_york).rows("daily_bars").drop("_file", "_row")
        assert rows.equals(whole)
    assert whole["symbol"].unique().sort().to_list() == ["0050", "7203"]


def test_rows_in_any_order_deliver_the_same(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [1.0, 2.0, 3.0], "B": [4.0, 5.0, 6.0]}).with_columns(
        adj_close=pl.col("close") / pl.Series([2, 1, 1, 1, 1, 1])
    )
    ordered = source(write(daily_bars=table), new_york).rows("daily_bars")
    mixed = table[[5, 0, 3, 2, 4, 1]]
    shuffled = source(write("mixed", daily_bars=mixed), new_york).rows("daily_bars")
    assert shuffled.drop("_file", "_row").equals(ordered.drop("_file", "_row"))
    assert shuffled["_row"].to_list() != ordered["_row"].to_list()  # as they lie in the file


def test_a_symbol_that_is_a_number_becomes_text(write: Write, new_york: Calendar) -> None:
    table = bars({"7203": [1.0]}).with_columns(pl.col("symbol").cast(pl.Int64))
    assert source(write(daily_bars=table), new_york).rows("daily_bars")["symbol"][0] == "7203"


def test_dates_at_midnight_are_dates(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [1.0, 2.0]}).with_columns(pl.col("date").cast(pl.Datetime("ns")))
    rows = source(write(daily_bars=table), new_york).rows("daily_bars")
    assert rows["event_date"].to_list() == SESSIONS[:2]


def test_a_stamp_of_its_own_is_delivered_in_utc(new_york: Calendar, tmp_path: Path) -> None:
    table = bars({"A": [1.0]}).with_columns(available_at=pl.lit("2020-01-02T16:30:00-05:00"))
    table.write_csv(tmp_path / "daily_bars.csv")
    rows = source(tmp_path, new_york).rows("daily_bars")
    assert rows["available_at"].to_list() == [datetime(2020, 1, 2, 21, 30, tzinfo=UTC)]


def test_an_adjusted_close_decides_price_level_and_basis(write: Write, new_york: Calendar) -> None:
    plain = bars({"A": [1.0]})
    raw = source(write("raw", daily_bars=plain), new_york)
    adjusted = source(
        write("adjusted", daily_bars=plain.with_columns(adj_close=pl.col("close"))), new_york
    )
    assert (raw.price_level, raw.basis) == ("raw", "price")
    assert (adjusted.price_level, adjusted.basis) == ("split_adjusted", "total_return")
    told = source(adjusted.folder, new_york, price_level="raw")
    assert (told.price_level, told.basis) == ("raw", "total_return")


def test_feeds_that_are_missing_are_named(write: Write, new_york: Calendar) -> None:
    rates = pl.DataFrame({"date": SESSIONS[:1], "cash_rate_annual": [0.01]})
    delivery = source(write(daily_bars=bars({"A": [1.0]}), rates=rates), new_york)
    assert delivery.feeds() == ("daily_bars", "rates")
    assert delivery.off()["dividends"] == (
        "the folder has no dividends.parquet, .csv or folder dividends/"
    )
    assert "exchange's is used" in delivery.off()["trading_calendar"]
    assert set(delivery.off()).isdisjoint(delivery.feeds())


def test_the_name_of_the_content_is_of_the_bytes_that_rows_are_made_from(
    write: Write, new_york: Calendar
) -> None:
    listed = pl.DataFrame({"symbol": ["A"], "sector": ["T"]})
    delivery = source(write(daily_bars=bars({"A": [1.0]}), listings=listed), new_york)
    before = {feed: delivery.content(feed) for feed in delivery.feeds()}
    assert before == {feed: delivery.content(feed) for feed in delivery.feeds()}

    write(daily_bars=bars({"A": [2.0]}))

    after = {feed: delivery.content(feed) for feed in delivery.feeds()}
    assert before["daily_bars"] != after["daily_bars"]
    assert before["listings"] != after["listings"]  # its start is the first bar's
    mapped = source(delivery.folder, new_york, exit_words={"x": "active"})
    assert mapped.content("listings") != after["listings"]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files for settled that were written just now."""
    monkeypatch.setattr("alpha_assets.sources.files.source.SETTLED_NS", -(10**18))


@pytest.mark.usefixtures("settled")
def test_the_fingerprint_of_settled_files_reads_none_of_them(
    write: Write, new_york: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(daily_bars=bars({"A": [1.0]}), listings=pl.DataFrame({"symbol": ["A"]}))
    opened: list[Path] = []
    whole = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: (opened.append(self), whole(self, *a, **k))[1]
    )
    before = {
        feed: source(folder, new_york).fingerprint(feed) for feed in ("listings", "daily_bars")
    }
    assert opened == []

    path = folder / "daily_bars.parquet"
    stat = path.stat()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"X")  # of the same size, with its old time set back
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    again = source(folder, new_york)
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert all(again.fingerprint(feed) != before[feed] for feed in before)


def test_the_fingerprint_of_a_file_that_changed_just_now_is_of_its_bytes(
    write: Write, new_york: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A change within one tick of the file system's clock leaves size and times as they are.
    monkeypatch.setattr("alpha_assets.sources.files.source.SETTLED_NS", 10**18)
    folder = write(daily_bars=bars({"A": [1.0]}))
    data = source(folder, new_york)
    assert data.fingerprint("daily_bars") == data.content("daily_bars")


def test_the_small_feeds_are_read_by_the_contract_s_names(write: Write, new_york: Calendar) -> None:
    day = SESSIONS[0]
    folder = write(
        daily_bars=bars({"A": [1.0]}),
        dividends=pl.DataFrame({"symbol": ["A"], "ex_date": [day], "amount": [0.5]}),
        borrow=pl.DataFrame(
            {"symbol": ["A"], "date": [day], "fee_bps_annual": [40], "available_shares": [9]}
        ),
        rates=pl.DataFrame({"date": [day], "cash_rate_annual": [0.01]}),
        benchmark=pl.DataFrame({"date": [day], "close": [3000.0], "name": ["SPX"]}),
    )
    delivery = source(folder, new_york)
    for feed in ("dividends", "borrow", "rates", "benchmark"):
        assert delivery.rows(feed)["event_date"].to_list() == [day]
    assert delivery.rows("borrow")["fee_bps_annual"].dtype == pl.Float64


# Refusals.


def test_without_a_folder_the_ways_to_name_one_are_said(
    new_york: Calendar, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ALPHA_DATA", raising=False)
    nameless = FilesSource(FilesSourceSpec(), new_york)
    assert "daily_bars" in nameless.feeds()  # the graph can be drawn
    with pytest.raises(FeedError, match=r"use --data DIR, set ALPHA_DATA, or write \[source\]"):
        nameless.rows("daily_bars")
    monkeypatch.setenv("ALPHA_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FeedError, match="nowhere: there is no such folder"):
        nameless.feeds()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop("close"), r"missing_column .*add what is missing"),
        (
            lambda t: t.with_columns(pl.col("close").cast(pl.String)),
            r"close is a number.*\n.*row 1",
        ),
        (lambda t: t.with_columns(pl.col("symbol").cast(pl.Binary)), "symbol is text"),
        (lambda t: t.with_columns(date=pl.lit("2020-01-02")), "date is a date, YYYY-MM-DD"),
        (
            lambda t: t.with_columns(pl.col("date").cast(pl.Datetime) + pl.duration(hours=1)),
            "date is a date",
        ),
        (lambda t: t.with_columns(date=D(202, 1, 2)), "impossible_date"),
        (lambda t: pl.concat([t, t[:1]]), r"duplicate_key \(2\).*keep the right one"),
        (lambda t: t.with_columns(low=pl.lit(0.0)), r"price_not_positive \(2\)"),
        (lambda t: t.with_columns(high=pl.col("low") / 2), r"high_below_low \(2\)"),
        (lambda t: t.with_columns(date=D(2020, 1, 4)), r"outside_calendar.*sessions of XNYS"),
        (lambda t: t.with_columns(adj_close=-1.0), "price_not_positive"),
        (
            lambda t: t.with_columns(adj_close=1.0, adjustment_factor=1.0),
            "two_adjustments .*keep one of them",
        ),
        (lambda t: t.with_columns(available_at=datetime(2020, 1, 2)), "an instant with a zone"),  # noqa: DTZ001
        (
            lambda t: t.with_columns(available_at=datetime(2019, 1, 2, tzinfo=UTC)),
            "available_before_event",
        ),
        (lambda t: t.with_columns(volume=-1.0), r"negative_volume \(2\)"),
        (lambda t: t.with_columns(close=float("nan")), "not_finite"),
        (lambda t: t.clear(), "empty_table.*leave the file out"),
    ],
)
def test_bars_that_cannot_be_right_are_named(
    write: Write, new_york: Calendar, change: object, words: str
) -> None:
    table = bars({"A": [1.0], "B": [2.0]})
    folder = write(daily_bars=change(table))  # type: ignore[operator]
    with pytest.raises(FeedError, match=words) as raised:
        source(folder, new_york).rows("daily_bars")
    assert str(folder) in str(raised.value)
    assert "daily_bars.parquet" in str(raised.value) or "two_adjustments" in words


def test_text_that_is_no_number_or_date_is_named_with_its_row(
    new_york: Calendar, tmp_path: Path
) -> None:
    header = "date,symbol,open,high,low,close,volume\n"
    lines = ["2020-01-02,A,1,1,1,1,5\n", "2020-02-30,A,1,1,1,1,5\n", "2020-01-06,A,1,n/a,1,1,5\n"]
    (tmp_path / "daily_bars.csv").write_text(header + "".join(lines))
    with pytest.raises(FeedError) as raised:
        source(tmp_path, new_york).rows("daily_bars")
    assert "daily_bars.csv row 2: A date = 2020-02-30" in str(raised.value)
    assert "daily_bars.csv row 3: 2020-01-06 A high = n/a" in str(raised.value)


def test_a_truncated_file_is_named(write: Write, new_york: Calendar) -> None:
    folder = write(daily_bars=bars({"A": [1.0] * 8}))
    file = folder / "daily_bars.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FeedError, match=r"unreadable .*deliver the file again\n.*daily_bars.parq"):
        source(folder, new_york).rows("daily_bars")
    with pytest.raises(FeedError, match="it is truncated or no table"):
        _ = source(folder, new_york).price_level


def test_an_empty_folder_and_one_without_bars_are_named(new_york: Calendar, tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="the folder is empty"):
        source(tmp_path, new_york).feeds()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FeedError, match=r"no daily_bars.parquet.*it holds notes.txt"):
        source(tmp_path, new_york).feeds()


def test_a_feed_in_two_forms_is_refused(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [1.0]})
    folder = write(daily_bars=table)
    table.write_csv(folder / "daily_bars.csv")
    with pytest.raises(FeedError, match=r"daily_bars.parquet and as daily_bars.csv; keep one"):
        source(folder, new_york).rows("daily_bars")


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ({"exit": ["gone"]}, r"unknown_exit .*exit_words\] \"theirs\" = \"ours\""),
        ({"start": [SESSIONS[1]], "end": [SESSIONS[0]]}, "end_before_start"),
        ({"exit": ["delisted"], "symbol": ["Z"]}, "exit_without_end"),
        ({"exit": ["source_end"], "exit_return": [0.1]}, "source_end_with_return"),
        ({"exit": ["delisted"], "exit_return": [-2.0]}, "impossible_exit_return"),
        ({"sector": None}, "missing_column"),
    ],
)
def test_listings_that_cannot_be_right_are_named(
    write: Write, new_york: Calendar, listed: dict[str, object], words: str
) -> None:
    made = {"symbol": ["A"], "sector": ["T"], **listed}
    table = pl.DataFrame({name: value for name, value in made.items() if value is not None})
    folder = write(daily_bars=bars({"A": [1.0, 2.0]}), listings=table)
    with pytest.raises(FeedError, match=words):
        source(folder, new_york).rows("listings")


def test_a_spell_that_ends_before_it_starts_is_named(write: Write, new_york: Calendar) -> None:
    spells = pl.DataFrame({"symbol": ["A"], "start": [SESSIONS[3]], "end": [SESSIONS[1]]})
    folder = write(daily_bars=bars({"A": [1.0]}), membership=spells)
    with pytest.raises(FeedError, match=r"end_before_start .*\n.*membership.parquet row 1: A"):
        source(folder, new_york).rows("membership")


def test_exit_words_are_mapped_to_ours_only() -> None:
    with pytest.raises(SpecError, match="'dead' is mapped to 'gone'; want one of active"):
        parse_spec({"exit_words": {"dead": "gone"}}, FilesSourceSpec, origin="us.toml")


def test_columns_of_other_names_are_mapped_by_the_market(write: Write, new_york: Calendar) -> None:
    plain = bars({"A": [100.0, 102.0]}).with_columns(adj_close=pl.col("close"))
    ours = source(write(daily_bars=plain), new_york).rows("daily_bars")
    words = {"Date": "date", "Code": "symbol", "AdjC": "adj_close"}
    renamed = plain.rename({ours: theirs for theirs, ours in words.items()})
    folder = write("renamed", daily_bars=renamed)
    spec = FilesSourceSpec(path=str(folder), columns={"daily_bars": words})
    theirs = FilesSource(spec, new_york)

    assert theirs.rows("daily_bars").equals(ours)
    assert (theirs.basis, theirs.price_level) == ("total_return", "split_adjusted")
    assert import_check(folder, new_york, spec).errors == ()
    other = FilesSource(FilesSourceSpec(path=str(folder)), new_york)
    assert other.content("daily_bars") != theirs.content("daily_bars")
    with pytest.raises(FeedError, match="there is no column 'date'"):
        other.rows("daily_bars")


def test_a_column_under_both_names_is_named(write: Write, new_york: Calendar) -> None:
    both = bars({"A": [100.0]}).with_columns(Code=pl.col("symbol"))
    spec = FilesSourceSpec(
        path=str(write(daily_bars=both)), columns={"daily_bars": {"Code": "symbol"}}
    )
    with pytest.raises(FeedError, match=r"column_twice .*\n.*'Code' and 'symbol'"):
        FilesSource(spec, new_york).rows("daily_bars")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"daily_bars": {"Date": "day"}}, "column 'Date' of daily_bars is mapped to 'day'"),
        ({"daily_bars": {"D": "date", "Date": "date"}}, "two columns of daily_bars are mapped"),
    ],
)
def test_columns_are_mapped_to_the_contract_s_only(
    columns: dict[str, dict[str, str]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        FilesSourceSpec(columns=columns)


@pytest.mark.parametrize(
    "setting",
    [
        {"columns": {"bars": {"Date": "date"}}},
        {"separators": {"bars": "|"}},
        {"trailers": ("bars",)},
    ],
)
def test_settings_are_of_feeds_that_a_folder_has(
    tmp_path: Path, new_york: Calendar, setting: dict[str, object]
) -> None:
    with pytest.raises(SpecError, match=rf"{next(iter(setting))}: 'bars' is no feed of a folder"):
        source(tmp_path, new_york, **setting)
    with pytest.raises(SpecError, match="'bars' is no feed of a folder"):
        import_check(tmp_path, new_york, FilesSourceSpec.model_validate(setting))


@pytest.mark.parametrize("separator", ["", "||", "a", '"', "\n"])
def test_a_separator_is_one_character(separator: str) -> None:
    with pytest.raises(ValueError, match="want one character"):
        FilesSourceSpec(separators={"rates": separator})


def test_two_columns_may_change_places(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [100.0, 102.0]}).with_columns(raw=pl.col("close") * 2)
    words = {"close": "adj_close", "raw": "close"}
    rows = source(
        write(daily_bars=table.with_columns(high=300.0)), new_york, columns={"daily_bars": words}
    ).rows("daily_bars")
    assert rows["close"].to_list() == [200.0, 204.0]
    assert rows["adjustment_factor"].to_list() == [1.0, 1.0]
