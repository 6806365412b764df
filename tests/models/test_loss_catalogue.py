"""The promises that every loss term keeps, whatever it computes.

A new term is tested by being listed in `LossSpec`.
"""

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alpha_assets.errors import SpecError
from alpha_assets.models.losses import LossSpec, TermSpec
from alpha_assets.models.losses.base import Extras, build_loss
from alpha_assets.spec import Spec, parse_spec

FACTOR = "beta_60_cs_z"
LEVELS = (0.1, 0.5, 0.9)
# Settings without which a term cannot be declared, and those that are another formula.
NEEDED: dict[str, dict[str, Any]] = {"decorrelation": {"column": FACTOR}}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "pairwise_logistic": [{"shifts": 0}, {"shifts": 3, "gap": 0.3}],
    "weighted_mse": [{"weighting": "exponential"}, {"weighting": "upper"}],
    "sharpe": [{"cost_bps": 10.0}],
    "sortino": [{"cost_bps": 10.0}],
}
PENALTIES = {"turnover", "decorrelation"}  # at their least where all scores are equal
EARNINGS = {"sharpe", "sortino"}


def catalogue() -> list[TermSpec]:
    kinds = get_args(get_args(LossSpec)[0])
    found = []
    for kind in kinds:
        name = kind.model_fields["kind"].default
        for settings_ in [{}, *VARIANTS.get(name, [])]:
            found.append(kind(min_names=4, **NEEDED.get(name, {}), **settings_))
    return found


def name_of(spec: TermSpec) -> str:
    name: str = spec.kind  # type: ignore[attr-defined]
    different = spec.model_dump(exclude_defaults=True, exclude={"kind", "min_names", "column"})
    return "_".join([name, *(f"{key}={value}" for key, value in different.items())])


CATALOGUE = catalogue()
every_term = pytest.mark.parametrize("spec", CATALOGUE, ids=name_of)
Made = tuple[Tensor, Tensor, Tensor, Extras]


def ragged(n: int = 12, seed: int = 1, dtype: torch.dtype = torch.float64) -> Made:
    """Four sessions, the third after a gap, two horizons; masked names, unknown values."""
    draw = torch.Generator().manual_seed(seed)
    shape = (4, n, 2)
    score_BNH = torch.randn(shape, generator=draw, dtype=dtype)
    target_BNH = torch.randn(shape, generator=draw, dtype=dtype)
    target_BNH[0, 3, 1] = torch.nan
    mask_BN = torch.ones(4, n, dtype=torch.bool)
    mask_BN[0, 5] = mask_BN[1, 0] = mask_BN[2, 1] = False
    factor_BN = torch.randn(4, n, generator=draw, dtype=dtype)
    factor_BN[3, 2] = torch.nan
    extras = Extras(
        levels=LEVELS,
        return_BNH=0.02 * target_BNH,
        follows_B=torch.tensor([False, True, False, True]),
        horizons=(1, 5),
        draw_BN=torch.rand(4, n, generator=draw, dtype=torch.float64),
        column_BN={FACTOR: factor_BN},
    )
    return score_BNH, target_BNH, mask_BN, extras


def loss_of(spec: TermSpec, score_BNH: Tensor, made: Made) -> Tensor:
    """Return the loss of scores, whose quantiles lie one below and one above."""
    _, target_BNH, mask_BN, extras = made
    apart = torch.tensor([-1.0, 0.0, 1.0], dtype=score_BNH.dtype)
    extras = replace(extras, quantile_BNHQ=score_BNH[..., None] + apart)
    return build_loss(spec)(score_BNH, target_BNH, mask_BN, extras).total


def gradient(spec: TermSpec, score_BNH: Tensor, made: Made) -> tuple[Tensor, Tensor]:
    score_BNH = score_BNH.clone().requires_grad_()
    value = loss_of(spec, score_BNH, made)
    (found,) = torch.autograd.grad(value, score_BNH)
    return value.detach(), found


@every_term
def test_the_gradient_is_that_of_the_value(spec: TermSpec) -> None:
    made = ragged()
    assert torch.autograd.gradcheck(
        lambda p: loss_of(spec, p, made), made[0].clone().requires_grad_(), atol=1e-5
    )


