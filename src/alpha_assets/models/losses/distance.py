"""Terms that ask for a value: distances of score, or of quantiles, and target.

Shape letters: B sessions, N symbols, H horizons, Q quantiles, S sections.
"""

from typing import Literal

import torch
from torch import Tensor

from alpha_assets.models.losses.base import Sections, per_section
from alpha_assets.models.losses.ramp import ramp_rank


def squared_error(sections: Sections) -> Tensor:
    """Return the mean squared distance of score and target per section."""
    error_SN = sections.score_SN - sections.target_SN  # 0 - 0 where masked
    return error_SN.square().sum(-1) / sections.n_S1[:, 0]


def target_weights(sections: Sections, weighting: Literal["exponential", "top", "upper"]) -> Tensor:
    """Return the weight of each name in its section, of sum 1; see `WeightedMSESpec`."""
    in_SN = sections.mask_SN > 0
    if weighting == "exponential":
        # Less the highest target: the sum is divided by, and no power overflows.
        highest_S1 = torch.where(in_SN, sections.target_SN, -torch.inf).amax(-1, keepdim=True)
        weight_SN = torch.exp(sections.target_SN - highest_S1.clamp(min=-1e30))
    else:
        x_SN = (ramp_rank(sections.target_SN, in_SN, 0.0) + 0.5) / sections.n_S1
        if weighting == "top":
            weight_SN = 0.1 + 0.9 * torch.sigmoid(40 * (x_SN - 0.8))
        else:
            weight_SN = 0.5 + 0.5 * torch.sigmoid(15 * (x_SN - 0.5))
    weight_SN = torch.where(in_SN, weight_SN, 0.0)
    return weight_SN / weight_SN.sum(-1, keepdim=True).clamp(min=torch.finfo(weight_SN.dtype).tiny)


def huber(sections: Sections) -> Tensor:
    """Return the mean Huber distance (δ = 1 target unit) per section."""
    distance_SN = torch.nn.functional.huber_loss(
        sections.score_SN, sections.target_SN, reduction="none"
    )
    return distance_SN.sum(-1) / sections.n_S1[:, 0]


def pinball(sections: Sections) -> Tensor:
    """Return the mean pinball loss over names and quantiles per section.

    max(q (y - p), (q - 1)(y - p)) for quantile p at level q
    """
    quantile_BNHQ = sections.extras.quantile_BNHQ
    assert quantile_BNHQ is not None, "the learner compared the term with its model"
    level_Q = quantile_BNHQ.new_tensor(sections.extras.levels, dtype=sections.score_SN.dtype)
    loss_S = torch.zeros_like(sections.n_S1[:, 0])
    for q, level in enumerate(level_Q):
        quantile_SN = per_section(quantile_BNHQ[..., q]).to(sections.score_SN.dtype)
        error_SN = sections.target_SN - torch.where(sections.mask_SN > 0, quantile_SN, 0.0)
        loss_SN = torch.maximum(level * error_SN, (level - 1) * error_SN)
        loss_S = loss_S + loss_SN.sum(-1) / sections.n_S1[:, 0]
    return loss_S / len(level_Q)
