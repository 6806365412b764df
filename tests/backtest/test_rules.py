"""Portfolio rules by hand: proportions, bands, steps, caps, neutrality, limits, exposure."""

from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha_assets.backtest import QuantileSpec
from alpha_assets.backtest.portfolio import Known, target_weights
from alpha_assets.backtest.rules import (
    AimPortfolioSpec,
    CostAwareSpec,
    RankWeightedSpec,
    RegimeExposure,
    RuleSpec,
    ScoreWeightedSpec,
    SoftmaxSpec,
    ledoit_wolf,
    smoothed,
)

SESSION = date(2023, 6, 5)
RANK = RankWeightedSpec(rule="rank_weighted", horizon=5)
approx = pytest.approx


def scores(values: Mapping[str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "session": [SESSION] * len(values),
            "symbol": list(values),
            "horizon": pl.Series([5] * len(values), dtype=pl.Int16),
            "score": pl.Series(list(values.values()), dtype=pl.Float32),
        }
    )


def decided(values: Mapping[str, float], spec: RuleSpec, **known: object) -> pl.DataFrame:
    return target_weights(scores(values), Known(**known), spec)  # type: ignore[arg-type]


def weights(values: Mapping[str, float], spec: RuleSpec, **known: object) -> dict[str, float]:
    """Return the weights that are not 0."""
    rows = decided(values, spec, **known).select("symbol", "target_weight").rows()
    return {symbol: weight for symbol, weight in rows if weight != 0}


FIVE = {"A": 9.0, "B": 4.0, "C": 3.0, "D": 0.0, "E": -1.0}


def test_rank_weights_are_distances_from_the_middle_rank() -> None:
    # Ranks 5 4 3 2 1 less 3: 2 1 0 -1 -2. Each side has half of the exposure: 2/3 and 1/3 of it.
    assert weights(FIVE, RANK) == approx({"A": 1 / 3, "B": 1 / 6, "D": -1 / 6, "E": -1 / 3})
    reasons = dict(decided(FIVE, RANK).select("symbol", "reason").rows())
    assert reasons["C"] == "in the middle"


def test_equal_scores_have_equal_rank_weights() -> None:
    # Ranks 1.5 1.5 3.5 3.5 less 2.5: -1 -1 1 1.
    flat = weights({"A": 1.0, "B": 1.0, "C": 2.0, "D": 2.0}, RANK)
    assert flat == approx({"A": -0.25, "B": -0.25, "C": 0.25, "D": 0.25})


def test_score_weights_are_standardised_scores_clipped() -> None:
    spec = ScoreWeightedSpec(rule="score_weighted", horizon=5, clip=1.0)
    # Mean 3, deviations 6 1 0 -3 -4, sd sqrt(62 / 5) = 3.521: z 1.704 .284 0 -.852 -1.136; clipped.
    z = {"A": 1.0, "B": 1 / np.sqrt(12.4), "D": -3 / np.sqrt(12.4), "E": -1.0}
    up, down = z["A"] + z["B"], -z["D"] - z["E"]
    want = {name: value / (up if value > 0 else down) / 2 for name, value in z.items()}
    assert weights(FIVE, spec) == approx(want)


def test_softmax_weights_grow_by_e_over_a_temperature() -> None:
    spec = SoftmaxSpec(rule="softmax", horizon=5, temperature=0.5, gross_exposure=0.8)
    # Scores 1 and -1 have z 1 and -1: exp(2) to exp(-2).
    found = weights({"A": 1.0, "B": -1.0}, spec)
    assert found == approx({"A": 0.8 / (1 + np.exp(-4)), "B": 0.8 / (1 + np.exp(4))})


def test_a_name_that_cannot_be_borrowed_leaves_its_share_to_the_others() -> None:
    found = weights(FIVE, RANK.model_copy(update={"min_side": 1}), not_shortable=["E"])
    assert found == approx({"A": 1 / 3, "B": 1 / 6, "D": -0.5})


