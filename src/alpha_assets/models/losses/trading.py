"""Terms on consecutive sessions: what trading on the scores would cost, and what it would earn.

They need blocks of consecutive sessions in a batch (`training.sampler = "blocks"`).
Shape letters: B sessions, N symbols, H horizons, S sections.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from alpha_assets.models.losses.base import (
    SPREAD_FLOOR,
    Part,
    Sections,
    Term,
    Terms,
    TermSpec,
    centred,
    per_section,
    spread,
)


class TurnoverSpec(TermSpec):
    """Squared change of standardised scores from each session to the next: 2 (1 - ρ).

    ρ is the correlation of a session's scores with those of the session before, over the names
    of both.
    """

    needs_order: ClassVar[bool] = True

    kind: Literal["turnover"] = "turnover"
    """Name of the kind."""

    def build(self) -> Term:
        """Return the term."""

        def term(sections: Sections) -> Terms:
            value_S, kept_S = score_change(sections)
            return {"turnover": Part(1.0, value_S, kept_S)}

        return term


class SharpeSpec(TermSpec):
    """Minus mean over standard deviation of what score-proportional weights earn in a batch.

    Weights are the centred scores over the sum of their absolute values; returns are those of
    the label's horizon, whatever its kind.
    """

    needs_order: ClassVar[bool] = True
    needs_returns: ClassVar[bool] = True

    kind: Literal["sharpe"] = "sharpe"
    """Name of the kind."""
    pin: float = Field(default=1e-3, ge=0)
    """Weight of the term that holds the spread of the scores near 1."""

    def build(self) -> Term:
        """Return the term."""

        def term(sections: Sections) -> Terms:
            width_S = spread(sections.score_SN, sections).log().square()[:, 0]
            return {
                "sharpe": Part(1.0, -batch_sharpe(sections)),
                **({"pin": Part(self.pin, width_S)} if self.pin else {}),
            }

        return term


def score_change(sections: Sections) -> tuple[Tensor, Tensor]:
    """Return per section the mean squared change of standardised scores, and which count.

    A section counts if its session follows the one before it in the batch, and both count.
    """
    follows_B = sections.extras.follows_B
    assert follows_B is not None, "the learner compared the term with its sampler"
    n_horizons = sections.n_horizons
    z_SN = centred(sections.score_SN, sections) / spread(sections.score_SN, sections)
    z_BHN = z_SN.unflatten(0, (-1, n_horizons))
    mask_BHN = sections.mask_SN.unflatten(0, (-1, n_horizons))
    kept_BH = sections.kept_S.unflatten(0, (-1, n_horizons))
    both_BHN = mask_BHN[1:] * mask_BHN[:-1]
    change_BH = ((z_BHN[1:] - z_BHN[:-1]).square() * both_BHN).sum(-1)
    change_BH = change_BH / both_BHN.sum(-1).clamp(min=1)
    pairs_BH = kept_BH[1:] * kept_BH[:-1] * follows_B[1:, None].to(kept_BH.dtype)
    first_BH = torch.zeros_like(kept_BH[:1])
    return torch.cat([first_BH, change_BH]).flatten(), torch.cat([first_BH, pairs_BH]).flatten()


def batch_sharpe(sections: Sections) -> Tensor:
    """Return mean / √(variance + floor²) of a horizon's returns in the batch, on all its sections.

    The floor is `SPREAD_FLOOR` of the mean absolute return, so that it has no unit.
    """
    return_BNH = sections.extras.return_BNH
    assert return_BNH is not None, "the loop gives returns to terms that need them"
    return_SN = per_section(return_BNH).to(sections.score_SN.dtype)
    return_SN = torch.where(sections.mask_SN > 0, return_SN, 0.0).nan_to_num(0.0)
    held_SN = centred(sections.score_SN, sections)
    held_SN = held_SN / held_SN.abs().sum(-1, keepdim=True).clamp(min=SPREAD_FLOOR)
    earned_BH = (held_SN * return_SN).sum(-1).unflatten(0, (-1, sections.n_horizons))
    kept_BH = sections.kept_S.unflatten(0, (-1, sections.n_horizons))
    n_H = kept_BH.sum(0).clamp(min=1)
    mean_H = (earned_BH * kept_BH).sum(0) / n_H
    variance_H = ((earned_BH - mean_H).square() * kept_BH).sum(0) / n_H
    floor_H = SPREAD_FLOOR * (earned_BH.detach().abs() * kept_BH).sum(0) / n_H
    ratio_H = mean_H / (variance_H + floor_H.square()).clamp(min=1e-24).sqrt()
    ratio_S: Tensor = ratio_H.repeat(len(earned_BH))
    return ratio_S