@every_term
@pytest.mark.parametrize("value", [1e30, float("nan"), float("inf")])
def test_what_is_masked_changes_nothing(spec: TermSpec, value: float) -> None:
    score_BNH, target_BNH, mask_BN, extras = made = ragged()
    out = ~mask_BN[..., None]
    assert extras.return_BNH is not None
    poisoned = (
        torch.where(out, value, score_BNH),
        torch.where(out, value, target_BNH),
        mask_BN,
        replace(
            extras,
            return_BNH=torch.where(out, value, extras.return_BNH),
            column_BN={FACTOR: torch.where(~mask_BN, value, extras.column_BN[FACTOR])},
        ),
    )

    plain, plain_gradient = gradient(spec, score_BNH, made)
    odd, odd_gradient = gradient(spec, poisoned[0], poisoned)

    assert torch.isfinite(plain)
    assert torch.equal(plain, odd)
    assert torch.equal(plain_gradient, odd_gradient)
    assert (odd_gradient[~mask_BN] == 0).all()


@every_term
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-9], ids=["constant", "denormal", "tiny"])
@pytest.mark.parametrize("level", [0.0, 7.0])
def test_flat_scores_have_a_finite_loss_and_a_gradient_that_leads_out(
    spec: TermSpec, scale: float, level: float
) -> None:
    made = ragged(dtype=torch.float32)
    flat = level + scale * made[0]

    value, found = gradient(spec, flat, made)

    assert torch.isfinite(value)
    assert torch.isfinite(found).all()
    kind: str = spec.kind  # type: ignore[attr-defined]
    # One floor under the spread of scores, and one under that of earnings, each of a thousandth.
    assert float(found.norm()) < (1e6 if kind in EARNINGS else 1e4)
    if kind in PENALTIES:
        return
    assert loss_of(spec, flat - 1e-2 * found / found.norm(), made) < value
    if level:
        return  # a distance first moves the level
    # Down the gradient scores grow towards the targets: they move apart as the targets do.
    known = made[2][..., None] & torch.isfinite(made[1])
    step, target = -found[known], made[1][known]
    assert float(torch.corrcoef(torch.stack([step, target]))[0, 1]) > 0.2


@every_term
def test_tied_scores_have_a_finite_loss_and_gradient(spec: TermSpec) -> None:
    made = ragged(dtype=torch.float32)
    tied = made[0].sign()  # two values

    value, found = gradient(spec, tied, made)

    assert torch.isfinite(value)
    assert torch.isfinite(found).all()
    assert float(found.norm()) < 1e3


@every_term
def test_sessions_without_names_or_order_leave_a_zero_with_a_graph(spec: TermSpec) -> None:
    score_BNH, target_BNH, mask_BN, extras = ragged(dtype=torch.float32)
    for empty in (
        (score_BNH, target_BNH, torch.zeros_like(mask_BN), extras),
        (score_BNH, torch.full_like(target_BNH, 0.3), mask_BN, extras),
        (score_BNH, torch.full_like(target_BNH, torch.nan), mask_BN, extras),
    ):
        value, found = gradient(spec, score_BNH, empty)
        assert float(value) == 0
        assert (found == 0).all()


@every_term
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_names_leave_a_zero_with_a_graph(spec: TermSpec, n: int) -> None:
    score_BNH, target_BNH, mask_BN, extras = ragged(dtype=torch.float32)
    assert extras.return_BNH is not None
    assert extras.draw_BN is not None
    few = replace(
        extras,
        return_BNH=extras.return_BNH[:, :n],
        draw_BN=extras.draw_BN[:, :n],
        column_BN={FACTOR: extras.column_BN[FACTOR][:, :n]},
    )
    value, found = gradient(
        spec, score_BNH[:, :n], (score_BNH[:, :n], target_BNH[:, :n], mask_BN[:, :n], few)
    )
    assert float(value) == 0
    assert (found == 0).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), n=st.integers(4, 15))
