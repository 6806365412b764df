"""Means of overlapping series: by hand, against statsmodels, and at a true null."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from alpha_assets.arrays.types import Array
from alpha_assets.evaluation.inference import (
    block_length,
    bootstrap_interval,
    conservative_t,
    newey_west_variance,
    overlapping_error,
    overlapping_mean,
    t_iid,
    t_newey_west,
    t_nonoverlapping,
    t_variance_inflation,
    variance_inflation,
)
from alpha_assets.evaluation.monotonicity import monotonicity


def overlapping_null(n: int, horizon: int, rng: np.random.Generator) -> Array:
    """ICs of a frozen score without skill: moving sums of independent draws."""
    running = np.concatenate([[0.0], np.cumsum(rng.standard_normal(n + horizon - 1))])
    return (running[horizon:] - running[:-horizon]) / math.sqrt(horizon)


def test_newey_west_of_four_values_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0, 6.0])  # mean 3, errors -2 -1 0 3
    g0, g1 = (4 + 1 + 0 + 9) / 4, (2 + 0 + 0) / 4
    assert newey_west_variance(x, 0) == pytest.approx(g0 / 4)
    assert newey_west_variance(x, 1) == pytest.approx((g0 + 2 * 0.5 * g1) / 4)


@pytest.mark.parametrize("lag", [0, 1, 4, 20])
def test_newey_west_agrees_with_statsmodels(lag: int) -> None:
    x = overlapping_null(120, 5, np.random.default_rng(1)) + 0.1
    fit = sm.OLS(x, np.ones_like(x)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": False}
    )
    assert t_newey_west(x, lag) == pytest.approx(float(fit.tvalues[0]), rel=1e-10)


def test_plain_t_agrees_with_scipy() -> None:
    x = np.random.default_rng(2).normal(0.1, 1, 50)
    assert t_iid(x) == pytest.approx(stats.ttest_1samp(x, 0).statistic, rel=1e-12)


def test_inflation_of_a_frozen_score_is_the_horizon() -> None:
    assert variance_inflation(1.0, 10) == pytest.approx(10)
    assert variance_inflation(0.0, 10) == 1
    assert variance_inflation(-0.9, 10) == 1
    assert variance_inflation(0.5, 3) == pytest.approx(1 + 2 * (0.5 * 2 / 3 + 0.25 / 3))
    assert math.isnan(variance_inflation(math.nan, 10))


def test_inflated_t_of_a_frozen_score_is_t_over_root_h() -> None:
    x = np.random.default_rng(3).normal(0.1, 1, 80)
    assert t_variance_inflation(x, 1.0, 5) == pytest.approx(t_iid(x) / math.sqrt(5))


def test_nonoverlapping_t_is_the_mean_over_all_starts() -> None:
    x = np.random.default_rng(4).normal(0.1, 1, 31)
    by_hand = np.mean([stats.ttest_1samp(x[i::5], 0).statistic for i in range(5)])
    assert t_nonoverlapping(x, 5) == pytest.approx(float(by_hand), rel=1e-12)


def test_conservative_t_is_the_one_nearest_to_0_with_its_sign() -> None:
    assert conservative_t(3.0, 2.0, 2.5) == 2.0
    assert conservative_t(-3.0, -2.0, -2.5) == -2.0
    assert conservative_t(3.0, -0.5, 2.5) == -0.5
    assert math.isnan(conservative_t(3.0, 2.0, math.nan))


def test_horizon_of_one_session_leaves_little_to_correct() -> None:
    x = np.random.default_rng(5).normal(0.1, 1, 400)
    found = overlapping_mean(x, 1, 0.9, seed=0)
    assert found["t_vif"] == pytest.approx(t_iid(x))
    assert found["t_nonoverlap"] == pytest.approx(t_iid(x))


def test_sessions_without_a_value_are_left_out_first() -> None:
    x = np.random.default_rng(6).normal(0.1, 1, 200)
    holes = np.insert(x, [0, 50, 199], np.nan)
    assert overlapping_mean(holes, 5, 0.5, seed=3) == overlapping_mean(x, 5, 0.5, seed=3)


def test_same_seed_gives_the_same_interval() -> None:
    x = overlapping_null(200, 5, np.random.default_rng(7))
    assert bootstrap_interval(x, 15, 1) == bootstrap_interval(x, 15, 1)
    assert bootstrap_interval(x, 15, 1) != bootstrap_interval(x, 15, 2)


def test_interval_of_independent_values_agrees_with_student() -> None:
    x = np.random.default_rng(8).normal(0.2, 1, 1_000)
    low, high = bootstrap_interval(x, 1, 0)
    low_t, high_t = stats.t.interval(0.95, 999, x.mean(), stats.sem(x))
    assert low == pytest.approx(low_t, abs=0.008)
    assert high == pytest.approx(high_t, abs=0.008)


def test_blocks_are_three_horizons_at_least() -> None:
    assert block_length(250, 10) == 30
    assert block_length(1_000, 1) == 10


def test_true_null_is_rejected_about_one_time_in_twenty() -> None:
    """At h = 10 over a year: the plain t rejects every other null, the conservative one few."""
    rng = np.random.default_rng(9)
    n_worlds, horizon = 400, 10
    rejected = dict.fromkeys(("t_iid", "t_nw", "t", "interval"), 0)
    for world in range(n_worlds):
        x = overlapping_null(252, horizon, rng)
        t_nw = t_newey_west(x, 2 * horizon)
        t_vif = t_variance_inflation(x, 1.0, horizon)
        t = conservative_t(t_nw, t_vif, t_nonoverlapping(x, horizon))
        low, high = bootstrap_interval(x, block_length(252, horizon), world, n_draws=199)
        rejected["t_iid"] += abs(t_iid(x)) > 1.96
        rejected["t_nw"] += abs(t_nw) > 1.96
        rejected["t"] += abs(t) > 1.96
        rejected["interval"] += not low < 0 < high
    share = {name: count / n_worlds for name, count in rejected.items()}
    assert share["t_iid"] > 0.45
    assert 0.06 < share["t_nw"] < 0.16  # known to be near 10.9 %
    assert share["t"] < 0.085  # 5 % and three Monte Carlo errors
    assert share["interval"] < 0.085


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ([], {"mean", "t", "t_nw", "low"}),
        ([0.1], {"sd", "t", "t_nw", "low"}),
        ([0.1] * 200, {"icir", "t", "t_nw", "t_vif", "low", "high"}),
        ([0.1, 0.2, 0.0, 0.1] * 5, {"t_nonoverlap", "t", "low", "high"}),
    ],
    ids=["nothing", "one", "constant", "short"],
)
def test_what_cannot_be_had_is_missing_with_a_reason(
    values: list[float], missing: set[str]
) -> None:
    found = overlapping_mean(np.array(values), 10, 0.5, seed=0)
    absent = {name for name, value in found.items() if isinstance(value, float) and value != value}
    assert missing <= absent
    reasons = found["reasons"]
    assert isinstance(reasons, dict)
    assert absent <= set(reasons)


@pytest.fixture(scope="module")
def rising() -> Callable[[float], Array]:
    def make(step: float) -> Array:
        noise = np.random.default_rng(10).normal(0, 1, (400, 5))
        return noise + step * np.arange(5)

    return make


def test_rising_buckets_pass_and_flat_or_bent_ones_do_not(rising: Callable[[float], Array]) -> None:
    assert monotonicity(rising(0.3), 10, 0)[1] < 0.02
    assert monotonicity(rising(0.0), 10, 0)[1] > 0.05
    bent = rising(0.3)
    bent[:, 4] -= 0.8  # the best bucket earns less than the one below
    assert monotonicity(bent, 10, 0)[1] > 0.5


def test_monotonicity_is_known_only_with_enough_blocks(rising: Callable[[float], Array]) -> None:
    assert all(math.isnan(value) for value in monotonicity(rising(0.3)[:29], 10, 0))


def test_flat_buckets_are_seldom_called_rising() -> None:
    rng = np.random.default_rng(11)
    called = [
        monotonicity(rng.normal(0, 1, (120, 5)), 5, world, n_draws=199)[1] < 0.05
        for world in range(150)
    ]
    assert np.mean(called) < 0.11


def test_error_of_overlapping_values_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0, 6.0])  # horizon 1: mean 3, squares 14, sd^2 = 14 / 3
    g0, g1, g2 = 14 / 4, 2 / 4, (0 - 3) / 4
    newey_west = math.sqrt((g0 + 2 * (2 / 3 * g1 + 1 / 3 * g2)) / 4)
    plain = math.sqrt(14 / 3 / 4)  # of both other ways at horizon 1
    assert plain > newey_west
    quantile = 3.182446305284263  # Student, 3 degrees of freedom, 97.5 %
    assert overlapping_error(x, 1, 0.9) == pytest.approx(plain * quantile / 1.959963984540054)


@pytest.mark.parametrize(("horizon", "n"), [(1, 12), (5, 21), (10, 61), (20, 61), (20, 252)])
def test_whiskers_of_overlapping_worlds_without_signal_hold_the_truth(horizon: int, n: int) -> None:
    rng, worlds = np.random.default_rng(7), 400
    missed = missed_by_newey_west = 0
    for _ in range(worlds):
        x = overlapping_null(n, horizon, rng) + 0.3
        away = abs(x.mean() - 0.3)
        missed += away > 1.96 * overlapping_error(x, horizon, 1.0)
        missed_by_newey_west += away > 1.96 * math.sqrt(newey_west_variance(x, 2 * horizon))
    assert missed <= 0.07 * worlds
    if horizon > 1:  # the rule before: 11 to 40 worlds of 100
        assert missed_by_newey_west > 0.1 * worlds


def test_there_is_no_error_where_there_is_no_conservative_t() -> None:
    x = overlapping_null(14, 10, np.random.default_rng(0))
    assert math.isnan(overlapping_error(x, 10, 1.0))  # 14 sessions, 1 stretch of 10
    assert math.isnan(overlapping_error(x, 2, math.nan))
    assert math.isnan(overlapping_error(np.full(50, 0.1), 2, 1.0))
    assert math.isnan(overlapping_error(np.empty(0), 2, 1.0))
