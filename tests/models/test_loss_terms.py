"""Terms that need more than scores and targets: quantiles, the order of sessions, returns."""

import numpy as np
import pytest
import torch
from torch import Tensor

from alpha_assets.models.losses import (
    HuberSpec,
    ICSpec,
    MSESpec,
    PinballSpec,
    SharpeSpec,
    TermSpec,
    TurnoverSpec,
)
from alpha_assets.models.losses.base import Extras, build_loss

LEVELS = (0.1, 0.5, 0.9)
SPECS = [
    HuberSpec(min_names=4),
    PinballSpec(min_names=4),
    TurnoverSpec(min_names=4),
    SharpeSpec(min_names=4),
]
every_term = pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.kind)
Made = tuple[Tensor, Tensor, Tensor, Extras]


def ragged(n: int = 12) -> Made:
    """Four consecutive sessions but for a gap before the third, with masked names."""
    draw = torch.Generator().manual_seed(1)
    shape, double = (4, n, 2), torch.float64
    score_BNH = torch.randn(shape, generator=draw, dtype=double)
    target_BNH = torch.randn(shape, generator=draw, dtype=double)
    target_BNH[0, 3, 1] = torch.nan
    mask_BN = torch.ones(4, n, dtype=torch.bool)
    mask_BN[0, 5] = mask_BN[1, 0] = mask_BN[2, 1] = False
    gap_BNH1 = torch.rand((*shape, 1), generator=draw, dtype=double)
    quantile_BNHQ = torch.cat(
        [score_BNH[..., None] - gap_BNH1, score_BNH[..., None], score_BNH[..., None] + gap_BNH1], -1
    )
    extras = Extras(
        levels=LEVELS,
        quantile_BNHQ=quantile_BNHQ,
        return_BNH=0.02 * target_BNH,
        follows_B=torch.tensor([False, True, False, True]),
    )
    return score_BNH, target_BNH, mask_BN, extras


def vars_of(extras: Extras) -> tuple[Tensor | None, Tensor | None]:
    return extras.return_BNH, extras.follows_B


def poisoned(made: Made, value: float) -> Made:
    """Put a value wherever a name is masked."""
    score_BNH, target_BNH, mask_BN, extras = made
    out = ~mask_BN[..., None]
    assert extras.quantile_BNHQ is not None
    assert extras.return_BNH is not None
    return (
        torch.where(out, value, score_BNH),
        torch.where(out, value, target_BNH),
        mask_BN,
        Extras(
            LEVELS,
            torch.where(out[..., None], value, extras.quantile_BNHQ),
            torch.where(out, value, extras.return_BNH),
            extras.follows_B,
        ),
    )


@every_term
@pytest.mark.parametrize("value", [1e30, float("nan"), float("inf")])
def test_masked_values_change_nothing(spec: TermSpec, value: float) -> None:
    plain = build_loss(spec)(*ragged()).total
    assert torch.isfinite(plain)
    assert torch.equal(build_loss(spec)(*poisoned(ragged(), value)).total, plain)


@every_term
def test_the_gradient_is_that_of_the_value(spec: TermSpec) -> None:
    score_BNH, target_BNH, mask_BN, extras = ragged()
    assert extras.quantile_BNHQ is not None
    gap = extras.quantile_BNHQ - score_BNH[..., None]

    def of(p: Tensor) -> Tensor:
        moved = Extras(LEVELS, p[..., None] + gap, extras.return_BNH, extras.follows_B)
        return build_loss(spec)(p, target_BNH, mask_BN, moved).total

    # The mean absolute return under the Sharpe ratio's floor is held fixed on purpose: 1e-3 of it.
    assert torch.autograd.gradcheck(of, score_BNH.requires_grad_(), atol=1e-5)


@every_term
def test_constant_scores_have_a_finite_loss_and_gradient(spec: TermSpec) -> None:
    score_BNH, target_BNH, mask_BN, extras = ragged()
    flat = torch.zeros_like(score_BNH, requires_grad=True)
    quantiles = Extras(LEVELS, flat[..., None].expand(-1, -1, -1, 3), *vars_of(extras))
    value = build_loss(spec)(flat, target_BNH, mask_BN, quantiles)
    value.total.backward()
    assert torch.isfinite(value.total)
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_pinball_by_hand() -> None:
    # Target 1 of the first name, 0 of the second; its quantiles are 0, 0.5 and 2, and 0, 0, 0.
    quantile_BNHQ = torch.tensor([[0.0, 0.5, 2.0], [0.0, 0.0, 0.0]]).reshape(1, 2, 1, 3)
    target_BNH = torch.tensor([1.0, 0.0]).reshape(1, 2, 1)
    found = build_loss(PinballSpec(min_names=2))(
        quantile_BNHQ[..., 1], target_BNH, torch.ones(1, 2, dtype=torch.bool),
        Extras(LEVELS, quantile_BNHQ),
    ).total  # fmt: skip
    # max(q e, (q - 1) e): 0.1 · 1, 0.5 · 0.5, (0.9 - 1) · (-1); over three levels and two names.
    assert float(found) == pytest.approx((0.1 + 0.25 + 0.1) / 3 / 2)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_quantile_is_where_pinball_is_least(level: float) -> None:
    target_N = torch.arange(101.0)

    def at(value: float) -> float:
        quantile = torch.full((1, 101, 1, 1), value)
        extras = Extras((level,), quantile)
        mask_BN = torch.ones(1, 101, dtype=torch.bool)
        loss = build_loss(PinballSpec())
        return float(loss(quantile[..., 0], target_N.reshape(1, -1, 1), mask_BN, extras).total)

    tried = {value: at(float(value)) for value in range(101)}
    assert min(tried, key=tried.__getitem__) == round(100 * level)


