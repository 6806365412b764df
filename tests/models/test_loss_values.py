"""Loss terms by hand, against scipy and against the plain double loop."""

from itertools import permutations
from math import exp, log

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from alpha_assets.models.losses import (
    DecorrelationSpec,
    ListMLESpec,
    PairwiseLogisticSpec,
    SharpeSpec,
    SortinoSpec,
    TermSpec,
    WeightedMSESpec,
)
from alpha_assets.models.losses.base import Extras, build_loss
from alpha_assets.models.losses.ramp import ramp_rank

DRAW = np.random.default_rng(7)
START = DRAW.bit_generator.state


@pytest.fixture(autouse=True)
def from_the_start() -> None:
    """Draw the same in every test, whichever ran before."""
    DRAW.bit_generator.state = START


def part(spec: TermSpec, score_N: np.ndarray, target_N: np.ndarray, extras: Extras) -> float:
    """Return the first part of a term of one session and horizon; NaN targets are masked."""
    value = build_loss(spec)(
        torch.tensor(score_N, dtype=torch.float64)[None, :, None],
        torch.tensor(target_N, dtype=torch.float64)[None, :, None],
        torch.ones(1, len(score_N), dtype=torch.bool),
        extras,
    )
    return float(next(iter(value.parts.values())))


def standardised(score_N: np.ndarray) -> np.ndarray:
    return (score_N - score_N.mean()) / np.sqrt(score_N.var() + 1e-6)


def test_a_pair_by_hand() -> None:
    # A spread of 1: scores -1 and 1 are logits -0.1 and 0.1, the lower score has the higher target.
    spec = PairwiseLogisticSpec(min_names=2, shifts=1, smoothing=0.05)
    found = part(spec, np.array([-1.0, 1.0]), np.array([3.0, 2.0]), Extras())
    assert found == pytest.approx(log(1 + exp(-0.2)) + 0.95 * 0.2, abs=1e-6)


def test_the_smoothing_is_the_probability_of_the_other_order() -> None:
    def with_smoothing(smoothing: float, sign: float) -> float:
        spec = PairwiseLogisticSpec(min_names=2, shifts=1, smoothing=smoothing, temperature=1.0)
        return part(spec, np.array([-1.0, 1.0]), sign * np.array([0.0, 1.0]), Extras())

    right, wrong = with_smoothing(0.0, 1.0), with_smoothing(0.0, -1.0)
    assert with_smoothing(0.2, 1.0) == pytest.approx(0.8 * right + 0.2 * wrong)


@pytest.mark.parametrize("n", [7, 8])
@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_all_distances_are_all_pairs(n: int, gap: float) -> None:
    score_N, target_N = DRAW.standard_normal(n), np.round(DRAW.standard_normal(n), 1)
    target_N[1] = target_N[0]  # a tie
    z_N = standardised(score_N) / 2
    values = []
    for i in range(n):
        for j in range(i):
            apart = target_N[i] - target_N[j]
            if abs(apart) >= gap:
                t = 0.1 + 0.8 * (0.5 * (np.sign(apart) + 1))
                values.append(np.log1p(np.exp(z_N[i] - z_N[j])) - t * (z_N[i] - z_N[j]))
    spec = PairwiseLogisticSpec(min_names=2, shifts=99, smoothing=0.1, temperature=2.0, gap=gap)
    assert part(spec, score_N, target_N, Extras()) == pytest.approx(np.mean(values), rel=1e-9)


def test_few_distances_are_spread_over_the_axis() -> None:
    n, compared = 21, []
    for j in range(1, n):
        target_N = np.full(n, np.nan)  # two names are in: whether they are a pair is all there is
        target_N[[0, j]] = [0.0, 1.0]
        spec = PairwiseLogisticSpec(min_names=2, shifts=5)
        if part(spec, DRAW.standard_normal(n), target_N, Extras()):
            compared.append(j)
    assert compared == [2, 4, 6, 8, 10, 11, 13, 15, 17, 19]


def drawn(spec: PairwiseLogisticSpec, seed: int, score_N: np.ndarray, y_N: np.ndarray) -> float:
    draw = torch.Generator().manual_seed(seed)
    draw_BN = torch.rand(1, len(score_N), generator=draw, dtype=torch.float64)
    return part(spec, score_N, y_N, Extras(draw_BN=draw_BN))


