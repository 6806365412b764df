"""Sharpe ratios and their errors: the published examples, scipy, and simulation."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from alpha_assets.evaluation.sharpe import (
    deflated_sharpe,
    expected_best_sharpe,
    min_track_record,
    moments,
    probabilistic_sharpe,
    sharpe_error,
    sharpe_error_cautious,
    sharpe_error_hac,
    sharpe_error_lo,
    sharpe_influence,
    sharpe_ratio,
)


def test_sharpe_of_three_returns_by_hand() -> None:
    assert sharpe_ratio(np.array([0.01, 0.02, 0.03])) == pytest.approx(0.02 / 0.01)


def test_published_deflated_sharpe_is_met() -> None:
    """Bailey & López de Prado (2014): annual 2.5 over 1,250 days, 100 trials, skew -3, kurt 10."""
    luck = expected_best_sharpe(0.5 / 250, 100)
    assert luck == pytest.approx(0.1132, abs=5e-5)
    deflated = deflated_sharpe(
        2.5 / math.sqrt(250), 1_250, -3.0, 10.0, trial_variance=0.5 / 250, n_trials=100
    )
    assert deflated == pytest.approx(0.9004, abs=5e-5)


def test_influence_of_a_session_is_what_more_weight_of_it_does_to_the_ratio() -> None:
    x = np.random.default_rng(20).standard_t(4, 2_000) * 0.01 + 0.001
    influence = sharpe_influence(x)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    more = 1e-6
    for d in (0, 7, int(np.argmax(x)), int(np.argmin(x))):
        weight = np.full(len(x), (1 - more) / len(x))
        weight[d] += more
        mean = weight @ x
        moved = mean / math.sqrt(weight @ (x - mean) ** 2) - x.mean() / x.std()
        assert moved / more == pytest.approx(influence[d], rel=2e-3)
    assert np.isnan(sharpe_influence(np.full(5, 0.01))).all()


@pytest.mark.parametrize(("per_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_published_track_record_lengths_are_met(per_year: int, years: float) -> None:
    """Bailey & López de Prado (2012): annual Sharpe 2 against 1 at 95 %."""
    root = math.sqrt(per_year)
    length = min_track_record(2 / root, 0.0, 3.0, benchmark=1 / root)
    assert length / per_year == pytest.approx(years, abs=5e-3)


def test_track_record_is_where_the_probability_reaches_its_level() -> None:
    length = min_track_record(0.1, -0.5, 5.0)
    assert math.isnan(min_track_record(-0.1, 0.0, 3.0))
    at_that_length = stats.norm.cdf(
        0.1 * math.sqrt(length - 1) / math.sqrt(1 + 0.5 * 0.1 + (5 - 1) / 4 * 0.01)
    )
    assert at_that_length == pytest.approx(0.95)


def test_moments_agree_with_scipy() -> None:
    x = np.random.default_rng(0).standard_t(5, 300)
    skew, kurtosis = moments(x)
    assert skew == pytest.approx(stats.skew(x), rel=1e-12)
    assert kurtosis == pytest.approx(stats.kurtosis(x, fisher=False), rel=1e-12)


def test_probability_of_a_sharpe_at_the_benchmark_is_a_half() -> None:
    assert probabilistic_sharpe(0.05, 100, -1.0, 6.0, benchmark=0.05) == 0.5
    assert probabilistic_sharpe(0.1, 401, 0.0, 3.0) == pytest.approx(
        stats.norm.cdf(0.1 * 20 / math.sqrt(1 + 0.005))
    )


def test_errors_agree_for_normal_returns_and_widen_for_a_fat_left_tail() -> None:
    assert sharpe_error(0.1, 250, 0.0, 3.0) == pytest.approx(sharpe_error_lo(0.1, 250))
    assert sharpe_error(0.1, 250, -2.0, 12.0) > sharpe_error_lo(0.1, 250)


def test_error_without_lags_is_that_of_mertens() -> None:
    x = np.random.default_rng(1).exponential(1.0, 500)  # Sharpe about 1, skew 2, kurtosis 9
    skew, kurtosis = moments(x)
    error = sharpe_error(sharpe_ratio(x), 500, skew, kurtosis)
    assert sharpe_error_hac(x, 0) == pytest.approx(error, rel=2e-3)


def test_momentum_in_returns_widens_the_error() -> None:
    e = np.random.default_rng(2).normal(0, 0.01, 2_001)
    smooth = (e[1:] + e[:-1]) / 2 + 0.0005
    assert sharpe_error_hac(smooth, 5) > 1.25 * sharpe_error_hac(smooth, 0)


def test_the_error_for_correlated_returns_is_that_of_a_second_library() -> None:
    x = np.random.default_rng(5).standard_t(5, 400) * 0.01 + 0.0005
    x[1:] += 0.3 * x[:-1]
    sharpe = sharpe_ratio(x)
    z = (x - x.mean()) / x.std()
    influence = z - sharpe / 2 * (z**2 - 1)
    fitted = sm.OLS(influence, np.ones(400)).fit(
        cov_type="HAC", cov_kwds={"maxlags": 6, "use_correction": False}
    )
    assert sharpe_error_hac(x, 6) == pytest.approx(float(fitted.bse[0]), rel=3e-3)


def correlated(rho: float, n_worlds: int) -> np.ndarray:
    """Worlds of two years of normal returns with mean 0.05 and standard deviation 1."""
    shocks = np.random.default_rng(6).standard_normal((n_worlds, 504))
    x = shocks.copy()
    for t in range(1, 504):
        x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * shocks[:, t]
    return x + 0.05


@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.93), (0.2, 0.92), (0.4, 0.90)])
def test_the_cautious_error_covers_where_returns_lean_on_their_neighbours(
    rho: float, least: float
) -> None:
    held = {"cautious": 0, "Mertens": 0}
    worlds = correlated(rho, 500)
    for x in worlds:
        sharpe = sharpe_ratio(x)
        plain = sharpe_error(sharpe, 504, *moments(x))
        error = sharpe_error_cautious(x, 5)
        assert error >= plain
        held["cautious"] += abs(sharpe - 0.05) < 1.96 * error
        held["Mertens"] += abs(sharpe - 0.05) < 1.96 * plain
    assert least < held["cautious"] / 500 < 0.98
    if rho == 0.2:
        assert held["Mertens"] / 500 < 0.91  # too small, and by how much


def test_error_matches_the_spread_of_simulated_ratios() -> None:
    worlds = np.random.default_rng(3).standard_t(6, (4_000, 250)) * 0.01 + 0.001
    ratios = worlds.mean(axis=1) / worlds.std(axis=1, ddof=1)
    true_sharpe = 0.001 / (0.01 * math.sqrt(1.5))
    assert sharpe_error(true_sharpe, 250, 0.0, 6.0) == pytest.approx(ratios.std(), rel=0.05)


def test_best_of_worthless_trials_matches_simulation() -> None:
    best = np.random.default_rng(4).normal(0, 0.05, (20_000, 50)).max(axis=1).mean()
    assert expected_best_sharpe(0.05**2, 50) == pytest.approx(best, rel=0.02)
    assert expected_best_sharpe(0.05**2, 1) == 0.0


def test_flat_returns_have_no_sharpe() -> None:
    assert math.isnan(sharpe_ratio(np.full(10, 0.01)))
    assert math.isnan(sharpe_ratio(np.array([0.01])))
    assert all(math.isnan(value) for value in moments(np.full(10, 0.01)))
    assert math.isnan(sharpe_error_hac(np.full(10, 0.01), 3))