def test_a_short_position_may_shrink_but_not_be_entered_where_it_cannot_be_borrowed() -> None:
    spec = RANK.model_copy(update={"min_side": 1, "step": 0.5})
    entered = weights(FIVE, spec, not_shortable=["E"], held={"A": 0.1})
    assert "E" not in entered
    kept = weights(FIVE, spec, not_shortable=["E"], held={"E": -0.1})
    assert kept["E"] == approx(-0.1 + 0.5 * (-1 / 3 + 0.1))


def test_a_step_goes_a_share_of_the_way() -> None:
    spec = RANK.model_copy(update={"step": 0.25})
    found = weights(FIVE, spec, held={"A": -0.2, "C": 0.4, "Z": 0.1})
    assert found == approx(
        {
            "A": -0.2 + 0.25 * (1 / 3 + 0.2),
            "B": 0.25 / 6,
            "C": 0.4 - 0.25 * 0.4,
            "D": -0.25 / 6,
            "E": -0.25 / 3,
            "Z": 0.075,  # no longer scored: on its way out
        }
    )
    rows = decided(FIVE, spec, held={"Z": 0.1}).filter(pl.col("symbol") == "Z")
    assert rows.select("score", "reason").rows() == [(None, "no longer scored")]


def test_a_position_on_its_way_out_is_closed_at_last() -> None:
    spec = RANK.model_copy(update={"step": 0.5, "close_below": 0.01})
    found = decided(FIVE, spec, held={"Z": 0.015})
    assert found.filter(pl.col("symbol") == "Z")["target_weight"].to_list() == [0.0]
    assert "Z" in weights(FIVE, spec, held={"Z": 0.025})


def test_turnover_is_capped_in_proportion() -> None:
    spec = RANK.model_copy(update={"max_turnover": 0.5})
    full = weights(FIVE, RANK)
    assert weights(FIVE, spec) == approx({name: weight / 2 for name, weight in full.items()})
    assert weights(FIVE, spec, held=full) == approx(full)


def test_limits_go_before_the_cap_on_turnover() -> None:
    spec = RANK.model_copy(update={"max_turnover": 0.01, "max_weight": 0.2})
    found = weights(FIVE, spec, held={"A": 0.9})
    assert found["A"] == approx(0.2)


def test_a_band_keeps_a_name_until_it_leaves_the_wider_rank() -> None:
    ten = {f"S{k}": float(-k) for k in range(10)}
    spec = QuantileSpec(horizon=5, quantile=0.2, exit_quantile=0.4)
    # S3 ranks 4th of 10, inside the band of 4, and keeps its place; S0 takes the other one.
    assert set(weights(ten, spec, held={"S3": 0.2, "S6": -0.2})) == {"S0", "S3", "S6", "S9"}
    # S4 ranks 5th and leaves.
    assert set(weights(ten, spec, held={"S4": 0.2})) == {"S0", "S1", "S8", "S9"}
    # The band is the side's own: a name held short does not enter the long side.
    assert set(weights(ten, spec, held={"S2": -0.2})) == {"S0", "S1", "S8", "S9"}


def test_inverse_volatility_divides_each_share() -> None:
    four = {"A": 4.0, "B": 3.0, "C": 2.0, "D": 1.0}
    spec = QuantileSpec(horizon=5, quantile=0.5, inverse_volatility=True)
    features = pl.DataFrame({"symbol": list(four), "vol_c2c_20": [0.1, 0.3, 0.2, 0.2]})
    assert weights(four, spec, features=features) == approx(
        {"A": 0.375, "B": 0.125, "C": -0.25, "D": -0.25}
    )


def test_a_name_whose_volatility_is_unknown_is_not_ranked() -> None:
    five = {"A": 5.0, "B": 4.0, "C": 3.0, "D": 2.0, "E": 1.0}
    spec = QuantileSpec(horizon=5, quantile=0.5, inverse_volatility=True)
    features = pl.DataFrame({"symbol": list(five), "vol_c2c_20": [0.1, None, 0.1, 0.1, 0.1]})
    found = decided(five, spec, features=features)
    assert dict(found.select("symbol", "reason").rows())["B"] == "its volatility is unknown"
    assert {n for n, w in found.select("symbol", "target_weight").rows() if w} == set("ACDE")


