"""Terms on consecutive sessions: what trading on the scores would cost, and what it would earn.

They need blocks of consecutive sessions in a batch (`training.sampler = "blocks"`).
Shape letters: B sessions, N symbols, H horizons, S sections.
"""

import torch
from torch import Tensor

from alpha_assets.models.losses.base import (
    SPREAD_FLOOR,
    Sections,
    centred,
    per_section,
    standardised,
)

BPS = 1e-4


def score_change(sections: Sections) -> tuple[Tensor, Tensor]:
    """Return per section the mean squared change of standardised scores, and which count.

    A section counts if its session follows the one before it in the batch, and both count.
    """
    n_horizons = sections.n_horizons
    z_BHN = standardised(sections).unflatten(0, (-1, n_horizons))
    mask_BHN = sections.mask_SN.unflatten(0, (-1, n_horizons))
    both_BHN = mask_BHN[1:] * mask_BHN[:-1]
    change_BH = ((z_BHN[1:] - z_BHN[:-1]).square() * both_BHN).sum(-1)
    change_BH = change_BH / both_BHN.sum(-1).clamp(min=1)
    pairs_BH = follows(sections)
    first_BH = torch.zeros_like(pairs_BH[:1])
    return torch.cat([first_BH, change_BH]).flatten(), pairs_BH.flatten()


def follows(sections: Sections) -> Tensor:
    """Return 1 where a section's session follows the one before it and both count; [B, H]."""
    follows_B = sections.extras.follows_B
    assert follows_B is not None, "the learner compared the term with its sampler"
    kept_BH = sections.kept_S.unflatten(0, (-1, sections.n_horizons))
    pairs_BH = kept_BH[1:] * kept_BH[:-1] * follows_B[1:, None].to(kept_BH.dtype)
    return torch.cat([torch.zeros_like(kept_BH[:1]), pairs_BH])


def earnings(sections: Sections, cost_bps: float) -> tuple[Tensor, Tensor]:
    """Return what score-proportional weights earn by session and horizon, and which count.

        w = c(p) / Σ |c(p)|;  gross = Σ w r;  net = Σ w r / h - cost · Σ |w - w₋₁|

    with w₋₁ of the session before.  Net of costs a horizon's return is spread evenly over its h
    sessions, each of which trades to its own weights; gross, the horizon's return is earned.

    Args:
        sections: of consecutive sessions.
        cost_bps: of traded notional; 0: gross.
    """
    shape = (-1, sections.n_horizons)
    held_SN = centred(sections.score_SN, sections)
    floor_S1 = SPREAD_FLOOR * sections.n_S1
    held_SN = held_SN / held_SN.abs().sum(-1, keepdim=True).clamp(min=floor_S1)
    earned_BH = (held_SN * known_returns(sections)).sum(-1).unflatten(0, shape)
    if not cost_bps:
        return earned_BH, sections.kept_S.unflatten(0, shape)
    horizons = sections.extras.horizons
    assert len(horizons) == sections.n_horizons, "the loop gives them"
    horizon_H = earned_BH.new_tensor(horizons)
    held_BHN = held_SN.unflatten(0, shape)
    traded_BH = (held_BHN[1:] - held_BHN[:-1]).abs().sum(-1)
    traded_BH = torch.cat([torch.zeros_like(earned_BH[:1]), traded_BH])
    return earned_BH / horizon_H - cost_bps * BPS * traded_BH, follows(sections)


def known_returns(sections: Sections) -> Tensor:
    """Return forward returns [S, N], 0 where masked or unknown."""
    return_BNH = sections.extras.return_BNH
    assert return_BNH is not None, "the loop gives returns to terms that need them"
    return_SN = per_section(return_BNH).to(sections.score_SN.dtype)
    return torch.where(sections.mask_SN > 0, return_SN, 0.0).nan_to_num(0.0)


def over_deviation(
    earned_BH: Tensor, kept_BH: Tensor, sections: Sections, *, downside: bool = False
) -> Tensor:
    """Return mean / √(variance + floor²) of a horizon's earnings, on all its sections.

    The floor is `SPREAD_FLOOR` of the names' mean absolute return, so that it has no unit, and
    stays where nothing is earned.

    Args:
        earned_BH: by session and horizon.
        kept_BH: 1 for those that count.
        sections: with the returns.
        downside: divide by √(mean(min(earned, 0)²) + floor²).
    """
    n_H = kept_BH.sum(0).clamp(min=1)
    mean_H = (earned_BH * kept_BH).sum(0) / n_H
    apart_BH = earned_BH.clamp(max=0) if downside else earned_BH - mean_H
    variance_H = (apart_BH.square() * kept_BH).sum(0) / n_H
    size_SN = known_returns(sections).abs() * sections.kept_S[:, None]
    size_H = size_SN.sum(-1).unflatten(0, earned_BH.shape).sum(0)
    names_S = (sections.mask_SN * sections.kept_S[:, None]).sum(-1)
    names_H = names_S.unflatten(0, earned_BH.shape).sum(0).clamp(min=1)
    floor_H = SPREAD_FLOOR * size_H / names_H
    ratio_H = mean_H / (variance_H + floor_H.square()).clamp(min=1e-24).sqrt()
    ratio_S: Tensor = ratio_H.repeat(len(earned_BH))
    return ratio_S
