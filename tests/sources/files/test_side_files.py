"""Feeds beside the prices, read from a folder: every type, from Parquet and from text."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.sources.conftest import Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import SIDE_FEEDS, Feed
from alpha_assets.feeds.corporate import EMBEDDING
from alpha_assets.feeds.flows import BREAKDOWN
from alpha_assets.sources.files.check import import_check
from alpha_assets.sources.files.csv_integrity import without_trailer
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.sources.files.tables import table_of

D = date
DAYS = [D(2020, 1, 2), D(2020, 1, 3), D(2020, 1, 6)]
STAMPS = [datetime(2020, 1, day, 12, 30, 15, tzinfo=UTC) for day in (6, 7, 8)]


def value(name: str, dtype: pl.DataType, row: int) -> object:
    """Return some value of a type; the last row says nothing."""
    if row == 2:
        return None
    if isinstance(dtype, pl.Array):
        return [row + k / 8 for k in range(dtype.shape[0])]
    if dtype == pl.Float64:
        return row + 0.1
    if dtype == pl.Boolean:
        return row == 0
    return {pl.Date: DAYS[row], pl.String: f"00{row}"}.get(dtype)


def three_rows(feed: Feed) -> pl.DataFrame:
    """Return three rows of a feed as it is delivered, all columns and own stamps."""
    table = table_of(feed.name)
    key = [name for name in feed.key if name != "event_date"]
    values = {}
    for name, dtype in table.fields.items():
        made = [value(name, dtype() if isinstance(dtype, type) else dtype, row) for row in range(3)]
        if name in key:
            made = ["0050", "A", "B"]
        elif name == feed.version:
            made = DAYS
        values[name] = pl.Series(name, made, dtype=dtype)
    return pl.DataFrame({**values, "date": DAYS, "available_at": STAMPS})


def source(folder: Path, calendar: Calendar, **spec: object) -> FilesSource:
    return FilesSource(FilesSourceSpec.model_validate({"path": str(folder), **spec}), calendar)


# By hand.


@pytest.mark.parametrize("name", SIDE_FEEDS)
def test_every_side_feed_is_read_from_parquet(write: Write, new_york: Calendar, name: str) -> None:
    told = three_rows(SIDE_FEEDS[name])
    folder = write(daily_bars=bars({"A": [1.0]}), **{name: told})
    rows = source(folder, new_york).rows(name)
    wanted = told.rename({"date": "event_date"}).cast({"available_at": pl.Datetime("us", "UTC")})
    assert rows.select(wanted.columns).equals(wanted)
    assert import_check(folder, new_york).errors == ()


@pytest.mark.parametrize("name", [name for name in SIDE_FEEDS if name != "news"])
def test_every_side_feed_but_news_is_read_from_text(
    tmp_path: Path, write: Write, new_york: Calendar, name: str
) -> None:
    told = three_rows(SIDE_FEEDS[name])
    folder = write(daily_bars=bars({"A": [1.0]}))
    told.write_csv(folder / f"{name}.csv", datetime_format="%Y-%m-%dT%H:%M:%S%:z")
    text = source(folder, new_york).rows(name)
    other = write("parquet", **{name: told})
    binary = source(other, new_york).rows(name)
    assert text.drop("_file").equals(binary.drop("_file"))


def test_holders_without_a_client_and_a_fund_are_read(tmp_path: Path, new_york: Calendar) -> None:
    (tmp_path / "short_positions.csv").write_text(
        "date,symbol,seller,client,fund,disclosed,ratio\n"
        "2020-01-02,13010,Bank,,,2020-01-06,0.005\n"
        "2020-01-02,13010,Bank,,Fund,2020-01-06,0.006\n"
    )
    rows = source(tmp_path, new_york).rows("short_positions")
    assert rows.select("client", "fund").rows() == [("", ""), ("", "Fund")]


def test_columns_of_an_api_are_mapped_in_the_market_s_file(
    tmp_path: Path, tokyo_calendar: Calendar
) -> None:
    names = [column.name for column in BREAKDOWN.columns]
    words = {"Date": "date", "Code": "symbol", **{name.title(): name for name in names}}
    numbers = ",".join(str(k) for k in range(len(names)))
    (tmp_path / "breakdown.csv").write_text(f"{','.join(words)}\n2020-01-06,13010,{numbers}\n")
    rows = source(tmp_path, tokyo_calendar, columns={"breakdown": words}).rows("breakdown")
    assert rows["event_date"].to_list() == [D(2020, 1, 6)]
    assert [rows[name][0] for name in names] == list(range(len(names)))


def test_versions_of_a_week_lie_side_by_side_in_a_folder(
    write: Write, tokyo_calendar: Calendar
) -> None:
    one = three_rows(SIDE_FEEDS["investor_types"])[[0]]
    both = pl.concat([one.with_columns(published=pl.lit(D(2020, 1, 8))), one])
    folder = write(daily_bars=bars({"A": [1.0]}), investor_types=both)
    rows = source(folder, tokyo_calendar).rows("investor_types")
    assert rows["published"].to_list() == [D(2020, 1, 2), D(2020, 1, 8)]
    twice = write(daily_bars=bars({"A": [1.0]}), investor_types=pl.concat([one, one]))
    with pytest.raises(FeedError, match="event_date and section and published name one row"):
        source(twice, tokyo_calendar).rows("investor_types")


def test_text_may_have_another_separator_and_a_trailer(tmp_path: Path, new_york: Calendar) -> None:
    folder = tmp_path / "short_volume"
    folder.mkdir()
    head = "date|symbol|short_volume|total_volume|Market\n"
    (folder / "20200102.csv").write_text(head + "20200102|A|5|9|B,Q,N\n20200102|B|1|2|Q\n2\n")
    (folder / "20200103.csv").write_text((head + "20200103|A|6.5|8|Q\n1\n").replace("\n", "\r\n"))
    (folder / "20200106.csv").write_text(head + "0\n")
    spec = {"separators": {"short_volume": "|"}, "trailers": ("short_volume",)}
    rows = source(tmp_path, new_york, **spec).rows("short_volume")
    assert rows.select("event_date", "symbol", "short_volume").rows() == [
        (DAYS[0], "A", 5.0),
        (DAYS[0], "B", 1.0),
        (DAYS[1], "A", 6.5),
    ]


# Refusals.


def test_an_embedding_in_text_is_refused_with_the_way_out(
    tmp_path: Path, new_york: Calendar
) -> None:
    (tmp_path / "news.csv").write_text('date,symbol,article,embedding\n2020-01-02,A,1,"[0.1]"\n')
    words = rf"embedding is a list of {EMBEDDING} numbers, in Parquet; .*\n.*news.csv row 1: "
    with pytest.raises(FeedError, match=words):
        source(tmp_path, new_york).rows("news")


@pytest.mark.parametrize("as_array", [True, False])
def test_an_embedding_of_another_width_is_named_with_file_and_row(
    write: Write, new_york: Calendar, as_array: bool
) -> None:
    told = pl.DataFrame(
        {"date": DAYS[0], "symbol": ["A", "B"], "article": "1", "embedding": [[0.5] * 32] * 2}
    )
    if as_array:
        told = told.cast({"embedding": pl.Array(pl.Float32, 32)})
    folder = write(news=told)
    with pytest.raises(FeedError, match=r"wrong_type \(2\): .*\n    news.parquet row 1: 2020-01-0"):
        source(folder, new_york).rows("news")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("h|h\n1|2\n3|4\n3\n", "2 rows, and then '3'"),
        ("h|h\n1|2\n3|4\n", "1 rows, and then '3|4'"),
        ("h|h\n1|2\n3|", "1 rows, and then '3|'"),
        ("h|h\n", "0 rows, and then ''"),
    ],
)
def test_a_trailer_that_counts_otherwise_says_that_the_file_was_cut(
    content: str, said: str
) -> None:
    _, (problem,) = without_trailer(content.encode(), "short_volume.csv", "short_volume")
    assert (problem.rule, problem.examples[0].value) == ("wrong_trailer", said)


def test_a_separator_that_was_not_declared_is_named_with_the_setting(
    tmp_path: Path, new_york: Calendar
) -> None:
    (tmp_path / "rates.csv").write_text("date;cash_rate_annual\n2020-01-02;0.01\n")
    with pytest.raises(FeedError, match=r'separators = { rates = ";" }'):
        source(tmp_path, new_york).rows("rates")
    rows = source(tmp_path, new_york, separators={"rates": ";"}).rows("rates")
    assert rows["cash_rate_annual"].to_list() == [0.01]


def test_a_cut_line_is_found_with_another_separator_too(tmp_path: Path, new_york: Calendar) -> None:
    (tmp_path / "rates.csv").write_text("date;cash_rate_annual\n2020-01-02;0.01\n2020-01\n")
    with pytest.raises(FeedError, match=r"rates\.csv row 2: 1 fields: 2020-01"):
        source(tmp_path, new_york, separators={"rates": ";"}).rows("rates")


def test_bars_may_have_another_separator(tmp_path: Path, new_york: Calendar) -> None:
    table = bars({"A": [100.0, 102.0]}).with_columns(adj_close=pl.col("close"))
    table.write_csv(tmp_path / "daily_bars.csv", separator=";")
    found = source(tmp_path, new_york, separators={"daily_bars": ";"})
    assert (found.basis, found.rows("daily_bars").height) == ("total_return", 2)