def test_where_nothing_is_known_of_any_name_that_is_the_reason_and_not_the_size_of_a_side() -> None:
    five = {"A": 5.0, "B": 4.0, "C": 3.0, "D": 2.0, "E": 1.0}
    spec = RANK.model_copy(update={"neutral": ("beta",), "inverse_volatility": True})
    features = pl.DataFrame({"symbol": list(five), "vol_c2c_20": [None, 0.1, 0.1, 0.1, 0.1]})
    found = decided(five, spec, features=features)
    assert set(found["reason"]) == {
        "no name can be ranked: of each, its beta is unknown and its volatility is unknown"
    }


def test_sector_neutral_weights_sum_to_zero_in_each_sector() -> None:
    rng = np.random.default_rng(3)
    names = [f"S{k:02d}" for k in range(40)]
    sector = {name: f"sector {k % 4}" if k else None for k, name in enumerate(names)}
    spec = RANK.model_copy(update={"neutral": ("sector",)})
    found = weights(dict(zip(names, rng.normal(size=40), strict=True)), spec, sector=sector)
    for one in {*sector.values()}:
        assert sum(w for name, w in found.items() if sector[name] == one) == approx(0, abs=1e-12)
    assert "S00" not in found  # alone in its sector
    assert sum(map(abs, found.values())) == approx(1.0)


def test_beta_neutral_weights_are_the_nearest_ones() -> None:
    # Two names a side, betas 2 1 | 1 1: w = (a, b, c, d) less its projection on beta.
    four = {"A": 4.0, "B": 3.0, "C": 2.0, "D": 1.0}
    beta = np.array([2.0, 1.0, 1.0, 1.0])
    spec = QuantileSpec(horizon=5, quantile=0.5, neutral=("beta",))
    features = pl.DataFrame({"symbol": list(four), "beta_shrunk": beta})
    plain = np.array([0.25, 0.25, -0.25, -0.25])
    want = plain - beta * (plain @ beta) / (beta @ beta)
    want /= np.abs(want).sum()
    found = weights(four, spec, features=features)
    assert [found[name] for name in four] == approx(list(want))


def test_limits_of_sector_and_net() -> None:
    four = {"A": 4.0, "B": 3.0, "C": 2.0, "D": 1.0}
    sector = {"A": "x", "B": "x", "C": "y", "D": "y"}
    spec = QuantileSpec(horizon=5, quantile=0.5, max_sector=0.3)
    assert weights(four, spec, sector=sector) == approx(
        {"A": 0.15, "B": 0.15, "C": -0.15, "D": -0.15}
    )
    one = {"A": "x", "B": "y", "C": "z", "D": "z"}
    spec = QuantileSpec(horizon=5, quantile=0.5, max_sector=0.3, max_net=0.1)
    # Sectors leave 0.25 0.25 -0.15 -0.15, net 0.2: the long side shrinks to 0.4.
    assert weights(four, spec, sector=one) == approx({"A": 0.2, "B": 0.2, "C": -0.15, "D": -0.15})


@pytest.mark.parametrize(("flags", "exposure"), [((1, 0), 0.5), ((1, 1), 0.0), ((0, None), 1.0)])
def test_a_regime_scales_the_exposure(flags: tuple[float, float], exposure: float) -> None:
    spec = RANK.model_copy(update={"regimes": RegimeExposure(high_vol=0.5, crash=0.0)})
    features = pl.DataFrame(
        {
            "symbol": ["A", "B"],
            "regime_high_vol": [flags[0]] * 2,
            "regime_crash": pl.Series([flags[1]] * 2, dtype=pl.Float32),
        }
    )
    found = weights(FIVE, spec, features=features)
    assert sum(map(abs, found.values())) == approx(exposure)


