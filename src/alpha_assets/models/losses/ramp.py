"""Ranks of a masked cross-section that have a gradient, and average ranks.

Shape letters: N symbols, S sections.
"""

import torch
from torch import Tensor


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
