"""What the source delivers, what it asks for, and what it does when an answer is not right."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.sources.jquants.conftest import HALF, KEY, SMALL, Read, Serve, StandingClock

from alpha_assets.calendar import Calendar
from alpha_assets.errors import AlphaAssetsError, FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.delivery_warnings import delivery_warnings
from alpha_assets.feeds.ingest import ingest
from alpha_assets.sources.jquants.client import WrongKey
from alpha_assets.sources.jquants.source import JQuantsSource
from alpha_assets.sources.jquants.transport import Reply, RequestsTransport
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants import Fault, Faults
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

PRICE_FEEDS = ("daily_bars", "listings", "trading_calendar")
UNSAID = ("exit", "exit_return")  # of an end: the API has no list of delistings


class Changed:
    """The real transport, with what comes back changed on the way."""

    def __init__(self, change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self.real = RequestsTransport(30.0)
        self.change = change
        self.asked: list[tuple[str, dict[str, str]]] = []

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        self.asked.append((url.split("/v2")[1], dict(params)))
        reply = self.real.get(url, params, headers)
        payload = self.change(url.split("/v2")[1], json.loads(reply.body))
        return reply._replace(body=json.dumps(payload).encode())


@pytest.fixture(scope="module")
def sessions(calendar: Calendar) -> list[str]:
    return [str(day) for day in calendar.between(HALF, SMALL.last)]


def unchanged(path: str, payload: dict[str, Any]) -> dict[str, Any]:
    return payload


@pytest.mark.parametrize("bulk", [False, True], ids=["by session", "from files"])
@pytest.mark.parametrize("feed", PRICE_FEEDS)
def test_every_row_equals_the_simulated_exchanges_own(
    serve: Serve, read: Read, sim: SimSource, feed: str, bulk: bool
) -> None:
    made = read(serve(every_version=True), bulk=bulk, first=SMALL.first).rows(feed)
    wanted = sim.rows(feed)
    if feed == "daily_bars":
        assert wanted["revision"].max() == 1
    if feed == "listings":
        ends = wanted.filter(pl.col("exit") != "active")
        assert ends.height > 0
        assert made.filter(pl.col("exit") == "source_end").height == ends.height
        made, wanted = made.drop(UNSAID), wanted.drop(UNSAID)
    assert_frame_equal(made, wanted, check_exact=True)


def test_the_last_version_of_a_bar_is_what_the_api_overwrote_it_with(
    serve: Serve, read: Read, sim: SimSource
) -> None:
    made = read(serve()).rows("daily_bars")
    bars = sim.rows("daily_bars").filter(pl.col("event_date") >= HALF)
    wanted = bars.unique(["event_date", "symbol"], keep="last")
    assert_frame_equal(
        made,
        wanted.drop("available_at", "revision").sort("event_date", "symbol"),
        check_exact=True,
    )


@pytest.mark.parametrize("bulk", [False, True], ids=["by session", "from files"])
def test_the_day_on_which_the_exchange_stood_still_has_no_bars(
    serve: Serve, read: Read, bulk: bool
) -> None:
    server = serve()
    halted = server.exchange.tables["/equities/bars/daily"].month(
        "2020-10", datetime(2020, 11, 6, 14, tzinfo=UTC)
    )
    assert halted.filter(Date="2020-10-01")["O"].null_count() > 20
    source = read(server, bulk=bulk)
    assert source.rows("daily_bars").filter(event_date=date(2020, 10, 1)).is_empty()
    assert source.rows("trading_calendar").filter(event_date=date(2020, 10, 1))[
        "division"
    ].to_list() == ["1"]


def test_an_exit_is_known_on_the_evening_of_the_last_bar(
    serve: Serve, read: Read, sim: SimSource, clock: StandingClock
) -> None:
    exits = sim.rows("listings").filter(
        (pl.col("exit") != "active") & (pl.col("end") > HALF) & (pl.col("end") < SMALL.last)
    )
    left = exits.row(0, named=True)
    source = read(serve(clock=None))
    clock.time = datetime.combine(left["end"], time(8, 29), tzinfo=UTC)  # 17:29 in Tokyo
    assert source.rows("listings").filter(symbol=left["symbol"])["exit"].to_list() == ["active"]
    clock.time = datetime.combine(left["end"], time(8, 30), tzinfo=UTC)
    told = source.rows("listings").filter(symbol=left["symbol"])
    assert told["exit"].to_list() == ["active", "source_end"]
    assert told["end"].to_list() == [None, left["end"]]


def test_codes_stay_text_and_letters_survive(serve: Serve, read: Read) -> None:
    symbols = read(serve()).rows("daily_bars")["symbol"].unique().to_list()
    assert "130A0" in symbols
    assert {len(symbol) for symbol in symbols} == {5}


def test_an_ingestion_requests_what_is_due_once(
    serve: Serve, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = read(serve(), kind=JQuantsSource)
    refreshed: list[str] = []
    whole = JQuantsSource.refresh
    monkeypatch.setattr(
        JQuantsSource, "refresh", lambda self, feed: (refreshed.append(feed), whole(self, feed))[1]
    )
    feed = FEEDS["benchmark"]
    table = RawTable(Store(str(tmp_path / "store")), "jp", feed, source.calendar.zone)
    now = source.clock.now()
    assert ingest(table, feed, source, source.calendar, now=now).new > 0
    assert delivery_warnings(table, source) == ()
    assert refreshed == ["benchmark"]
    assert source.tally.requests > 0


def test_nothing_that_landed_is_asked_for_again(serve: Serve, read: Read) -> None:
    server = serve()
    first = read(server)
    name = first.fingerprint("daily_bars")
    rows = first.rows("daily_bars")
    again = read(server)
    assert again.fingerprint("daily_bars") == name
    assert_frame_equal(again.rows("daily_bars"), rows)
    assert again.tally.requests == 0


def test_an_interrupted_fetch_goes_on_where_it_stopped(
    serve: Serve, read: Read, sessions: list[str]
) -> None:
    server = serve(faults=Faults([Fault("error", times=5, after=20)]))
    source = read(server)
    with pytest.raises(FeedError, match="what came before is kept"):
        source.rows("daily_bars")
    asked = source.tally.requests
    transport = Changed(unchanged)
    rest = read(server, transport=transport)
    rows = rest.rows("daily_bars")
    dates = [params["date"] for path, params in transport.asked if path == "/equities/bars/daily"]
    assert asked == 25
    assert dates[0] == sessions[20]
    assert sorted(rows["event_date"].unique().dt.to_string().to_list()) == sessions


def test_a_night_asks_for_the_new_session_and_twenty_old_ones(
    serve: Serve, read: Read, clock: StandingClock, sessions: list[str]
) -> None:
    clock.time = datetime(2020, 11, 5, 9, tzinfo=UTC)
    server = serve()
    read(server).rows("daily_bars")
    clock.time = datetime(2020, 11, 6, 9, tzinfo=UTC)
    transport = Changed(unchanged)
    read(server, transport=transport).rows("daily_bars")
    bars = [params["date"] for path, params in transport.asked if path == "/equities/bars/daily"]
    assert bars == sessions[-21:]


def test_a_correction_that_came_during_a_long_absence_is_found(
    serve: Serve, read: Read, sim: SimSource, clock: StandingClock
) -> None:
    clock.time = datetime(2020, 9, 25, 9, tzinfo=UTC)
    server = serve()
    read(server).rows("daily_bars")
    clock.time = datetime(2020, 11, 6, 9, tzinfo=UTC)
    made = read(server).rows("daily_bars")
    bars = sim.rows("daily_bars").filter(pl.col("event_date") >= HALF)
    last = bars.unique(["event_date", "symbol"], keep="last")
    late = bars.filter(
        (pl.col("revision") == 1)
        & (pl.col("event_date") < date(2020, 9, 25))
        & (pl.col("available_at") > datetime(2020, 9, 25, 9, tzinfo=UTC))
    )
    assert late.height > 0
    wanted = last.drop("available_at", "revision").sort("event_date", "symbol")
    assert_frame_equal(made, wanted, check_exact=True)


@pytest.mark.parametrize("bulk", [False, True], ids=["by session", "from files"])
def test_nothing_is_asked_of_days_after_the_newest_one_that_is_wanted(
    serve: Serve, read: Read, bulk: bool
) -> None:
    transport = Changed(unchanged) if not bulk else None
    source = read(serve(), last=date(2020, 10, 8), transport=transport, bulk=bulk)
    assert source.rows("daily_bars")["event_date"].max() == date(2020, 10, 8)
    if transport is not None:
        days = {params["date"] for path, params in transport.asked if "date" in params}
        assert max(days) == "2020-10-08"


def test_an_issue_that_is_listed_later_is_one_of_the_stocks_from_then_on(
    serve: Serve, read: Read, clock: StandingClock
) -> None:
    def listed_later(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        rows = payload["data"]
        kept = [r for r in rows if r.get("Code") != "13010" or r["Date"] >= "2020-10-05"]
        return {**payload, "data": kept}

    clock.time = datetime(2020, 9, 25, 9, tzinfo=UTC)
    source = read(serve(clock=None), transport=Changed(listed_later))
    assert "13010" not in source.rows("daily_bars")["symbol"]
    clock.time = datetime(2020, 11, 6, 9, tzinfo=UTC)
    bars = source.rows("daily_bars").filter(symbol="13010")
    assert bars["event_date"].min() == date(2020, 10, 5)


def test_a_session_whose_rows_are_late_is_asked_for_again(
    serve: Serve, read: Read, clock: StandingClock, sessions: list[str]
) -> None:
    clock.time = datetime(2020, 11, 6, 9, tzinfo=UTC)
    server = serve(
        faults=Faults([Fault("empty", after=len(sessions) - 1, path="/equities/bars/daily")])
    )
    early = read(server, only_common_stock=False).rows("daily_bars")
    assert early["event_date"].max() == date(2020, 11, 5)
    later = read(server, only_common_stock=False).rows("daily_bars")
    assert later["event_date"].max() == date(2020, 11, 6)


def test_recent_delivers_only_what_was_asked_for_days_from_there(serve: Serve, read: Read) -> None:
    source = read(serve())
    recent = source.recent(date(2020, 10, 20))
    for feed in ("daily_bars", "listings"):
        wanted = source.rows(feed).filter(pl.col("event_date") >= date(2020, 10, 20))
        assert_frame_equal(recent.rows(feed), wanted)


@pytest.mark.parametrize("feed", ["daily_bars", "listings"])
def test_nightly_updates_leave_the_rows_of_one_ingestion(
    serve: Serve,
    read: Read,
    calendar: Calendar,
    clock: StandingClock,
    tmp_path: Path,
    feed: str,
) -> None:
    spec, begin = SMALL, date(2020, 10, 22)
    if feed == "daily_bars":  # every night counts: a version that nobody saw is lost
        changes = {"first": HALF, "last": date(2020, 10, 9), "corrected_share": 0.1}
        spec, begin = SMALL.model_copy(update=changes), HALF
    server = serve(spec=spec)
    store = Store(str(tmp_path / "store"))
    nightly = RawTable(store, "jp", FEEDS[feed], calendar.zone)
    for session in calendar.between(begin, spec.last):
        # The moment at which the exchange publishes its corrections is that of their revision.
        hour = time(7, 30) if feed == "daily_bars" else time(14, 30)
        clock.time = datetime.combine(session.item(), hour, tzinfo=UTC)
        ingest(nightly, FEEDS[feed], read(server, first=spec.first), calendar, now=clock.time)
    once = RawTable(store, "sim", FEEDS[feed], calendar.zone)
    ingest(once, FEEDS[feed], SimSource(spec, calendar), calendar, now=clock.time)
    hidden = ["ingested_at", *(UNSAID if feed == "listings" else ())]
    made, wanted = (
        table.read().collect().drop(hidden).sort(*FEEDS[feed].key, "revision")
        for table in (nightly, once)
    )
    if feed == "daily_bars":
        assert made["revision"].max() == 1
    assert_frame_equal(made, wanted, check_exact=True)


def test_a_higher_plan_adds_feeds_and_a_lower_one_says_what_it_lacks(read: Read) -> None:
    assert "dividends" in read(plan="premium").feeds()
    assert "not entitled" in read(plan="standard").off()["dividends"]
    assert "needs the plan light" in read(plan="free").off()["benchmark"]
    for source in (read(plan="free"), read(plan="premium")):
        assert not set(source.feeds()) & set(source.off())
        assert set(source.feeds()) | set(source.off()) >= set(FEEDS)


def test_a_refused_feed_is_off_from_then_on_and_is_asked_again_after_a_week(
    serve: Serve, read: Read, clock: StandingClock
) -> None:
    server = serve(keys={KEY: "free"})
    source = read(server, plan="standard")
    rows = source.rows("benchmark")
    assert rows.is_empty()
    assert list(rows.columns) == ["event_date", "name", "close"]
    assert "not available on your subscription" in source.off()["benchmark"]
    assert "benchmark" not in read(server, plan="standard").feeds()
    asked = server.exchange.n_requests
    source.rows("benchmark")
    assert server.exchange.n_requests == asked
    clock.time += timedelta(days=8)
    assert "benchmark" in source.feeds()


def test_valuations_that_a_plan_does_not_include_are_named(serve: Serve, read: Read) -> None:
    """Nobody says which plans do: a source whose plan may asks, and takes no for an answer."""
    server = serve(keys={KEY: "light"})
    source = read(server, plan="standard")
    assert "valuation" in source.feeds()
    rows = source.rows("valuation")
    assert rows.is_empty()
    assert rows.columns[:3] == ["event_date", "symbol", "eps"]
    assert source.off()["valuation"].startswith("not entitled: ")
    assert "/equities/valuation" in source.off()["valuation"]
    assert "valuation" not in source.feeds()
    assert "needs the plan standard" in read(plan="light").off()["valuation"]


def test_a_wrong_key_is_named_as_such(serve: Serve, read: Read) -> None:
    with pytest.raises(WrongKey, match="does not accept the key in JQUANTS_API_KEY"):
        read(serve(), key="wrong").rows("daily_bars")


def test_without_a_key_nothing_is_asked(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JQUANTS_API_KEY", raising=False)
    source = read()
    source._key = None
    assert source.off()
    with pytest.raises(FeedError, match="JQUANTS_API_KEY is not set"):
        source.rows("daily_bars")


def test_an_unknown_column_is_kept_as_it_came_and_reported(
    serve: Serve, read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def change(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        rows = payload.get("data", [])
        return {**payload, "data": [{**row, "Fresh": 1.5} for row in rows]}

    source = read(serve(), transport=Changed(change), first=date(2020, 11, 2))
    source.rows("daily_bars")
    assert source.unknown()["daily_bars"] == ("Fresh",)
    assert "unknown columns Fresh" in caplog.text
    landed = pl.read_parquet(tmp_path / "landing" / "equities-bars-daily" / "2020-11-04.parquet")
    assert landed["Fresh"].unique().to_list() == ["1.5"]


@pytest.mark.parametrize("rows", ["all", "one"])
def test_a_missing_column_is_named_and_the_feed_refused(
    serve: Serve, read: Read, rows: str
) -> None:
    def change(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        if path == "/equities/bars/daily":
            for row in payload["data"][: None if rows == "all" else 1]:
                del row["Va"], row["LL"]
        return payload

    with pytest.raises(FeedError, match="2020-11-02: the answer lacks LL, Va"):
        read(serve(), transport=Changed(change), first=date(2020, 11, 2)).rows("daily_bars")


def test_rows_that_come_twice_or_in_another_order_count_once(
    serve: Serve, read: Read, tmp_path: Path
) -> None:
    def change(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "data": payload["data"][::-1] + payload["data"][:3]}

    server = serve()
    rows = read(server, transport=Changed(change), first=date(2020, 11, 2)).rows("daily_bars")
    straight = read(server, folder=tmp_path / "straight", first=date(2020, 11, 2))
    assert_frame_equal(rows, straight.rows("daily_bars"))
    assert not rows.select("event_date", "symbol").is_duplicated().any()
    assert rows.equals(rows.sort("event_date", "symbol"))


def test_rows_of_a_day_that_was_not_asked_for_are_refused(serve: Serve, read: Read) -> None:
    def change(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        if path == "/equities/bars/daily":
            payload["data"][0]["Date"] = "2020-10-30"
        return payload

    with pytest.raises(FeedError, match="'2020-10-30', which was not asked for"):
        read(serve(), transport=Changed(change), first=date(2020, 11, 2)).rows("daily_bars")


def test_a_value_that_is_no_number_is_named(serve: Serve, read: Read) -> None:
    def change(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        if path == "/equities/bars/daily":
            payload["data"][2]["O"] = "n/a"
        return payload

    with pytest.raises(FeedError, match=r"O = 'n/a' is not a number .* Date=2020-11-02 Code="):
        read(serve(), transport=Changed(change), first=date(2020, 11, 2)).rows("daily_bars")


def test_a_fetch_never_asks_more_often_than_the_plan_allows(serve: Serve, read: Read) -> None:
    server = serve(page_size=7)
    source = read(server)
    source.rows("daily_bars")
    account = server.exchange.accounts[KEY]
    assert source.tally.requests > 300
    assert account.most_in_a_minute == 110
    assert source.tally.throttled == 0


def test_a_landed_file_that_cannot_be_read_is_named(
    serve: Serve, read: Read, tmp_path: Path
) -> None:
    source = read(serve(), first=date(2020, 11, 2))
    source.rows("daily_bars")
    torn = tmp_path / "landing" / "equities-bars-daily" / "2020-11-04.parquet"
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(FeedError, match=r"2020-11-04.parquet: cannot be read; delete it"):
        source.rows("daily_bars")


def test_a_log_that_was_torn_by_a_crash_costs_one_query(
    serve: Serve, read: Read, tmp_path: Path
) -> None:
    server = serve()
    rows = read(server, only_common_stock=False).rows("daily_bars")
    log = tmp_path / "landing" / "equities-bars-daily" / "log.jsonl"
    log.write_text(log.read_text()[:-20])
    again = read(server, only_common_stock=False)
    assert_frame_equal(again.rows("daily_bars"), rows)
    assert again.tally.requests == 1


def test_an_unknown_feed_is_named(read: Read) -> None:
    with pytest.raises(AlphaAssetsError, match="no feed 'weather'"):
        read().rows("weather")
