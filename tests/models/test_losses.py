"""Losses against closed forms and scipy, and the promises that all of them keep."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, rankdata, spearmanr
from torch import Tensor

from alpha_assets.models.losses import ICHuberSpec, ICSpec, MSESpec, SoftSpearmanSpec
from alpha_assets.models.losses.base import build_loss
from alpha_assets.models.losses.ramp import ramp_rank

SPECS = [
    ICSpec(min_names=4),
    ICHuberSpec(min_names=4),
    MSESpec(min_names=4),
    SoftSpearmanSpec(min_names=4),
]
SHIFT_FREE = [SPECS[0], SPECS[3]]

every_loss = pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.kind)
every_shift_free = pytest.mark.parametrize("spec", SHIFT_FREE, ids=lambda s: s.kind)


def ragged(n: int = 12, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Two sessions, two horizons, with masked names and unknown targets."""
    draw = torch.Generator().manual_seed(1)
    score_BNH = torch.randn(2, n, 2, generator=draw, dtype=dtype)
    target_BNH = torch.randn(2, n, 2, generator=draw, dtype=dtype)
    target_BNH[0, 3, 1] = torch.nan
    mask_BN = torch.ones(2, n, dtype=torch.bool)
    mask_BN[0, 5] = mask_BN[1, 0] = mask_BN[1, 1] = False
    return score_BNH, target_BNH, mask_BN


@every_loss
def test_the_gradient_is_that_of_the_value(spec: ICSpec) -> None:
    score_BNH, target_BNH, mask_BN = ragged()
    loss = build_loss(spec)

    assert torch.autograd.gradcheck(
        lambda p: loss(p, target_BNH, mask_BN).total, score_BNH.requires_grad_(), atol=1e-6
    )


@every_loss
@pytest.mark.parametrize("value", [1e30, -1e30, float("nan"), float("inf")])
def test_masked_values_change_nothing(spec: ICSpec, value: float) -> None:
    def both(score_BNH: Tensor, target_BNH: Tensor) -> tuple[Tensor, Tensor]:
        score_BNH = score_BNH.clone().requires_grad_()
        found = build_loss(spec)(score_BNH, target_BNH, mask_BN).total
        found.backward()
        assert score_BNH.grad is not None
        return found.detach(), score_BNH.grad

    score_BNH, target_BNH, mask_BN = ragged()
    out = ~mask_BN[..., None] | torch.isnan(target_BNH)
    plain, plain_gradient = both(score_BNH, target_BNH)
    odd, odd_gradient = both(
        torch.where(out, value, score_BNH), torch.where(~mask_BN[..., None], value, target_BNH)
    )

    assert torch.equal(plain, odd)
    assert torch.equal(plain_gradient, odd_gradient)
    assert (odd_gradient[out] == 0).all()


@every_loss
def test_the_order_of_symbols_means_nothing(spec: ICSpec) -> None:
    score_BNH, target_BNH, mask_BN = ragged()
    order_N = torch.randperm(12, generator=torch.Generator().manual_seed(0))

    plain = build_loss(spec)(score_BNH, target_BNH, mask_BN).total
    permuted = build_loss(spec)(score_BNH[:, order_N], target_BNH[:, order_N], mask_BN[:, order_N])

    assert float(permuted.total) == pytest.approx(float(plain), rel=1e-9)


@every_loss
def test_scores_closer_to_the_targets_cost_less(spec: ICSpec) -> None:
    score_BNH, target_BNH, mask_BN = ragged()
    better = score_BNH + 0.3 * (torch.nan_to_num(target_BNH) - score_BNH)
    loss = build_loss(spec)

    assert loss(better, target_BNH, mask_BN).total < loss(score_BNH, target_BNH, mask_BN).total


@every_loss
@pytest.mark.parametrize("constant", [0.0, 7.0])
def test_constant_scores_have_a_finite_loss_and_a_bounded_gradient(
    spec: ICSpec, constant: float
) -> None:
    _, target_BNH, mask_BN = ragged(dtype=torch.float32)
    score_BNH = torch.full(target_BNH.shape, constant, requires_grad=True)

    value = build_loss(spec)(score_BNH, target_BNH, mask_BN)
    value.total.backward()

    assert torch.isfinite(value.total)
    assert score_BNH.grad is not None
    # One over the floor of the spread; a rank moves √3/τ times as fast as a score.
    steepness = 3**0.5 / spec.ramp if isinstance(spec, SoftSpearmanSpec) else 1.0
    assert float(score_BNH.grad.norm()) <= steepness / 1e-3


@every_loss
def test_a_session_that_is_all_masked_has_no_weight(spec: ICSpec) -> None:
    score_BNH, target_BNH, mask_BN = ragged()
    empty = torch.zeros_like(mask_BN[:1])

    alone = build_loss(spec)(score_BNH, target_BNH, mask_BN)
    beside = build_loss(spec)(
        torch.cat([score_BNH, score_BNH[:1]]),
        torch.cat([target_BNH, target_BNH[:1]]),
        torch.cat([mask_BN, empty]),
    )

    assert float(beside.total) == pytest.approx(float(alone.total), rel=1e-12)


@every_loss
def test_targets_that_are_all_equal_have_no_weight(spec: ICSpec) -> None:
    score_BNH, target_BNH, mask_BN = ragged()
    flat = torch.full_like(target_BNH[:1], 0.3)

    alone = build_loss(spec)(score_BNH, target_BNH, mask_BN)
    beside = build_loss(spec)(
        torch.cat([score_BNH, score_BNH[:1]]),
        torch.cat([target_BNH, flat]),
        torch.cat([mask_BN, mask_BN[:1]]),
    )

    assert float(beside.total) == pytest.approx(float(alone.total), rel=1e-12)


