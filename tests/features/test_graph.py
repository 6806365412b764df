"""Features of the correlation graph: by hand, against plain loops."""

from itertools import combinations, pairwise

import numpy as np
import polars as pl
import pytest
from tests.features.crowd import GONE, LATE, QUIET, SYMBOLS, computed, crowd_panel

from alpha_assets.features import graph
from alpha_assets.features.compute_cross_symbol import ACROSS
from alpha_assets.features.correlation import Graph

GRAPH = [item for item in ACROSS if item.family == "graph"]


def drawn(weights: dict[tuple[int, int], float], is_node: list[bool]) -> Graph:
    """Return the graph with these undirected edges."""
    both = {**weights, **{(b, a): weight for (a, b), weight in weights.items()}}
    pairs = sorted(both)
    return Graph(
        np.array(is_node),
        np.array([a for a, _ in pairs], dtype=np.int64),
        np.array([b for _, b in pairs], dtype=np.int64),
        np.array([both[pair] for pair in pairs]),
    )


def random_graph(n_symbols: int, share: float, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    pairs = [pair for pair in combinations(range(n_symbols), 2) if rng.random() < share]
    return drawn({pair: rng.uniform(0.3, 1.0) for pair in pairs}, [True] * n_symbols)


# A triangle 0-1-2 with a tail 2-3, a node 4 without edges, and 5, which is no node.
TAILED = drawn({(0, 1): 0.5, (0, 2): 0.4, (1, 2): 0.9, (2, 3): 0.3}, [True] * 5 + [False])
NAN = np.nan


def test_the_numbers_of_a_triangle_with_a_tail_by_hand() -> None:
    same = np.testing.assert_allclose
    same(graph.graph_degree(TAILED), [2 / 4, 2 / 4, 3 / 4, 1 / 4, 0.0, NAN])
    same(graph.graph_peer_corr_mean(TAILED), [0.45, 0.7, 1.6 / 3, 0.3, NAN, NAN])
    same(graph.graph_peer_corr_max(TAILED), [0.5, 0.9, 0.9, 0.3, NAN, NAN])
    same(graph.graph_topk_corr(TAILED), graph.graph_peer_corr_mean(TAILED))
    # Of the three pairs of neighbours of 2, only 0-1 is an edge.
    same(graph.graph_clust(TAILED), [1.0, 1.0, 1 / 3, NAN, NAN, NAN])


def test_peers_return_is_weighted_by_correlation_and_less_the_own() -> None:
    ret = np.array([[0.10, 0.20, -0.10, 0.02, 0.5, 0.7], [0.10, NAN, -0.10, NAN, 0.5, 0.7]])
    peers = graph.graph_peer_ret_5(TAILED, ret)
    expected = [
        (0.5 * 0.20 + 0.4 * -0.10) / 0.9 - 0.10,
        (0.5 * 0.10 + 0.9 * -0.10) / 1.4 - 0.20,
        (0.4 * 0.10 + 0.9 * 0.20 + 0.3 * 0.02) / 1.6 + 0.10,
        -0.10 - 0.02,
        NAN,
        NAN,
    ]
    np.testing.assert_allclose(peers[0], expected)
    # Without the return of 1: 0 is left with 2, 2 with 0; who has no return has no distance.
    np.testing.assert_allclose(peers[1], [-0.20, NAN, 0.20, NAN, NAN, NAN])


def test_the_change_in_degree_is_that_of_the_share() -> None:
    before = drawn({(0, 1): 0.5}, [True] * 3 + [False] * 3)
    change = graph.graph_degree_chg_4w(TAILED, before)
    # Then one of two others; now two, two and three of four.
    np.testing.assert_allclose(change, [0.0, 0.0, 3 / 4, NAN, NAN, NAN])


def test_only_the_ten_nearest_count_among_the_nearest() -> None:
    star = drawn({(0, n): 0.3 + 0.05 * n for n in range(1, 13)}, [True] * 13)
    # 0.35, 0.40, …, 0.90: the ten largest are 0.45 to 0.90.
    assert graph.graph_topk_corr(star)[0] == pytest.approx((0.45 + 0.90) / 2)
    assert graph.graph_peer_corr_mean(star)[0] == pytest.approx((0.35 + 0.90) / 2)


def test_a_single_symbol_has_no_degree() -> None:
    assert np.isnan(graph.graph_degree(drawn({}, [True, False]))).all()


@pytest.mark.parametrize(("n_symbols", "share"), [(5, 0.9), (64, 0.3), (65, 0.05), (150, 0.4)])
def test_clustering_agrees_with_counting_triangles(n_symbols: int, share: float) -> None:
    found = random_graph(n_symbols, share, seed=n_symbols)
    near: dict[int, set[int]] = {n: set() for n in range(n_symbols)}
    for a, b in zip(found.symbol_E.tolist(), found.neighbour_E.tolist(), strict=True):
        near[a].add(b)
    expected = [
        sum(b in near[a] for a, b in combinations(near[n], 2)) / (k * (k - 1) / 2)
        if (k := len(near[n])) > 1
        else NAN
        for n in range(n_symbols)
    ]
    assert np.array_equal(graph.graph_clust(found), expected, equal_nan=True)


@pytest.fixture(scope="module")
def panel() -> pl.DataFrame:
    return crowd_panel()


@pytest.fixture(scope="module")
def values(panel: pl.DataFrame) -> pl.DataFrame:
    return computed(panel, GRAPH)


def first_of_week(panel: pl.DataFrame) -> pl.DataFrame:
    sessions = panel.select(pl.col("session").unique().sort())
    week = pl.col("session").dt.iso_year() * 100 + pl.col("session").dt.week()
    return sessions.with_columns(start=pl.col("session").min().over(week))


def test_the_table_agrees_with_numpy_on_every_week(
    panel: pl.DataFrame, values: pl.DataFrame
) -> None:
    wide = panel.with_columns(price=pl.col("close") / pl.col("cum_factor")).pivot(
        "symbol", index="session", values="price", sort_columns=True
    )
    sessions = wide["session"].to_numpy()
    price = wide.drop("session").to_numpy().astype(float)
    carried = np.array(wide.drop("session").with_columns(pl.all().forward_fill(20)).to_numpy())
    returns = np.full(price.shape, np.nan)
    returns[1:] = price[1:] / carried[:-1] - 1
    market = np.nanmean(returns[1:], axis=1)
    starts = first_of_week(panel)["start"].unique().sort().to_numpy()
    checked = 0
    for start in starts[starts >= sessions[59]]:
        d = int(np.searchsorted(sessions, start))
        r, m = returns[d - 59 : d + 1], np.append(np.nan, market)[d - 59 : d + 1]
        there = set(panel.filter(session=start.item())["symbol"])
        left = {}
        for n, symbol in enumerate(SYMBOLS):
            known = ~np.isnan(r[:, n]) & ~np.isnan(m)
            if symbol in there and n != QUIET and known.sum() >= 40:
                design = np.stack([np.ones(known.sum()), m[known]], axis=1)
                fit = np.linalg.lstsq(design, r[known, n], rcond=None)[0]
                left[n] = np.full(60, np.nan)
                left[n][known] = r[known, n] - design @ fit
        near: dict[int, list[float]] = {n: [] for n in left}
        doubtful = set()
        for a, b in combinations(left, 2):
            both = ~np.isnan(left[a]) & ~np.isnan(left[b])
            rho = np.corrcoef(left[a][both], left[b][both])[0, 1] if both.sum() >= 40 else 0.0
            doubtful |= {a, b} if abs(rho - 0.3) < 2e-6 else set()
            if rho >= 0.3:
                near[a].append(rho)
                near[b].append(rho)
        now = values.filter(session=start.item())
        told = {row["symbol"]: row for row in now.iter_rows(named=True)}
        for n, symbol in enumerate(SYMBOLS):
            if symbol not in there or n in doubtful:
                continue
            row = told[symbol]
            if n not in left:
                assert row["graph_degree"] is None
                continue
            assert row["graph_degree"] == pytest.approx(len(near[n]) / (len(left) - 1))
            if near[n]:
                assert row["graph_peer_corr_max"] == pytest.approx(max(near[n]), abs=2e-6)
                assert row["graph_peer_corr_mean"] == pytest.approx(np.mean(near[n]), abs=2e-6)
                ten = sorted(near[n])[-10:]
                assert row["graph_topk_corr"] == pytest.approx(np.mean(ten), abs=2e-6)
                checked += 1
    assert checked > 500


def test_a_graph_stays_in_force_for_its_week(panel: pl.DataFrame, values: pl.DataFrame) -> None:
    weekly = [item.name for item in GRAPH if item.name != "graph_peer_ret_5"]
    of_week = values.join(first_of_week(panel), on="session").sort("symbol", "session")
    for name in weekly:
        distinct = of_week.group_by("symbol", "start").agg(pl.col(name).n_unique())
        assert distinct[name].max() == 1
        assert of_week[name].drop_nulls().n_unique() > 10
    daily = of_week.group_by("symbol", "start").agg(pl.col("graph_peer_ret_5").n_unique())
    assert daily["graph_peer_ret_5"].max() == 5


def test_the_change_in_degree_reaches_back_four_weeks_with_sessions(
    panel: pl.DataFrame, values: pl.DataFrame
) -> None:
    weeks = values.join(first_of_week(panel), on="session").filter(session=pl.col("start"))
    order = weeks["session"].unique().sort().to_list()
    assert any((b - a).days > 7 + 4 for a, b in pairwise(order))
    own = weeks.filter(symbol="s00").sort("session")
    expected = own["graph_degree"] - own["graph_degree"].shift(4)
    # The first session given starts no week that could be known.
    for told, wanted in zip(own["graph_degree_chg_4w"][20:], expected[20:], strict=True):
        assert told == pytest.approx(wanted, abs=1e-15)


def test_who_is_not_listed_long_enough_or_not_any_more_is_no_node(values: pl.DataFrame) -> None:
    late = values.filter(symbol=SYMBOLS[LATE])["graph_degree"]
    # 40 returns are known 41 rows after the listing, and a graph is made within five more.
    assert late[:40].null_count() == 40
    assert late[46:].null_count() == 0
    quiet = values.filter(symbol=SYMBOLS[QUIET])
    assert all(quiet[item.name].null_count() == len(quiet) for item in GRAPH)
    last = values.filter(symbol=SYMBOLS[GONE])["session"].max()
    assert last < values["session"].max()