def test_a_random_pairing_by_hand() -> None:
    # In the order of their draws: names 2, 0 | 3, 4, and 1 is left out: five are odd.
    draws = torch.tensor([[0.2, 0.9, 0.1, 0.3, 0.4]])
    score_N, target_N = np.array([0.0, 5.0, 1.0, -1.0, 2.0]), np.arange(5.0)
    z_N = standardised(score_N) / 10
    found = part(
        PairwiseLogisticSpec(min_names=2, shifts=0, smoothing=0.0),
        score_N, target_N, Extras(draw_BN=draws),
    )  # fmt: skip
    first = log(1 + exp(z_N[2] - z_N[0])) - (z_N[2] - z_N[0])  # target 2 is above 0
    second = log(1 + exp(z_N[3] - z_N[4]))  # target 3 is below 4
    assert found == pytest.approx((first + second) / 2, rel=1e-9)


def test_random_pairings_are_all_pairs_on_average() -> None:
    spec = PairwiseLogisticSpec(min_names=2, shifts=0, temperature=1.0)
    score_N, target_N = DRAW.standard_normal(9), DRAW.standard_normal(9)
    target_N[4] = np.nan

    found = [drawn(spec, seed, score_N, target_N) for seed in range(1500)]

    whole = part(spec.model_copy(update={"shifts": 99}), score_N, target_N, Extras())
    assert drawn(spec, 3, score_N, target_N) == drawn(spec, 3, score_N, target_N)
    assert np.mean(found) == pytest.approx(whole, abs=4 * np.std(found) / 1500**0.5)
    assert np.std(found) > 0


def plackett_luce(z_N: np.ndarray, best_first: tuple[int, ...]) -> float:
    """Return the probability that names are drawn in an order, each by e^z of those left."""
    weights = np.exp(z_N[list(best_first)])
    return float(np.prod([w / weights[k:].sum() for k, w in enumerate(weights)]))


def test_listmle_is_the_probability_of_the_order() -> None:
    score_N = np.array([0.3, -1.0, 2.0, 0.5])
    z_N = standardised(score_N) / 2
    assert sum(plackett_luce(z_N, order) for order in permutations(range(4))) == pytest.approx(1)

    found = part(ListMLESpec(min_names=2, temperature=2.0), score_N, np.array([4.0, 1, 3, 2]), EX)

    assert found == pytest.approx(-log(plackett_luce(z_N, (0, 2, 3, 1))) / 4, rel=1e-9)


EX = Extras()


def test_listmle_asks_for_no_order_among_equal_targets() -> None:
    score_N, target_N = DRAW.standard_normal(30), np.round(DRAW.standard_normal(30))
    target_N[3] = np.nan
    in_N = np.isfinite(target_N)
    z_N, y_N = standardised(score_N[in_N]) / 10, target_N[in_N]
    naive = np.mean(
        [np.log(np.exp(z_N[y_N <= y]).sum()) - z for z, y in zip(z_N, y_N, strict=True)]
    )
    assert part(ListMLESpec(min_names=2), score_N, target_N, EX) == pytest.approx(naive, rel=1e-9)


def test_weighted_squares_by_hand() -> None:
    # Rank shares 0.2 to 1.0 by steps of 0.2; errors are 1, 0, 2, 0, 1 in the order of targets.
    target_N = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    score_N = target_N + np.array([1.0, 0.0, 2.0, 0.0, 1.0])
    x_N = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    for weighting, weight_N in {
        "top": 0.1 + 0.9 / (1 + np.exp(-40 * (x_N - 0.8))),  # 0.1, 0.1, 0.10, 0.55, 1.0
        "upper": 0.5 + 0.5 / (1 + np.exp(-15 * (x_N - 0.5))),
        "exponential": np.exp(target_N),
    }.items():
        by_hand = (weight_N[0] * 1 + weight_N[2] * 4 + weight_N[4] * 1) / weight_N.sum()
        spec = WeightedMSESpec(min_names=2, weighting=weighting)  # type: ignore[arg-type]
        assert part(spec, score_N, target_N, EX) == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("weighting", ["exponential", "top", "upper"])
