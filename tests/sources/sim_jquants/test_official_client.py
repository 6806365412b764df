"""The official client reads every table of the server, and finds what our source finds.

That is the proof that the shape is right: the client selects fixed columns from most tables
and fails where one is missing.
"""

import json
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.sources.jquants.conftest import EVENING, HALF, KEY, SMALL, Read, Serve

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS
from alpha_assets.sources.jquants.prices import VERSION_COLUMNS
from alpha_assets.sources.jquants.source import TABLES
from alpha_assets.sources.sim.side import margin
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants import Server, make_server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    jquantsapi = pytest.importorskip("jquantsapi")

# The client was written for a pandas before 3.1.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The inplace keyword"),
    pytest.mark.filterwarnings("ignore:get_fin_summary_cursor"),
]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", "nowhere")  # no settings of the person who runs this
    made = jquantsapi.ClientV2(api_key=KEY)
    yield made
    if made._session is not None:
        made._session.close()


@pytest.fixture
def server(serve: Serve, client: Any, monkeypatch: pytest.MonkeyPatch) -> Server:
    started = serve(page_size=40)
    monkeypatch.setattr(type(client), "JQUANTS_API_BASE", started.base_url)
    return started


def in_polars(frame: Any) -> pl.DataFrame:
    """Return a table of the client as text, as our landing keeps it."""
    made = {}
    for name in frame.columns:
        column = frame[name]
        if str(column.dtype).startswith("datetime64"):
            column = column.dt.strftime("%Y-%m-%d")
        made[name] = [None if value != value or value is None else value for value in column]
    return pl.DataFrame(made, strict=False)


def as_numbers(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return frame.with_columns(pl.col(names).cast(pl.Float64))


def test_the_calendar_is_the_one_that_we_read(server: Server, client: Any, read: Read) -> None:
    theirs = in_polars(client.get_mkt_calendar())
    ours = read(server).rows("trading_calendar")
    assert theirs["Date"].to_list() == ours["event_date"].dt.to_string().to_list()
    assert theirs["HolDiv"].to_list() == ours["division"].to_list()


def test_bars_of_a_day_and_of_a_code_are_those_that_we_read(
    server: Server, client: Any, read: Read
) -> None:
    ours = read(server).rows("daily_bars")
    names = {
        "O": "open",
        "H": "high",
        "L": "low",
        "C": "close",
        "Vo": "volume",
        "Va": "turnover_value",
        "AdjFactor": "adjustment_factor",
    }
    for theirs in (
        client.get_eq_bars_daily(date_yyyymmdd="20200928"),
        client.get_eq_bars_daily(code="1301", from_yyyymmdd="2020-09-14", to_yyyymmdd="20201106"),
    ):
        found = as_numbers(in_polars(theirs), list(names))
        traded = found.filter(pl.col("C").is_not_null())
        assert found.height > traded.height > 10
        mine = ours.join(
            traded.select(
                pl.col("Date").str.to_date().alias("event_date"), pl.col("Code").alias("symbol")
            ),
            on=["event_date", "symbol"],
        ).sort("symbol", "event_date")
        assert mine.height == traded.height
        for their_name, our_name in names.items():
            assert traded[their_name].to_list() == mine[our_name].to_list(), their_name
        touched = mine["upper_limit"].cast(pl.Int8).cast(pl.String).to_list()
        assert traded["UL"].to_list() == touched


def test_the_master_names_the_issues_that_we_list(server: Server, client: Any, read: Read) -> None:
    theirs = in_polars(client.get_eq_master(date="2020-09-28")).sort("Code")
    events = read(server, first=SMALL.first).rows("listings")
    day = pl.date(2020, 9, 28)
    gone = events.filter((pl.col("exit") != "active") & (pl.col("event_date") < day))["symbol"]
    listed = (
        events.filter((pl.col("event_date") <= day) & ~pl.col("symbol").is_in(gone.implode()))
        .unique("symbol", keep="first", maintain_order=True)
        .sort("symbol")
    )
    assert theirs["Code"].to_list() == listed["symbol"].to_list()
    assert theirs["CoNameEn"].to_list() == listed["name"].to_list()
    assert (theirs["Mrgn"] == "2").to_list() == listed["shortable"].to_list()
    assert client.get_list(date_yyyymmdd="2020-09-28").shape[0] == theirs.height


def test_files_of_history_are_listed_and_fetched(
    server: Server, client: Any, tmp_path: Path
) -> None:
    listed = client.get_bulk_list(endpoint="/equities/bars/daily")
    assert list(listed.columns) == ["Key", "Size", "LastModified"]
    target = tmp_path / "file.csv.gz"
    client.download_bulk(listed["Key"][0], str(target))
    assert target.stat().st_size == listed["Size"][0]
    assert str(HALF)[:4] in listed["Key"][0]


CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "sector_short_selling": ("get_mkt_short_ratio", {"date_yyyymmdd": "20200928"}),
    "short_positions": ("get_mkt_short_sale_report", {"disclosed_date": "20200928"}),
    "margin": ("get_mkt_margin_interest", {"date_yyyymmdd": "20200925"}),
    "margin_alerts": ("get_mkt_margin_alert", {"date_yyyymmdd": "20200928"}),
    "investor_types": (
        "get_eq_investor_types",
        {"from_yyyymmdd": "20200914", "to_yyyymmdd": "20200930"},
    ),
    "index_options": ("get_drv_bars_daily_opt_225", {"date_yyyymmdd": "20200928"}),
    "sector_indices": ("get_idx_bars_daily", {"date_yyyymmdd": "20200928"}),
    "statements": ("get_fin_summary", {"code": "13010"}),
    "earnings_dates": ("get_fin_earnings_date", {"code": "13010"}),
    "benchmark": (
        "get_idx_bars_daily_topix",
        {"from_yyyymmdd": "20200914", "to_yyyymmdd": "20201005"},
    ),
    "dividends": ("get_fin_dividend", {"code": "13010"}),
    "valuation": ("get_eq_valuation", {"date_yyyymmdd": "20200928"}),
}


