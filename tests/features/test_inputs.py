"""The series that features share: adjustment, traded value, and the market's mean return."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features import CATALOG, Feature, compute, compute_features
from alpha_assets.features.inputs import INPUTS, Input, add_returns, inputs_at, inputs_behind


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


@pytest.mark.parametrize(
    ("name", "lookback", "scope", "feeds", "requires"),
    [
        ("market_value", 260, "symbol", ("statements",), ("raw_price_level",)),
        ("statements_eps_ttm_today", 260, "symbol", ("statements",), ()),
        ("valuation_bps_today", 21, "symbol", ("valuation",), ()),
        # 45 rows to the day of the balance; the 20 of its volume lie within them.
        ("margin_long_days", 45, "symbol", ("margin",), ("raw_price_level",)),
        ("traded_shares_20", 20, "symbol", (), ("raw_price_level",)),
        ("sector_short_selling_ratio", 1, "sector", ("sector_short_selling",), ()),
        ("short_selling_ratio", 1, "market", ("sector_short_selling",), ()),
        ("index_return", 22, "market", ("benchmark",), ()),
        ("market_return", 22, "market", (), ()),
    ],
)
def test_what_an_input_is_follows_from_the_inputs_that_it_is_made_of(
    name: str, lookback: int, scope: str, feeds: tuple[str, ...], requires: tuple[str, ...]
) -> None:
    item = INPUTS[name]
    assert (item.lookback, item.scope, item.feeds, item.requires) == (
        *(lookback, scope, feeds, requires),
    )


def test_a_feature_requires_what_its_inputs_require() -> None:
    needs = {f.name for f in CATALOG if "raw_close" in inputs_behind(f.inputs)}
    assert {"fund_book_to_price", "margin_long_adv", "tick_rel", "dmi_long_chg_adv"} <= needs
    assert all("raw_price_level" in f.requires for f in CATALOG if f.name in needs)


def test_market_value_and_days_of_volume_by_hand() -> None:
    def column(*values: float) -> Array:
        return np.array(values)[:, None]

    # A 1-to-2 split becomes known in row 2: 10 shares of row 0's day are 20 of today's.
    factor, close = column(1.0, 1.0, 0.5), column(100.0, 100.0, 50.0)
    age, lag = column(np.nan, 0.0, 1.0), column(np.nan, 1.0, 1.0)
    shares = column(np.nan, 10.0, 10.0)
    value = INPUTS["market_value"](shares, age, lag, factor, close)
    np.testing.assert_array_equal(value, column(np.nan, 1000.0, 1000.0))
    # A million is traded at 50 in each session: 20,000 shares.
    million = np.full((20, 1), 1e6)
    traded = INPUTS["traded_shares_20"](million, 0 * million, 0 * million + 50)
    assert traded[-1, 0] == 20_000
    assert np.isnan(INPUTS["traded_shares_20"](million, 0 * million, 0 * million)).all()
    assert INPUTS["margin_long_days"](column(5_000.0), traded[-1:])[0, 0] == 0.25


def test_what_is_made_of_the_markets_mean_is_the_same_however_symbols_are_cut(
    panel: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = Input("market_move", (), ("market_return",), 1, "its size", np.abs, "market")
    inputs = {**inputs_at(20), move.name: move}
    monkeypatch.setattr(compute, "inputs_with", lambda own, max_stale: inputs)
    declared = next(f for f in CATALOG if f.name == "beta_60")
    mine = Feature(
        **{**vars(declared), "name": "gap", "inputs": ("session_return", move.name)}
        | {"fn": np.subtract, "rows": 1}
    )
    ever = (date(2000, 1, 1), date(2100, 1, 1))
    whole, cut = (
        compute_features(panel, [mine], *ever, dtype=np.float64, block_symbols=n)["gap"]
        for n in (1_000, 1)
    )
    assert whole.drop_nulls().n_unique() > 100
    assert whole.equals(cut)
