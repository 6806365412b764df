"""Both simulators in worlds drawn at random, with every friction on: fills, loans, lots, ticks."""

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backtest.market import TOKYO, books, day, random_market, targets_for
from tests.backtest.test_reference import books_agree

from alpha_assets.backtest import CostsSpec, PortfolioSpec, QuantileSpec
from alpha_assets.backtest.capacity import capacity
from alpha_assets.backtest.prices import Basis
from alpha_assets.backtest.reference import reference_backtest
from alpha_assets.backtest.rules import AimPortfolioSpec, CostAwareSpec
from alpha_assets.errors import CheckFailed

N_SYMBOLS, N_SESSIONS = 5, 44
FEW, MANY, PARTS = 50, 1_000, 10
FEW_WEIGHED = 8  # each is decided by a solver or a covariance, rebalance by rebalance

SIZES = st.sampled_from([1e4, 2e5, 3e6])
FILLS: dict[str, st.SearchStrategy[Any]] = {
    "horizon": st.just(1),
    "capital": SIZES,
    "fill": st.sampled_from(["open", "close"]),
    "max_participation": st.sampled_from([None, 0.02, 0.1, 0.5]),
    "lot": st.sampled_from([None, 1, 10, 100]),
}
PORTFOLIOS = st.builds(QuantileSpec, **FILLS)
DECLARED = {**FILLS, "drift_bps": st.sampled_from([20.0, 200.0]), "min_side": st.just(1)}
WEIGHED = st.one_of(
    st.builds(AimPortfolioSpec, rule=st.just("aim_portfolio"), **DECLARED),
    st.builds(CostAwareSpec, rule=st.just("cost_aware"), **DECLARED),
)
COSTS = st.builds(
    CostsSpec,
    commission_bps=st.sampled_from([0.0, 2.0]),
    half_spread_bps=st.sampled_from([0.0, 7.0]),
    impact_coefficient=st.sampled_from([0.0, 0.7]),
    borrow_fee_bps_annual=st.sampled_from([0.0, 300.0]),
    tick=st.sampled_from([None, 0.01, 0.5]),
)


def agree(
    seed: int, spec: PortfolioSpec, costs: CostsSpec, basis: Basis, lent: float, max_stale: int
) -> None:
    """Check that both keep the same books of one world, and one pass of capitals as well."""
    if basis == "total_return":
        spec = spec.model_copy(update={"lot": None})
        costs = costs.model_copy(update={"tick": None})
    market = random_market(seed, N_SYMBOLS, N_SESSIONS)
    market["borrow"] = market["borrow"].with_columns(
        (pl.col("available_shares") * lent).round().alias("available_shares")
    )
    targets, last = targets_for(seed, spec, costs, N_SYMBOLS, N_SESSIONS), N_SESSIONS - 1
    theirs = reference_backtest(
        targets,
        market,
        TOKYO,
        first=day(0),
        last=day(last),
        portfolio=spec,
        costs=costs,
        basis=basis,
        max_stale=max_stale,
    )
    # Orders of any size fill whole in some worlds, at an impact that leaves nothing.
    used_up = [row["session"] for row in theirs.daily if row["equity"] <= 0]
    if used_up:
        with pytest.raises(CheckFailed, match=f"the equity is used up at {used_up[0]}"):
            books(targets, market, last, spec, costs, basis, max_stale)
        return
    ours = books(targets, market, last, spec, costs, basis, max_stale)
    books_agree(ours, theirs, spec)
    capitals = [spec.capital / 7, spec.capital]
    net_CD = capacity(ours.pages.wanted, ours.pages.marks, spec, costs, capitals).net_return
    net_D = ours.daily["net_return"].to_numpy()
    np.testing.assert_allclose(net_CD[1], net_D, rtol=1e-9, atol=1e-9)


World = Callable[..., Callable[..., None]]


def world(spec: st.SearchStrategy[PortfolioSpec]) -> World:
    """Return the decorator that draws worlds for a rule."""
    return given(
        seed=st.integers(100, 10**9),
        spec=spec,
        costs=COSTS,
        basis=st.sampled_from(get_args(Basis)),
        lent=st.sampled_from([0.001, 0.01, 0.1, 1.0]),
        max_stale=st.sampled_from([3, 20]),
    )


@settings(max_examples=FEW, deadline=None, derandomize=True, database=None)
@world(PORTFOLIOS)
def test_both_keep_the_same_books_in_some_worlds(
    seed: int, spec: PortfolioSpec, costs: CostsSpec, basis: Basis, lent: float, max_stale: int
) -> None:
    agree(seed, spec, costs, basis, lent, max_stale)


@settings(max_examples=FEW_WEIGHED, deadline=None, derandomize=True, database=None)
@world(WEIGHED)
def test_both_keep_the_same_books_of_rules_that_weigh_costs(
    seed: int, spec: PortfolioSpec, costs: CostsSpec, basis: Basis, lent: float, max_stale: int
) -> None:
    agree(seed, spec, costs, basis, lent, max_stale)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_both_keep_the_same_books_in_many_worlds(part: int) -> None:
    @settings(max_examples=MANY // PARTS, deadline=None, derandomize=True, database=None)
    @world(PORTFOLIOS if part < PARTS - 1 else WEIGHED)
    def run(
        seed: int, spec: PortfolioSpec, costs: CostsSpec, basis: Basis, lent: float, max_stale: int
    ) -> None:
        agree(seed + part * 10**9, spec, costs, basis, lent, max_stale)

    run()