def as_text(frame: Any, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return a table of the client as the text that it was made from; times of day are lost."""

    def word(value: Any) -> str | None:
        if isinstance(value, dict):
            return json.dumps(value)
        if value is None or value != value:
            return None
        return value.strftime("%Y-%m-%d") if hasattr(value, "strftime") else str(value)

    told = {
        name: [word(value) for value in (frame[name] if name in frame else [None] * len(frame))]
        for name in columns
    }
    return pl.DataFrame(told, schema=dict.fromkeys(columns, pl.String))


@pytest.fixture(scope="module")
def premium(calendar: Calendar) -> Iterator[Server]:
    """A server of every table, with more issues under watch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(margin, "ENTERS", 0.2)
        server = make_server(
            SMALL, calendar, keys={KEY: "premium"}, now=lambda: EVENING, page_size=40
        )
        yield server.start()
        server.stop()


@pytest.mark.parametrize("feed", CALLS)
def test_the_clients_rows_of_every_feed_are_those_that_we_read(
    premium: Server,
    client: Any,
    read: Read,
    calendar: Calendar,
    monkeypatch: pytest.MonkeyPatch,
    feed: str,
) -> None:
    monkeypatch.setattr(type(client), "JQUANTS_API_BASE", premium.base_url)
    method, asked = CALLS[feed]
    theirs = getattr(client, method)(**asked)
    table = TABLES[feed]
    made = table.shaped(as_text(theirs, (*table.endpoint.read, *VERSION_COLUMNS)), calendar)
    if table.finish is not None:
        made = table.finish(made, SMALL.last)
    # A query by code answers with every day there is; all others are of September and October.
    first = HALF if {"date_yyyymmdd", "disclosed_date"} & {*asked} else SMALL.first
    ours = read(premium, first=first, plan="premium").rows(feed)
    keys = [*FEEDS[feed].key, *filter(None, [FEEDS[feed].version])]
    mine = ours.join(made.select(keys), on=keys, how="semi", nulls_equal=True)
    assert made.height > 0
    assert_frame_equal(made.sort(keys), mine.sort(keys), check_column_order=False)


def test_the_clients_range_of_valuations_is_what_we_read(
    serve: Serve, client: Any, read: Read, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = serve(page_size=40, clock=None)
    monkeypatch.setattr(type(client), "JQUANTS_API_BASE", started.base_url)
    # Asked day by day, from the Saturday before to the Sunday after the day of the halt.
    theirs = client.get_eq_valuation_range(start_dt="2020-09-26", end_dt="2020-10-04")
    table = TABLES["valuation"]
    made = table.shaped(as_text(theirs, (*table.endpoint.read, *VERSION_COLUMNS)), calendar)
    days = [date(2020, 9, day) for day in (28, 29, 30)] + [date(2020, 10, 2)]
    ours = read(started).rows("valuation")
    mine = ours.filter(pl.col("event_date").is_in(days))
    assert made["event_date"].unique().sort().to_list() == days
    assert_frame_equal(made, mine)
    # Millions over there, yen here and on the exchange.
    own = SimSource(SMALL, calendar).rows("valuation").filter(pl.col("event_date").is_in(days))
    value = own.sort("symbol", "event_date")["market_value"].to_list()
    told = as_numbers(in_polars(theirs), ["MktCap"])["MktCap"].to_list()
    assert told == [None if yen is None else yen / 1e6 for yen in value]
    assert mine.sort("symbol", "event_date")["market_value"].to_list() == value
    assert sum(yen is not None for yen in value) > 50


def test_every_table_of_the_server_was_asked_for_by_the_client(serve: Serve) -> None:
    asked = {TABLES[feed].endpoint.path for feed in CALLS}
    plainly = {"/markets/calendar", "/equities/master", "/equities/bars/daily"}
    assert asked | plainly == set(serve().exchange.tables)
