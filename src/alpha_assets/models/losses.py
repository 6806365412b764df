"""What a ranker is asked for: losses on a masked cross-section, one session at a time.

All are means over the sessions that have at least `min_names` pairs and labels that differ;
the others have no weight.  All arithmetic is in Float32 (or the scores' own Float64), never
under autocast: bf16 leaves 15 distinct values of 2,000 scores around 1.
Losses that do not see the scale of the scores have a fixed floor under their spread, in score
units, so that a constant section has a bounded gradient, and a light pin that holds the
spread near 1; the pin does not reward noise.
Shape letters: B sessions, N symbols, H horizons, S = B·H sections.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from alpha_assets.spec import Spec

SPREAD_FLOOR = 1e-3  # score units
LEAST_VARIANCE = 1e-12  # of targets: below, a section has nothing to rank


class ICSpec(Spec):
    """Minus the correlation of score and target; with `rank_normal` labels, nearly Spearman's."""

    kind: Literal["ic"] = "ic"
    """Name of the kind."""
    pin: float = Field(default=1e-3, ge=0)
    """Weight of the term that holds the spread of the scores near 1."""
    min_names: int = Field(default=10, ge=2)
    """Sessions with fewer names give no loss."""


class ICHuberSpec(Spec):
    """Mostly the correlation, with a little Huber loss that gives the scores their scale."""

    kind: Literal["ic_huber"] = "ic_huber"
    """Name of the kind."""
    huber_weight: float = Field(default=0.1, gt=0, lt=1)
    """Share of the Huber loss; the rest is the correlation."""
    min_names: int = Field(default=10, ge=2)
    """Sessions with fewer names give no loss."""


class MSESpec(Spec):
    """Squared distance of score and target; the scores' spread becomes IC times the target's."""

    kind: Literal["mse"] = "mse"
    """Name of the kind."""
    min_names: int = Field(default=10, ge=2)
    """Sessions with fewer names give no loss."""


class SoftSpearmanSpec(Spec):
    """Minus the rank correlation, through ranks with a gradient."""

    kind: Literal["soft_spearman"] = "soft_spearman"
    """Name of the kind."""
    ramp: float = Field(default=0.2, gt=0, le=2)
    """Half-width of the ramp in spreads of the scores; 0.2 is 16 % of the names."""
    pin: float = Field(default=1e-3, ge=0)
    """Weight of the term that holds the spread of the scores near 1."""
    min_names: int = Field(default=10, ge=2)
    """Sessions with fewer names give no loss."""


LossSpec = Annotated[
    ICSpec | ICHuberSpec | MSESpec | SoftSpearmanSpec,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, eq=False)
class LossValue:
    """A scalar to minimise and what it is made of (detached, each a mean over sections)."""

    total: Tensor
    parts: Mapping[str, Tensor]


Terms = Mapping[str, tuple[float, Tensor]]  # name -> weight, value per section [S]
Loss = Callable[[Tensor, Tensor, Tensor], LossValue]


def build_loss(spec: LossSpec) -> Loss:
    """Return a function of score_BNH, target_BNH (NaN where unknown) and mask_BN."""

    def loss(score_BNH: Tensor, target_BNH: Tensor, mask_BN: Tensor) -> LossValue:
        with torch.autocast(score_BNH.device.type, enabled=False):
            sections = _sections(score_BNH, target_BNH, mask_BN, spec.min_names)
            return _weigh(sections, TERMS[spec.kind](spec, sections))

    return loss


@dataclass(frozen=True, eq=False)
class Sections:
    """Cross-sections with zeros where masked.

    Attributes:
        score_SN: of the masked-in names, 0 elsewhere.
        target_SN: the same for targets.
        mask_SN: 1 where both are known.
        n_S1: names per section, at least 1.
        kept_S: 1 for sections that count.
    """

    score_SN: Tensor
    target_SN: Tensor
    mask_SN: Tensor
    n_S1: Tensor
    kept_S: Tensor


def _sections(score_BNH: Tensor, target_BNH: Tensor, mask_BN: Tensor, min_names: int) -> Sections:
    n_symbols = score_BNH.shape[1]
    score_SN = score_BNH.transpose(1, 2).reshape(-1, n_symbols)
    if score_SN.dtype != torch.float64:
        score_SN = score_SN.float()
    target_SN = target_BNH.transpose(1, 2).reshape(-1, n_symbols).to(score_SN.dtype)
    in_SN = mask_BN[:, None].expand(-1, score_BNH.shape[2], -1).reshape(-1, n_symbols)
    in_SN = in_SN & torch.isfinite(target_SN)
    mask_SN = in_SN.to(score_SN.dtype)
    n_S = mask_SN.sum(-1)
    # Selected, not multiplied: a masked value may be anything, and 0 times NaN is NaN.
    target_SN = torch.where(in_SN, target_SN, 0.0)
    n_S1 = n_S.clamp(min=1)[:, None]
    sections = Sections(torch.where(in_SN, score_SN, 0.0), target_SN, mask_SN, n_S1, n_S)
    target_variance_S = _centred(target_SN, sections).square().sum(-1) / n_S1[:, 0]
    kept_S = (n_S >= min_names) & (target_variance_S > LEAST_VARIANCE)
    return Sections(sections.score_SN, target_SN, mask_SN, n_S1, kept_S.to(score_SN.dtype))


def _centred(x_SN: Tensor, sections: Sections) -> Tensor:
    """Return x less its section's mean, 0 where masked."""
    mean_S1 = (x_SN * sections.mask_SN).sum(-1, keepdim=True) / sections.n_S1
    return (x_SN - mean_S1) * sections.mask_SN