def test_weights_of_ties_and_masked_names_are_scipys(weighting: str) -> None:
    score_N, target_N = DRAW.standard_normal(40), np.round(DRAW.standard_normal(40), 1)
    target_N[[2, 9]] = np.nan
    in_N = np.isfinite(target_N)
    x_N = rankdata(target_N[in_N]) / in_N.sum()
    weight_N = {
        "exponential": softmax(target_N[in_N]),
        "top": 0.1 + 0.9 * expit(40 * (x_N - 0.8)),
        "upper": 0.5 + 0.5 * expit(15 * (x_N - 0.5)),
    }[weighting]
    wanted = np.average((score_N - target_N)[in_N] ** 2, weights=weight_N)
    spec = WeightedMSESpec(weighting=weighting)  # type: ignore[arg-type]
    assert part(spec, score_N, target_N, EX) == pytest.approx(wanted, rel=1e-9)


def test_a_huge_target_overflows_no_weight() -> None:
    target_N = np.array([0.0, 1.0, 1e4])
    found = part(WeightedMSESpec(min_names=2, weighting="exponential"), np.zeros(3), target_N, EX)
    assert found == pytest.approx(1e8)  # all the weight is on the one


def test_net_earnings_by_hand() -> None:
    # Two names; weights are ±½. Sessions 0 and 1 hold the same, session 2 the opposite: it trades
    # Σ |Δw| = 2. Session 3 does not follow. Horizon 2: half of a return a session.
    score_DN = np.array([[1.0, -1.0], [2.0, -2.0], [-1.0, 1.0], [1.0, -1.0]])
    return_DN = np.array([[0.02, 0.0], [0.04, 0.0], [0.03, -0.05], [9.0, -9.0]])
    extras = Extras(
        return_BNH=torch.tensor(return_DN)[..., None],
        follows_B=torch.tensor([False, True, True, False]),
        horizons=(2,),
    )
    gross = [0.5 * 0.04 / 2, 0.5 * (-0.03 - 0.05) / 2]  # 0.01 and -0.02
    net = np.array([gross[0] - 0.0, gross[1] - 50e-4 * 2])  # 0.01 and -0.03

    def found(spec: TermSpec) -> float:
        scores = torch.tensor(score_DN)[..., None]
        ranks = torch.tensor([[0.0, 1.0]] * 4)[..., None]
        mask_BN = torch.ones(4, 2, dtype=torch.bool)
        return float(build_loss(spec)(scores, ranks, mask_BN, extras).total)

    assert list(net) == pytest.approx([0.01, -0.03])
    sharpe = found(SharpeSpec(min_names=2, cost_bps=50.0, pin=0.0))
    assert sharpe == pytest.approx(0.01 / 0.02, rel=0.1)  # -mean / sd, but for the floor
    floor = 1e-3 * np.abs(return_DN).mean()
    assert sharpe == pytest.approx(0.01 / np.hypot(0.02, floor), rel=1e-6)
    sortino = found(SortinoSpec(min_names=2, cost_bps=50.0, pin=0.0))
    assert sortino == pytest.approx(0.01 / np.hypot(0.03 / 2**0.5, floor), rel=1e-6)


def test_sortino_counts_losses_alone() -> None:
    score_DN, return_DN = DRAW.standard_normal((30, 20)), 0.02 * DRAW.standard_normal((30, 20))
    held_DN = score_DN - score_DN.mean(axis=1, keepdims=True)
    held_DN /= np.abs(held_DN).sum(axis=1, keepdims=True)
    earned_D = (held_DN * return_DN).sum(axis=1)
    found = build_loss(SortinoSpec(pin=0.0))(
        torch.from_numpy(score_DN)[..., None],
        torch.from_numpy(return_DN)[..., None],
        torch.ones(30, 20, dtype=torch.bool),
        Extras(return_BNH=torch.from_numpy(return_DN)[..., None]),
    ).total
    downside = np.sqrt(np.mean(np.minimum(earned_D, 0) ** 2))
    assert float(found) == pytest.approx(-earned_D.mean() / downside, rel=1e-4)


def test_the_dearer_the_trading_the_lower_the_ratio() -> None:
    scores = torch.from_numpy(DRAW.standard_normal((12, 20, 1)))
    returns = 0.02 * scores + torch.from_numpy(0.02 * DRAW.standard_normal((12, 20, 1)))
    extras = Extras(return_BNH=returns, follows_B=torch.arange(12) > 0, horizons=(1,))
    mask_BN = torch.ones(12, 20, dtype=torch.bool)

    def loss(scores: Tensor, cost_bps: float) -> float:
        spec = SharpeSpec(cost_bps=cost_bps, pin=0.0)
        return float(build_loss(spec)(scores, returns, mask_BN, extras).total)

    noisy = [loss(scores, cost) for cost in (1.0, 10.0, 50.0)]
    assert noisy == sorted(noisy)
    slow = scores[:1].expand(12, -1, -1)  # what never changes pays nothing
    assert loss(slow, 50.0) == pytest.approx(loss(slow, 1.0))


