"""The correlation graph: by hand, against numpy pair by pair, and exact whatever stands around."""

from datetime import time
from itertools import combinations

import numpy as np
import pytest

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.features import correlation
from alpha_assets.features.correlation import (
    BOUND,
    EXACT,
    SCALE,
    WINDOW,
    Graph,
    correlation_graph,
    residuals,
    standardised,
    week_starts,
    weekly_graphs,
)

# Patterns of 40 sessions that are orthogonal to each other and have mean 0.
MARKET = np.tile([1.0, -1.0], 20)
P = np.tile([1.0, 1.0, -1.0, -1.0], 10)
Q = np.tile([1.0] * 4 + [-1.0] * 4, 5)


def edges(graph: Graph) -> dict[tuple[int, int], float]:
    pairs = zip(graph.symbol_E.tolist(), graph.neighbour_E.tolist(), strict=True)
    return dict(zip(pairs, graph.weight_E.tolist(), strict=True))


def everyone(return_WN: np.ndarray) -> np.ndarray:
    return np.ones(return_WN.shape[1], dtype=bool)


def crowd(n_symbols: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return returns [60, N] of three groups with gaps, and the market's."""
    rng = np.random.default_rng(seed)
    market = rng.normal(0, 0.01, WINDOW)
    groups = rng.normal(0, 0.02, (WINDOW, 3))
    noise = rng.normal(0, 0.02, (WINDOW, n_symbols))
    returns = market[:, None] + groups[:, rng.integers(0, 3, n_symbols)] + noise
    gappy = (rng.random(n_symbols) < 0.5) & (np.arange(n_symbols) > 1)
    returns[:, gappy] = np.where(
        rng.random((WINDOW, gappy.sum())) < 0.15, np.nan, returns[:, gappy]
    )
    returns[: WINDOW - 39, 0] = np.nan  # one return too few
    returns[: WINDOW - 40, 1] = np.nan  # just enough
    return returns, market


def test_four_symbols_by_hand() -> None:
    # What the market leaves: a = P, b = P + Q, c = Q, d = -P, all with variance 1 but b's 2.
    a, b, c, d = 2 * MARKET + P, P + Q - MARKET, 0.5 * MARKET + Q + 7.0, -P
    graph = correlation_graph(np.stack([a, b, c, d], axis=1), MARKET, np.ones(4, dtype=bool))

    # rho(a, b) = 1 / sqrt(1 · 2) = rho(b, c); rho(a, c) = 0; d goes against a and b.
    half = pytest.approx(1 / np.sqrt(2), abs=1e-6)
    assert edges(graph) == {(0, 1): half, (1, 0): half, (1, 2): half, (2, 1): half}
    assert graph.degree_N.tolist() == [1, 2, 1, 0]
    assert graph.is_node_N.all()


def test_an_edge_needs_a_correlation_of_three_tenths() -> None:
    # rho(P, x P + Q) = x / sqrt(1 + x²), which is 0.3 at x = 0.31448545.
    for x, n_edges in ((0.3145, 2), (0.3144, 0)):
        returns = np.stack([P, x * P + Q], axis=1)
        assert len(correlation_graph(returns, MARKET, everyone(returns)).weight_E) == n_edges


def test_residuals_are_those_of_least_squares() -> None:
    returns, market = crowd(8)
    left = residuals(returns, market)
    for n in range(1, 8):
        known = ~np.isnan(returns[:, n])
        design = np.stack([np.ones(known.sum()), market[known]], axis=1)
        fit = np.linalg.lstsq(design, returns[known, n], rcond=None)[0]
        np.testing.assert_allclose(left[known, n], returns[known, n] - design @ fit, atol=1e-15)
        assert np.isnan(left[~known, n]).all()


def test_the_graph_agrees_with_numpy_pair_by_pair() -> None:
    returns, market = crowd(60)
    left = residuals(returns, market)
    expected = {}
    for a, b in combinations(range(60), 2):
        both = ~np.isnan(left[:, a]) & ~np.isnan(left[:, b])
        if both.sum() >= 40:
            rho = np.corrcoef(left[both, a], left[both, b])[0, 1]
            assert abs(rho - 0.3) > 2e-6, "the draw leaves no doubt about an edge"
            if rho >= 0.3:
                expected[a, b] = expected[b, a] = pytest.approx(rho, abs=1e-6)
    found = edges(correlation_graph(returns, market, everyone(returns)))
    assert found == expected
    assert 200 < len(found) < 60 * 59
    assert list(found) == sorted(found)


def test_who_has_too_few_returns_does_not_vary_or_is_absent_is_no_node() -> None:
    returns, market = crowd(10)
    returns[:, 4] = 0.0
    returns[:, 5] = 0.25 * market  # nothing is left of it
    is_there = everyone(returns)
    is_there[7] = False
    graph = correlation_graph(returns, market, is_there)
    assert np.flatnonzero(~graph.is_node_N).tolist() == [0, 4, 5, 7]
    assert not {0, 4, 5, 7} & {*graph.symbol_E.tolist(), *graph.neighbour_E.tolist()}


def test_a_pair_with_39_common_sessions_has_no_edge() -> None:
    for first, n_edges in ((20, 2), (21, 0)):
        returns, market = crowd(3)
        returns[:, 1:] = (market + np.random.default_rng(1).normal(0, 0.02, WINDOW))[:, None]
        returns[:first, 1] = np.nan
        returns[:10, 2] = np.nan
        graph = correlation_graph(returns[:, 1:], market, np.ones(2, dtype=bool))
        assert len(graph.weight_E) == n_edges


def test_every_sum_is_exact_so_that_no_order_matters() -> None:
    returns, market = crowd(300)
    step = standardised(residuals(returns, market))
    known = ~np.isnan(step)
    step = np.where(known, step, 0.0)
    assert (step == np.rint(step)).all()
    assert np.abs(step).max() <= BOUND * SCALE
    assert WINDOW * (BOUND * SCALE) ** 2 < EXACT
    for x, y in ((step, step), (step * step, known), (step, known), (known, known)):
        x, y = x.astype(np.float64), y.astype(np.float64)
        whole = x.astype(np.int64).T @ y.astype(np.int64)
        assert ((x.T @ y) == whole.astype(np.float64)).all()
        assert ((x[::-1].T @ y[::-1]) == (x.T @ y)).all()


def test_raw_floats_would_not_have_that_property() -> None:
    returns, market = crowd(300)
    left = np.nan_to_num(residuals(returns, market))
    one_by_one = np.zeros((300, 300))
    for row in left:
        one_by_one += np.outer(row, row)
    assert not (left.T @ left == one_by_one).all()


@pytest.mark.parametrize("tile", [1, 7, 64, 512])
def test_tiles_change_no_bit(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    returns, market = crowd(80)
    before = edges(correlation_graph(returns, market, everyone(returns)))
    monkeypatch.setattr(correlation, "TILE", tile)
    assert edges(correlation_graph(returns, market, everyone(returns))) == before


def test_permuting_symbols_permutes_the_graph() -> None:
    returns, market = crowd(120)
    order = np.random.default_rng(8).permutation(120)
    before = edges(correlation_graph(returns, market, everyone(returns)))
    after = edges(correlation_graph(returns[:, order], market, everyone(returns)))
    assert {(order[a], order[b]): weight for (a, b), weight in after.items()} == before


def test_other_symbols_change_no_bit_of_a_pair() -> None:
    returns, market = crowd(120)
    alone = edges(correlation_graph(returns[:, :30], market, np.ones(30, dtype=bool)))
    among_all = correlation_graph(returns, market, everyone(returns))
    assert {pair: w for pair, w in edges(among_all).items() if max(pair) < 30} == alone
    assert edges(among_all.among(np.arange(120) < 30)) == alone


def test_rows_before_the_first_count_as_unknown() -> None:
    returns, market = crowd(40)
    returns[:12] = np.nan
    whole = edges(correlation_graph(returns, market, everyone(returns)))
    assert whole
    assert edges(correlation_graph(returns[12:], market[12:], everyone(returns))) == whole


def test_the_strongest_neighbours_come_first_and_equals_by_order() -> None:
    # From symbol 1: 0.9 to 2, then 0.5 to 0 and to 3.
    graph = Graph(
        np.ones(4, dtype=bool),
        np.array([0, 1, 1, 1, 2, 3]),
        np.array([1, 0, 2, 3, 1, 1]),
        np.array([0.5, 0.5, 0.9, 0.5, 0.9, 0.5]),
    )
    two = graph.strongest(2)
    assert graph.symbol_E[two].tolist() == [0, 1, 1, 2, 3]
    assert graph.neighbour_E[two].tolist() == [1, 2, 0, 1, 1]


def test_weekly_graphs_are_those_of_their_windows() -> None:
    rng = np.random.default_rng(2)
    returns = rng.normal(0, 0.02, (70, 24))
    returns[:, :3] += rng.normal(0, 0.03, 70)[:, None]
    graphs = dict(weekly_graphs(returns, np.ones((70, 24), dtype=bool), np.array([61, 66])))
    assert list(graphs) == [61, 66]
    window = returns[7:67]
    alone = correlation_graph(window, window.mean(axis=1), np.ones(24, dtype=bool))
    assert len(alone.weight_E) >= 6
    assert edges(graphs[66]) == pytest.approx(edges(alone), abs=1e-6)


def test_weeks_start_where_the_calendar_rebalances_weekly() -> None:
    spec = CalendarSpec(
        exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
    )
    calendar = Calendar.load(spec)
    sessions = calendar.between("2018-12-26", "2020-01-31")  # a golden week without sessions
    expected = calendar.rebalances(sessions, "weekly")
    assert week_starts(sessions)[1:].tolist() == expected[1:].tolist()
    assert not week_starts(calendar.between("2019-01-07", "2019-01-11")).any()
    assert week_starts(sessions[:0]).tolist() == []