def test_a_volatility_target_scales_down_and_never_up() -> None:
    rng = np.random.default_rng(5)
    names, n = list(FIVE), 252
    return_TN = rng.normal(scale=0.02, size=(n, 5))
    days = pl.date_range(date(2022, 1, 1), date(2022, 12, 31), eager=True)[:n]
    returns = pl.DataFrame(
        {
            "session": [day for day in days for _ in names],
            "symbol": names * n,
            "ret_1": return_TN.ravel(),
        }
    )
    full = weights(FIVE, RANK)
    weight_N = np.array([full.get(name, 0.0) for name in names])
    held = weight_N != 0
    cov = ledoit_wolf(return_TN[:, held])
    volatility = np.sqrt(252 * weight_N[held] @ cov @ weight_N[held])
    half = RANK.model_copy(update={"volatility_target": float(volatility) / 2})
    assert weights(FIVE, half, returns=returns) == approx({k: w / 2 for k, w in full.items()})
    twice = RANK.model_copy(update={"volatility_target": min(2.0, float(volatility) * 2)})
    assert weights(FIVE, twice, returns=returns) == approx(full)


def test_the_covariance_is_shrunk_as_ledoit_and_wolf_have_it() -> None:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(80, 6)) @ np.diag([1, 1, 2, 2, 3, 3])
    y = x - x.mean(axis=0)
    sample = np.cov(x.T, ddof=0)
    m = np.trace(sample) / 6
    d2 = np.linalg.norm(sample - m * np.eye(6)) ** 2
    b2 = sum(np.linalg.norm(np.outer(r, r) - sample) ** 2 for r in y) / 80**2
    share = min(b2, d2) / d2
    want = (1 - share) * sample + share * m * np.eye(6)
    assert 0 < share < 1
    np.testing.assert_allclose(ledoit_wolf(x), want, rtol=1e-12)


