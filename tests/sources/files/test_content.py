"""Files that are no tables: each is named for what it is, by `import-check` and by the source."""

import bz2
import gzip
import os
import socket
import tempfile
import zipfile
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sources.conftest import Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.errors import AlphaAssetsError, FeedError
from alpha_assets.sources.files import tables
from alpha_assets.sources.files.check import ImportReport, import_check
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec

HEADER = "date,symbol,open,high,low,close,volume\n"
WHOLE = HEADER + "2020-01-02,A,1,1,1,1,10\n2020-01-03,A,1,1,1,1,20\n"


def zipped(name: str) -> bytes:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, WHOLE)
        file.seek(0)
        return file.read()


def checked(folder: Path, calendar: Calendar, content: bytes) -> ImportReport:
    (folder / "daily_bars.csv").write_bytes(content)
    return import_check(folder, calendar)


def source(folder: Path, calendar: Calendar) -> FilesSource:
    return FilesSource(FilesSourceSpec(path=str(folder)), calendar)


# By hand.


@pytest.mark.parametrize(
    ("content", "rule", "said"),
    [
        (gzip.compress(WHOLE.encode(), mtime=0), "not_csv", "this is gzip; unpack it"),
        (bz2.compress(WHOLE.encode()), "not_csv", "this is bzip2"),
        (zipped("daily_bars.csv"), "not_csv", "this is zip"),
        (zipped("[Content_Types].xml"), "not_csv", "this is an Excel workbook (.xlsx)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "not_csv", "this is an old Excel workbook"),
        (WHOLE.encode("utf-16"), "not_csv", "this is UTF-16; save it as UTF-8"),
        (WHOLE.encode("utf-16-le"), "not_csv", "this is UTF-16; save it as UTF-8"),
        (WHOLE.encode("utf-32"), "not_csv", "this is UTF-32"),
        (b"<!DOCTYPE html><html>Sorry</html>", "not_csv", "this is HTML or XML"),
        (b'[{"date": "2020-01-02"}]', "not_csv", "this is JSON"),
        (b"PAR1", "not_csv", "this is Parquet; name it .parquet"),
        (WHOLE.replace("\n", "\r").encode(), "line_ends", "lines end with CR alone"),
        (b"", "empty_file", "0 bytes"),
        (b"\n\n", "empty_file", "0 bytes"),
        (WHOLE.replace("A,", "\u00c5,").encode("latin-1"), "not_utf8", "row 1: byte 0xc5"),
        (WHOLE.replace(",", ";").encode(), "wrong_separator", 'daily_bars = ";"'),
        (WHOLE.replace(",", "\t").encode(), "wrong_separator", 'daily_bars = "\\t"'),
        (("x," * 20_000 + "y\n1\n").encode(), "too_many_columns", "20,001 columns"),
        (WHOLE.replace("open", "close").encode(), "column_twice", "'close'"),
    ],
)
def test_a_file_is_named_for_what_it_is(
    content: bytes, rule: str, said: str, tmp_path: Path, new_york: Calendar
) -> None:
    report = checked(tmp_path, new_york, content)
    assert rule in [problem.rule for problem in report.errors]
    assert said in report.text()
    with pytest.raises(FeedError, match=rule):
        source(tmp_path, new_york).rows("daily_bars")


@pytest.mark.parametrize(
    ("content", "warnings"),
    [
        (WHOLE + "\n\n\n", []),
        ("\n\n" + WHOLE, []),
        (WHOLE.replace("\n2020-01-03", "\n\n2020-01-03"), ["blank_line"]),
        (WHOLE + ",,,,,,\n", ["blank_line"]),
        (WHOLE + "   \n", ["blank_line"]),
        ("\ufeff" + WHOLE, []),
        (WHOLE.replace("\n", "\r\n"), []),
        (WHOLE.replace("A", '"A"'), []),
    ],
)
def test_manners_of_text_are_read(
    content: str, warnings: list[str], tmp_path: Path, new_york: Calendar
) -> None:
    report = checked(tmp_path, new_york, content.encode())
    assert report.errors == ()
    assert [problem.rule for problem in report.warnings] == warnings
    assert source(tmp_path, new_york).rows("daily_bars")["symbol"].to_list() == ["A", "A"]


def test_hidden_files_of_a_folder_are_not_read(tmp_path: Path, new_york: Calendar) -> None:
    folder = tmp_path / "daily_bars"
    folder.mkdir()
    (folder / "a.csv").write_text(WHOLE)
    (folder / "._a.csv").write_bytes(b"\x00\x05\x16\x07")  # as macOS leaves beside a copy
    assert import_check(tmp_path, new_york).errors == ()
    assert source(tmp_path, new_york).rows("daily_bars").height == 2


def test_words_in_all_numbers_are_named_with_their_row(tmp_path: Path, new_york: Calendar) -> None:
    report = checked(tmp_path, new_york, (WHOLE + "2020-01-06,A,NA,NA,NA,NA,NA\n").encode())
    assert [problem.rule for problem in report.errors] == ["wrong_type"] * 5
    assert "daily_bars.csv row 3: 2020-01-06 A open = NA" in report.text()


def test_decimal_commas_are_named(tmp_path: Path, new_york: Calendar) -> None:
    line = '2020-01-06,A,"1,5","1,5","1,5","1,5",10\n'
    report = checked(tmp_path, new_york, (HEADER + line).encode())
    assert "close is a number with a decimal point, not a comma" in report.text()
    assert "close = 1,5" in report.text()


def test_a_small_file_of_endless_rows_is_not_unpacked(
    write: Write, new_york: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 1)
    report = import_check(write(daily_bars=bars({"A": [1.0, 1.1]})), new_york)
    assert [problem.rule for problem in report.errors] == ["too_many_rows"]
    assert "daily_bars.parquet: 2 rows" in report.text()


def test_listings_are_judged_where_no_bars_can_be_read(write: Write, new_york: Calendar) -> None:
    listed = pl.DataFrame({"symbol": ["A"], "sector": ["T"], "exit": ["gone"]})
    report = import_check(write(listings=listed), new_york)
    assert {problem.rule for problem in report.errors} >= {"missing_feed", "unknown_exit"}


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "broken link", "loop"])
def test_what_is_no_regular_file_is_never_opened(
    kind: str, tmp_path: Path, new_york: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = Path("daily_bars.csv")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere.csv" if kind == "broken link" else path)
    report = import_check(tmp_path, new_york)
    assert [problem.rule for problem in report.errors] == ["no_regular_file"]
    data = source(tmp_path, new_york)
    for read in (data.fingerprint, data.rows):
        with pytest.raises(FeedError, match=r"regular"):
            read("daily_bars")
    with pytest.raises(FeedError, match=r"regular"):
        _ = data.basis


@pytest.mark.parametrize(
    "symbol",
    [
        *("A\x00B", "A\x1b[31m", "A\u200b", "A\u202eB", "A\u00a0B", "A\ue000", "A" * 1_000_000),
        *("A\u115fB", "\u3164", "A\u2800B", "A\ufe0f", "A\u034f", "A\U000e0101"),  # show nothing
    ],
)
def test_a_symbol_that_cannot_be_shown_is_refused_and_escaped(
    symbol: str, write: Write, new_york: Calendar
) -> None:
    folder = write(daily_bars=bars({symbol: [1.0, 1.1], "BRK B": [1.0, 1.1]}))
    report = import_check(folder, new_york)
    assert [(problem.rule, problem.count) for problem in report.errors] == [("bad_symbol", 2)]
    text = report.text()
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text) < 5_000
    assert symbol not in text


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"close": 5e-324, "low": 5e-324}, "implausible_price"),
        ({"high": 1e308}, "implausible_price"),
        ({"high": float("inf")}, "not_finite"),
        ({"volume": 1e300}, "implausible_amount"),
        ({"turnover_value": 1e-200}, "implausible_amount"),
        ({"adjustment_factor": 1e-9}, "implausible_factor"),
        ({"date": date(1, 1, 1)}, "impossible_date"),
        ({"date": date(9999, 12, 31)}, "impossible_date"),
    ],
)
def test_numbers_and_dates_have_bounds(
    change: dict[str, object], rule: str, write: Write, new_york: Calendar
) -> None:
    table = bars({"A": [1.0, 1.1, 1.2]}).with_columns(turnover_value=100.0, adjustment_factor=1.0)
    second = pl.int_range(pl.len()) == 1
    table = table.with_columns(
        pl.when(second).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in change.items()
    )
    report = import_check(write(daily_bars=table), new_york)
    assert rule in [problem.rule for problem in report.errors]
    assert "daily_bars.parquet row 2" in report.text()