@every_loss
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_names_give_zero_with_a_graph(spec: ICSpec, n: int) -> None:
    score_BNH = torch.randn(2, n, 1, requires_grad=True)

    value = build_loss(spec)(score_BNH, torch.randn(2, n, 1), torch.ones(2, n, dtype=torch.bool))
    value.total.backward()

    assert value.total.item() == 0
    assert score_BNH.grad is not None
    assert (score_BNH.grad == 0).all()


@every_shift_free
def test_a_number_added_to_a_session_means_nothing(spec: ICSpec) -> None:
    score_BNH, target_BNH, mask_BN = ragged()
    loss = build_loss(spec)

    moved = loss(score_BNH + torch.tensor([3.0, -8.0])[:, None, None], target_BNH, mask_BN)

    assert float(moved.total) == pytest.approx(
        float(loss(score_BNH, target_BNH, mask_BN).total), rel=1e-9
    )


@every_shift_free
def test_only_the_pin_sees_the_scale(spec: ICSpec) -> None:
    score_BNH, target_BNH, mask_BN = ragged()
    loss = build_loss(spec)
    name = next(iter(loss(score_BNH, target_BNH, mask_BN).parts))

    plain, wide = (loss(score_BNH * k, target_BNH, mask_BN).parts for k in (1.0, 20.0))

    assert float(wide[name]) == pytest.approx(float(plain[name]), abs=1e-5)
    assert wide["pin"] > plain["pin"]


def test_ic_is_pearsons_correlation() -> None:
    score_BNH, target_BNH, mask_BN = ragged()
    part = build_loss(ICSpec(min_names=4))(score_BNH, target_BNH, mask_BN).parts["ic"]

    wanted = []
    for b in range(2):
        for h in range(2):
            kept = (mask_BN[b] & torch.isfinite(target_BNH[b, :, h])).numpy()
            wanted.append(pearsonr(score_BNH[b, kept, h], target_BNH[b, kept, h])[0])

    assert float(part) == pytest.approx(-np.mean(wanted), abs=1e-5)


def test_soft_spearman_is_near_spearmans_correlation() -> None:
    draw = np.random.default_rng(0)
    score_N = draw.standard_normal(2000)
    target_N = 0.3 * score_N + draw.standard_t(4, 2000)

    part = build_loss(SoftSpearmanSpec())(
        torch.tensor(score_N)[None, :, None],
        torch.tensor(target_N)[None, :, None],
        torch.ones(1, 2000, dtype=torch.bool),
    ).parts["spearman"]

    assert -float(part) == pytest.approx(spearmanr(score_N, target_N)[0], abs=2e-3)


def test_mse_by_hand() -> None:
    score_BNH = torch.tensor([[[1.0], [2.0], [5.0]]])
    target_BNH = torch.tensor([[[0.0], [4.0], [9.0]]])
    mask_BN = torch.tensor([[True, True, False]])

    value = build_loss(MSESpec(min_names=2))(score_BNH, target_BNH, mask_BN)

    assert float(value.total) == pytest.approx((1 + 4) / 2)


def test_ic_huber_by_hand() -> None:
    score_BNH = torch.tensor([[[-1.0], [1.0]]])
    target_BNH = torch.tensor([[[-1.5], [3.0]]])
    mask_BN = torch.ones(1, 2, dtype=torch.bool)

    parts = build_loss(ICHuberSpec(min_names=2))(score_BNH, target_BNH, mask_BN).parts

    assert float(parts["ic"]) == pytest.approx(-1, abs=1e-5)
    assert float(parts["huber"]) == pytest.approx((0.5 * 0.5**2 + (2 - 0.5)) / 2)


def test_the_ramp_counts_names_below_by_their_share() -> None:
    z_SN = torch.tensor([[-1.0, 0.0, 0.1, 2.0]])
    in_SN = torch.ones(1, 4, dtype=torch.bool)

    soft = ramp_rank(z_SN, in_SN, 0.2)

    # Σ_j clip((z_i - z_j) / 0.4 + ½, 0, 1), each name half of itself.
    torch.testing.assert_close(soft, torch.tensor([[0.5, 1.75, 2.25, 3.5]]))


def test_without_a_ramp_ties_share_their_average_rank() -> None:
    z_SN = torch.tensor([[2.0, 1.0, 2.0, 2.0, -3.0]])
    in_SN = torch.ones(1, 5, dtype=torch.bool)

    assert (ramp_rank(z_SN, in_SN, 0.0) + 0.5).tolist() == [rankdata(z_SN[0]).tolist()]


def test_a_constant_section_has_no_rank_order() -> None:
    soft = ramp_rank(torch.zeros(1, 6), torch.ones(1, 6, dtype=torch.bool), 0.2)

    assert soft.unique().numel() == 1


@every_loss
def test_bf16_scores_are_judged_in_full_precision(spec: ICSpec) -> None:
    score_BNH, target_BNH, mask_BN = ragged(dtype=torch.float32)
    coarse = score_BNH.bfloat16()

    with torch.autocast("cpu", torch.bfloat16):
        value = build_loss(spec)(coarse, target_BNH, mask_BN)

    assert value.total.dtype == torch.float32
    assert float(value.total) == pytest.approx(
        float(build_loss(spec)(coarse.float(), target_BNH, mask_BN).total)
    )