@every_term
def test_the_order_of_symbols_means_nothing(spec: TermSpec, seed: int, n: int) -> None:
    if getattr(spec, "shifts", 0) == 3:
        spec = spec.model_copy(update={"shifts": n})  # all pairs: then the axis has no meaning
    score_BNH, target_BNH, mask_BN, extras = ragged(max(n, 6), seed)
    order_N = torch.randperm(max(n, 6), generator=torch.Generator().manual_seed(seed))
    assert extras.return_BNH is not None
    assert extras.draw_BN is not None
    permuted = replace(
        extras,
        return_BNH=extras.return_BNH[:, order_N],
        draw_BN=extras.draw_BN[:, order_N],
        column_BN={FACTOR: extras.column_BN[FACTOR][:, order_N]},
    )

    plain = loss_of(spec, score_BNH, (score_BNH, target_BNH, mask_BN, extras))
    moved = (score_BNH[:, order_N], target_BNH[:, order_N], mask_BN[:, order_N], permuted)

    assert float(loss_of(spec, moved[0], moved)) == pytest.approx(float(plain), rel=1e-9, abs=1e-12)


@every_term
def test_half_precision_is_judged_in_full(spec: TermSpec) -> None:
    made = ragged(dtype=torch.float32)
    coarse = made[0].bfloat16()

    with torch.autocast("cpu", torch.bfloat16):
        value = loss_of(spec, coarse.float(), made)

    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(loss_of(spec, coarse.float(), made)))


@every_term
def test_a_term_weighs_by_its_weight_and_by_horizon(spec: TermSpec) -> None:
    made = ragged()
    plain = float(loss_of(spec, made[0], made))
    twice = spec.model_copy(update={"weight": 2.0})
    assert float(loss_of(twice, made[0], made)) == pytest.approx(2 * plain)
    only = spec.model_copy(update={"horizon_weights": (1.0, 0.0)})
    _, found = gradient(only, made[0], made)
    assert (found[..., 1] == 0).all()
    assert (found[..., 0] != 0).any()


class OneTerm(Spec):
    """A recipe's `loss` alone."""

    loss: tuple[LossSpec, ...]


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ({"kind": "pairwise_logistics"}, "did you mean 'pairwise_logistic'"),
        ({"kind": "list_mle"}, "did you mean 'listmle'"),
        ({"kind": "wmse"}, "did you mean 'mse'"),
        ({"kind": "mse", "weight": 0.0}, "weight = 0.0: Input should be greater than 0"),
        ({"kind": "mse", "horizon_weights": [0.0]}, "want numbers of at least 0, one of them"),
        ({"kind": "mse", "horizon_weights": [-1.0, 2.0]}, "want numbers of at least 0, one of"),
        ({"kind": "weighted_mse", "weighting": "best"}, "'exponential', 'top' or 'upper'"),
        ({"kind": "pairwise_logistic", "smoothing": 0.5}, "smoothing = 0.5: Input should be less"),
        ({"kind": "listmle", "temperature": 0.0}, "temperature = 0.0: Input should be greater"),
        ({"kind": "sharpe", "cost_bps": -1.0}, "cost_bps = -1.0: Input should be greater than or"),
        ({"kind": "decorrelation"}, "'loss.0.column' is missing"),
        # What leaves Float32, or hours of pairs.
        ({"kind": "mse", "weight": 1e308}, "weight = 1e+308: Input should be less"),
        ({"kind": "mse", "horizon_weights": [1e308]}, "horizon_weights.0 = 1e+308: Input should"),
        ({"kind": "listmle", "temperature": 1e-300}, "temperature = 1e-300: Input should be"),
        ({"kind": "pairwise_logistic", "temperature": 1e300}, "temperature = 1e+300: Input"),
        ({"kind": "pairwise_logistic", "shifts": 10**9}, "shifts = 1000000000: Input should be"),
        ({"kind": "ic", "pin": 1e300}, "pin = 1e+300: Input should be less"),
        ({"kind": "sortino", "cost_bps": 1e5}, "cost_bps = 100000.0: Input should be less than"),
    ],
)
def test_a_term_that_cannot_be_is_refused_by_name(term: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words.replace("(", r"\(").replace("+", r"\+")):
        parse_spec({"loss": [term]}, OneTerm, origin="r.toml")
