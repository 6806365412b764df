"""Targets on dense arrays are those that the frames give."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from alpha_assets.backtest import Known, QuantileSpec, RuleSpec, target_weights
from alpha_assets.backtest.rules import RankWeightedSpec, ScoreWeightedSpec, SoftmaxSpec
from alpha_assets.backtest.rules.dense import weights_over
from alpha_assets.errors import BadInput

RULES = [
    QuantileSpec(horizon=5, quantile=0.2),
    QuantileSpec(horizon=5, quantile=0.2, exit_quantile=0.4, step=0.5),
    RankWeightedSpec(rule="rank_weighted", horizon=5, step=0.25, max_turnover=0.3),
    ScoreWeightedSpec(rule="score_weighted", horizon=5, max_weight=0.1, max_sector=0.4),
    SoftmaxSpec(rule="softmax", horizon=5, step=0.5),
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
    dense = weights_over(score_DN, barred_DN, listed_DN, range(1, n_days, 2), spec, sector_N)
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
        weights_over(np.zeros((1, 3)), nothing, ~nothing, [0], spec)
