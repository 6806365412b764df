"""Promises that features of side feeds keep, on the panel of a simulated exchange.

They are checked on the bits of raw Float64 values, as those of prices are in `test_catalog.py`.
The exchange changes its sections in the span, splits many shares, and lists and delists symbols.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.features.test_catalog import KEYS, assert_same_bits
from tests.panel.market import TOKYO

from alpha_assets.features import CATALOG, Feature, compute_features, max_lookback
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.american import AMERICAN
from alpha_assets.feeds.flows import SPLICED
from alpha_assets.feeds.ingest import with_clock
from alpha_assets.feeds.margin import REASONS
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.joins import JOINS, joins_of
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.source import SimSource

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EVER = (date(2000, 1, 1), date(2100, 1, 1))
# 430 sessions, the last third of them after the change of sections.
EXCHANGE = SimSpec(
    seed=11,
    n_symbols=40,
    first=date(2021, 3, 1),
    last=date(2022, 11, 30),
    splits_annual=0.5,
    corrected_share=0.01,
    delistings_annual=0.1,
    late_within_sessions=200,
)
# Margin balances are daily from 2026-09-25 on.
DAILY = SimSpec(
    seed=12,
    n_symbols=20,
    first=date(2026, 8, 3),
    last=date(2026, 11, 13),
    splits_annual=1.0,
    late_within_sessions=40,
)
SIDE = tuple(feature for feature in CATALOG if set(feature.feeds) - {"listings"})
LOOKBACKS = sorted({feature.lookback for feature in CATALOG})
# What the simulated exchange never has: flags of them are 0 throughout, and tested by hand.
NEVER_SEEN = ("margin_is_negotiable_only", "dmi_is_supervised", "opt_is_odd")
# Without a yesterday's balance there is no change, without a second regime no difference.
OF_THE_DAILY_REGIME = ("margin_chg_1d", "margin_is_daily_regime")


def raw_rows(spec: SimSpec) -> dict[str, pl.DataFrame]:
    """Return the rows of prices, listings and all feeds that are joined, stamped."""
    source = SimSource(spec, TOKYO)
    wanted = ["daily_bars", "listings", *dict.fromkeys(join.feed for join in JOINS.values())]
    rows = {}
    for name in wanted:
        if name not in source.feeds():
            continue
        made = source.rows(name)
        if "revision" not in made.columns:
            made = made.with_columns(revision=pl.lit(0, pl.Int16))
        rows[name] = with_clock(made, FEEDS[name], TOKYO, NOW)
    # The simulated exchange gives three reasons only; of the others every third day has one.
    third = pl.col("event_date").dt.ordinal_day() % len(REASONS)
    rows["margin_alerts"] = rows["margin_alerts"].with_columns(
        (pl.col(reason) | (third == place)).alias(reason) for place, reason in enumerate(REASONS)
    )
    # And now and then a day's surface of options never comes.
    rows["index_options"] = rows["index_options"].filter(
        pl.col("event_date").dt.ordinal_day() % 23 > 0
    )
    return rows | american_rows(rows["daily_bars"])


def american_rows(bars: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return made-up rows of the feeds that the exchange lacks, some of them corrected."""
    keys = bars.filter(revision=0).select("event_date", "symbol").sort(pl.all())
    rng = np.random.default_rng(3)
    rows = {}
    for name in AMERICAN:
        feed = FEEDS[name]
        days = keys["event_date"].unique().sort()[:: 10 if name == "short_interest" else 1]
        held = keys.filter(pl.Series(rng.random(keys.height) < 0.9)).join(
            days.to_frame(), on="event_date", how="semi", maintain_order="left"
        )
        numbers = {c.name: rng.lognormal(10, 1, held.height) for c in feed.values}
        numbers.pop("published", None)
        first = with_clock(
            held.with_columns(
                pl.lit(None, pl.Date).alias("published"),
                *(pl.Series(column, value) for column, value in numbers.items()),
                pl.lit(0, pl.Int16).alias("revision"),
            ),
            feed,
            TOKYO,
            NOW,
        )
        right = first.filter(pl.Series(rng.random(first.height) < 0.02)).with_columns(
            *(pl.col(column) * 1.5 for column in numbers),
            pl.col("available_at") + timedelta(days=4),
            pl.lit(1, pl.Int16).alias("revision"),
        )
        rows[name] = pl.concat([first, right])
    return rows


def panel_of(raw: Mapping[str, pl.DataFrame], last: date) -> pl.DataFrame:
    return build_panel(
        raw, TOKYO, date(2015, 1, 5), last, side=joins_of({name: FEEDS[name] for name in raw})
    )