def test_turnover_is_two_less_twice_the_correlation() -> None:
    draw = np.random.default_rng(0)
    score_DN = draw.standard_normal((3, 40))
    made = torch.from_numpy(score_DN)[..., None]
    targets = torch.from_numpy(draw.standard_normal((3, 40)))[..., None]
    mask_BN = torch.ones(3, 40, dtype=torch.bool)

    def of(follows: list[bool]) -> float:
        extras = Extras(follows_B=torch.tensor(follows))
        return float(build_loss(TurnoverSpec())(made, targets, mask_BN, extras).total)

    pair = [2 * (1 - np.corrcoef(score_DN[d], score_DN[d - 1])[0, 1]) for d in (1, 2)]
    assert of([False, True, True]) == pytest.approx(np.mean(pair), rel=1e-5)
    assert of([False, True, False]) == pytest.approx(pair[0], rel=1e-5)
    assert of([False, False, False]) == 0


def test_sharpe_is_that_of_score_proportional_weights() -> None:
    draw = np.random.default_rng(0)
    score_DN, return_DN = draw.standard_normal((20, 30)), 0.02 * draw.standard_normal((20, 30))
    held_DN = score_DN - score_DN.mean(axis=1, keepdims=True)
    held_DN /= np.abs(held_DN).sum(axis=1, keepdims=True)
    earned_D = (held_DN * return_DN).sum(axis=1)
    ranks = torch.from_numpy(return_DN.argsort(axis=1).argsort(axis=1).astype(float))[..., None]

    found = build_loss(SharpeSpec(pin=0.0))(
        torch.from_numpy(score_DN)[..., None],
        ranks,  # what is fitted is of no matter: returns are
        torch.ones(20, 30, dtype=torch.bool),
        Extras(return_BNH=torch.from_numpy(return_DN)[..., None]),
    ).total
    assert float(found) == pytest.approx(-earned_D.mean() / earned_D.std(), rel=1e-4)


def test_terms_add_up_with_their_weights() -> None:
    made = ragged()
    ic, mse = ICSpec(min_names=4, weight=0.7), MSESpec(min_names=4, weight=0.3)
    alone = [build_loss(t.model_copy(update={"weight": 1.0}))(*made).total for t in (ic, mse)]

    both = build_loss(ic, mse)(*made)
    assert float(both.total) == pytest.approx(0.7 * float(alone[0]) + 0.3 * float(alone[1]))
    assert set(both.parts) == {"ic", "pin", "mse"}
    assert set(build_loss(ic, ic)(*made).parts) == {"ic", "pin", "ic_2", "pin_2"}


@pytest.mark.parametrize("spec", [ICSpec(min_names=4), MSESpec(min_names=4)])
def test_weights_of_horizons_choose_what_is_fitted(spec: TermSpec) -> None:
    score_BNH, target_BNH, mask_BN, _ = ragged()
    second = build_loss(spec)(score_BNH[..., 1:], target_BNH[..., 1:], mask_BN).total
    first = build_loss(spec)(score_BNH[..., :1], target_BNH[..., :1], mask_BN).total

    def weighted(*weights: float) -> float:
        chosen = spec.model_copy(update={"horizon_weights": weights})
        return float(build_loss(chosen)(score_BNH, target_BNH, mask_BN).total)

    assert weighted(0.0, 1.0) == pytest.approx(float(second))
    assert weighted(0.0, 7.0) == weighted(0.0, 1.0)
    assert weighted(1.0, 3.0) == pytest.approx(0.25 * float(first) + 0.75 * float(second))
    assert weighted(1.0, 1.0) == pytest.approx(weighted())


def test_horizon_weights_that_weigh_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"horizon_weights = \[0.0, 0.0\]: want numbers of at"):
        ICSpec(horizon_weights=(0.0, 0.0))