def test_decorrelation_is_spearmans_correlation_squared() -> None:
    factor_N = DRAW.standard_t(4, 1500)
    score_N = 0.5 * factor_N + DRAW.standard_normal(1500)
    factor_N[7] = np.nan
    extras = Extras(column_BN={"beta_60_cs_z": torch.from_numpy(factor_N)[None]})

    found = part(
        DecorrelationSpec(column="beta_60_cs_z"), score_N, DRAW.standard_normal(1500), extras
    )

    wanted = spearmanr(score_N, factor_N, nan_policy="omit")[0] ** 2
    assert wanted > 0.1
    assert found == pytest.approx(wanted, abs=5e-3)


def test_decorrelation_is_the_same_for_a_factor_and_its_opposite_in_any_unit() -> None:
    factor_N, score_N, target_N = DRAW.standard_normal((3, 40))

    def found(factor_N: np.ndarray) -> float:
        extras = Extras(column_BN={"f_cs_z": torch.from_numpy(factor_N)[None]})
        return part(DecorrelationSpec(column="f_cs_z"), score_N, target_N, extras)

    assert found(-factor_N) == pytest.approx(found(factor_N), rel=1e-9)
    assert found(np.exp(factor_N)) == pytest.approx(found(factor_N), rel=1e-9)
    assert found(np.full(40, 3.0)) == 0  # a factor that is the same for all has no weight


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("ramp", [0.0, 0.02, 0.2, 2.0])
def test_the_fast_rank_is_the_double_loop(ramp: float, ties: bool) -> None:
    z_SN = torch.from_numpy(DRAW.standard_normal((3, 301)))
    if ties:
        z_SN = (z_SN * 4).round() / 4
    in_SN = torch.from_numpy(DRAW.random((3, 301)) > 0.2)
    apart_SNN = z_SN[:, :, None] - z_SN[:, None, :]
    share_SNN = (apart_SNN / (2 * ramp) + 0.5).clamp(0, 1) if ramp else (apart_SNN.sign() + 1) / 2
    naive_SN = (share_SNN * in_SN[:, None, :]).sum(-1)

    fast_SN = ramp_rank(z_SN, in_SN, ramp)

    assert torch.allclose(fast_SN[in_SN], naive_SN[in_SN], atol=1e-9)
    fast_float_SN = ramp_rank(z_SN.float(), in_SN, ramp)
    assert torch.allclose(fast_float_SN[in_SN].double(), naive_SN[in_SN], atol=2e-2)


@pytest.mark.parametrize(
    "spec",
    [
        PairwiseLogisticSpec(),
        PairwiseLogisticSpec(shifts=0),
        ListMLESpec(),
        SharpeSpec(),
        SortinoSpec(),
        DecorrelationSpec(column="f_cs_z"),
    ],
    ids=lambda s: s.kind,
)
def test_level_and_scale_of_scores_mean_nothing(spec: TermSpec) -> None:
    score_N, target_N = DRAW.standard_normal((2, 30))
    extras = Extras(
        return_BNH=torch.from_numpy(target_N)[None, :, None],
        draw_BN=torch.from_numpy(DRAW.random((1, 30))),
        column_BN={"f_cs_z": torch.from_numpy(DRAW.standard_normal((1, 30)))},
    )
    plain = part(spec, score_N, target_N, extras)
    assert part(spec, 20 * score_N - 3, target_N, extras) == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        PairwiseLogisticSpec(),
        PairwiseLogisticSpec(shifts=0),
        ListMLESpec(),
        WeightedMSESpec(),
        WeightedMSESpec(weighting="exponential"),
    ],
    ids=lambda s: s.kind,
)
def test_scores_closer_to_the_targets_cost_less(spec: TermSpec) -> None:
    score_N, target_N = DRAW.standard_normal((2, 30))
    # One random pairing may miss what became better: the mean over several does not.
    pairings = [Extras(draw_BN=torch.from_numpy(DRAW.random((1, 30)))) for _ in range(40)]
    costs = [
        np.mean([part(spec, score_N + k * (target_N - score_N), target_N, one) for one in pairings])
        for k in (0, 0.3, 0.6, 1)
    ]
    assert costs == sorted(costs, reverse=True)