def computed(panel: pl.DataFrame, catalog: Sequence[Feature] = CATALOG, **how: int) -> pl.DataFrame:
    return compute_features(panel, catalog, *EVER, dtype=np.float64, **how)


def sessions_of(panel: pl.DataFrame) -> pl.Series:
    return panel["session"].unique().sort()


@pytest.fixture(scope="module")
def raw() -> dict[str, pl.DataFrame]:
    return raw_rows(EXCHANGE)


@pytest.fixture(scope="module")
def panel(raw: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return panel_of(raw, EXCHANGE.last)


@pytest.fixture(scope="module")
def full(panel: pl.DataFrame) -> pl.DataFrame:
    return computed(panel)


@pytest.fixture(scope="module")
def daily_panel() -> pl.DataFrame:
    return panel_of(raw_rows(DAILY), DAILY.last)


@pytest.fixture(scope="module")
def daily_full(daily_panel: pl.DataFrame) -> pl.DataFrame:
    return computed(daily_panel)


def test_the_panel_puts_every_feature_to_work(full: pl.DataFrame) -> None:
    idle = [f.name for f in CATALOG if full[f.name].drop_nulls().n_unique() < 2]
    assert idle == [f.name for f in CATALOG if f.name in (*OF_THE_DAILY_REGIME, *NEVER_SEEN)]
    assert full["margin_chg_1d"].null_count() == full.height


def test_the_daily_regime_puts_the_others_to_work(daily_full: pl.DataFrame) -> None:
    values = daily_full
    for name in OF_THE_DAILY_REGIME:
        assert values[name].drop_nulls().n_unique() > 1, name
    # 2026-09-25 is the first daily balance, known on the 29th, its successor on the 30th.
    known = values.filter(pl.col("margin_chg_1d").is_not_null())["session"]
    assert known.min() == date(2026, 9, 30)
    regime = values.filter(margin_is_daily_regime=1.0)["session"]
    assert regime.min() == date(2026, 9, 29)


@pytest.mark.parametrize(
    ("market", "whole", "cut"),
    [
        ("panel", "full", -2),
        ("panel", "full", -40),
        ("panel", "full", 90),
        ("daily_panel", "daily_full", -20),
    ],
)
def test_deleting_what_comes_later_changes_nothing(
    market: str, whole: str, cut: int, request: pytest.FixtureRequest
) -> None:
    panel, values = request.getfixturevalue(market), request.getfixturevalue(whole)
    sessions = sessions_of(panel)
    past = pl.col("session") <= sessions[cut]
    assert_same_bits(values.filter(past), computed(panel.filter(past)))


@pytest.mark.parametrize(
    "feed",
    ["daily_bars", "investor_types", "margin_alerts", "statements", "short_interest", "news"],
)
def test_rows_that_came_later_change_nothing(
    feed: str, raw: dict[str, pl.DataFrame], full: pl.DataFrame, panel: pl.DataFrame
) -> None:
    # The cut lies where a row is known and its correction is not, if the feed has corrections.
    rows = raw[feed]
    corrected = rows.filter(pl.col("revision") > 0).select(FEEDS[feed].key)
    first = rows.filter(revision=0).join(corrected, on=FEEDS[feed].key, how="semi")
    assert first.height or feed == "news"
    stamps = (first if first.height else rows)["available_at"].sort()
    session = TOKYO.sessions[TOKYO.effective(stamps.to_numpy()[len(stamps) // 2])].item()
    decision = pl.lit(TOKYO.decision([session])[0]).dt.replace_time_zone("UTC")
    known = {
        name: rows.filter(pl.col("available_at") <= decision).sort("event_date", descending=True)
        for name, rows in raw.items()
    }
    until = pl.col("session") <= session
    assert_same_bits(full.filter(until), computed(panel_of(known, EXCHANGE.last).filter(until)))


@pytest.mark.parametrize("lookback", LOOKBACKS)
def test_the_lookback_is_all_the_history_needed(
    lookback: int, panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    catalog = [feature for feature in CATALOG if feature.lookback == lookback]
    sessions = sessions_of(panel)
    for end in (-1, -70):
        recent = panel.filter(
            pl.col("session").is_between(sessions[end - lookback + 1], sessions[end])
        )
        here = pl.col("session") == sessions[end]
        expected = full.filter(here).select(*KEYS, *[feature.name for feature in catalog])
        assert_same_bits(expected, computed(recent, catalog).filter(here))


@pytest.mark.parametrize("lookback", [b for b in LOOKBACKS if b <= 45])
def test_the_lookback_is_all_that_is_needed_in_the_daily_regime(
    lookback: int, daily_panel: pl.DataFrame, daily_full: pl.DataFrame
) -> None:
    catalog = [feature for feature in SIDE if feature.lookback == lookback]
    sessions = sessions_of(daily_panel)
    whole = daily_full.select(*KEYS, *[feature.name for feature in catalog])
    for end in (-1, -20):
        recent = daily_panel.filter(
            pl.col("session").is_between(sessions[end - lookback + 1], sessions[end])
        )
        here = pl.col("session") == sessions[end]
        assert_same_bits(whole.filter(here), computed(recent, catalog).filter(here))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_daily_updates_give_the_bits_of_one_build(
    panel: pl.DataFrame, full: pl.DataFrame, dtype: type[np.floating]
) -> None:
    sessions = sessions_of(panel)
    reach = max_lookback(CATALOG)
    assert reach < len(sessions)
    rounded = full.cast({pl.Float64: pl.Float32}) if dtype is np.float32 else full
    for end in (-60, -2, -1):
        day = sessions[end]
        recent = panel.filter(pl.col("session").is_between(sessions[end - reach + 1], day))
        daily = compute_features(recent, CATALOG, day, day, dtype=dtype)
        assert_same_bits(rounded.filter(session=day), daily)


@pytest.mark.parametrize("how", [{"block_symbols": 1}, {"threads": 3}])
def test_blocks_and_threads_change_nothing(
    panel: pl.DataFrame, full: pl.DataFrame, how: dict[str, int]
) -> None:
    assert_same_bits(full, computed(panel, **{"block_symbols": 5, **how}))


@pytest.fixture(scope="module")
def few(panel: pl.DataFrame) -> pl.DataFrame:
    """Every fourth symbol: what a column reaches does not hang on how many there are."""
    return panel.filter(pl.col("symbol").is_in(panel["symbol"].unique().sort()[::4].implode()))


@pytest.fixture(scope="module")
def few_full(few: pl.DataFrame) -> pl.DataFrame:
    return computed(few)


@pytest.mark.parametrize("join", JOINS.values(), ids=lambda join: join.name)
def test_a_feature_feels_its_own_feeds_and_no_others(
    join: object, few: pl.DataFrame, few_full: pl.DataFrame
) -> None:
    columns = [name for name in JOINS[join.name].panel_columns if name in few.columns]  # type: ignore[attr-defined]
    feed = JOINS[join.name].feed  # type: ignore[attr-defined]
    lost = computed(few.with_columns(pl.lit(None, pl.Float64).alias(name) for name in columns))
    others = [feature.name for feature in CATALOG if feed not in feature.feeds]
    assert_same_bits(few_full.select(*KEYS, *others), lost.select(*KEYS, *others))
    own = [feature.name for feature in CATALOG if feed in feature.feeds]
    assert not own or any(not few_full[name].equals(lost[name]) for name in own)


def test_what_is_unknown_never_becomes_zero(panel: pl.DataFrame) -> None:
    columns = [name for join in JOINS.values() for name in join.panel_columns if name in panel]
    values = computed(panel.with_columns(pl.lit(None, pl.Float64).alias(n) for n in columns), SIDE)
    known = [f.name for f in SIDE if values[f.name].null_count() < values.height]
    # No article has come yet: that is a count, not a gap.
    assert known == ["news_count_5", "news_count_20"]


def test_a_fact_of_a_key_is_equal_for_all_of_its_symbols(
    panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    section = pl.col("market_segment").replace_strict(SPLICED, default=None)
    keys = full.join(
        panel.select(*KEYS, "sector", section.alias("section")), on=KEYS, validate="1:1"
    )
    scopes = {"market": ["session"], "section": ["session", "section"]}
    scopes["sector"] = ["session", "sector"]
    for scope, by in scopes.items():
        names = [f.name for f in SIDE if f.scope == scope]
        assert names
        of_key = keys.drop_nulls(by).group_by(by).agg(pl.col(names).n_unique())
        assert of_key.select(pl.col(names).max()).row(0) == (1,) * len(names)


def test_other_symbols_change_nothing(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    own = [f for f in SIDE if f.scope == "symbol" and "market_return" not in f.inputs]
    few = pl.col("symbol").is_in(panel["symbol"].unique().sort()[::9].implode())
    assert_same_bits(
        full.filter(few).select(*KEYS, *[f.name for f in own]), computed(panel.filter(few), own)
    )


@pytest.mark.parametrize("feature", SIDE, ids=lambda feature: feature.name)
def test_a_feature_of_a_feed_says_what_it_is(feature: Feature) -> None:
    assert feature.unit
    assert feature.source
    assert len(feature.about) > 15
    assert feature.lookback >= feature.rows >= 1
    assert set(feature.feeds) <= set(FEEDS)
