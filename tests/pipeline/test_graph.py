"""The table of the correlation graph: who is in it, when, and what changes it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from tests.features.crowd import KEYS, PRICES, computed, crowd_panel, trading_days

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.calendar import month_range
from alpha_assets.config.market import load_market
from alpha_assets.defs.market import graph_asset
from alpha_assets.errors import MissingOutput
from alpha_assets.features.edges import EDGE_KEYS, NEIGHBOURS, edge_lookback, edge_rows
from alpha_assets.pipeline import market_stages
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.market_stages import graph_stage, graph_start, graph_table
from alpha_assets.pipeline.runner import ingest_all
from alpha_assets.pipeline.stage import Made
from alpha_assets.pipeline.stages import make
from alpha_assets.store.store import Store

PIPELINES = Path(__file__).parents[1] / "pipelines"
MONTHS = month_range("2021-01", "2021-08")
Opened = Callable[[], MarketContext]


def make_graph(context: MarketContext, universe: str, months: Sequence[str]) -> list[Made]:
    return graph_stage(context.market, universe).ensure(context, months)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Open the tiny market; its panel is stored."""
    folder = tmp_path_factory.mktemp("storage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        market = load_market("tiny")
    context = MarketContext(market, Store(str(folder)))
    ingest_all(context)
    make(context, "panel", MONTHS)
    return lambda: MarketContext(market, Store(str(folder)))


@pytest.fixture(scope="module")
def panel() -> pl.DataFrame:
    return crowd_panel()


def edges(panel: pl.DataFrame, members: pl.DataFrame | None = None) -> pl.DataFrame:
    sessions = panel["session"].unique().sort().to_numpy()
    members = panel if members is None else members
    return edge_rows(panel, sessions, *span(panel), members, MAX_STALE)


def span(panel: pl.DataFrame) -> tuple[date, date]:
    first, last = panel["session"].min(), panel["session"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    return first, last


def test_the_months_hold_the_weeks_first_sessions_and_nothing_else(opened: Opened) -> None:
    context = opened()
    made = make_graph(context, "all", MONTHS)
    assert [one.month for one in made] == list(MONTHS)
    rows = graph_table(context, "all").read().collect()
    assert dict(rows.schema) == {
        "session": pl.Date, "symbol": pl.String, "neighbour": pl.String, "weight": pl.Float32,
    }  # fmt: skip
    assert rows.equals(rows.sort(EDGE_KEYS))
    calendar = context.market.calendar
    found = rows["session"].unique().sort().to_numpy()
    assert calendar.rebalances(found, "weekly").all()
    # The first return is known on the third session, and 40 of them weeks later.
    sessions = calendar.between("2021-01-04", "2021-08-31")
    assert found[0] > sessions[40]
    weekly = sessions[calendar.rebalances(sessions, "weekly")]
    assert found.tolist() == weekly[weekly >= found[0]].tolist()


def test_an_edge_stands_in_both_directions_unless_one_end_has_twenty_nearer(
    panel: pl.DataFrame,
) -> None:
    rows = edges(panel)
    assert (rows["weight"] >= np.float32(0.3)).all()
    assert (rows["symbol"] != rows["neighbour"]).all()
    back = rows.rename({"symbol": "neighbour", "neighbour": "symbol"})
    both = rows.join(back, on=EDGE_KEYS, suffix="_back")
    assert (both["weight"] == both["weight_back"]).all()
    assert len(both) == len(rows)  # nobody has 20 neighbours here


def test_twenty_neighbours_are_the_strongest(panel: pl.DataFrame) -> None:
    # Sixty symbols, of which each moves with all others of its half.
    rng = np.random.default_rng(6)
    half = np.arange(60) % 2
    moves = rng.normal(0, 0.02, (80, 2))[:, half] + rng.normal(0, 0.01, (80, 60))
    close = 100 * np.exp(np.cumsum(moves, axis=0))
    rows = pl.DataFrame(
        {
            "session": np.repeat(trading_days()[:80], 60),
            "symbol": [f"{n:02}" for n in range(60)] * 80,
            "close": close.ravel(),
            "cum_factor": 1.0,
        }
    )
    found = edges(rows)
    per_symbol = found.group_by("session", "symbol").len()
    assert set(per_symbol["len"]) == {NEIGHBOURS}
    last = found.filter(session=found["session"].max(), symbol="00")
    d = int(np.searchsorted(trading_days(), last["session"][0]))
    returns = close[d - 59 : d + 1] / close[d - 60 : d] - 1
    market = returns.mean(axis=1)
    slope = np.polyfit(market, returns, 1)
    left = returns - slope[1] - market[:, None] * slope[0]
    rho = np.corrcoef(left.T)[0]
    expected = sorted(f"{n:02}" for n in np.argsort(-rho)[1 : NEIGHBOURS + 1])
    assert last["neighbour"].to_list() == expected
    near = rho[[int(name) for name in expected]]
    np.testing.assert_allclose(last["weight"].to_numpy(), near, atol=2e-6)


def test_only_members_at_that_session_are_in_it(panel: pl.DataFrame) -> None:
    middle = date(2019, 10, 1)
    out = ((pl.col("symbol") == "s00") & (pl.col("session") > middle)) | (
        (pl.col("symbol") == "s01") & (pl.col("session") <= middle)
    )
    rows = edges(panel, panel.filter(~out))
    ends = rows.with_columns(late=pl.col("session") > middle)
    gone, came = ends.filter(pl.col("late")), ends.filter(~pl.col("late"))
    assert not {"s00"} & {*gone["symbol"], *gone["neighbour"]}
    assert not {"s01"} & {*came["symbol"], *came["neighbour"]}
    assert {"s01"} <= {*gone["symbol"]}
    assert {"s00"} <= {*came["symbol"]}
    # Who is no member is still part of the market: the other edges keep their weights.
    kept = ~pl.col("symbol").is_in(["s00", "s01"]) & ~pl.col("neighbour").is_in(["s00", "s01"])
    assert rows.filter(kept).equals(edges(panel).filter(kept))


def test_the_table_says_what_the_features_say(panel: pl.DataFrame) -> None:
    rows = edges(panel)
    told = rows.group_by("session", "symbol").agg(
        n=pl.len(), largest=pl.col("weight").max(), mean=pl.col("weight").cast(pl.Float64).mean()
    )
    values = computed(panel).join(told, on=KEYS)
    assert len(values) == len(told)
    np.testing.assert_allclose(values["graph_peer_corr_max"], values["largest"], rtol=1e-6)
    np.testing.assert_allclose(values["graph_peer_corr_mean"], values["mean"], rtol=1e-6)
    nodes = values["n"] / values["graph_degree"]  # the others: one number a session
    per_session = values.with_columns(nodes=nodes.round(6)).group_by("session")
    assert per_session.agg(pl.col("nodes").n_unique())["nodes"].max() == 1


def test_a_week_alone_has_the_bits_of_the_whole(panel: pl.DataFrame) -> None:
    whole = edges(panel)
    days = trading_days()
    for day in whole["session"].unique().sort().to_list()[-4:]:
        d = int(np.searchsorted(days, np.datetime64(day)))
        near = days[d - edge_lookback(MAX_STALE) + 1 : d + 1]
        alone = edge_rows(
            panel.filter(pl.col("session").is_in(near.tolist())), near, day, day, panel, MAX_STALE
        )
        assert alone.equals(whole.filter(session=day))


def test_what_comes_later_changes_nothing(panel: pl.DataFrame) -> None:
    whole = edges(panel)
    starts = whole["session"].unique().sort().to_list()
    noise = pl.Series(np.random.default_rng(1).lognormal(size=len(panel)))
    for day in starts[-3:]:
        later = pl.col("session") > day
        changed = panel.with_columns(
            pl.when(later).then(pl.col(name) * noise).otherwise(name).alias(name)
            for name in PRICES
        )  # fmt: skip
        assert edges(changed).filter(~later).equals(whole.filter(~later))
        assert edges(panel.filter(~later)).equals(whole.filter(~later))


def test_a_month_alone_is_the_month_of_a_long_run(opened: Opened, tmp_path: Path) -> None:
    context = opened()
    before = {one.month: one.content_hash for one in make_graph(context, "all", MONTHS)}
    for month in ("2021-08", "2021-05"):
        for path in Path(graph_table(context, "all").folder(month).address).iterdir():
            path.unlink()
        Path(graph_table(context, "all").folder(month).address).rmdir()
        (alone,) = make_graph(opened(), "all", [month])
        assert alone.content_hash == before[month]
        assert alone.rows > 0


def test_a_fresh_month_is_not_made_again_and_a_changed_rule_is(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_graph(opened(), "all", MONTHS)
    said: list[str] = []
    context = replace(opened(), progress=lambda name, what: said.append(f"{name} {what}"))
    make_graph(context, "all", MONTHS)
    assert said == []
    rules = {**market_stages.GRAPH_RULES, "neighbours": 30}
    monkeypatch.setattr(market_stages, "GRAPH_RULES", rules)
    make_graph(context, "all", MONTHS[-1:])
    assert said == ["graph/all 2021-08"]


def test_universes_lie_apart_and_a_smaller_one_has_fewer_edges(opened: Opened) -> None:
    context = opened()
    make_graph(context, "all", MONTHS)
    make_graph(context, "traded", MONTHS)
    whole, traded = (graph_table(context, name).read().collect() for name in ("all", "traded"))
    assert 0 < len(traded) < len(whole)


def test_without_a_panel_it_says_what_is_missing(opened: Opened, tmp_path: Path) -> None:
    context = MarketContext(opened().market, Store(str(tmp_path)))
    with pytest.raises(MissingOutput, match="no bars"):
        make_graph(context, "all", MONTHS)
    ingest_all(context)
    with pytest.raises(MissingOutput, match="has not been made"):
        make_graph(context, "all", MONTHS)


def test_the_asset_depends_on_the_months_that_a_graph_looks_back_to(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    market = opened().market
    asset = graph_asset(market, "all")
    assert asset.key == dg.AssetKey(["tiny", "graph", "all"])
    mapping = asset.get_partition_mapping(dg.AssetKey(["tiny", "panel"]))
    assert isinstance(mapping, dg.TimeWindowPartitionMapping)
    for month in MONTHS:
        first = market.calendar.month_sessions(month)[0]
        start = graph_start(market, market.universe("all"), first)
        back = (first.item().year - start.year) * 12 + first.item().month - start.month
        assert back <= -mapping.start_offset
