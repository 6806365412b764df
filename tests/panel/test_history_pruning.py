"""What is left unread changes no bit: every join on a market with late rows and corrections."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.panel.market import TOKYO, day, random_market

from alpha_assets.calendar import as_date
from alpha_assets.config.market import load_market
from alpha_assets.feeds import FEEDS
from alpha_assets.panel.asof import join_states
from alpha_assets.panel.bars import known_rows
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.history_pruning import decided, needed_bars, needed_rows
from alpha_assets.panel.joins import JOINS, Join
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.runner import ingest_all
from alpha_assets.store.store import Store

PIPELINES = Path(__file__).parents[1] / "pipelines"
LATE = 0.06  # share of the rows that come out later
CORRECTED = 0.06
SILENT = pl.col("event_date").is_between(date(2021, 5, 6), date(2021, 6, 10))
AMERICAN = ("short_volume", "short_interest", "option_summary")

Raw = Mapping[str, pl.DataFrame]
every_join = pytest.mark.parametrize("join", JOINS.values(), ids=lambda join: join.name)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Raw:
    """The raw rows of the tiny market, made unruly: late rows, corrections, and silences."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        market = load_market("tiny", overrides=("sim.n_symbols=24", "sim.first=2020-09-01"))
    context = MarketContext(market, Store(str(tmp_path_factory.mktemp("unruly"))))
    ingest_all(context)
    stored = {feed: table.read().collect() for feed, table in context.raw.items() if table.months()}
    made = {
        join.feed: unruly(stored[join.feed], tuple(FEEDS[join.feed].key), seed)
        for seed, join in enumerate(JOINS.values())
        if join.feed in stored
    }
    own = stored["listings"].filter(exit="active")
    keys = own.select("symbol", "sector", "market_segment").unique("symbol").sort("symbol")
    for seed, feed in enumerate(AMERICAN):
        made[feed] = unruly(american(feed, keys["symbol"]), tuple(FEEDS[feed].key), 90 + seed)
    made["keys"] = keys
    return made


def american(feed: str, symbols: pl.Series) -> pl.DataFrame:
    """Return rows of a feed that the simulated exchange does not have."""
    rng = np.random.default_rng(len(feed))
    days = TOKYO.between(date(2020, 9, 1), date(2021, 8, 31))
    days = days[:: 10 if feed == "short_interest" else 1]
    n = len(days) * len(symbols)
    schema = FEEDS[feed].schema
    stamp = pl.col("event_date").cast(schema["available_at"]) + timedelta(days=1)
    rows = pl.DataFrame({"event_date": np.repeat(days, len(symbols))}).with_columns(
        pl.Series("symbol", symbols.to_list() * len(days)),
        stamp.alias("available_at"),
        *(pl.Series(name, rng.random(n)) for name, dtype in schema.items() if dtype == pl.Float64),
    )
    return rows.select(
        [pl.col(n) if n in rows.columns else pl.lit(None, t).alias(n) for n, t in schema.items()]
    ).with_columns(pl.lit(0, pl.Int16).alias("revision"))


def unruly(rows: pl.DataFrame, key: tuple[str, ...], seed: int) -> pl.DataFrame:
    """Return rows of which some come late, some are corrected late, and some keys fall silent."""
    rng = np.random.default_rng(seed)
    late = rng.choice([0, 1, 3, 9, 40, 90], rows.height, p=[1 - LATE, *[LATE / 5] * 5])
    rows = rows.with_columns(pl.col("available_at") + pl.duration(days=pl.Series(late)))
    right = rows.filter(pl.Series(rng.random(rows.height) < CORRECTED))
    numbers = [n for n, t in rows.schema.items() if t == pl.Float64 and n not in key]
    wait = pl.duration(days=pl.Series(rng.choice([1, 5, 30, 70], right.height)))
    right = right.with_columns(
        pl.col(numbers) * 1.25, pl.col("available_at") + wait, pl.col("revision") + 1
    )
    both = pl.concat([rows, right.with_columns(pl.col("revision").cast(pl.Int16))])
    which = next((name for name in ("symbol", "sector", "section") if name in key), None)
    if which is None:
        both = both.filter(~SILENT)
    else:
        # Every third key says nothing after spring, every fifth nothing for two months.
        names = both[which].unique().sort()
        stops = pl.col(which).is_in(names.gather_every(3).implode()) & (
            pl.col("event_date") > date(2021, 4, 15)
        )
        pauses = pl.col(which).is_in(names.gather_every(5).implode()) & pl.col(
            "event_date"
        ).is_between(date(2021, 5, 1), date(2021, 7, 5))
        both = both.filter(~stops & ~pauses)
    return both.unique([*key, "available_at", "revision"], keep="last", maintain_order=True)


