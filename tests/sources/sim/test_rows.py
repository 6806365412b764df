"""The delivered rows: schemas, clocks, corrections, and delivery month by month."""

from datetime import date, time

import numpy as np
import polars as pl
import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.source import SimSource

EVERY_FEED = (
    "daily_bars",
    "listings",
    "trading_calendar",
    "dividends",
    "borrow",
    "rates",
    "benchmark",
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
    "news",
)
CLOCK = {"available_at", "revision"}


@pytest.fixture(scope="module")
def source(dirty_spec: SimSpec, tokyo_calendar: Calendar) -> SimSource:
    return SimSource(dirty_spec, tokyo_calendar)


@pytest.fixture(scope="module")
def bars(source: SimSource) -> pl.DataFrame:
    return source.rows("daily_bars")


def test_the_source_has_all_feeds_but_membership(source: SimSource) -> None:
    assert source.feeds() == EVERY_FEED
    assert set(source.feeds()) | set(source.off()) == set(FEEDS)


@pytest.mark.parametrize("name", EVERY_FEED)
def test_rows_have_the_columns_types_and_keys_of_their_feed(name: str, source: SimSource) -> None:
    feed, rows = FEEDS[name], source.rows(name)
    wanted = {
        c: t for c, t in feed.schema.items() if c not in CLOCK | {"ingested_at", *feed.derived}
    }

    assert rows.height > 0
    assert {c: t for c, t in rows.schema.items() if c not in CLOCK} == wanted
    keys = [*feed.key, *({"revision"} & set(rows.columns))]
    assert not rows.select(keys).is_duplicated().any()
    assert rows.equals(rows.sort(keys))


@pytest.mark.parametrize("name", EVERY_FEED)
def test_a_later_end_only_adds_rows_that_became_public_later(
    name: str, source: SimSource, tokyo_calendar: Calendar
) -> None:
    cut = date(2022, 3, 30)
    short = SimSource(source.spec.model_copy(update={"last": cut}), tokyo_calendar)
    early, late = stamped(short, name), stamped(source, name)
    close_of_cut = tokyo_calendar.instant([cut], time(23, 59))[0]
    known = pl.lit(close_of_cut).dt.replace_time_zone("UTC")

    assert early.equals(late.filter(pl.col("available_at") <= known))


def stamped(source: SimSource, name: str) -> pl.DataFrame:
    rows = source.rows(name)
    rule = FEEDS[name].publication.stamp(rows, source.calendar)
    own = rows["available_at"] if "available_at" in rows.columns else pl.Series([None])
    return rows.with_columns(available_at=own.fill_null(rule) if len(own) > 1 else rule)


def test_the_last_session_decides_the_fingerprint_and_not_the_identity(
    source: SimSource, tokyo_calendar: Calendar
) -> None:
    longer = SimSource(source.spec.model_copy(update={"last": date(2022, 10, 31)}), tokyo_calendar)
    other = SimSource(source.spec.model_copy(update={"seed": 9}), tokyo_calendar)

    assert longer.identity == source.identity
    assert longer.fingerprint("daily_bars") != source.fingerprint("daily_bars")
    assert other.identity != source.identity


def test_corrections_differ_from_the_first_delivery_and_come_one_to_five_sessions_later(
    bars: pl.DataFrame, dirty: SimMarket, tokyo_calendar: Calendar
) -> None:
    key = ["event_date", "symbol"]
    both = bars.filter(revision=1).join(bars.filter(revision=0), on=key, suffix="_first")
    event = tokyo_calendar.index_of(both["event_date"].to_numpy())
    public = both["available_at"].dt.convert_time_zone("Asia/Tokyo").dt.date().to_numpy()
    lag = tokyo_calendar.index_of(public) - event

    assert both.height == bars.filter(revision=1).height > 100
    assert (both["volume"] != both["volume_first"]).all()
    assert set(lag.tolist()) == {1, 2, 3, 4, 5}
    assert both.filter(pl.col("close_first") > pl.col("high_first")).is_empty()
    assert both.filter(pl.col("close_first") < pl.col("low_first")).is_empty()
    assert (both["open"] == both["open_first"]).all()