def test_smoothed_scores_weigh_newer_sessions_more() -> None:
    first, second = date(2023, 6, 2), SESSION
    both = pl.concat(
        [
            scores({"A": 1.0, "B": -1.0}).with_columns(session=pl.lit(first)),
            scores({"A": -30.0, "B": 10.0, "C": 20.0}),
        ]
    )
    found = smoothed(both, [first, second], half_life=1.0)
    z = (np.array([-30.0, 10.0, 20.0])) / np.std([-30.0, 10.0, 20.0])
    want = [(z[0] + 0.5) / 1.5, (z[1] - 0.5) / 1.5, z[2]]  # C is scored once
    np.testing.assert_allclose(found["score"], want, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (SoftmaxSpec, {"temperature": 0.0}, "temperature"),
        (SoftmaxSpec, {"neutral": ("sector",)}, "needs a short side"),
        (SoftmaxSpec, {"max_net": 0.5}, "max_net = 0.5 is below gross_exposure"),
        (RankWeightedSpec, {"step": 0.0}, "step"),
        (RankWeightedSpec, {"step": 1.5}, "step"),
        (RankWeightedSpec, {"max_turnover": 0.0}, "max_turnover"),
        (QuantileSpec, {"exit_quantile": 0.05}, "exit_quantile = 0.05 is narrower than"),
        (QuantileSpec, {"count": 5, "exit_count": 4}, "exit_count = 4 is narrower than"),
        (QuantileSpec, {"exit_count": 4}, "exit_count = 4 goes with count"),
        (QuantileSpec, {"count": 5, "exit_quantile": 0.5}, "exit_quantile = 0.5 goes with"),
        (QuantileSpec, {"exit_quantile": 1.0}, "exit_quantile"),
        (QuantileSpec, {"exit_quantile": 0.95}, "exit_quantile = 0.95 reaches into the 0.1 that"),
        (SoftmaxSpec, {"temperature": 1e-12}, "temperature"),
        (RankWeightedSpec, {"step": 1e-9}, "step"),
        (RankWeightedSpec, {"step": 0.5, "close_below": 0.9}, "close_below"),
        (RankWeightedSpec, {"max_turnover": 1e-15}, "max_turnover"),
        (RankWeightedSpec, {"max_weight": 1e-9}, "max_weight"),
        (RankWeightedSpec, {"max_sector": 1e-9}, "max_sector"),
        (RankWeightedSpec, {"volatility_target": 1e-9}, "volatility_target"),
        (RankWeightedSpec, {"capital": 1e-300}, "capital"),
        (RankWeightedSpec, {"capital": 1e30}, "capital"),
        (RankWeightedSpec, {"neutral": ("beta", "beta")}, "has 'beta' twice"),
        (
            RankWeightedSpec,
            {"neutral": ("sector", "beta"), "max_sector": 0.1},
            r"neutral = \['sector', 'beta'\] and max_sector = 0.1: nothing makes up",
        ),
        (
            QuantileSpec,
            {"neutral": ("beta",), "max_net": 0.0},
            "and max_net = 0.0: nothing makes up",
        ),
        (RankWeightedSpec, {"gross_exposure": 1e-300}, "gross_exposure"),
        (
            RankWeightedSpec,
            {"smoothing_sessions": 30},
            "smoothing_sessions = 30 plays no part, as smoothing is none: set smoothing, or leave",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(
    kind: type[RuleSpec], change: dict[str, object], words: str
) -> None:
    rule = {SoftmaxSpec: "softmax", RankWeightedSpec: "rank_weighted"}.get(
        kind, "long_short_quantile"
    )
    with pytest.raises(ValueError, match=words):
        kind(**{"rule": rule, "horizon": 5, **change})


def test_neutrality_to_beta_and_limits_go_together_where_both_are_kept() -> None:
    for limit in ({"max_sector": 0.1}, {"max_net": 0.1}):
        both = {"horizon": 5, "neutral": ("beta",), **limit}
        assert CostAwareSpec.model_validate({"rule": "cost_aware", **both}).limits == limit
        with pytest.raises(ValueError, match="would not be neutral to beta"):
            AimPortfolioSpec.model_validate({"rule": "aim_portfolio", **both})
    # Of a sector whose weights sum to 0 a limit leaves weights that sum to 0.
    spec = {"rule": "rank_weighted", "horizon": 5, "neutral": ("sector",), "max_sector": 0.1}
    assert RankWeightedSpec.model_validate(spec).limits == {"max_sector": 0.1}


SPECS = [
    RANK,
    ScoreWeightedSpec(rule="score_weighted", horizon=5),
    QuantileSpec(horizon=5, quantile=0.2, exit_quantile=0.4),
    SoftmaxSpec(rule="softmax", horizon=5),
]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    data=st.data(),
    kind=st.sampled_from(SPECS),
    step=st.sampled_from([1.0, 0.5, 0.1]),
    limit=st.sampled_from([None, 0.08, 0.3]),
    n=st.integers(12, 40),
)
def test_what_is_held_is_inside_every_limit(
    data: st.DataObject, kind: RuleSpec, step: float, limit: float | None, n: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    names = [f"S{k:02d}" for k in range(n)]
    neutral = ("sector",) if not kind.is_long_only and rng.random() < 0.5 else ()
    spec = kind.model_copy(
        update={"step": step, "max_weight": limit, "max_sector": 0.5, "neutral": neutral}
    )
    sector = {name: f"x{k % 3}" for k, name in enumerate(names)}
    barred = [name for name in names if rng.random() < 0.2]
    held: dict[str, float] = {}
    for _ in range(4):
        values = dict(zip(names, rng.normal(size=n), strict=True))
        before = held
        frame = decided(values, spec, held=held, sector=sector, not_shortable=barred)
        held = {s: w for s, w in frame.select("symbol", "target_weight").rows() if w != 0}
        assert sum(map(abs, held.values())) <= spec.gross_exposure + 1e-9
        if limit is not None:
            assert max(map(abs, held.values()), default=0) <= limit + 1e-9
        for one in set(sector.values()):
            assert sum(abs(w) for s, w in held.items() if sector[s] == one) <= 0.5 + 1e-9
        entered = {s for s, w in held.items() if w < 0 and before.get(s, 0.0) >= 0}
        assert not entered & set(barred)
