"""A straight line through a symbol's own features and the mean of its neighbours' features.

Shape letters: B decision sessions, N symbols, T steps, F features, K neighbours, H horizons.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.specs.neighbour_mean import NeighbourMeanSpec


class NeighbourMeanRanker(Ranker):
    """Reads the last step alone, of the symbol and of its neighbours in the graph."""

    def __init__(self, spec: NeighbourMeanSpec, sizes: Sizes) -> None:
        super().__init__()
        self.quantiles = spec.quantiles
        self.head = Head(2 * sizes.n_features, sizes.n_horizons, spec.quantiles)

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `neighbours` (the weighted mean of theirs, 0 without any) and `head`."""
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
        mean_BNF = neighbour_mean(x_BNF, batch)
        return {
            "input": x_BNF,
            "neighbours": mean_BNF,
            "head": self.head(torch.cat([x_BNF, mean_BNF], dim=-1)),
        }


def neighbour_mean(x_BNF: Tensor, batch: Batch) -> Tensor:
    """Return the mean of the neighbours' values by weight of the edge; 0 without a neighbour.

    Neighbours that are masked do not count.
    """
    assert batch.edges_BNK is not None, "a recipe of this model has [inputs.graph]"
    assert batch.edge_weight_BNK is not None, "edges have weights"
    n_sessions, n_symbols, n_neighbours = batch.edges_BNK.shape
    flat_BE = batch.edges_BNK.flatten(1)
    mask_BNK = batch.mask_BN.gather(1, flat_BE).view(n_sessions, n_symbols, n_neighbours)
    weight_BNK = torch.where(mask_BNK, batch.edge_weight_BNK, 0.0)
    total_BNF = torch.zeros_like(x_BNF)
    session_B1 = torch.arange(n_sessions, device=x_BNF.device)[:, None]
    for k in range(n_neighbours):  # one after the other: no [B, N, K, F] is ever held
        of_neighbour_BNF = x_BNF[session_B1, batch.edges_BNK[..., k]]
        weight_BN1 = weight_BNK[..., k, None]
        total_BNF = total_BNF + torch.where(weight_BN1 > 0, weight_BN1 * of_neighbour_BNF, 0.0)
    return total_BNF / weight_BNK.sum(-1, keepdim=True).clamp(min=1e-12)
