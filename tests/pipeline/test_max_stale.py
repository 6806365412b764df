"""A market's `max_stale` is what panel, universe and features go by, not a number of their own."""

from pathlib import Path

import polars as pl
import pytest
from tests.panel.market import SESSIONS, bar, bars, day

from alpha_assets.config.market import Market, load_market
from alpha_assets.features import CATALOG
from alpha_assets.features.edges import edge_lookback
from alpha_assets.features.inputs import INPUTS, inputs_at
from alpha_assets.panel.universe import UniverseSpec, universe
from alpha_assets.pipeline.transforms import feature_rows, panel_rows, universe_start

BARS = "date,symbol,open,high,low,close,volume\n2023-06-01,A,1,1,1,1,1\n"
TOKYO = (
    "calendar.exchange=XTKS",
    "calendar.zone=Asia/Tokyo",
    "calendar.decision_time=08:30:00",
)
# A trades at 10 in each session.  B does so up to session 4, and at 11 from 35 on: 30 without.
GAP = range(5, 35)
LAST = 37


@pytest.fixture
def market(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Market:
    monkeypatch.delenv("ALPHA_PIPELINES", raising=False)
    (tmp_path / "daily_bars.csv").write_text(BARS)
    return load_market("us", data=tmp_path, overrides=(*TOKYO, f"max_stale={request.param}"))


def panel(market: Market) -> pl.DataFrame:
    rows = [bar("A", n, 10.0) for n in range(LAST)]
    rows += [bar("B", n, 11.0 if n >= 35 else 10.0) for n in range(LAST) if n not in GAP]
    return panel_rows(market, {"daily_bars": bars(rows).lazy()}, day(0), day(LAST))


def of_b(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    return frame.filter(session=day(n), symbol="B")


@pytest.mark.parametrize(
    ("market", "is_heard"), [(20, False), (40, True)], indirect=["market"], ids=["20", "40"]
)
def test_a_gap_of_thirty_sessions_is_bridged_at_forty_only(market: Market, is_heard: bool) -> None:
    found = panel(market)
    # The row of session 35 knows the bars up to 34: 30 sessions without one.
    assert of_b(found, 35).height == is_heard

    # Its last close is then 30 sessions old: a price where that is no more than `max_stale`.
    rules = UniverseSpec(min_price=5.0, min_history=1)
    members = universe(found, rules, day(0), day(LAST), max_stale=market.spec.max_stale)
    assert of_b(members, 35).height == is_heard

    # Session 36 knows the bar of 35, at 11 after 10: a return where the 10 is carried that far.
    made = feature_rows(market, found, day(36), day(36))
    value = of_b(made, 36)["ret_1"].item()
    assert value == (pytest.approx(0.1) if is_heard else None)


@pytest.mark.parametrize("market", [20], indirect=True)
def test_the_catalogue_is_that_of_a_market_which_sets_nothing(market: Market) -> None:
    assert market.catalog == CATALOG


@pytest.mark.parametrize("market", [40], indirect=True)
def test_look_backs_grow_with_what_is_carried(market: Market) -> None:
    at_20 = {feature.name: feature.lookback for feature in CATALOG}
    at_40 = {feature.name: feature.lookback for feature in market.catalog}
    more = {name: at_40[name] - at_20[name] for name in ("ret_1", "stale", "rsi_14", "sec_ret_5")}
    # The relative strength begins anew after `max_stale` rows, and reads changes of a last close.
    assert more == {"ret_1": 20, "stale": 0, "rsi_14": 40, "sec_ret_5": 20}
    assert edge_lookback(40) - edge_lookback(20) == 20
    pair = next(feature for feature in market.choice if feature.name == "x_rev_5__turn_z")
    assert pair.lookback == max(at_40["rev_5"], at_40["turn_z"])
    # An index is none of the market's symbols.
    assert inputs_at(40)["index_return"].lookback == INPUTS["index_return"].lookback

    rules = UniverseSpec(min_price=5.0)
    assert universe_start(market, rules, day(45)) == SESSIONS[5]