def test_the_latest_revision_is_the_true_bar(bars: pl.DataFrame, dirty: SimMarket) -> None:
    row = bars.filter(revision=1).row(0, named=True)
    d = int(np.searchsorted(dirty.sessions, np.datetime64(row["event_date"])))
    i = dirty.roster.code.index(row["symbol"])

    assert row["close"] == dirty.bar["close"][d, i]
    assert row["volume"] == dirty.bar["volume"][d, i]


def test_an_exit_is_an_event_on_the_last_bars_session(
    source: SimSource, bars: pl.DataFrame
) -> None:
    exits = source.rows("listings").filter(pl.col("exit") != "active")
    last_bar = bars.group_by("symbol").agg(last=pl.col("event_date").max())
    joined = exits.join(last_bar, on="symbol")

    assert set(exits["exit"]) == {"delisted", "acquired"}
    assert joined.height == exits.height > 5
    assert (joined["event_date"] == joined["last"]).all()
    assert (joined["end"] == joined["last"]).all()
    assert joined["exit_return"].is_between(-1, 0.5).all()
    assert (joined.filter(exit="acquired")["exit_return"] > 0).all()


def test_nothing_before_the_exit_tells_of_it(source: SimSource) -> None:
    active = source.rows("listings").filter(exit="active")

    assert active["end"].null_count() == active["exit_return"].null_count() == active.height


def test_segments_change_on_the_day_tokyo_changed_them(source: SimSource) -> None:
    listings = source.rows("listings")
    old = {"First Section", "Second Section", "Mothers"}
    switched = listings.filter(event_date=date(2022, 4, 4), exit="active")

    assert switched.height > 50
    assert set(listings.filter(pl.col("event_date") < date(2022, 4, 4))["market_segment"]) <= old
    assert set(switched["market_segment"]) == {"Prime", "Standard", "Growth"}


def test_the_calendar_announces_the_halted_day_as_a_session(tokyo_calendar: Calendar) -> None:
    spec = SimSpec(n_symbols=20, first=date(2020, 9, 28), last=date(2020, 10, 5))
    days = SimSource(spec, tokyo_calendar).rows("trading_calendar")
    announced = set(days.filter(division="1")["event_date"])
    held = set(tokyo_calendar.between(date(2020, 1, 1), date(2021, 12, 31)).tolist())

    assert days["event_date"].min() == date(2020, 1, 1)
    assert days["event_date"].max() == date(2021, 12, 31)  # announced on 31 March 2020
    assert announced - held == {date(2020, 10, 1)}
    assert held <= announced


def test_the_benchmark_is_the_mean_return_of_its_symbols(
    source: SimSource, dirty: SimMarket
) -> None:
    level = source.rows("benchmark")["close"].to_numpy()
    close = dirty.adjusted("close")
    both = ~np.isnan(close[3]) & ~np.isnan(close[4])
    lost = dirty.listed()[4] & ~np.isnan(close[4]) & np.isnan(close[3])

    assert level[0] == 1_000
    assert not (lost & ~np.isnan(close[:3]).all(axis=0)).any()  # nobody returns on this session
    assert level[4] / level[3] - 1 == pytest.approx((close[4] / close[3] - 1)[both].mean())


def test_only_loanable_symbols_have_a_borrow_fee(source: SimSource, dirty: SimMarket) -> None:
    lent = set(source.rows("borrow")["symbol"])
    loanable = {dirty.roster.code[i] for i in np.flatnonzero(dirty.roster.shortable)}
    marked = set(source.rows("listings").filter(shortable=True)["symbol"])

    assert lent == marked
    assert lent <= loanable
    assert (source.rows("borrow")["fee_bps_annual"] > 0).all()


def test_an_unknown_feed_is_refused(source: SimSource) -> None:
    with pytest.raises(FeedError, match=r"no feed 'membership'; it has daily_bars"):
        source.rows("membership")