ODD_COLUMNS = [
    pl.Series([b"x", b"\xff"]),
    pl.Series([{"a": 1}, {"a": 2}]),
    pl.Series([[1], [2, 3]]),
    pl.Series([timedelta(1), None]),
    pl.Series([2**31 - 1, -(2**31)], dtype=pl.Int32).cast(pl.Date),
    pl.Series([2**62, -(2**62)], dtype=pl.Int64).cast(pl.Datetime("us")),
    pl.Series([2**62, -(2**62)], dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")),
    pl.Series(["a", "b"], dtype=pl.Categorical),
    pl.Series([None, None]),
    pl.Series([2**63, 0], dtype=pl.UInt64),
    pl.Series([float("nan"), float("inf")]),
]


@pytest.mark.parametrize("odd", ODD_COLUMNS, ids=lambda odd: str(odd.dtype))
def test_no_parquet_type_in_any_column_ends_in_a_traceback(
    odd: pl.Series, write: Write, new_york: Calendar
) -> None:
    sound = bars({"A": [1.0, 1.1]}).with_columns(
        adj_close=pl.col("close"),
        turnover_value=pl.col("close") * pl.col("volume"),
        upper_limit=pl.lit(False),
        available_at=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    for name in sound.columns:
        folder = write(daily_bars=sound.with_columns(odd.alias(name)))
        report = import_check(folder, new_york)
        assert all(line.isprintable() for line in report.text().split("\n"))
        assert bool(refusal(source(folder, new_york), "daily_bars")) == bool(report.errors)


# Promises: whatever a file holds, there is a report.

CELLS = st.one_of(
    st.sampled_from(
        [
            "NA",
            "nan",
            "inf",
            "-inf",
            "1e308",
            "5e-324",
            "-1",
            "0",
            "1",
            "1,5",
            "''",
            "2020-01-02",
            "20200103",
            "0001-01-01",
            "9999-12-31",
            "A",
            "2020-01-02T16:30:00+09:00",
            "2020-01-02T16:30:00Z",
            "2020-01-02T16:30:00",
            "true",
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.just("x" * 5_000),
)
NAMES = [
    "date",
    "symbol",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "adj_close",
    "adjustment_factor",
    "turnover_value",
    "upper_limit",
    "available_at",
    "start",
    "end",
    "exit",
    "exit_return",
    "sector",
    "ex_date",
    "amount",
    "cash_rate_annual",
    "fee_bps_annual",
    "available_shares",
    "name",
]
FEED_NAMES = ["daily_bars", "listings", "membership", "dividends", "borrow", "rates", "benchmark"]
ROW = st.lists(CELLS, min_size=1, max_size=9)
TABLES = st.tuples(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=9, unique=True),
    st.lists(ROW, max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
)
GOOD = [["2020-01-02", "A", "1", "1", "1", "1", "10"], ["2020-01-03", "A", "1", "1", "1", "1", "9"]]


def written(table: tuple[list[str], list[list[str]], str, str]) -> bytes:
    header, rows, separator, end = table
    return (end.join(separator.join(row) for row in [header, *rows]) + end).encode()


def damaged(draw: st.DrawFn) -> bytes:
    """Return a sound file of bars with some bytes written over, or cut."""
    content = bytearray(WHOLE.encode())
    for place, value in draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)
    ):
        content[place] = value
    return bytes(content[: draw(st.integers(0, len(content)))])


CONTENT = st.one_of(
    TABLES.map(written),
    st.composite(damaged)(),
    st.binary(max_size=60),
    st.lists(ROW, max_size=3).map(
        lambda rows: written((HEADER.strip().split(","), rows, ",", "\n"))
    ),
)


def refusal(data: FilesSource, feed: str) -> str:
    """Return why the source refuses a feed; empty where it reads it."""
    try:
        data.fingerprint(feed)
        data.rows(feed)
    except AlphaAssetsError as error:
        return str(error)
    return ""


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    contents=st.dictionaries(st.sampled_from(FEED_NAMES), CONTENT, min_size=1, max_size=3),
    with_bars=st.booleans(),
    ending=st.sampled_from(["csv", "csv", "csv", "parquet"]),
)
def test_no_file_ends_in_a_traceback(
    contents: dict[str, bytes], with_bars: bool, ending: str, new_york: Calendar
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for feed, content in contents.items():
            (folder / f"{feed}.{ending}").write_bytes(content)
        if with_bars and "daily_bars" not in contents:
            (folder / "daily_bars.csv").write_bytes(
                written((HEADER.strip().split(","), GOOD, ",", "\n"))
            )
        report = import_check(folder, new_york)
        text = report.text()
        assert all(line.isprintable() for line in text.split("\n"))
        assert len(text) < 60_000
        if "daily_bars" not in report.feeds:
            return
        data = source(folder, new_york)
        for feed in report.feeds:
            is_refused = any(problem.feed == feed for problem in report.errors)
            words = refusal(data, feed)
            assert words or not is_refused
            assert all(line.isprintable() for line in words.split("\n"))


HEADER = "date,symbol,open,high,low,close,volume\n"
BAR = "2020-01-02,A,1,1,1,1,1\n"


@pytest.mark.parametrize(
    ("text", "errors", "warnings"),
    [
        ("  \n\t\r\n" + HEADER + BAR, [], []),  # blank lines before the header
        (HEADER.strip(), ["empty_table"], ["no_last_newline"]),  # what is odd hides no error
        (HEADER + BAR.replace("2020", "-2020"), ["wrong_type"], []),
        (HEADER + BAR.replace("2020", "12020"), ["wrong_type"], []),
        (HEADER + "2020-01-02,A,,,,,\n", [], ["no_close"]),  # nothing but rows without trade
    ],
)
def test_text_of_odd_manners(
    text: str, errors: list[str], warnings: list[str], tmp_path: Path, new_york: Calendar
) -> None:
    (tmp_path / "daily_bars.csv").write_text(text)
    report = import_check(tmp_path, new_york)
    assert [problem.rule for problem in report.errors] == errors
    assert [problem.rule for problem in report.warnings] == warnings


@pytest.mark.parametrize("year", ["-2020", "+12020"])
def test_an_instant_of_no_calendar_is_no_instant(
    year: str, tmp_path: Path, new_york: Calendar
) -> None:
    line = BAR.strip() + f",{year}-01-02T21:00:00Z\n"
    (tmp_path / "daily_bars.csv").write_text(HEADER.strip() + ",available_at\n" + line)
    report = import_check(tmp_path, new_york)
    assert [problem.rule for problem in report.errors] == ["wrong_type"]


def test_listings_lack_no_start_that_only_bars_could_give(write: Write, new_york: Calendar) -> None:
    listed = pl.DataFrame({"symbol": ["A"], "sector": ["T"]})
    report = import_check(write(listings=listed), new_york)
    assert [problem.rule for problem in report.errors] == ["missing_feed"]
