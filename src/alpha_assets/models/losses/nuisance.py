"""Terms that hold the scores apart from what they should not follow.

Shape letters: B sessions, N symbols, S sections.
"""

from dataclasses import replace

import torch
from torch import Tensor

from alpha_assets.models.losses.base import LEAST_VARIANCE, Sections, centred


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
