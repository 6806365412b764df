"""What goes out as the API's tables comes back as the simulated exchange's own rows."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.sources.jquants.conftest import KEY, SMALL, Read, Serve, StandingClock
from tests.sources.sim_jquants.conftest import Ask

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS, SIDE_FEEDS
from alpha_assets.feeds.ingest import ingest
from alpha_assets.sources.jquants.plans import Plan
from alpha_assets.sources.jquants.source import TABLES
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.side import corporate, derivatives, flows, margin
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants import Server, make_server
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

# One span each over the halt of 2020-10-01, the change of sections, the daily margin balances.
SPANS: dict[str, SimSpec] = {
    "halt": SMALL,
    "sections": SMALL.model_copy(
        update={"first": date(2022, 2, 1), "last": date(2022, 5, 31), "n_symbols": 40}
    ),
    "daily margin": SMALL.model_copy(
        update={"first": date(2026, 8, 3), "last": date(2026, 11, 6), "n_symbols": 40}
    ),
}
VERSIONED = ("investor_types", "margin_alerts")
SIDE = tuple(name for name in SIDE_FEEDS if name in TABLES and name != "breakdown")
ALL = (*SIDE, "dividends")
# Read by session, every feed is proved on one span; these are the feeds that are proved again where
# a span's event changes their rows, from files and through a store: one of each way to be read,
# namely by document, in versions, by week and by session.  All the others are slow proofs.
KINDS = ("statements", "margin_alerts", "investor_types", "short_positions")
CONCERNED = {
    ("sections", False): ALL,
    ("sections", True): KINDS,
    ("halt", False): ("index_options", "sector_indices", "sector_short_selling"),
    ("daily margin", False): ("margin", "margin_alerts"),
}


def quick(feed: str, feeds: tuple[str, ...]) -> list[pytest.MarkDecorator]:
    return [] if feed in feeds else [pytest.mark.slow]


Served = Callable[[str, datetime, Plan], Server]
Own = Callable[[str, str], pl.DataFrame]


@pytest.fixture(scope="module", autouse=True)
def dirt() -> Iterator[None]:
    """Let the exchange correct itself often, and let a small move trigger emergency margin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(margin, "ENTERS", 0.05)
        patch.setattr(margin, "CORRECTED", 0.2)
        patch.setattr(flows, "CORRECTED", 0.5)
        patch.setattr(corporate, "CORRECTED", 0.5)
        patch.setattr(corporate, "REVISED_FORECAST", 0.5)
        patch.setattr(derivatives, "EMERGENCY_MOVE", 0.005)
        yield


@pytest.fixture(scope="module")
def served(calendar: Calendar, dirt: None) -> Iterator[Served]:
    """Servers of every version of a span's rows at an instant, each started once."""
    started: dict[tuple[str, datetime, Plan], Server] = {}

    def of(span: str, now: datetime, plan: Plan) -> Server:
        key = (span, now, plan)
        if key not in started:
            server = make_server(
                SPANS[span], calendar, keys={KEY: plan}, now=now, page_size=1000, every_version=True
            )
            started[key] = server.start()
        return started[key]

    yield of
    for server in started.values():
        server.stop()


@pytest.fixture(scope="module")
def own(calendar: Calendar, dirt: None) -> Own:
    """The simulated exchange's own rows of a span and a feed, each table built once."""
    built: dict[tuple[str, str], pl.DataFrame] = {}

    def of(span: str, feed: str) -> pl.DataFrame:
        if (span, feed) not in built:
            built[span, feed] = SimSource(SPANS[span], calendar).rows(feed)
        return built[span, feed]

    return of


def evening(spec: SimSpec) -> datetime:
    """Return 23:30 in Tokyo on the last session."""
    return datetime.combine(spec.last, time(14, 30), tzinfo=UTC)


def public(rows: pl.DataFrame, feed: str, calendar: Calendar, now: datetime) -> pl.DataFrame:
    """Return the rows that a subscriber could have read by an instant."""
    stamp = FEEDS[feed].publication.stamp(rows, calendar)
    if "available_at" in rows.columns:
        stamp = rows["available_at"].fill_null(stamp)
    return rows.filter(stamp <= now)


def numbered(rows: pl.DataFrame, feed: str) -> pl.DataFrame:
    """Return versions numbered by their day of publication."""
    version = FEEDS[feed].version
    assert version is not None
    rank = pl.col(version).rank("ordinal").over(FEEDS[feed].key) - 1
    return rows.with_columns(rank.cast(pl.Int16).alias("revision"))


@pytest.mark.parametrize(
    ("span", "bulk", "feed"),
    [
        pytest.param(span, bulk, feed, marks=quick(feed, CONCERNED[span, bulk]))
        for span, bulk in [*((span, False) for span in SPANS), ("sections", True)]
        for feed in ALL
    ],
)
def test_every_row_equals_the_simulated_exchanges_own(
    served: Served,
    own: Own,
    read: Read,
    calendar: Calendar,
    clock: StandingClock,
    span: str,
    bulk: bool,
    feed: str,
) -> None:
    spec = SPANS[span]
    clock.time = evening(spec)
    server = served(span, clock.now(), "premium")
    source = read(server, bulk=bulk, first=spec.first, plan="premium")
    made = source.rows(feed)
    wanted = public(own(span, feed), feed, calendar, clock.now())
    assert wanted.height > 5
    if feed in VERSIONED:
        made, wanted = numbered(made, feed), wanted.drop("available_at")
        assert wanted["revision"].max() == 1
    elif "revision" in wanted.columns:
        assert wanted["revision"].max() == 1
    order = [*FEEDS[feed].key, *(["revision"] if "revision" in wanted.columns else [])]
    assert_frame_equal(
        made.sort(order), wanted.sort(order), check_exact=True, check_column_order=False
    )