def spread(x_SN: Tensor, sections: Sections, floor: float = SPREAD_FLOOR) -> Tensor:
    """Return √(variance + floor²) of each section, over the names that are in; shape [S, 1]."""
    variance_S1 = _centred(x_SN, sections).square().sum(-1, keepdim=True) / sections.n_S1
    return (variance_S1 + floor**2).sqrt()


def correlation(sections: Sections) -> Tensor:
    """Return Pearson's correlation of score and target per section, with a floored score spread.

    ic = Σ c(p) c(y) / (n √(s(p)² + s₀²) s(y))
    """
    target_SN = _centred(sections.target_SN, sections)
    target_SN = target_SN / spread(target_SN, sections, floor=LEAST_VARIANCE**0.5)
    score_SN = _centred(sections.score_SN, sections) / spread(sections.score_SN, sections)
    return (score_SN * target_SN).sum(-1) / sections.n_S1[:, 0]


def squared_error(sections: Sections) -> Tensor:
    """Return the mean squared distance of score and target per section."""
    error_SN = sections.score_SN - sections.target_SN  # 0 - 0 where masked
    return error_SN.square().sum(-1) / sections.n_S1[:, 0]


def huber(sections: Sections) -> Tensor:
    """Return the mean Huber distance (δ = 1 target unit) per section."""
    distance_SN = torch.nn.functional.huber_loss(
        sections.score_SN, sections.target_SN, reduction="none"
    )
    return distance_SN.sum(-1) / sections.n_S1[:, 0]


def soft_spearman(sections: Sections, ramp: float) -> Tensor:
    """Return the correlation of soft score ranks and average target ranks per section."""
    z_SN = _centred(sections.score_SN, sections) / spread(sections.score_SN, sections)
    in_SN = sections.mask_SN > 0
    soft_SN = ramp_rank(z_SN, in_SN, ramp)
    hard_SN = ramp_rank(sections.target_SN, in_SN, 0.0)
    # The spread of n untied ranks is known; measured, it would be a second small denominator.
    spread_S1 = ((sections.n_S1**2 - 1).clamp(min=1) / 12).sqrt()
    hard_SN = _centred(hard_SN, sections)
    hard_SN = hard_SN / spread(hard_SN, sections)
    product_SN = _centred(soft_SN, sections) / spread_S1 * hard_SN
    return product_SN.sum(-1) / sections.n_S1[:, 0]


def ramp_rank(z_SN: Tensor, in_SN: Tensor, ramp: float) -> Tensor:
    """Return soft ranks: how many names lie below, those within the ramp by their share.

        r_i = Σ_j clip((z_i - z_j) / 2τ + ½, 0, 1)

    in O(N log N): with s = sorted z, those wholly below are counted and those within the ramp
    enter through prefix sums.  With τ = 0 these are average ranks, less ½.

    Args:
        z_SN: values, centred so that Float32 prefix sums stay small.
        in_SN: names that count; the others have no meaning in the result.
        ramp: τ, in units of z.

    The kernel is the uniform density's distribution function.
    """
    beyond_S1 = z_SN.detach().abs().amax(-1, keepdim=True) * 2 + 10 * ramp + 1
    sorted_SN = torch.where(in_SN, z_SN, beyond_S1).sort(dim=-1).values
    z_SN = z_SN.contiguous()
    with torch.no_grad():
        low_SN = torch.searchsorted(sorted_SN, z_SN - ramp, right=False)
        high_SN = torch.searchsorted(sorted_SN, z_SN + ramp, right=True)
    if ramp == 0:
        return (low_SN + high_SN).to(z_SN.dtype) / 2
    prefix_SN = torch.nn.functional.pad(sorted_SN.cumsum(-1), (1, 0))
    within_SN = prefix_SN.gather(-1, high_SN) - prefix_SN.gather(-1, low_SN)
    share_SN = 0.5 + z_SN / (2 * ramp)
    return low_SN + (high_SN - low_SN) * share_SN - within_SN / (2 * ramp)


def _pin(sections: Sections, weight: float) -> dict[str, tuple[float, Tensor]]:
    """Return λ (log s(p))²: zero at a spread of 1, for losses that do not see the scale."""
    if not weight:
        return {}
    return {"pin": (weight, spread(sections.score_SN, sections).log().square()[:, 0])}


def _ic(spec: ICSpec, sections: Sections) -> Terms:
    return {"ic": (1.0, -correlation(sections)), **_pin(sections, spec.pin)}


def _ic_huber(spec: ICHuberSpec, sections: Sections) -> Terms:
    return {
        "ic": (1 - spec.huber_weight, -correlation(sections)),
        "huber": (spec.huber_weight, huber(sections)),
    }


def _mse(spec: MSESpec, sections: Sections) -> Terms:
    return {"mse": (1.0, squared_error(sections))}


def _soft_spearman(spec: SoftSpearmanSpec, sections: Sections) -> Terms:
    soft_S = soft_spearman(sections, spec.ramp)
    return {"spearman": (1.0, -soft_S), **_pin(sections, spec.pin)}


# By kind of a loss: the weight and the value per section of each of its parts.
TERMS: dict[str, Callable[[Any, Sections], Terms]] = {
    "ic": _ic,
    "ic_huber": _ic_huber,
    "mse": _mse,
    "soft_spearman": _soft_spearman,
}


def _weigh(sections: Sections, terms: Terms) -> LossValue:
    """Return the weighted sum of terms, each a mean over the kept sections; 0 if none is kept."""
    n_kept = sections.kept_S.sum().clamp(min=1)
    means = {
        name: (value_S * sections.kept_S).sum() / n_kept for name, (_, value_S) in terms.items()
    }
    total = torch.stack([weight * means[name] for name, (weight, _) in terms.items()]).sum()
    return LossValue(total=total, parts={name: mean.detach() for name, mean in means.items()})
