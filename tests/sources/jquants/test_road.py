"""The road through the API is the road on the exchange behind it, whatever happens on the way."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.sources.jquants.conftest import KEY, SMALL, Read, RefreshedSource, Serve, StandingClock

from alpha_assets.calendar import Calendar, month_of, month_range
from alpha_assets.config.market import Market, MarketSpec
from alpha_assets.config.recipe import load_recipe
from alpha_assets.errors import SpecError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.ingest import ingest
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.market_stages import graph_stage, graph_table
from alpha_assets.pipeline.report import stored_metrics
from alpha_assets.pipeline.stages import make
from alpha_assets.sources.jquants import ApiKey, JQuantsSpec
from alpha_assets.sources.jquants.source import JQuantsSource
from alpha_assets.sources.jquants.transport import Reply, RequestsTransport
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.side import corporate, flows, margin
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants import Fault, Faults, make_server
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

TINY = SMALL.model_copy(
    update={"first": date(2022, 2, 1), "last": date(2022, 4, 28), "n_symbols": 40}
)
MONTHS = month_range("2022-02", "2022-04")
NOW = datetime(2022, 5, 20, 14, 30, tzinfo=UTC)
PIPELINES = Path(__file__).parents[2] / "pipelines"
NOT_OF_THE_API = ("news", "borrow", "rates")


@pytest.fixture(scope="module", autouse=True)
def corrections() -> Iterator[None]:
    """Let the exchange correct itself often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(margin, "ENTERS", 0.05)
        patch.setattr(margin, "CORRECTED", 0.2)
        patch.setattr(flows, "CORRECTED", 0.5)
        patch.setattr(corporate, "CORRECTED", 0.5)
        yield


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(NOW)


def market_of(source: Mapping[str, Any], off: tuple[str, ...], spec: SimSpec = TINY) -> Market:
    tables = {
        "about": "A tiny market, read from the API or from the exchange itself.",
        "currency": "JPY",
        "first_month": month_of(spec.first),
        "source": dict(source),
        "calendar": {
            "exchange": "XTKS",
            "zone": "Asia/Tokyo",
            "decision_time": time(8, 30),
            "sessions_per_year": 245,
        },
        "sim": spec.model_dump(),
        "feeds": {name: {"on": False} for name in off},
        "universes": {"all": {}},
    }
    return Market("jp", MarketSpec.model_validate(tables))


def stages_of(market: Market, folder: Path, clock: StandingClock) -> dict[str, str]:
    """Return the content of each month of what a market makes without a recipe, as hashes."""
    context = MarketContext(market, Store(str(folder)), clock=clock.now)
    runner.ingest_all(context)
    made = [
        *make(context, "panel", MONTHS),
        *make(context, "features", MONTHS),
        *make(context, "cross_section/all", MONTHS),
        *graph_stage(context.market, "all").ensure(context, MONTHS),
    ]
    return {f"{one.stage} {one.month}": one.content_hash for one in made}


def through(market: Market, source: JQuantsSource) -> Market:
    """Return a market that reads what a test made."""
    return replace(market, built_source=source)


@pytest.fixture
def direct(tmp_path: Path, clock: StandingClock) -> dict[str, str]:
    """What is made of the exchange, without the API between."""
    market = market_of({"kind": "sim"}, NOT_OF_THE_API)
    return stages_of(market, tmp_path / "direct", clock)


@pytest.mark.parametrize(
    "bulk",
    [
        pytest.param(False, id="by query", marks=pytest.mark.slow),
        pytest.param(True, id="from files"),
    ],
)
def test_what_is_made_through_the_api_is_what_is_made_of_the_exchange(
    serve: Serve,
    read: Read,
    direct: dict[str, str],
    clock: StandingClock,
    tmp_path: Path,
    bulk: bool,
) -> None:
    faults = [
        Fault("too_many", times=2, after=60),
        Fault("error", times=2, after=90),
        Fault("cut", path="/markets/margin-alert", after=5),
        Fault("malformed", path="/equities/investor-types"),
        Fault("repeat", path="/markets/short-ratio"),
    ]
    server = serve(
        spec=TINY,
        every_version=True,
        keys={KEY: "premium"},
        page_size=20,
        faults=Faults(faults),
    )
    source = read(server, first=TINY.first, plan="premium", bulk=bulk)
    market = through(market_of({"kind": "jquants", "first": TINY.first, "plan": "premium"}, ()),
                     source)  # fmt: skip
    made = stages_of(market, tmp_path / "api", clock)
    assert len(made) == 4 * len(MONTHS)
    assert made == direct
    assert source.tally.retries >= 3
    assert source.tally.throttled == 2
    account = server.exchange.accounts[KEY]
    assert account.most_in_a_minute <= 460
    assert account.most_fins_in_a_minute <= 55