def test_what_the_spans_are_chosen_for_is_in_them(own: Own) -> None:
    options = own("halt", "index_options")
    assert set(options["division"]) == {"001", "002"}
    assert options["close"].null_count() > 0
    sections = own("sections", "investor_types")["section"]
    assert {"First Section", "Mothers", "Prime", "Growth", "All"} <= set(sections)
    balances = own("daily margin", "margin")
    assert 0 < balances["published"].null_count() < balances.height
    statements = own("sections", "statements")
    assert set(statements["is_consolidated"]) == {True, False, None}
    assert statements["forecast_profit"].null_count() < statements.height


def test_an_overwritten_document_is_read_as_it_now_is(
    serve: Serve, read: Read, own: Own, calendar: Calendar, clock: StandingClock
) -> None:
    spec = SPANS["sections"]
    clock.time = evening(spec)
    made = read(serve(spec=spec, clock=None), first=spec.first).rows("statements")
    rows = public(own("sections", "statements"), "statements", calendar, clock.now())
    wanted = rows.unique("document", keep="last", maintain_order=True)
    assert rows.height > wanted.height == made.height
    assert_frame_equal(
        made.sort("document"),
        wanted.drop("revision", "available_at").sort("document"),
        check_column_order=False,
    )


@pytest.mark.parametrize("feed", [pytest.param(f, marks=quick(f, KINDS)) for f in SIDE])
def test_a_store_filled_from_the_server_equals_one_filled_from_the_exchange(
    served: Served,
    read: Read,
    calendar: Calendar,
    clock: StandingClock,
    tmp_path: Path,
    feed: str,
) -> None:
    spec = SPANS["sections"]
    clock.time = datetime.combine(spec.last + timedelta(days=20), time(0, 0), tzinfo=UTC)
    server = served("sections", clock.now(), "standard")
    store = Store(str(tmp_path / "store"))
    stored = []
    for name, source in (
        ("jp", read(server, first=spec.first)),
        ("sim", SimSource(spec, calendar)),
    ):
        table = RawTable(store, name, FEEDS[feed], calendar.zone)
        ingest(table, FEEDS[feed], source, calendar, now=clock.now())
        stored.append(table.read().collect().drop("ingested_at"))
    order = [*FEEDS[feed].key, "revision"]
    assert stored[0].height > 5
    assert_frame_equal(stored[0].sort(order), stored[1].sort(order), check_exact=True)


def test_a_correction_of_a_week_appears_a_session_after_its_day(
    serve: Serve, ask: Ask, own: Own, clock: StandingClock
) -> None:
    spec = SPANS["sections"]
    rows = own("sections", "investor_types")
    right = rows.filter(revision=1).row(0, named=True)
    server = serve(spec=spec, clock=None)
    span = {"from_": str(right["published"]), "to": str(right["published"])}
    clock.time = right["available_at"] - timedelta(minutes=1)
    before = ask(server, "/equities/investor-types", **span)[1]["data"]
    assert str(right["event_date"]) not in {row["EnDate"] for row in before}
    clock.time = right["available_at"]
    after = ask(server, "/equities/investor-types", **span)[1]["data"]
    assert [row["FrgnBuy"] for row in after if row["EnDate"] == str(right["event_date"])] == [
        right["foreigners_buy"]
    ]
    assert clock.time.date() > right["published"]


def test_marks_are_written_where_nothing_was_published(
    serve: Serve, ask: Ask, own: Own, clock: StandingClock
) -> None:
    spec = SPANS["sections"]
    clock.time = evening(spec)
    alerts = own("sections", "margin_alerts").filter(revision=0)
    first = alerts.filter(pl.col("short_change").is_null()).row(0, named=True)
    server = serve(spec=spec, clock=None)
    found = ask(server, "/markets/margin-alert", date=str(first["published"]))[1]["data"]
    [row] = [row for row in found if row["Code"] == first["symbol"]]
    assert (row["ShrtOutChg"], row["LongStdOutChg"]) == ("-", "-")
    assert row["ShrtOut"] == first["short"]
    assert set(row["PubReason"].values()) <= {"0", "1"}


def test_the_index_of_the_day_on_which_nothing_was_traded_is_the_close_before(
    serve: Serve, ask: Ask, clock: StandingClock
) -> None:
    server = serve(page_size=5000)
    before = ask(server, "/indices/bars/daily", date="2020-09-30")[1]["data"]
    halted = ask(server, "/indices/bars/daily", date="2020-10-01")[1]["data"]
    assert {row["Code"] for row in halted} == {row["Code"] for row in before}
    closes = {row["Code"]: row["C"] for row in before}
    for row in halted:
        assert row["O"] == row["H"] == row["L"] == row["C"] == closes[row["Code"]]


def test_a_parents_figures_stand_in_its_own_columns(
    serve: Serve, ask: Ask, own: Own, calendar: Calendar, clock: StandingClock
) -> None:
    spec = SPANS["sections"]
    clock.time = evening(spec)
    rows = public(own("sections", "statements"), "statements", calendar, clock.now())
    told = rows.filter(pl.col("sales").is_not_null())
    server = serve(spec=spec, clock=None, page_size=5000)
    for is_group, filled, empty in ((False, "NCSales", "Sales"), (True, "Sales", "NCSales")):
        one = told.filter(is_consolidated=is_group).row(-1, named=True)
        found = ask(server, "/fins/summary", code=one["symbol"])[1]["data"]
        [row] = [row for row in found if row["DiscNo"] == one["document"]]
        assert row[filled] == str(int(one["sales"]))
        assert row[empty] == ""
