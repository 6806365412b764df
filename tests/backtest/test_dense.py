"""Targets on dense arrays are those that the frames give."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.backtest import CostsSpec, QuantileSpec, RuleSpec
from alpha_assets.backtest.portfolio import Known, target_weights
from alpha_assets.backtest.rules import (
    AimPortfolioSpec,
    CostAwareSpec,
    OptimisedSpec,
    RankWeightedSpec,
    ScoreWeightedSpec,
    SoftmaxSpec,
)
from alpha_assets.backtest.rules.dense import Aims, Weighing, walk_over
from alpha_assets.errors import BadInput

RULES = [
    QuantileSpec(horizon=5, quantile=0.2),
    QuantileSpec(horizon=5, quantile=0.2, exit_quantile=0.4, step=0.5),
    RankWeightedSpec(rule="rank_weighted", horizon=5, step=0.25, max_turnover=0.3),
    ScoreWeightedSpec(rule="score_weighted", horizon=5, max_weight=0.1, max_sector=0.4),
    SoftmaxSpec(rule="softmax", horizon=5, step=0.5),
]
CALIBRATED = {"horizon": 2, "calibration_sessions": 40, "max_weight": 0.2}
WEIGHED = [
    AimPortfolioSpec(rule="aim_portfolio", **CALIBRATED),  # type: ignore[arg-type]
    AimPortfolioSpec(rule="aim_portfolio", horizon=2, drift_bps=30.0, max_turnover=0.4),
    CostAwareSpec(rule="cost_aware", max_sector=0.4, **CALIBRATED),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.rule)
def test_dense_targets_are_those_of_the_frames(spec: RuleSpec) -> None:
    rng = np.random.default_rng(7)
    n_days, names = 8, [f"S{k:02d}" for k in range(25)]
    score_DN = rng.normal(size=(n_days, 25)).astype(np.float32).astype(np.float64)
    score_DN[rng.random(score_DN.shape) < 0.1] = np.nan
    barred_DN = rng.random(score_DN.shape) < 0.2
    listed_DN = np.ones(score_DN.shape, dtype=bool)
    listed_DN[4:, 3] = False
    score_DN[4:, 3] = np.nan
    sector_N = np.arange(25) % 4
    dense = walk_over(score_DN, barred_DN, listed_DN, range(1, n_days, 2), spec, sector_N).weights
    held: dict[str, float] = {}
    for d in range(1, n_days, 2):
        there = np.flatnonzero(~np.isnan(score_DN[d]))
        scores = pl.DataFrame(
            {
                "session": [date(2023, 6, 5) + timedelta(d)] * len(there),
                "symbol": [names[k] for k in there],
                "horizon": pl.Series([5] * len(there), dtype=pl.Int16),
                "score": pl.Series(score_DN[d, there], dtype=pl.Float32),
            }
        )
        known = Known(
            not_shortable=[names[k] for k in np.flatnonzero(barred_DN[d])],
            held={s: w for s, w in held.items() if listed_DN[d, names.index(s)]},
            sector={name: f"x{k % 4}" for k, name in enumerate(names)},
        )
        frame = target_weights(scores, known, spec)
        held = {s: w for s, w in frame.select("symbol", "target_weight").rows() if w}
        want = np.array([held.get(name, 0.0) for name in names])
        np.testing.assert_allclose(dense[d], want, rtol=0, atol=1e-15)


def test_a_rule_that_reads_more_than_scores_is_refused() -> None:
    spec = RankWeightedSpec(rule="rank_weighted", horizon=5, smoothing=2)
    nothing = np.zeros((1, 3), dtype=bool)
    with pytest.raises(BadInput, match="reads more than the scores of a session"):
        walk_over(np.zeros((1, 3)), nothing, ~nothing, [0], spec)


@pytest.mark.parametrize("spec", WEIGHED, ids=lambda spec: spec.rule)
def test_dense_targets_weigh_drift_as_the_frames_do(spec: OptimisedSpec) -> None:
    rng = np.random.default_rng(7)
    n_days, n = 100, 12
    names = [f"S{k:02d}" for k in range(n)]
    days = [date(2023, 1, 2) + timedelta(k) for k in range(n_days)]
    score_DN = rng.normal(size=(n_days, n)).astype(np.float32).astype(np.float64)
    return_DN = rng.normal(0, 0.02, size=(n_days, n))
    # The score of a session moves the return of the next one, which is known two sessions later.
    return_DN[2:] += 0.01 * score_DN[:-2]
    score_DN[rng.random(score_DN.shape) < 0.05] = np.nan
    return_DN[rng.random(score_DN.shape) < 0.02] = np.nan
    barred_DN = rng.random(score_DN.shape) < 0.2
    adv_DN = rng.lognormal(17, 1, size=score_DN.shape)
    costs, sector_N = CostsSpec(), np.arange(n) % 4
    weighing = Weighing(costs, return_DN, adv_DN)
    due, listed_DN = (75, 80, 99), np.ones(score_DN.shape, dtype=bool)
    dense = walk_over(score_DN, barred_DN, listed_DN, due, spec, sector_N, weighing).weights

    def long_form(value: str, x_DN: Array, last: int) -> pl.DataFrame:
        d, k = np.nonzero(~np.isnan(x_DN[: last + 1]))
        frame = pl.DataFrame({"session": [days[i] for i in d], "symbol": [names[j] for j in k]})
        return frame.with_columns(pl.Series(value, x_DN[d, k]))

    held: dict[str, float] = {}
    for d in due:
        scores = long_form("score", score_DN, d).with_columns(pl.col("score").cast(pl.Float32))
        known = Known(
            not_shortable=[names[k] for k in np.flatnonzero(barred_DN[d])],
            held=held,
            sector={name: f"x{k % 4}" for k, name in enumerate(names)},
            features=pl.DataFrame({"symbol": names, "adv_20": adv_DN[d]}),
            returns=long_form("ret_1", return_DN, d),
            scores=scores,
            sessions=days[: d + 1],
            costs=costs,
        )
        today = scores.filter(pl.col("session") == days[d]).with_columns(
            horizon=pl.lit(2, dtype=pl.Int16)
        )
        frame = target_weights(today, known, spec)
        held = {s: w for s, w in frame.select("symbol", "target_weight").rows() if w}
        assert held
        want = np.array([held.get(name, 0.0) for name in names])
        # A solver's rounding is that of its tolerance, where inputs differ in the last bit.
        atol = 1e-6 if spec.rule == "cost_aware" else 1e-12
        np.testing.assert_allclose(dense[d], want, rtol=0, atol=atol)


def test_arrays_that_begin_before_the_scores_and_costs_at_a_scale_count_alike() -> None:
    rng = np.random.default_rng(7)
    n_days, n = 100, 12
    score_DN = rng.normal(size=(n_days, n))
    return_DN = rng.normal(0, 0.02, size=(n_days, n))
    adv_DN, costs = rng.lognormal(17, 1, size=(n_days, n)), CostsSpec()
    nothing_DN, whole = np.zeros((n_days, n), dtype=bool), Weighing(costs, return_DN, adv_DN)
    spec = AimPortfolioSpec(rule="aim_portfolio", horizon=2, drift_bps=30.0)

    def held(weighing: Weighing, first: int = 0) -> list[Array]:
        """Return what is held at sessions 80 and 90, of scores from `first` on."""
        walk = walk_over(
            *(score_DN[first:], nothing_DN[first:], ~nothing_DN[first:]),
            (80 - first, 90 - first),
            spec,
            weighing=weighing,
        )
        assert walk.unsolved == ()
        return list(walk.weights.values())

    want = held(whole)
    np.testing.assert_array_equal(held(replace(whole, row_D=np.arange(70, n_days)), 70), want)
    names = ("commission_bps", "half_spread_bps", "impact_coefficient", "borrow_fee_bps_annual")
    dear = costs.model_copy(update={name: 3 * getattr(costs, name) for name in names})
    np.testing.assert_allclose(
        held(replace(whole, cost_scale=3.0)), held(replace(whole, costs=dear)), rtol=1e-12
    )
    assert np.abs(want[1] - held(replace(whole, cost_scale=3.0))[1]).max() > 1e-3


def test_a_score_that_is_the_drift_is_taken_as_it_is() -> None:
    # Standardised and declared at its own spread, the same scores say the same but for their mean.
    rng = np.random.default_rng(3)
    drift_DN = rng.normal(0, 0.01, size=(90, 12))
    drift_DN -= drift_DN.mean(axis=1, keepdims=True)
    drift_DN /= drift_DN.std(axis=1, keepdims=True) / 0.01
    return_DN = rng.normal(0, 0.02, size=(90, 12))
    weighing = Weighing(CostsSpec(), return_DN, rng.lognormal(17, 1, size=(90, 12)))
    nothing_DN = np.zeros((90, 12), dtype=bool)
    spec = AimPortfolioSpec(rule="aim_portfolio", horizon=2, drift_bps=100.0, clip=9.0)

    def held(score_DN: Array, is_drift: bool) -> Array:
        given = replace(weighing, is_drift=is_drift)
        return walk_over(score_DN, nothing_DN, ~nothing_DN, [80], spec, weighing=given).weights[80]

    np.testing.assert_allclose(held(drift_DN, True), held(drift_DN, False), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(held(5 * drift_DN, False), held(drift_DN, False), rtol=1e-9)
    assert np.abs(held(drift_DN / 5, True) - held(drift_DN, True)).max() > 1e-3


def test_sectors_of_each_session_count() -> None:
    rng = np.random.default_rng(3)
    score_DN = rng.normal(size=(2, 20))
    nothing_DN = np.zeros((2, 20), dtype=bool)
    spec = RankWeightedSpec(rule="rank_weighted", horizon=2, neutral=("sector",))
    sector_DN = np.stack([np.arange(20) % 2, np.arange(20) % 5])
    found = walk_over(score_DN, nothing_DN, ~nothing_DN, [0, 1], spec, sector_DN).weights

    for d in range(2):
        sums = np.bincount(sector_DN[d], weights=found[d])
        np.testing.assert_allclose(sums, 0, atol=1e-12)


def test_a_rule_that_reads_costs_is_refused_without_them() -> None:
    nothing = np.zeros((1, 3), dtype=bool)
    with pytest.raises(BadInput, match="'aim_portfolio' reads costs, returns and ADV"):
        walk_over(np.zeros((1, 3)), nothing, ~nothing, [0], WEIGHED[0])


@pytest.mark.parametrize("spec", [RULES[0], RankWeightedSpec(rule="rank_weighted", horizon=5)])
def test_aims_are_shared_where_the_same_barred_names_are_short(spec: RuleSpec) -> None:
    # The last two names may not be shorted at session 1; who is short of them already stays so.
    score_DN = np.tile(np.arange(10.0)[::-1], (2, 1))
    barred_DN = np.zeros((2, 10), dtype=bool)
    barred_DN[1, 8:] = True
    listed_DN = np.ones((2, 10), dtype=bool)

    def over(rebalances: list[int], aims: Aims | None = None) -> dict[int, Array]:
        return walk_over(score_DN, barred_DN, listed_DN, rebalances, spec, aims=aims).weights

    shared: Aims = {}
    for rebalances in ([0, 1], [1], [0, 1], [1]):
        together, apart = over(rebalances, shared), over(rebalances)
        for d in rebalances:
            np.testing.assert_array_equal(together[d], apart[d])
    was_short = isinstance(spec, RankWeightedSpec)
    assert (over([0, 1])[1] != over([1])[1]).any() == was_short
    assert len(shared) == 3  # session 0, and session 1 with and without these shorts
