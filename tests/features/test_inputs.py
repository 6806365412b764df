"""The series that features share: adjustment, traded value, and the market's mean return."""

import numpy as np
import pytest

from alpha_assets.features.inputs import INPUTS, add_returns


@pytest.mark.parametrize("cuts", [[17], [1] * 17, [3, 5, 9], [16, 1]])
def test_the_market_is_added_up_symbol_by_symbol_however_it_is_cut(cuts: list[int]) -> None:
    # Wide values: small returns are multiples of 2**-53, whose sums are exact in any order.
    rng = np.random.default_rng(0)
    returns = rng.normal(size=(200, 17)) * 10.0 ** rng.integers(-3, 3, (200, 17))
    returns[rng.random(returns.shape) < 0.2] = np.nan
    expected = np.zeros(200)
    for n in range(17):
        expected = expected + np.where(np.isnan(returns[:, n]), 0.0, returns[:, n])
    total, count = np.zeros(200), np.zeros(200)
    for block in np.split(returns, np.cumsum(cuts)[:-1], axis=1):
        add_returns(np.ascontiguousarray(block), total, count)
    assert np.array_equal(total, expected)
    assert np.array_equal(count, 17 - np.isnan(returns).sum(axis=1))


def test_the_mean_return_by_hand_leaves_out_who_has_none() -> None:
    returns = np.array([[0.5, np.nan, 0.25], [np.nan, np.nan, np.nan]])
    market = INPUTS["market_return"](returns)
    np.testing.assert_array_equal(market, [[0.375] * 3, [np.nan] * 3])


def test_prices_are_divided_by_the_factors_known_and_shares_multiplied() -> None:
    # One into two: the price halves, the factor is 0.5 from then on, and the series goes on.
    raw, factor = np.array([[100.0], [50.0]]), np.array([[1.0], [0.5]])
    assert INPUTS["close"](raw, factor).tolist() == [[100.0], [100.0]]
    assert INPUTS["volume"](np.array([[10.0], [20.0]]), factor).tolist() == [[10.0], [10.0]]


def test_traded_value_is_the_published_one_or_else_price_times_shares() -> None:
    published, price = np.array([[np.nan], [7.0], [np.nan]]), np.array([[2.0], [2.0], [np.nan]])
    value = INPUTS["dollar_volume"](published, price, np.array([[3.0], [3.0], [3.0]]))
    np.testing.assert_array_equal(value, [[6.0], [7.0], [np.nan]])
