"""Average ranks and rank correlation, against scipy and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alpha_assets.arrays.ranks import average_rank, rank_ic

NAN = np.nan


def test_ties_share_their_mean_rank_and_nan_takes_none() -> None:
    x = np.array([[30.0, 10.0, 10.0, NAN, 20.0], [1.0, 1.0, 1.0, 1.0, NAN]])
    expected = np.array([[4.0, 1.5, 1.5, NAN, 3.0], [2.5, 2.5, 2.5, 2.5, NAN]])
    np.testing.assert_array_equal(average_rank(x), expected)


def test_rank_ic_by_hand() -> None:
    score = np.array([[1.0, 2.0, 3.0, 4.0]])
    label = np.array([[1.0, 3.0, 2.0, 4.0]])
    # 1 - 6 (0 + 1 + 1 + 0) / (4 (16 - 1)) = 0.8
    np.testing.assert_allclose(rank_ic(score, label, min_pairs=2), [0.8], atol=1e-15)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6))
def test_rank_ic_agrees_with_scipy(seed: int, n: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    score = np.round(rng.normal(size=(3, n)) * distinct)
    label = np.round(rng.normal(size=(3, n)) * distinct)
    score[rng.random(score.shape) < 0.2] = NAN
    label[rng.random(label.shape) < 0.2] = NAN
    ours = rank_ic(score, label, min_pairs=2)
    for d in range(3):
        paired = ~np.isnan(score[d]) & ~np.isnan(label[d])
        a, b = score[d, paired], label[d, paired]
        if paired.sum() < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
            assert np.isnan(ours[d])
        else:
            assert ours[d] == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_a_session_with_too_few_pairs_or_no_order_has_no_value() -> None:
    score = np.arange(9.0)[None]
    assert np.isnan(rank_ic(score, score))[0]
    assert rank_ic(score, score, min_pairs=9)[0] == 1.0
    assert np.isnan(rank_ic(np.zeros((1, 12)), np.arange(12.0)[None]))[0]


def test_absent_symbols_change_nothing() -> None:
    rng = np.random.default_rng(3)
    score, label = rng.normal(size=(2, 5, 30))
    padding = np.full((5, 7), NAN)
    wide = rank_ic(np.hstack([score, padding]), np.hstack([label, rng.normal(size=(5, 7))]))
    np.testing.assert_allclose(wide, rank_ic(score, label), atol=1e-15)


def test_values_that_differ_in_their_last_bit_are_told_apart() -> None:
    close = 1.0 + np.array([3.0, 1.0, 0.0, 2.0, 1.0]) * np.finfo(float).eps
    x = np.vstack([close, -close, [np.inf, -np.inf, 0.0, -0.0, NAN]])
    expected = [[5.0, 2.5, 1.0, 4.0, 2.5], [1.0, 3.5, 5.0, 2.0, 3.5], [4.0, 1.0, 2.5, 2.5, NAN]]
    np.testing.assert_array_equal(average_rank(x), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(0, 16))
def test_ranks_agree_with_scipy_whatever_the_precision(seed: int, n: int, digits: int) -> None:
    x = np.round(np.random.default_rng(seed).normal(size=(4, n)), digits)
    np.testing.assert_array_equal(average_rank(x), stats.rankdata(x, axis=-1))


def test_nothing_to_rank_gives_nothing() -> None:
    assert average_rank(np.empty((2, 0))).shape == (2, 0)
    assert rank_ic(np.empty((0, 5)), np.empty((0, 5))).shape == (0,)
