"""Terms that ask for an order: correlations of score and target, of values or of ranks.

Shape letters: N symbols, S sections.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from alpha_assets.models.losses.base import (
    LEAST_VARIANCE,
    Part,
    Sections,
    Term,
    Terms,
    TermSpec,
    centred,
    pin,
    spread,
)
from alpha_assets.models.losses.distance import huber


class ICSpec(TermSpec):
    """Minus the correlation of score and target; with `rank_normal` labels, nearly Spearman's."""

    kind: Literal["ic"] = "ic"
    """Name of the kind."""
    pin: float = Field(default=1e-3, ge=0)
    """Weight of the term that holds the spread of the scores near 1."""

    def build(self) -> Term:
        """Return the term."""

        def ic(sections: Sections) -> Terms:
            return {"ic": Part(1.0, -correlation(sections)), **pin(sections, self.pin)}

        return ic


class ICHuberSpec(TermSpec):
    """Mostly the correlation, with a little Huber loss that gives the scores their scale."""

    kind: Literal["ic_huber"] = "ic_huber"
    """Name of the kind."""
    huber_weight: float = Field(default=0.1, gt=0, lt=1)
    """Share of the Huber loss; the rest is the correlation."""

    def build(self) -> Term:
        """Return the term."""

        def ic_huber(sections: Sections) -> Terms:
            return {
                "ic": Part(1 - self.huber_weight, -correlation(sections)),
                "huber": Part(self.huber_weight, huber(sections)),
            }

        return ic_huber


class SoftSpearmanSpec(TermSpec):
    """Minus the rank correlation, through ranks with a gradient."""

    kind: Literal["soft_spearman"] = "soft_spearman"
    """Name of the kind."""
    ramp: float = Field(default=0.2, gt=0, le=2)
    """Half-width of the ramp in spreads of the scores; 0.2 is 16 % of the names."""
    pin: float = Field(default=1e-3, ge=0)
    """Weight of the term that holds the spread of the scores near 1."""

    def build(self) -> Term:
        """Return the term."""

        def spearman(sections: Sections) -> Terms:
            value_S = -soft_spearman(sections, self.ramp)
            return {"spearman": Part(1.0, value_S), **pin(sections, self.pin)}

        return spearman


def correlation(sections: Sections) -> Tensor:
    """Return Pearson's correlation of score and target per section, with a floored score spread.

    ic = Σ c(p) c(y) / (n √(s(p)² + s₀²) s(y))
    """
    target_SN = centred(sections.target_SN, sections)
    target_SN = target_SN / spread(target_SN, sections, floor=LEAST_VARIANCE**0.5)
    score_SN = centred(sections.score_SN, sections) / spread(sections.score_SN, sections)
    return (score_SN * target_SN).sum(-1) / sections.n_S1[:, 0]


def soft_spearman(sections: Sections, ramp: float) -> Tensor:
    """Return the correlation of soft score ranks and average target ranks per section."""
    z_SN = centred(sections.score_SN, sections) / spread(sections.score_SN, sections)
    in_SN = sections.mask_SN > 0
    soft_SN = ramp_rank(z_SN, in_SN, ramp)
    hard_SN = ramp_rank(sections.target_SN, in_SN, 0.0)
    # The spread of n untied ranks is known; measured, it would be a second small denominator.
    spread_S1 = ((sections.n_S1**2 - 1).clamp(min=1) / 12).sqrt()
    hard_SN = centred(hard_SN, sections)
    hard_SN = hard_SN / spread(hard_SN, sections)
    product_SN = centred(soft_SN, sections) / spread_S1 * hard_SN
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
