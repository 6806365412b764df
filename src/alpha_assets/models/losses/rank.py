"""Terms that ask for an order: correlations of score and target, of values or of ranks.

Shape letters: N symbols, S sections.
"""

from typing import Literal

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
    standardised,
)
from alpha_assets.models.losses.distance import huber
from alpha_assets.models.losses.ramp import ramp_rank


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
    return (standardised(sections) * target_SN).sum(-1) / sections.n_S1[:, 0]


def soft_spearman(sections: Sections, ramp: float) -> Tensor:
    """Return the correlation of soft score ranks and average target ranks per section."""
    z_SN = standardised(sections)
    in_SN = sections.mask_SN > 0
    soft_SN = ramp_rank(z_SN, in_SN, ramp)
    hard_SN = ramp_rank(sections.target_SN, in_SN, 0.0)
    # The spread of n untied ranks is known; measured, it would be a second small denominator.
    spread_S1 = ((sections.n_S1**2 - 1).clamp(min=1) / 12).sqrt()
    hard_SN = centred(hard_SN, sections)
    hard_SN = hard_SN / spread(hard_SN, sections)
    product_SN = centred(soft_SN, sections) / spread_S1 * hard_SN
    return product_SN.sum(-1) / sections.n_S1[:, 0]
