"""Terms that ask for an order: correlations of score and target, of values or of ranks.

Shape letters: N symbols, S sections.
"""

from torch import Tensor

from alpha_assets.models.losses.base import LEAST_VARIANCE, Sections, centred, spread, standardised
from alpha_assets.models.losses.ramp import ramp_rank


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