# Long enough that months are decided; in the last one dividends are paid.
WHOLE = TINY.model_copy(update={"first": date(2021, 12, 1), "last": date(2022, 6, 30)})


def decided(market: Market, folder: Path, clock: StandingClock) -> dict[str, str]:
    """Return what every output of a whole run says, as hashes: rows alone, no digests."""
    recipe = load_recipe("tiny_feeds", market, overrides=["markets=['jp']", "universe.name='all'"])
    context = RecipeContext(market, Store(str(folder)), recipe=recipe, clock=clock.now)
    runner.run(context)
    graph_stage(context.market, "all").ensure(context, context.panel.months())
    tables = {
        "panel": context.panel,
        "features": context.features,
        "cross_section": context.section,
        "graph": graph_table(context, "all"),
        "predictions": context.predictions,
        "targets": context.targets,
    }
    made = {
        f"{name} {month}": said
        for name, table in tables.items()
        for month, said in table.hashes().items()
    }
    manifest = context.backtest.manifest()
    assert manifest is not None
    made |= {f"backtest {name}": file.content_hash for name, file in manifest.files.items()}
    figures = stored_metrics(context)
    # With more capital some orders are never filled, and names are held to their end: the exchange
    # says what that pays, and the API does not.
    costs = {name: value for name, value in figures["costs"].items() if name != "capacity"}
    return {**made, "figures portfolio": repr(figures["portfolio"]), "figures costs": repr(costs)}


