"""Terms that hold the scores apart from what they should not follow.

Shape letters: B sessions, N symbols, S sections.
"""

from dataclasses import replace
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
)
from alpha_assets.models.losses.rank import soft_spearman


class DecorrelationSpec(TermSpec):
    """Squared rank correlation of scores with a nuisance factor, a column that the model reads."""

    kind: Literal["decorrelation"] = "decorrelation"
    """Name of the kind."""
    column: str
    """Of the cross-section, as of D, such as `beta_60_cs_z`."""
    ramp: float = Field(default=0.2, gt=0, le=2)
    """Half-width of the ramp in spreads of the scores; 0.2 is 16 % of the names."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The factor."""
        return (self.column,)

    def build(self) -> Term:
        """Return the term."""

        def decorrelation(sections: Sections) -> Terms:
            factor_BN = sections.extras.column_BN[self.column]
            beside, kept_S = beside_factor(sections, factor_BN, self.min_names)
            value_S = soft_spearman(beside, self.ramp).square()
            return {"decorrelation": Part(1.0, value_S, kept_S)}

        return decorrelation


def beside_factor(sections: Sections, factor_BN: Tensor, min_names: int) -> tuple[Sections, Tensor]:
    """Return sections with a factor for a target, and which of them count.

    Args:
        sections: of the batch.
        factor_BN: NaN where unknown; such names are masked.
        min_names: sections with fewer names that have the factor do not count, nor do those in
            which it is the same for all.
    """
    factor_SN = factor_BN.repeat_interleave(sections.n_horizons, dim=0)
    in_SN = (sections.mask_SN > 0) & torch.isfinite(factor_SN)
    n_S = in_SN.sum(-1)
    beside = replace(
        sections,
        score_SN=torch.where(in_SN, sections.score_SN, 0.0),
        target_SN=torch.where(in_SN, factor_SN, 0.0).to(sections.score_SN.dtype),
        mask_SN=in_SN.to(sections.score_SN.dtype),
        n_S1=n_S.clamp(min=1)[:, None].to(sections.score_SN.dtype),
    )
    variance_S = centred(beside.target_SN, beside).square().sum(-1) / beside.n_S1[:, 0]
    return beside, sections.kept_S * (n_S >= min_names) * (variance_S > LEAST_VARIANCE)
