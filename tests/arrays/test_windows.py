"""Windows: what they compute, and that nothing outside them leaves a trace in a bit."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import (
    decayed_sum,
    fill_forward,
    needed,
    shift,
    window_count,
    window_line,
    window_max,
    window_mean,
    window_min,
    window_moments,
    window_std,
    window_sum,
    window_total,
)

Kernel = Callable[[Array, int], Array]
KERNELS: dict[str, Kernel] = {
    "sum": window_sum,
    "mean": window_mean,
    "std": window_std,
    "max": window_max,
    "min": window_min,
    "decayed": lambda x, n: decayed_sum(x, n, 13 / 14),
    "slope": lambda x, n: window_line(x, x[:, ::-1].copy(), max(n, 3)).slope_DN,
}


def walk(n_sessions: int, seed: int, holes: float = 0.1) -> Array:
    rng = np.random.default_rng(seed)
    x_DN = rng.lognormal(sigma=2, size=(n_sessions, 4))
    x_DN[rng.random(x_DN.shape) < holes] = np.nan
    return x_DN


def quietly(kernel: Kernel, x_DN: Array, n: int) -> Array:
    with np.errstate(all="ignore"):
        return kernel(x_DN.copy(), n)


def test_four_fifths_are_rounded_up() -> None:
    assert [needed(n) for n in (1, 2, 5, 14, 20, 252)] == [1, 2, 4, 12, 16, 202]


def test_a_window_by_hand() -> None:
    x = np.array([[1.0], [2.0], [np.nan], [4.0], [5.0], [6.0]])
    # Five rows need four known values: from the fifth row on there are four of them.
    nan = np.nan
    np.testing.assert_array_equal(window_sum(x, 5)[:, 0], [nan, nan, nan, nan, 12.0, 17.0])
    np.testing.assert_array_equal(window_max(x, 5)[:, 0], [nan, nan, nan, nan, 5.0, 6.0])
    np.testing.assert_array_equal(window_min(x, 5)[:, 0], [nan, nan, nan, nan, 1.0, 2.0])
    np.testing.assert_array_equal(window_count(~np.isnan(x), 3)[:, 0], [1, 2, 2, 2, 2, 3])
    np.testing.assert_array_equal(shift(x, 2)[:, 0], [nan, nan, 1.0, 2.0, nan, 4.0])


def test_a_value_is_carried_exactly_as_far_as_said() -> None:
    x = np.full((30, 1), np.nan)
    x[3] = 7.0
    carried = fill_forward(x, 20)[:, 0]
    assert np.isnan(carried[:3]).all()
    assert (carried[3:24] == 7.0).all()
    assert np.isnan(carried[24:]).all()


def test_a_decayed_sum_weighs_by_age_and_forgets_after_its_window() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    expected = sum(0.9**age * x[39 - age] for age in range(11))
    np.testing.assert_allclose(decayed_sum(x, 11, 0.9)[39], expected, rtol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 7, 20, 60, 64])
@pytest.mark.parametrize("name", ["sum", "mean", "std", "max", "min"])
def test_windows_agree_with_pandas(name: str, n: int) -> None:
    x = walk(200, seed=n)
    rolling = pd.DataFrame(x).rolling(n, min_periods=needed(n))
    expected = getattr(rolling, name)().to_numpy()
    np.testing.assert_allclose(quietly(KERNELS[name], x, n), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [5, 60])
def test_the_line_agrees_with_least_squares(n: int) -> None:
    y, x = walk(90, seed=1, holes=0.05), walk(90, seed=2, holes=0.05)
    line = window_line(y, x, n)
    for row in range(n - 1, 90, 7):
        for column in range(4):
            ys, xs = y[row - n + 1 : row + 1, column], x[row - n + 1 : row + 1, column]
            both = ~(np.isnan(ys) | np.isnan(xs))
            if both.sum() < needed(n):
                assert np.isnan(line.slope_DN[row, column])
                continue
            design = np.stack([np.ones(both.sum()), xs[both]], axis=1)
            beta, _, _, _ = np.linalg.lstsq(design, ys[both], rcond=None)
            residual = ys[both] - design @ beta
            assert line.slope_DN[row, column] == pytest.approx(beta[1], rel=1e-8, abs=1e-9)
            variance = (residual**2).sum() / (both.sum() - 2)
            assert line.residual_variance_DN[row, column] == pytest.approx(variance, rel=1e-8)


def test_a_flat_window_has_no_spread_and_a_flat_market_no_slope() -> None:
    flat = np.full((30, 1), 1e6 / 3)
    assert window_moments(flat, 20).variance_DN[-1, 0] == 0.0
    assert np.isnan(window_line(flat, flat, 20).slope_DN[-1, 0])


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 70), start=st.integers(0, 60), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", KERNELS)
def test_where_a_series_starts_changes_no_bit(name: str, n: int, start: int, seed: int) -> None:
    x = walk(140, seed)
    n = max(n, 3)
    whole = quietly(KERNELS[name], x, n)[start + n - 1 :]
    later = quietly(KERNELS[name], x[start:], n)[n - 1 :]
    known = ~np.isnan(whole)
    assert np.array_equal(known, ~np.isnan(later))
    assert np.array_equal(whole[known].view(np.int64), later[known].view(np.int64))


@pytest.mark.parametrize("name", [name for name in KERNELS if name != "slope"])
@pytest.mark.parametrize("n", [3, 20, 61])
def test_columns_do_not_feel_each_other(name: str, n: int) -> None:
    x = walk(140, seed=n)
    together = quietly(KERNELS[name], x, n)
    for column in range(4):
        alone = quietly(KERNELS[name], np.ascontiguousarray(x[:, column : column + 1]), n)
        np.testing.assert_array_equal(together[:, column : column + 1], alone)


def test_rows_after_do_not_reach_back() -> None:
    x = walk(140, seed=8)
    changed = x.copy()
    changed[100:] *= 3
    for kernel in KERNELS.values():
        before, after = quietly(kernel, x, 20)[:100], quietly(kernel, changed, 20)[:100]
        np.testing.assert_array_equal(before, after)


def test_kernels_leave_their_input_alone() -> None:
    x = walk(50, seed=3)
    kept = x.copy()
    for kernel in KERNELS.values():
        for n in (1, 4, 60):
            with np.errstate(all="ignore"):
                kernel(x, n)
    np.testing.assert_array_equal(x, kept)


def test_a_window_longer_than_the_series_is_what_there_is() -> None:
    x = np.arange(5.0)[:, None]
    assert window_total(x, 64)[-1, 0] == 10.0
    assert np.isnan(window_mean(x, 64)).all()