@pytest.mark.slow
def test_a_whole_run_through_the_api_equals_a_run_on_the_exchange(
    serve: Serve,
    read: Read,
    clock: StandingClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    clock.time = datetime(2022, 8, 20, 14, 30, tzinfo=UTC)
    exchange = market_of({"kind": "sim"}, NOT_OF_THE_API, WHOLE)
    direct = decided(exchange, tmp_path / "direct", clock)
    server = serve(spec=WHOLE, every_version=True, keys={KEY: "premium"})
    source = read(server, first=WHOLE.first, plan="premium", bulk=True)
    told = {"kind": "jquants", "first": WHOLE.first, "plan": "premium"}
    made = decided(through(market_of(told, (), WHOLE), source), tmp_path / "api", clock)

    assert {name.split()[0] for name in made} == {
        "panel", "features", "cross_section", "graph", "predictions", "targets", "backtest",
        "figures",
    }  # fmt: skip
    # The figures name their source and what it lacks; what they are made of is the same.
    assert [name for name in direct if made.get(name) != direct[name]] == ["backtest metrics.json"]
    assert made.keys() == direct.keys()


class OnTheWay:
    """The real transport, with each table's rows changed on the way."""

    def __init__(self, change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self.real = RequestsTransport(30.0)
        self.change = change

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        reply = self.real.get(url, params, headers)
        path = url.split("/v2")[1]
        body = json.dumps(self.change(path, json.loads(reply.body))).encode()
        return reply._replace(body=body)


SIDE = (
    "sector_short_selling",
    "short_positions",
    "margin",
    "margin_alerts",
    "investor_types",
    "index_options",
    "sector_indices",
    "statements",
    "earnings_dates",
    "valuation",
)


@pytest.fixture(scope="module")
def plain(
    calendar: Calendar, corrections: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pl.DataFrame]:
    """The side feeds as they come when nothing happens."""
    clock = StandingClock(NOW)
    server = make_server(TINY, calendar, keys={KEY: "standard"}, now=clock.now, page_size=50)
    server.start()
    settings = JQuantsSpec(first=date(2022, 3, 22), base_url=server.base_url, bulk=False)
    landing = tmp_path_factory.mktemp("landing")
    source = RefreshedSource(settings, calendar, landing, clock=clock, key=ApiKey(KEY))
    rows = {feed: source.rows(feed) for feed in SIDE}
    server.stop()
    return rows


@pytest.mark.slow
def test_the_order_of_a_page_and_how_many_are_read_at_once_say_nothing(
    serve: Serve,
    read: Read,
    plain: dict[str, pl.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alpha_assets.sources.jquants.source.QUERIES_AT_ONCE", 3)

    def turned(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        rows = payload["data"]
        return {**payload, "data": rows[::-2] + rows[::-1][1::2] + rows[:2]}

    source = read(
        serve(spec=TINY, clock=None),
        first=date(2022, 3, 22),
        transport=OnTheWay(turned),
        folder=tmp_path / "turned",
    )
    for feed in SIDE:
        assert_frame_equal(source.rows(feed), plain[feed])


def test_a_code_that_changes_from_digits_to_letters_is_another_symbol(
    serve: Serve, read: Read, plain: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    def renamed(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        for row in payload["data"]:
            day = row.get("Date") or row.get("PubDate") or row.get("DiscDate")
            if row.get("Code") == "13010" and day >= "2022-04-01":
                row["Code"] = "130Z0"
        return payload

    source = read(
        serve(spec=TINY, clock=None),
        first=date(2022, 3, 22),
        transport=OnTheWay(renamed),
        folder=tmp_path / "renamed",
    )
    listed = source.rows("listings")
    assert listed.filter(symbol="13010")["exit"].to_list()[-1] == "source_end"
    assert listed.filter(symbol="130Z0")["event_date"].to_list()[0] == date(2022, 4, 1)
    for feed in ("margin", "earnings_dates", "short_positions"):
        made, before = source.rows(feed), plain[feed]
        assert made.height == before.height
        assert "130Z0" not in before["symbol"]
        old = before.filter(symbol="13010").height
        assert made.filter(pl.col("symbol").is_in(["13010", "130Z0"])).height == old
    assert "130Z0" in source.rows("margin")["symbol"]


def test_a_feed_that_stops_for_thirty_sessions_goes_on_where_it_stopped(
    serve: Serve, read: Read, calendar: Calendar, clock: StandingClock, tmp_path: Path
) -> None:
    sessions = calendar.between(TINY.first, TINY.last)
    silent = {str(day) for day in sessions[10:40]}
    is_back = False

    def late(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        if path == "/markets/short-ratio" and not is_back:
            return {**payload, "data": [r for r in payload["data"] if r["Date"] not in silent]}
        return payload

    feed = FEEDS["sector_short_selling"]
    server = serve(spec=TINY, clock=None)
    source = read(server, first=TINY.first, transport=OnTheWay(late))
    table = RawTable(Store(str(tmp_path / "store")), "jp", feed, calendar.zone)
    heights = []
    for number in (9, 25, 39, 41, 59):
        clock.time = datetime.combine(sessions[number].item(), time(14, 30), tzinfo=UTC)
        is_back = number > 39
        ingest(table, feed, source, calendar, now=clock.now())
        heights.append(table.read().collect()["event_date"].n_unique())
    assert heights == [10, 10, 10, 42, 60]


@pytest.mark.parametrize(
    "minutes", [-90, pytest.param(90, marks=pytest.mark.slow)], ids=["behind", "ahead"]
)
def test_a_clock_that_is_wrong_costs_no_row_once_it_is_right(
    serve: Serve,
    read: Read,
    plain: dict[str, pl.DataFrame],
    clock: StandingClock,
    tmp_path: Path,
    minutes: int,
) -> None:
    """The server's hour is another than ours on the evening of a session's publication."""
    true = datetime(2022, 4, 28, 7, 25, tzinfo=UTC)  # 16:25 in Tokyo, before most tables
    skewed = StandingClock(true)
    server = serve(spec=TINY, clock=None, now=skewed.now)
    clock.time = true + timedelta(minutes=minutes)
    source = read(server, first=date(2022, 3, 22), folder=tmp_path / "skewed")
    for feed in SIDE:
        early = source.rows(feed)
        assert early.height <= plain[feed].height
    skewed.time = clock.time = datetime(2022, 5, 20, 14, 30, tzinfo=UTC)
    for feed in SIDE:
        assert_frame_equal(source.rows(feed), plain[feed])


@pytest.mark.slow
def test_every_side_feed_keeps_to_the_limits(
    serve: Serve, read: Read, clock: StandingClock
) -> None:
    server = serve(spec=TINY, page_size=200)
    source = read(server, first=TINY.first)
    for feed in SIDE:
        assert source.rows(feed).height > 0
    account = server.exchange.accounts[KEY]
    assert source.tally.requests > 500
    assert account.most_in_a_minute == 110
    assert account.most_fins_in_a_minute == 55
    assert source.tally.throttled == 0


def test_a_table_that_hangs_is_asked_again(serve: Serve, read: Read) -> None:
    script = [Fault("hang", path="/fins/summary", after=2)]
    server = serve(spec=TINY, clock=None, faults=Faults(script))
    source = read(server, first=date(2022, 4, 1), timeout_seconds=0.5)
    straight = read(serve(spec=TINY, clock=None), first=date(2022, 4, 1),
                    folder=source.folder / "straight")  # fmt: skip
    assert_frame_equal(source.rows("statements"), straight.rows("statements"))
    assert source.tally.retries == 1


def test_the_source_lands_nothing_of_a_feed_that_lacks_a_column(
    serve: Serve, read: Read, clock: StandingClock
) -> None:
    def torn(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        for row in payload["data"]:
            row.pop("FrgnBuy", None)
        return payload

    source = read(serve(spec=TINY, clock=None), first=date(2022, 3, 22), transport=OnTheWay(torn))
    with pytest.raises(ValueError, match="investor-types 2022-03: the answer lacks FrgnBuy"):
        source.rows("investor_types")
    assert not list(source.folder.glob("equities-investor-types/*.parquet"))
    assert source.rows("margin").height > 0
    assert SimSource(TINY, source.calendar).rows("investor_types").height > 0


def test_of_balances_published_twice_the_later_ones_count(
    serve: Serve, read: Read, clock: StandingClock, tmp_path: Path
) -> None:
    """The table keeps both under their days of publication; the feed has room for one."""
    spec = TINY.model_copy(update={"first": date(2026, 9, 14), "last": date(2026, 10, 30)})
    clock.time = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)

    def doubled(path: str, payload: dict[str, Any]) -> dict[str, Any]:
        if path != "/markets/margin-interest":
            return payload
        later = [
            {**row, "PubDate": str(date.fromisoformat(row["PubDate"]) + timedelta(days=1)),
             "ShrtVol": row["ShrtVol"] + 100.0}
            for row in payload["data"]
        ]  # fmt: skip
        return {**payload, "data": later + payload["data"]}

    server = serve(spec=spec, clock=None)
    first = date(2026, 9, 28)
    plain = read(server, first=first, folder=tmp_path / "plain").rows("margin")
    made = read(server, first=first, transport=OnTheWay(doubled)).rows("margin")
    assert made.height == plain.height > 100
    assert made["short"].to_list() == (plain["short"] + 100.0).to_list()
    assert (made["published"] > plain["published"]).all()


def test_a_feed_that_the_key_is_refused_is_off_for_the_rest_of_the_run_and_named(
    serve: Serve, read: Read, clock: StandingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    # The market's file says standard; the key is one of the plan light.
    server = serve(spec=TINY, keys={KEY: "light"}, page_size=200)
    source = read(server, first=TINY.first, plan="standard")
    market = through(market_of({"kind": "jquants", "first": TINY.first, "plan": "standard"}, ()),
                     source)  # fmt: skip
    here = ["markets=['jp']", "universe.name='all'"]
    recipe = load_recipe("tiny_feeds", market, overrides=here)
    told: list[str] = []
    context = RecipeContext(
        market,
        Store(str(tmp_path)),
        recipe=recipe,
        clock=clock.now,
        progress=lambda _, what: told.append(what),
    )
    assert "margin" in {feature.family for feature in context.recipe.features}
    before = context.recipe.digest

    context = runner.ingest_all(context)

    assert "margin" not in context.market.feeds
    assert "margin" not in context.raw
    assert {"margin", "sector_short"}.isdisjoint(f.family for f in context.recipe.features)
    assert "fund" in {feature.family for feature in context.recipe.features}
    assert context.recipe.digest != before
    assert any(line.startswith("margin is off: not entitled") for line in told)
    named = load_recipe(
        "tiny_feeds", context.market, overrides=[*here, "features.families=['price','margin']"]
    )
    with pytest.raises(SpecError, match=r"features\.families: .*margin"):
        named.check_features()
