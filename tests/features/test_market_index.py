"""The published index and a symbol against it: by hand, and against numpy."""

import math

import numpy as np
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features import market_index
from alpha_assets.features.inputs import INPUTS

NAN = math.nan
RETURN, LEVEL = INPUTS["index_return"], INPUTS["index_level"]
BY_NAME = {
    item.name: item
    for item in (
        *market_index.index_ret,
        *market_index.index_sector_ret,
        *market_index.index_beta,
        *market_index.index_ivol,
    )
}


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def test_a_session_without_a_level_has_no_return_and_the_next_spans_both() -> None:
    close = column(100, 110, NAN, 121)

    np.testing.assert_allclose(RETURN(close), column(NAN, 0.1, NAN, 0.1))
    np.testing.assert_array_equal(LEVEL(close), column(100, 110, 110, 121))


def test_returns_of_the_index_by_hand() -> None:
    level = column(100, 101, 102, 103, 104, 110)

    np.testing.assert_allclose(BY_NAME["index_ret_5"](level)[-1], [0.1])
    assert np.isnan(BY_NAME["index_ret_5"](level)[:-1]).all()


def test_a_carried_level_of_a_sector_is_no_new_one() -> None:
    # Six sessions from 100 on; the last repeats the level of the one before, as a join does.
    close, age = column(100, 101, 102, 103, 104, 104), column(0, 0, 0, 0, 0, 1)

    np.testing.assert_allclose(BY_NAME["index_sector_ret_5"](close, age)[-1], [0.04])


def test_beyond_the_sector_is_the_difference_of_two_returns() -> None:
    own = column(*[100.0] * 20, 130.0)
    sector = column(*[50.0] * 20, 60.0)
    found = market_index.index_rel_sector_20(own, sector, np.zeros_like(sector))

    np.testing.assert_allclose(found[-1], [0.3 - 0.2])


def test_volatility_is_of_logs_and_of_a_year() -> None:
    # +1 % and -1 % in logs in turn: variance .01² · 20 / 19 a session.
    moves = np.expm1(0.01 * np.resize([1.0, -1.0], (20, 1)))

    np.testing.assert_allclose(
        market_index.index_vol_20(moves)[-1], [math.sqrt(245 * 0.0001 * 20 / 19)], rtol=1e-12
    )


@pytest.mark.parametrize("n", [60, 252])
def test_beta_and_what_is_left_agree_with_numpy(n: int) -> None:
    draw = np.random.default_rng(n)
    market = draw.normal(0, 0.01, (300, 1))
    returns = 0.0002 + 1.4 * market + draw.normal(0, 0.02, (300, 3))
    market_DN = np.repeat(market, 3, axis=1)

    beta = BY_NAME[f"index_beta_{n}"](returns, market_DN)[-1]
    ivol = BY_NAME[f"index_ivol_{n}"](returns, market_DN)[-1]

    for symbol in range(3):
        design = np.column_stack([np.ones(n), market[-n:, 0]])
        fit, squares, *_ = np.linalg.lstsq(design, returns[-n:, symbol], rcond=None)
        assert beta[symbol] == pytest.approx(fit[1], rel=1e-9)
        assert ivol[symbol] == pytest.approx(math.sqrt(245 * squares[0] / (n - 2)), rel=1e-9)


def test_they_are_facts_of_the_market_of_the_sector_and_of_the_symbol() -> None:
    assert (BY_NAME["index_ret_20"].scope, market_index.index_vol_20.scope) == ("market", "market")
    assert BY_NAME["index_sector_ret_20"].scope == "sector"
    assert BY_NAME["index_beta_60"].scope == "symbol"
    assert BY_NAME["index_beta_60"].feeds == ("benchmark",)
    assert market_index.index_rel_sector_20.feeds == ("sector_indices",)
