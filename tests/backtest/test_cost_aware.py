"""Rules that weigh drift against risk and costs: by hand, against closed forms, inside limits."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha_assets.arrays.types import Array
from alpha_assets.backtest import CostsSpec
from alpha_assets.backtest.portfolio import Known, target_weights
from alpha_assets.backtest.rules import (
    AimPortfolioSpec,
    Charges,
    CostAwareSpec,
    OptimisedSpec,
    Seen,
    aim_of,
    declared,
    ledoit_wolf,
    moved,
    solver,
)
from alpha_assets.backtest.rules.aim_portfolio import rate_of
from alpha_assets.backtest.rules.cost_aware import UNSOLVED
from alpha_assets.backtest.rules.covariance import shrunk_factors
from alpha_assets.errors import BadInput

approx = pytest.approx
FREE = CostsSpec(
    commission_bps=0.0, half_spread_bps=0.0, impact_coefficient=0.0, borrow_fee_bps_annual=0.0
)
WIDE = {"gross_exposure": 10.0, "min_side": 1}
SOLVED = CostAwareSpec(rule="cost_aware", horizon=1, **WIDE)  # type: ignore[arg-type]
CLOSED = AimPortfolioSpec(rule="aim_portfolio", horizon=1, **WIDE)  # type: ignore[arg-type]


def returns(n: int, seed: int = 0, n_sessions: int = 100) -> Array:
    rng = np.random.default_rng(seed)
    beta = rng.normal(1, 0.3, n)
    return rng.normal(0, 0.01, (n_sessions, 1)) * beta + rng.normal(0, 0.02, (n_sessions, n))


def seen_of(
    score_N: Array,
    held_N: Array | None = None,
    costs: CostsSpec = FREE,
    drift_bps: float = 20.0,
    return_TN: Array | None = None,
    capital: float = 1e8,
    barred: tuple[int, ...] = (),
) -> Seen:
    n = len(score_N)
    unknown_N = np.full(n, np.nan)
    moves = returns(n) if return_TN is None else return_TN
    return Seen(
        session="2023-06-05",
        score_N=np.asarray(score_N, dtype=np.float64),
        held_N=np.zeros(n) if held_N is None else held_N,
        is_barred_N=np.isin(np.arange(n), barred),
        sector_N=np.arange(n) % 3,
        volatility_N=unknown_N,
        beta_N=unknown_N,
        regime={},
        return_TN=moves,
        charges=Charges.of(costs, capital, np.full(n, 5e7), unknown_N, moves),
        worth=declared(drift_bps),
    )


def uncorrelated(n_sessions: int = 64) -> Array:
    """Returns of two names, each 1 % up or down, that never correlate: S = 0.0001 I exactly."""
    up = np.where(np.arange(n_sessions) % 2, 1.0, -1.0)
    return 0.01 * np.stack([up, np.where(np.arange(n_sessions) // 2 % 2, 1.0, -1.0)], axis=1)


@pytest.mark.parametrize("spec", [SOLVED, CLOSED])
def test_without_costs_two_names_are_held_as_markowitz_has_it(spec: OptimisedSpec) -> None:
    # z = 1 and -1, drift 20 bps; (10 * 0.0001)^-1 * 0.0020 = 2 of equity each.
    aim = aim_of(seen_of(np.array([5.0, 1.0]), return_TN=uncorrelated()), spec)
    assert aim.weight_N == approx(np.array([2.0, -2.0]), abs=1e-6)


def test_a_linear_cost_is_taken_off_the_drift_by_hand() -> None:
    # Trading costs 5 bps of a drift of 20: (0.0020 - 0.0005) / (10 * 0.0001) = 1.5.
    five = FREE.model_copy(update={"commission_bps": 5.0})
    score_N = np.array([5.0, 1.0])
    aim = aim_of(seen_of(score_N, costs=five, return_TN=uncorrelated()), SOLVED)
    assert aim.weight_N == approx(np.array([1.5, -1.5]), abs=1e-6)
    # What is held between 1.5 and 2.5 is not worth a trade, and stays to the last bit.
    held_N = np.array([1.75, -2.4])
    aim = aim_of(seen_of(score_N, held_N, five, return_TN=uncorrelated()), SOLVED)
    assert aim.weight_N.tolist() == held_N.tolist()
    # Shared among twice the horizon, half of the cost counts: 1.75.
    twice = SOLVED.model_copy(update={"holding_sessions": 2})
    aim = aim_of(seen_of(score_N, costs=five, return_TN=uncorrelated()), twice)
    assert aim.weight_N == approx(np.array([1.75, -1.75]), abs=1e-6)


def test_the_borrow_fee_is_taken_off_shorts_alone_by_hand() -> None:
    # 252 % a year is 100 bps a session; a drift of 20 bps is not worth it: no short.
    fee = FREE.model_copy(update={"borrow_fee_bps_annual": 25_200.0})
    aim = aim_of(seen_of(np.array([5.0, 1.0]), costs=fee, return_TN=uncorrelated()), SOLVED)
    assert aim.weight_N == approx(np.array([2.0, 0.0]), abs=1e-6)
    # 12.6 % a year is 5 bps a session: 1.5 short.
    fee = FREE.model_copy(update={"borrow_fee_bps_annual": 1_260.0})
    aim = aim_of(seen_of(np.array([5.0, 1.0]), costs=fee, return_TN=uncorrelated()), SOLVED)
    assert aim.weight_N == approx(np.array([2.0, -1.5]), abs=1e-6)


def test_impact_grows_with_the_power_of_a_trade_by_hand() -> None:
    # 0.0020 = 0.001 w + 1.5 k sqrt(w), k = impact of a trade of all of the capital.
    impact = FREE.model_copy(update={"impact_coefficient": 0.05})
    seen = seen_of(np.array([5.0, 1.0]), costs=impact, return_TN=uncorrelated())
    assert seen.charges is not None
    k = seen.charges.impact_N[0]
    volatility = np.log1p(uncorrelated()[-20:, 0]).std(ddof=1)
    assert k == approx(0.05 * volatility * np.sqrt(1e8 / 5e7))
    root = (-1.5 * k + np.sqrt((1.5 * k) ** 2 + 4 * 0.001 * 0.0020)) / (2 * 0.001)
    assert aim_of(seen, SOLVED).weight_N == approx(np.array([root**2, -(root**2)]), rel=1e-4)


def test_an_unknown_volume_is_charged_as_a_whole_days() -> None:
    moves, unknown_N = returns(2), np.full(2, np.nan)
    costs = FREE.model_copy(update={"impact_coefficient": 0.5})
    charges = Charges.of(costs, 1e8, unknown_N, unknown_N, moves)
    assert charges.impact_N.tolist() == [0.0, 0.0]
    assert charges.linear_N == approx(0.5 * np.log1p(moves[-20:]).std(axis=0, ddof=1))


def test_with_quadratic_costs_the_solver_is_the_closed_form() -> None:
    # d/dw: drift - g S w - c S (w - held) = 0: a share g / (g + c) of the way to (g S)^-1 drift.
    score_N, held_N = np.array([3.0, 1.0, -2.0, 0.5, -1.0]), np.array([0.4, -0.3, 0.1, 0.0, 0.0])
    seen = seen_of(score_N, held_N, drift_bps=5.0)
    z_N = (score_N - score_N.mean()) / score_N.std()
    best_N = np.linalg.solve(10 * ledoit_wolf(seen.return_TN), 0.0005 * z_N)
    for penalty in (0.0, 15.0, 90.0):
        spec = SOLVED.model_copy(update={"trade_penalty": penalty})
        want_N = held_N + 10 / (10 + penalty) * (best_N - held_N)
        np.testing.assert_allclose(aim_of(seen, spec).weight_N, want_N, rtol=0, atol=1e-6)


def test_the_share_and_the_aim_are_the_first_step_of_the_best_plan() -> None:
    """A plan of 60 periods with decaying drift, solved as one problem, begins as the rule does."""
    cp = pytest.importorskip("cvxpy")
    risk, cost, decay, periods = 10.0, 40.0, 0.3, 60
    cov_NN, drift_N, held_N = ledoit_wolf(returns(3)), np.array([4e-4, -2e-4, 1e-4]), np.zeros(3)
    held_N[0] = -0.2
    root_NN = np.linalg.cholesky(cov_NN).T
    w = cp.Variable((periods, 3))
    value: object = 0.0
    for t in range(periods):
        change = w[t] - (w[t - 1] if t else held_N)
        value += (drift_N * (1 - decay) ** t) @ w[t] - risk / 2 * cp.sum_squares(root_NN @ w[t])
        value -= cost / 2 * cp.sum_squares(root_NN @ change)
    cp.Problem(cp.Maximize(1e4 * value)).solve(solver=cp.CLARABEL)
    rate = rate_of(risk, cost, decay)
    aim_N = np.linalg.solve(risk * cov_NN, drift_N) * rate.discount
    want_N = held_N + rate.share * (aim_N - held_N)
    np.testing.assert_allclose(w.value[0], want_N, rtol=0, atol=1e-6)


def test_the_rate_by_hand() -> None:
    # g = 10, c = 20: a = (sqrt(100 + 800) - 10) / 2 = 10; half of the way; 1 / (1 + 0.5 * 10 / 10).
    assert rate_of(10.0, 20.0, 0.5) == approx((0.5, 1 / 1.5))
    assert rate_of(10.0, 0.0, 0.5) == (1.0, 1.0)


def test_the_closed_form_takes_its_cost_from_the_recipes() -> None:
    spec = CLOSED.model_copy(update={"half_life": 1.0, "rebalance": "daily"})
    five = FREE.model_copy(update={"commission_bps": 5.0})
    aim = aim_of(seen_of(np.array([5.0, 1.0]), costs=five, return_TN=uncorrelated()), spec)
    # To 2 and -2: costs 4 * 0.0005 = c / 2 * 8 * 0.0001: c = 5; a = (sqrt(300) - 10) / 2 = 3.660.
    a = (np.sqrt(300) - 10) / 2
    want = a / 5 * 2 / (1 + 0.5 * a / 10)
    assert aim.weight_N == approx(np.array([want, -want]))


def test_the_factors_are_the_ledoit_wolf_covariance() -> None:
    for n, most in ((6, 20), (40, 20)):
        moves = returns(n, seed=3)
        factors, whole_NN = shrunk_factors(moves, most), ledoit_wolf(moves)
        found_NN = factors.loading_KN.T @ factors.loading_KN + np.diag(factors.own_N)
        np.testing.assert_allclose(np.diag(found_NN), np.diag(whole_NN), rtol=1e-12)
        if n <= most:
            np.testing.assert_allclose(found_NN, whole_NN, atol=1e-15)
        else:
            assert np.abs(found_NN - whole_NN).max() < 0.2 * np.abs(whole_NN).max()
        weight_N = np.linspace(-1, 1, n)
        assert factors.variance(weight_N) == approx(weight_N @ found_NN @ weight_N)


PARTS = {
    "costs": st.sampled_from([FREE, CostsSpec(), CostsSpec(preset="retail")]),
    "size": st.sampled_from([1e6, 1e8, 1e9]),
    "drift": st.sampled_from([2.0, 20.0, 100.0]),
    "limits": st.fixed_dictionaries(
        {
            "max_weight": st.sampled_from([None, 0.1, 0.3]),
            "max_net": st.sampled_from([None, 0.0, 0.2]),
            "max_sector": st.sampled_from([None, 0.3]),
            "max_turnover": st.sampled_from([None, 0.2]),
            "volatility_target": st.sampled_from([None, 0.05]),
            "neutral": st.sampled_from([(), ("sector",)]),
        }
    ),
}


@settings(deadline=None, max_examples=25, derandomize=True, database=None)
@given(seed=st.integers(0, 10**6), n=st.sampled_from([4, 9, 30]), **PARTS)
def test_what_the_solver_holds_is_inside_every_limit_and_never_worse_than_holding_still(
    seed: int, n: int, costs: CostsSpec, size: float, drift: float, limits: Mapping[str, object]
) -> None:
    rng = np.random.default_rng(seed)
    spec = CostAwareSpec(rule="cost_aware", horizon=5, min_side=1, **limits)  # type: ignore[arg-type]
    held_N, barred = np.zeros(n), tuple(np.flatnonzero(rng.random(n) < 0.2).tolist())
    for _ in range(2):
        seen = seen_of(rng.normal(size=n), held_N, costs, drift, None, size, barred)
        aim = aim_of(seen, spec)
        assert not aim.for_all
        now_N = moved(held_N, aim.weight_N, seen.sector_N, spec).weight_M
        assert np.abs(now_N).sum() <= 1 + 1e-9
        assert np.abs(now_N).max() <= (spec.max_weight or 1.0) + 1e-9
        if spec.max_net is not None:
            assert abs(now_N.sum()) <= spec.max_net + 1e-9
        if spec.max_sector is not None:
            assert np.bincount(seen.sector_N, np.abs(now_N)).max() <= spec.max_sector + 1e-9
        if spec.max_turnover is not None:
            assert np.abs(now_N - held_N).sum() <= spec.max_turnover + 1e-9
        entered_N = (now_N < np.minimum(held_N, 0.0) - 1e-12)[list(barred)]
        assert not entered_N.any()
        held_N = now_N


def test_the_same_session_gives_the_same_bits() -> None:
    score_N = np.random.default_rng(2).normal(size=40)
    spec = SOLVED.model_copy(update={"horizon": 5, "max_weight": 0.1, "gross_exposure": 1.0})
    first, second = (aim_of(seen_of(score_N, costs=CostsSpec()), spec) for _ in range(2))
    assert first.weight_N.tobytes() == second.weight_N.tobytes()


def test_without_a_drift_it_trades_towards_less_risk_alone() -> None:
    held_N = np.array([0.5, -0.3, 0.2, 0.0])
    spec = SOLVED.model_copy(update={"risk_aversion": 50.0})
    seen = replace(seen_of(np.arange(4.0), held_N), worth=declared(0.0))
    cov_NN = ledoit_wolf(seen.return_TN)
    assert np.abs(aim_of(seen, spec).weight_N).max() < 1e-6  # free: out of the market
    costly = seen_of(np.arange(4.0), held_N, FREE.model_copy(update={"commission_bps": 10.0}))
    weight_N = aim_of(replace(costly, worth=declared(0.0)), spec).weight_N
    assert 0 < weight_N @ cov_NN @ weight_N < held_N @ cov_NN @ held_N


def test_the_dearer_the_less_is_traded() -> None:
    rng = np.random.default_rng(8)
    spec = CostAwareSpec(rule="cost_aware", horizon=5, min_side=1)
    turnover = []
    for dear in (0.0, 1.0, 4.0, 16.0, 64.0):
        costs = CostsSpec(commission_bps=dear, half_spread_bps=dear, impact_coefficient=dear / 20)
        rng, held_N, total = np.random.default_rng(8), np.zeros(20), 0.0
        for _ in range(4):
            aim = aim_of(seen_of(rng.normal(size=20), held_N, costs), spec)
            total += float(np.abs(aim.weight_N - held_N).sum())
            held_N = aim.weight_N
        turnover.append(total)
    assert turnover == sorted(turnover, reverse=True)
    assert turnover[0] > 2 * turnover[3]
    assert turnover[-1] == 0.0


def test_what_is_not_solved_is_held_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "MOST_ITERATIONS", 1)
    held_N = np.array([0.5, -0.3, 0.2, 0.0])
    aim = aim_of(seen_of(np.arange(4.0), held_N, CostsSpec()), SOLVED)
    assert aim.weight_N.tolist() == held_N.tolist()
    assert set(aim.reason_N) == {UNSOLVED}


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(BadInput, match=r"needs CVXPY.*pip install 'alpha-assets\[portfolio\]'"):
        SOLVED.check_installed()
    CLOSED.check_installed()  # the closed form needs no solver


def test_a_rule_that_reads_costs_is_given_them() -> None:
    scores = pl.DataFrame(
        {"session": date(2023, 6, 5), "symbol": ["A", "B"], "horizon": 1, "score": [1.0, 2.0]}
    )
    with pytest.raises(BadInput, match="'cost_aware' reads costs, and none were given"):
        target_weights(scores, Known(), SOLVED)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"risk_aversion": 0.0}, "risk_aversion"),
        ({"risk_aversion": -1.0}, "risk_aversion"),
        ({"drift_bps": 0.0}, "drift_bps"),
        ({"trade_penalty": -1.0}, "trade_penalty"),
        ({"calibration_sessions": 19}, "calibration_sessions"),
        ({"holding_sessions": 0}, "holding_sessions"),
        ({"step": 0.5}, r"step = 0.5: rule = 'cost_aware' decides by risk and cost"),
        ({"inverse_volatility": True}, "inverse_volatility = True: rule = 'cost_aware' decides"),
        ({"smoothing": 2.0}, r"smoothing = 2.0 and no drift_bps"),
        ({"risk_aversion": 1e-300}, "risk_aversion"),
        ({"clip": 1e-9}, "clip"),
        (
            {"drift_bps": 20.0, "calibration_sessions": 100},
            r"calibration_sessions = 100 plays no part, as drift_bps = 20.0 is declared: leave",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CostAwareSpec(**{"rule": "cost_aware", "horizon": 5, **change})  # type: ignore[arg-type]
