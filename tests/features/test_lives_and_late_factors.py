"""Promises of the whole catalogue: two lives are two symbols; a factor learned late counts then.

The exchange is simulated; in it one symbol's split is told weeks late, or two symbols are
delivered under one name.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

import polars as pl
import pytest
from tests.features.conftest import apply_factor, make_panel, random_bars
from tests.features.test_side_catalog import raw_rows
from tests.panel.market import TOKYO

from alpha_assets.calendar import as_date
from alpha_assets.features import CATALOG, compute_features
from alpha_assets.features.compute_cross_symbol import ACROSS
from alpha_assets.features.inputs import MARKET_RETURN
from alpha_assets.feeds import FEEDS
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.joins import joins_of
from alpha_assets.sources.sim import SimSpec

SPEC = SimSpec(
    seed=7,
    n_symbols=20,
    first=date(2021, 3, 1),
    last=date(2022, 7, 29),
    splits_annual=1.0,
    late_within_sessions=200,
)
SESSIONS = TOKYO.between(SPEC.first, SPEC.last)
FIRST, LAST = as_date(SESSIONS[290]), as_date(SESSIONS[-1])
# Their values at a session pool what other sessions knew of this symbol and of others.
POOLED = ("sec_beta_60", *(f.name for f in ACROSS if f.reads_graph))
OWN = [f for f in CATALOG if MARKET_RETURN not in f.inputs and f.name not in POOLED]

Raw = Mapping[str, pl.DataFrame]


@pytest.fixture(scope="module")
def raw() -> dict[str, pl.DataFrame]:
    return raw_rows(SPEC)


def instant(day: date, at: time) -> datetime:
    return datetime.combine(day, at, TOKYO.zone).astimezone(UTC)


def built(raw: Raw) -> pl.DataFrame:
    return build_panel(raw, TOKYO, SPEC.first, LAST, side=joins_of({n: FEEDS[n] for n in raw}))


def made(panel: pl.DataFrame, catalog: Any = CATALOG) -> pl.DataFrame:
    return compute_features(panel, catalog, FIRST, LAST, sessions=SESSIONS)


def differing(one: pl.DataFrame, other: pl.DataFrame) -> list[str]:
    assert one.height == other.height > 0
    return [name for name in one.columns if not one[name].equals(other[name], null_equal=True)]


class Told(NamedTuple):
    late: pl.DataFrame
    at_once: pl.DataFrame
    never: pl.DataFrame
    symbol: str
    learned: date


@pytest.fixture(scope="module")
def told(raw: dict[str, pl.DataFrame]) -> Told:
    """The features where a split is told 15 sessions late, at once, and never."""
    bars = raw["daily_bars"]
    ex_date, factor = as_date(SESSIONS[310]), pl.col("adjustment_factor")
    near = pl.col("event_date").is_between(as_date(SESSIONS[290]), LAST)
    whole = pl.len() == 40 + len(SESSIONS[330:])
    quiet = (
        bars.filter(near)
        .group_by("symbol")
        .agg(((factor.fill_null(1.0) == 1.0).all() & whole).alias("is_quiet"))
    )
    symbol = quiet.filter("is_quiet")["symbol"].min()
    on = pl.col("symbol") == symbol
    here = on & (pl.col("event_date") == ex_date)
    bars = bars.with_columns(
        pl.when(here).then(0.5).otherwise(factor).alias(factor.meta.output_name())
    )
    learned = as_date(SESSIONS[326])
    evening = instant(learned, time(7))
    correction = bars.filter(here).with_columns(
        revision=pl.lit(1, pl.Int16), available_at=pl.lit(evening)
    )
    unknown = pl.when(here).then(None).otherwise("adjustment_factor").alias("adjustment_factor")
    without = bars.with_columns(unknown)
    late = pl.concat([without, correction.select(without.columns)])
    frames = [
        made(built({**raw, "daily_bars": rows})).sort("session", "symbol")
        for rows in (late, bars, without)
    ]
    return Told(*frames, symbol=symbol, learned=learned)


def test_from_the_session_that_learns_it_on_a_factor_stands_where_it_belongs(told: Told) -> None:
    since = (pl.col("symbol") == told.symbol) & (pl.col("session") >= told.learned)
    names = [feature.name for feature in OWN]

    one, other = (frame.filter(since).select(names) for frame in (told.late, told.at_once))
    assert differing(one, other) == []
    # And it matters: without it these windows hold a fall of a half.
    missed = differing(one, told.never.filter(since).select(names))
    assert {"ret_20", "mom_12_1", "vol_yz_20", "volume_z_20"} <= set(missed)


def test_before_it_is_learned_a_factor_changes_nothing(told: Told) -> None:
    before = pl.col("session") < told.learned
    assert differing(told.late.filter(before), told.never.filter(before)) == []


def test_what_pools_symbols_stays_as_first_computed(told: Told) -> None:
    others = pl.col("symbol") != told.symbol
    wide = [feature.name for feature in CATALOG if MARKET_RETURN in feature.inputs]
    # Other symbols' windows hold the market's mean as it was, with the fall in it.
    one, other = (frame.filter(others).select(wide) for frame in (told.late, told.never))
    held = told.late.filter(others)["session"] <= told.learned
    assert differing(one.filter(held), other.filter(held)) == []
    own = [feature.name for feature in OWN if not feature.feeds and feature.family != "sec"]
    assert differing(told.late.filter(others)[own], told.at_once.filter(others)[own]) == []


def test_a_span_made_alone_has_the_same_bits(raw: dict[str, pl.DataFrame], told: Told) -> None:
    bars = raw["daily_bars"]
    here = (pl.col("symbol") == told.symbol) & (pl.col("event_date").dt.day() == 8)
    evening = instant(told.learned, time(7))
    late = bars.filter(here & (pl.col("event_date") >= FIRST)).with_columns(
        adjustment_factor=pl.col("adjustment_factor") * 0.9,
        revision=pl.lit(9, pl.Int16),
        available_at=pl.lit(evening),
    )
    panel = build_panel(
        {"daily_bars": pl.concat([bars, late]), "listings": raw["listings"]},
        TOKYO,
        SPEC.first,
        LAST,
    )
    plain = [feature for feature in CATALOG if not set(feature.feeds) - {"listings"}]
    whole = made(panel, plain)
    for number in (310, 320, 321, 335, len(SESSIONS) - 1):
        day = as_date(SESSIONS[number])
        alone = compute_features(panel, plain, day, day, sessions=SESSIONS)
        assert differing(alone, whole.filter(pl.col("session") == day)) == [], day


@pytest.mark.parametrize("gap", [1, 9])
def test_two_lives_of_one_symbol_are_two_symbols(raw: dict[str, pl.DataFrame], gap: int) -> None:
    """The old one ends on session 300, the other begins `gap` sessions later."""
    end, start = as_date(SESSIONS[300]), as_date(SESSIONS[300 + gap])
    symbols = sorted(
        raw["daily_bars"].filter(pl.col("event_date") == SPEC.first)["symbol"].unique()
    )
    old, new = symbols[2], symbols[5]
    midnight = instant(end + timedelta(days=1), time(0))

    def renamed(name: str) -> dict[str, pl.DataFrame]:
        """Return the market in which the other one is called `name`."""
        world = {}
        for feed, rows in raw.items():
            if "symbol" not in rows.columns:
                world[feed] = rows
                continue
            code, day, stamp = pl.col("symbol"), pl.col("event_date"), pl.col("available_at")
            early = (day <= end) if feed == "daily_bars" else (stamp < midnight)
            late = (day >= start) if feed == "daily_bars" else (stamp >= midnight)
            if feed == "listings":
                late &= day >= start
            kept = rows.filter(((code != old) & (code != new)) | ((code == old) & early))
            other = rows.filter((code == new) & late).with_columns(symbol=pl.lit(name))
            world[feed] = pl.concat([kept, other], how="vertical_relaxed")
        listed = raw["listings"]
        event = listed.filter(pl.col("symbol") == old).head(1)
        left = event.with_columns(
            event_date=pl.lit(end),
            end=pl.lit(end),
            exit=pl.lit("delisted"),
            available_at=pl.lit(midnight - timedelta(hours=1)),
        )
        came = event.with_columns(
            event_date=pl.lit(start),
            start=pl.lit(start),
            symbol=pl.lit(name),
            available_at=pl.lit(instant(start, time(0))),
        )
        events = [world["listings"], left, came]
        world["listings"] = pl.concat([e.select(listed.columns) for e in events])
        return world

    one, two = built(renamed(old)), built(renamed(f"{old}A"))
    assert (
        differing(one.drop("symbol", "life", "ticker"), two.drop("symbol", "life", "ticker")) == []
    )
    assert one.filter(pl.col("life") == 1).height > 20
    values = made(one), made(two)
    assert differing(*(frame.drop("symbol") for frame in values)) == []
    mine = one.filter(pl.col("life") == 1).select("session", "symbol")
    assert values[0].join(mine, on=["session", "symbol"])["ret_20"].null_count() >= 15


def test_cash_moves_no_volume() -> None:
    """A dividend of 40 % of the price: the price restarts at 0.6, the shares do not."""
    bars = random_bars(130, 1, seed=3)
    apply_factor(bars, 0, 100, 0.6)
    bars["volume"][:] = 1_000.0
    panel = make_panel(bars, ("A",)).with_columns(cum_volume_factor=pl.lit(1.0))
    wanted = [f for f in CATALOG if f.name in ("volume_ratio_5_60", "adv_sh_20", "ret_60")]
    found = compute_features(panel, wanted, date(2000, 1, 1), date(2100, 1, 1))

    assert set(found["volume_ratio_5_60"].drop_nulls()) == {0.0}
    assert set(found["adv_sh_20"].drop_nulls()) == {1_000.0}
    assert abs(float(found["ret_60"][-1])) < 0.6
