"""What a score was worth: slopes by hand, shrinkage, and no return that is not known yet."""

import math

import numpy as np
import pytest

from alpha_assets.backtest.rules import worth_of
from alpha_assets.backtest.rules.calibration import LEAST_SESSIONS

approx = pytest.approx


def world(n_sessions: int, horizon: int, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and the returns, known a session later, of a drift that follows them at once.

    The return of session s + 1 is slope times the z of session s; scores change every session.
    """
    rng = np.random.default_rng(4)
    score_DN = rng.normal(size=(n_sessions, 30))
    z_DN = (score_DN - score_DN.mean(axis=1, keepdims=True)) / score_DN.std(axis=1, keepdims=True)
    return_DN = np.zeros(score_DN.shape)
    return_DN[2:] = slope * z_DN[:-2]
    return score_DN, return_DN


def test_the_slope_is_the_drift_by_hand() -> None:
    score_DN, return_DN = world(40, 1, 0.002)
    found = worth_of(score_DN, return_DN, horizon=1, sessions=100)
    # Scores of 0 to 37 are followed by returns that session 39 knows: 38 slopes, all 0.002.
    assert found.n_sessions == 38
    assert found.mean == approx(0.002)
    assert found.drift == approx(0.002)
    assert found.error == approx(0.0, abs=1e-15)
    assert worth_of(score_DN, return_DN, horizon=1, sessions=25).n_sessions == 25


def test_returns_are_compounded_over_the_horizon() -> None:
    score_DN, return_DN = world(40, 2, 0.0)
    score_DN[:] = score_DN[0]
    z_N = (score_DN[0] - score_DN[0].mean()) / score_DN[0].std()
    return_DN[:] = 0.01 * z_N
    found = worth_of(score_DN, return_DN, horizon=2, sessions=100)
    gain_N = (1 + 0.01 * z_N) ** 2 - 1
    assert found.mean == approx(float(z_N @ gain_N) / 30)


def test_an_estimate_one_error_from_zero_counts_half_and_a_negative_one_nothing() -> None:
    score_DN, return_DN = world(60, 1, 0.0)
    rng = np.random.default_rng(1)
    z_DN = (score_DN - score_DN.mean(axis=1, keepdims=True)) / score_DN.std(axis=1, keepdims=True)
    slope_S = rng.normal(size=58)
    slope_S -= slope_S.mean()
    off_S = slope_S.copy()
    # Newey and West with one lag of weight 1/2.
    error = math.sqrt((off_S @ off_S + off_S[1:] @ off_S[:-1]) / 58 / 58)
    slope_S += error
    return_DN[2:] = 1e-3 * slope_S[:, None] * z_DN[:-2]
    found = worth_of(score_DN, return_DN, horizon=1, sessions=100)
    assert found.error == approx(1e-3 * error)
    assert found.drift == approx(found.mean / 2)
    assert worth_of(score_DN, -return_DN, horizon=1, sessions=100).drift == 0.0


def test_no_return_counts_that_is_not_known_yet() -> None:
    score_DN, return_DN = world(60, 3, 0.002)
    found = worth_of(score_DN, return_DN, horizon=3, sessions=30)
    # The last score that counts is that of 60 - 1 - 3 - 1 = 55; later ones change nothing.
    later_DN = score_DN.copy()
    later_DN[56:] = 1e3
    assert worth_of(later_DN, return_DN, horizon=3, sessions=30) == found
    later_DN = score_DN.copy()
    later_DN[55] = later_DN[55][::-1]
    assert worth_of(later_DN, return_DN, horizon=3, sessions=30) != found
    # Sessions before the window change nothing either.
    before_DN = score_DN.copy()
    before_DN[:26] = np.nan
    assert worth_of(before_DN, return_DN, horizon=3, sessions=30) == found


def test_too_few_sessions_are_not_an_estimate() -> None:
    score_DN, return_DN = world(LEAST_SESSIONS + 1, 1, 0.002)
    found = worth_of(score_DN, return_DN, horizon=1, sessions=100)
    assert found.n_sessions == LEAST_SESSIONS - 1
    assert math.isnan(found.drift)
