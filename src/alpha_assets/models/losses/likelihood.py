"""Terms that ask how likely the scores make the order of the targets: of pairs, or of all names.

Scores enter in units of their spread over a temperature.  At a temperature of 1 a spread of 1
already separates all but neighbours, and what is left to learn is a few pairs: on planted data
such terms reached half of what they reach at 10.
Shape letters: B sessions, N symbols, S sections, K distances on the symbol axis.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from alpha_assets.models.losses.base import Sections


def pair_loss(delta: Tensor, apart: Tensor, smoothing: float) -> Tensor:
    """Return ln(1 + e^Δ) - t Δ of pairs of which the first has the higher target with t.

        t = ε + (1 - 2 ε) · [1 if apart > 0, ½ if apart = 0, else 0]

    Args:
        delta: Δ, score of the first less that of the second, over the temperature.
        apart: target of the first less that of the second.
        smoothing: ε.
    """
    t = smoothing + (1 - 2 * smoothing) * (torch.sign(apart) + 1) / 2
    return softplus(delta) - t * delta


def shifted_pairs(
    score_SN: Tensor, sections: Sections, n_shifts: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return pairs at `n_shifts` distances on the symbol axis: differences of scores and targets.

    The distances are spread evenly up to half of the axis, which lies in a circle, so that
    neighbours on the axis (of one sector, where codes go by sector) are not all that is compared.
    With all distances every pair counts alike.

    Returns:
        Differences of scores, differences of targets, and weights [S, K·N]: 0 where one of the
        two is masked, ½ at half of an even axis, where each pair comes twice.
    """
    n_symbols = score_SN.shape[-1]
    half = n_symbols // 2
    distances = sorted({-(-half * k // n_shifts) for k in range(1, n_shifts + 1)} - {0})
    if not distances:
        nothing_S0 = score_SN[:, :0]
        return nothing_S0, nothing_S0, nothing_S0

    def pairs(x_SN: Tensor) -> Tensor:
        return torch.stack([x_SN.roll(-k, dims=-1) for k in distances], dim=1)

    weight_K = [0.5 if 2 * k == n_symbols else 1.0 for k in distances]
    in_SKN = pairs(sections.mask_SN) * sections.mask_SN[:, None]
    in_SKN = in_SKN * in_SKN.new_tensor(weight_K)[:, None]
    delta_SKN = score_SN[:, None] - pairs(score_SN)
    apart_SKN = sections.target_SN[:, None] - pairs(sections.target_SN)
    return delta_SKN.flatten(1), apart_SKN.flatten(1), in_SKN.flatten(1)


def drawn_pairs(score_SN: Tensor, sections: Sections) -> tuple[Tensor, Tensor, Tensor]:
    """Return one random pairing of the names that are in: neighbours in the order of their draws.

    Of an odd number of names one is left out.

    Returns:
        Differences of scores, differences of targets, and 1 where both are in.
    """
    draw_BN = sections.extras.draw_BN
    assert draw_BN is not None, "the loop draws for terms that need it"
    draw_SN = draw_BN.repeat_interleave(sections.n_horizons, dim=0)
    order_SN = torch.where(sections.mask_SN > 0, draw_SN, 2.0).argsort(dim=-1, stable=True)
    n_pairs = score_SN.shape[-1] // 2

    def pairs(x_SN: Tensor) -> tuple[Tensor, Tensor]:
        drawn_SN = x_SN.gather(-1, order_SN)
        return drawn_SN[:, 0 : 2 * n_pairs : 2], drawn_SN[:, 1 : 2 * n_pairs : 2]

    (p, q), (y, x), (a, b) = pairs(score_SN), pairs(sections.target_SN), pairs(sections.mask_SN)
    return p - q, y - x, a * b


def list_loss(score_SN: Tensor, sections: Sections) -> Tensor:
    """Return Σ_k [ln Σ_{j: y_j ≤ y_k} e^{s_j} - s_k] / n per section.

    In O(N log N): with names sorted by target, the inner sum is a running one.  Equal targets
    share theirs, so that no order among them is asked for.
    """
    in_SN = sections.mask_SN > 0
    beyond_S1 = sections.target_SN.abs().amax(-1, keepdim=True) * 2 + 1
    key_SN, order_SN = torch.where(in_SN, sections.target_SN, beyond_S1).sort(dim=-1)
    sorted_SN = score_SN.gather(-1, order_SN)
    last_SN = torch.searchsorted(key_SN, key_SN, right=True) - 1  # of those with this target
    below_SN = sorted_SN.logcumsumexp(-1).gather(-1, last_SN)
    kept_SN = sections.mask_SN.gather(-1, order_SN)
    return ((below_SN - sorted_SN) * kept_SN).sum(-1) / sections.n_S1[:, 0]