def left_of(raw: Raw, first: date, last: date) -> pl.DataFrame:
    sessions = pl.DataFrame({"session": TOKYO.between(first, last)})
    return sessions.join(raw["keys"], how="cross").sort("session", "symbol")


def joined(raw: Raw, join: Join, first: date, last: date) -> pl.DataFrame:
    return join_states(left_of(raw, first, last), raw[join.feed].lazy(), join, TOKYO)


DAYS = [(as_date(s), as_date(s)) for s in TOKYO.between(date(2021, 4, 16), date(2021, 7, 30))]
SPANS = [(date(2021, month, 1), date(2021, month, 28)) for month in (3, 5, 6, 7, 8)] + DAYS[::12]
MORE_DAYS = [day for day in DAYS[::4] if day not in SPANS]


@pytest.mark.parametrize("spans", [SPANS, pytest.param(MORE_DAYS, marks=pytest.mark.slow)])
@every_join
def test_what_is_left_unread_changes_no_bit(
    raw: Raw, join: Join, spans: list[tuple[date, date]]
) -> None:
    everything = replace(join, history=None)
    for first, last in spans:
        found = joined(raw, join, first, last)
        assert_frame_equal(found, joined(raw, everything, first, last), check_exact=True)
    assert found.select(join.panel_columns[-1]).to_series().is_not_null().any()


@pytest.mark.parametrize(
    "join",
    [join for join in JOINS.values() if join.history is not None],
    ids=lambda join: join.name,
)
def test_one_session_less_of_history_is_seen(raw: Raw, join: Join) -> None:
    assert join.history is not None
    everything = replace(join, history=None)
    short = replace(join, history=join.history - 1)
    if join.whole_days:
        # A late row about an old day would have all days since read whole.
        in_time = pl.col("available_at").dt.date() - pl.col("event_date") < timedelta(days=4)
        calm = raw[join.feed].filter(in_time, ~SILENT, pl.col("revision") == 0)
        if "symbol" in calm.columns:
            # Two issues a day at least: a list of one is as long as none is known to be.
            calm = pl.concat([calm, calm.with_columns(pl.col("symbol") + "2")])
        raw = {**raw, join.feed: calm}
    assert any(
        not joined(raw, short, first, last).equals(joined(raw, everything, first, last))
        for first, last in DAYS
    )


@pytest.mark.parametrize(
    "join",
    [join for join in JOINS.values() if join.history is not None],
    ids=lambda join: join.name,
)
def test_few_older_rows_are_kept_and_none_of_their_values(raw: Raw, join: Join) -> None:
    rows = raw[join.feed]
    first = int(TOKYO.index_of(date(2021, 8, 2)))
    assert join.history is not None
    kept = needed_rows(rows.lazy(), join, TOKYO, range(first, first + 1))
    known = known_rows(rows, TOKYO, first, join.feed)
    fresh = known.filter(
        pl.Series(TOKYO.effective(known["available_at"].to_numpy()) >= first - join.history)
    )
    if not join.whole_days:
        kinds = known.select(*join.marks).unique().height if join.marks else 1
        assert fresh.height <= kept.height <= fresh.height + kinds
    assert kept.height < known.height or join.name == "news"


@pytest.mark.parametrize("join", JOINS.values(), ids=lambda join: join.name)
def test_a_limit_other_than_the_feeds_is_explained(join: Join) -> None:
    of_feed = FEEDS[join.feed].max_stale

    assert (join.max_stale == of_feed) != bool(join.unlike)
    assert set(join.lasting) <= set(join.columns)
    assert join.history is None or (join.max_stale or 0) <= join.history


@given(seed=st.integers(0, 10_000), start=st.integers(0, 70), length=st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_bars_before_the_span_count_as_if_each_were_read(
    seed: int, start: int, length: int
) -> None:
    raw = random_market(seed)
    first, last = day(start), day(start + length)
    alone = build_panel({n: f.lazy() for n, f in raw.items()}, TOKYO, first, last)
    whole = build_panel(raw, TOKYO, day(0), day(start + length))

    inside = pl.col("session").is_between(first, last)
    assert_frame_equal(alone, whole.filter(inside), check_exact=True)


def test_of_bars_before_the_span_only_the_moves_of_their_factors_are_kept() -> None:
    raw = random_market(5)["daily_bars"].with_columns(
        pl.lit(None, pl.Float64).alias("share_factor")
    )
    number = int(TOKYO.index_of(day(55)))
    before = needed_bars(raw, TOKYO, range(number, number + 2))

    assert before.rows["available_at"].min() > decided(TOKYO, number - 1)
    assert before.moves.filter(pl.col("usable") < number).height > 10
    assert (before.moves["ratio"] != 1).all()
    assert before.n_bars_N.sum() > 100
