"""Attention over the neighbours of each symbol in a graph, which all lie at known places.

Neighbours are gathered, so that nothing is scattered and sums have one order.
Shape letters: B decision sessions, N symbols, K neighbours and the symbol itself, E width,
A heads, D features of an edge.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch

EDGE_FEATURES = 3  # weight, same sector, the symbol itself
SLOPE = 0.2  # of the leaky ReLU below 0
TEMPERATURE = 1.25  # of the gate
GATE_BIAS = -0.5  # at the start: somewhat closed


class Edges(NamedTuple):
    """The neighbours that each symbol attends to, itself the first of them.

    Attributes:
        place_BNK: on the symbol axis.
        counts_BNK: False where there is no neighbour, or one that is masked.
        feature_BNKD: weight of the edge, whether both are in one known sector, whether both are
            the same symbol.
    """

    place_BNK: Tensor
    counts_BNK: Tensor
    feature_BNKD: Tensor


def edges_of(batch: Batch) -> Edges:
    """Return the edges of a batch with an edge from each symbol to itself."""
    assert batch.edges_BNK is not None, "a recipe of this model has [inputs.graph]"
    assert batch.edge_weight_BNK is not None, "edges have weights"
    n_sessions, n_symbols = batch.mask_BN.shape
    own_N1 = torch.arange(n_symbols, device=batch.mask_BN.device)[:, None]
    own_BN1 = own_N1.expand(n_sessions, n_symbols, 1)
    place_BNK = torch.cat([own_BN1, batch.edges_BNK], dim=-1)
    one_BN1 = torch.ones_like(own_BN1, dtype=batch.edge_weight_BNK.dtype)
    weight_BNK = torch.cat([one_BN1, batch.edge_weight_BNK], dim=-1)
    counts_BNK = (weight_BNK != 0) & _at(batch.mask_BN[..., None], place_BNK)[..., 0]
    counts_BNK[..., 0] = True
    sector_BNK = _at(batch.sector_id_BN[..., None], place_BNK)[..., 0]
    same_BNK = (sector_BNK == batch.sector_id_BN[..., None]) & (sector_BNK > 0)
    is_own_BNK = torch.zeros_like(counts_BNK)
    is_own_BNK[..., 0] = True
    features = torch.stack([weight_BNK, same_BNK.float(), is_own_BNK.float()], dim=-1)
    return Edges(place_BNK, counts_BNK, torch.where(counts_BNK[..., None], features, 0.0))


class GraphAttention(nn.Module):
    """What each symbol gathers from its neighbours and itself: GATv2 with features of edges.

        out_i = Σ_j α_ij W_r h_j,  α_ij = softmax_j a · LeakyReLU(W_l h_i + W_r h_j + W_e e_ij)

    for each head apart.

    Source: Brody, Alon & Yahav, ICLR 2022, arXiv 2105.14491.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.own = nn.Linear(width, width)
        self.other = nn.Linear(width, width)
        self.edge = nn.Linear(EDGE_FEATURES, width, bias=False)
        self.score_AE = nn.Parameter(torch.randn(heads, width // heads) * (heads / width) ** 0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h_BNE: Tensor, edges: Edges) -> Tensor:
        """Return [B, N, E], the heads side by side."""
        other_BNKE = _at(self.other(h_BNE), edges.place_BNK)
        joint_BNKE = self.own(h_BNE)[:, :, None] + other_BNKE
        joint_BNKE = joint_BNKE + self.edge(edges.feature_BNKD.to(h_BNE.dtype))
        joint_BNKAE = nn.functional.leaky_relu(joint_BNKE, SLOPE).unflatten(-1, (self.heads, -1))
        score_BNKA = (joint_BNKAE * self.score_AE).sum(-1).float()
        score_BNKA = score_BNKA.masked_fill(~edges.counts_BNK[..., None], -torch.inf)
        share_BNKA = self.dropout(score_BNKA.softmax(2)).to(h_BNE.dtype)
        values_BNKAE = other_BNKE.unflatten(-1, (self.heads, -1))
        gathered_BNE: Tensor = (share_BNKA[..., None] * values_BNKAE).sum(2).flatten(-2)
        return gathered_BNE


class GraphFusion(nn.Module):
    """A symbol's own state plus what it gathered, at the same length, through a gate.

        out = h + σ((W [h ; g] + b) / 1.25) ⊙ g,  g = gathered · ‖h‖ / ‖gathered‖

    with b = -0.5 at the start.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * width, width)
        nn.init.constant_(self.gate.bias, GATE_BIAS)

    def forward(self, h_BNE: Tensor, gathered_BNE: Tensor) -> Tensor:
        """Return [B, N, E]."""
        length_BN1 = gathered_BNE.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        scaled_BNE = gathered_BNE * (h_BNE.norm(dim=-1, keepdim=True) / length_BN1)
        gate_BNE = torch.sigmoid(self.gate(torch.cat([h_BNE, scaled_BNE], dim=-1)) / TEMPERATURE)
        fused_BNE: Tensor = h_BNE + gate_BNE * scaled_BNE
        return fused_BNE


def _at(x_BNE: Tensor, place_BNK: Tensor) -> Tensor:
    """Return the values at each symbol's places, [B, N, K, E]."""
    session_B11 = torch.arange(len(x_BNE), device=x_BNE.device)[:, None, None]
    return x_BNE[session_B11, place_BNK]
