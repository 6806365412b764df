"""Attention over the neighbours of each symbol in a graph, which all lie at known places.

Neighbours are gathered, so that nothing is scattered and sums have one order.
Shape letters: B decision sessions, N symbols, T steps, K neighbours and the symbol itself,
E width, A heads, D features of an edge.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch

EDGE_FEATURES = 3  # weight, same sector, the symbol itself
SLOPE = 0.2  # of the leaky ReLU below 0
TEMPERATURE = 1.25  # of the gate
GATE_BIAS = -0.5  # at the start, of a gate behind states at one length: somewhat closed


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


def neighbours_alone(edges: Edges) -> Edges:
    """Return the edges without that from each symbol to itself."""
    counts_BNK = edges.counts_BNK.clone()
    counts_BNK[..., 0] = False
    return edges._replace(counts_BNK=counts_BNK)


class GraphAttention(nn.Module):
    """What each symbol gathers along its edges: GATv2 with features of edges.

        out_i = Σ_j α_ij v_j,  α_ij = softmax_j a · LeakyReLU(W_l h_i + W_r h_j + W_e e_ij)

    for each head apart, with v_j = W_r h_j where no values are given.  It is 0 for a symbol
    without an edge.

    Args:
        width: E.
        heads: A.
        dropout: share of the weights α dropped in training.
        uniform: whether a = 0 at the start, so that training starts from the plain mean.

    Source: Brody, Alon & Yahav, ICLR 2022, arXiv 2105.14491.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, uniform: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.own = nn.Linear(width, width)
        self.other = nn.Linear(width, width)
        self.edge = nn.Linear(EDGE_FEATURES, width, bias=False)
        self.score_AE = nn.Parameter(torch.randn(heads, width // heads) * (heads / width) ** 0.5)
        if uniform:
            nn.init.zeros_(self.score_AE)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h_BNE: Tensor, edges: Edges, value_BNE: Tensor | None = None) -> Tensor:
        """Return [B, N, E], the heads side by side."""
        other_BNKE = _at(self.other(h_BNE), edges.place_BNK)
        joint_BNKE = self.own(h_BNE)[:, :, None] + other_BNKE
        joint_BNKE = joint_BNKE + self.edge(edges.feature_BNKD.to(h_BNE.dtype))
        joint_BNKAE = nn.functional.leaky_relu(joint_BNKE, SLOPE).unflatten(-1, (self.heads, -1))
        score_BNKA = (joint_BNKAE * self.score_AE).sum(-1).float()
        none_BNK1 = ~edges.counts_BNK[..., None]
        # Without any edge all are weighed alike, for a softmax of nothing is NaN, and then by 0.
        is_apart_BNK1 = none_BNK1 & edges.counts_BNK.any(-1)[..., None, None]
        share_BNKA = score_BNKA.masked_fill(is_apart_BNK1, -torch.inf).softmax(2)
        share_BNKA = self.dropout(share_BNKA.masked_fill(none_BNK1, 0.0)).to(h_BNE.dtype)
        if value_BNE is not None:
            other_BNKE = _at(value_BNE.to(h_BNE.dtype), edges.place_BNK)
        values_BNKAE = other_BNKE.unflatten(-1, (self.heads, -1))
        gathered_BNE: Tensor = (share_BNKA[..., None] * values_BNKAE).sum(2).flatten(-2)
        return gathered_BNE


class StepValues(nn.Module):
    """What a symbol has to give: a line through something of each step, weighed by step.

        v = Σ_t c_t ⊙ W x_t

    so that neighbours can be read at any step, whatever their encoder keeps for their own sake.

    Args:
        n_in: width of x, tokens or features.
        width: E.
        steps: T.
        silent: whether c = 0 at the start.  Nothing is given then until training finds what is of
            use; random values are noise to the one who gathers them, and close its gate.
    """

    def __init__(self, n_in: int, width: int, steps: int, silent: bool = False) -> None:
        super().__init__()
        self.line = nn.Linear(n_in, width, bias=False)
        scale_TE = torch.zeros(steps, width) if silent else torch.randn(steps, width) * steps**-0.5
        self.step_TE = nn.Parameter(scale_TE)

    def forward(self, x_BTNE: Tensor) -> Tensor:
        """Return [B, N, E]."""
        value_BNE: Tensor = (self.line(x_BTNE) * self.step_TE[:, None]).sum(1)
        return value_BNE


class GraphFusion(nn.Module):
    """A symbol's own state plus what it gathered through a gate.

        out = h + σ((W [h ; g] + b) / 1.25) ⊙ g

    Args:
        width: E.
        scaled: whether g is what was gathered at the length of h, gathered · ‖h‖ / ‖gathered‖,
            with b = -0.5 at the start, or as it is, with b = 0.
    """

    def __init__(self, width: int, scaled: bool = True) -> None:
        super().__init__()
        self.scaled = scaled
        self.gate = nn.Linear(2 * width, width)
        nn.init.constant_(self.gate.bias, GATE_BIAS if scaled else 0.0)

    def forward(self, h_BNE: Tensor, gathered_BNE: Tensor) -> Tensor:
        """Return [B, N, E]."""
        scaled_BNE = gathered_BNE
        if self.scaled:
            length_BN1 = gathered_BNE.norm(dim=-1, keepdim=True).clamp(min=1e-6)
            scaled_BNE = gathered_BNE * (h_BNE.norm(dim=-1, keepdim=True) / length_BN1)
        gate_BNE = torch.sigmoid(self.gate(torch.cat([h_BNE, scaled_BNE], dim=-1)) / TEMPERATURE)
        fused_BNE: Tensor = h_BNE + gate_BNE * scaled_BNE
        return fused_BNE


def _at(x_BNE: Tensor, place_BNK: Tensor) -> Tensor:
    """Return the values at each symbol's places, [B, N, K, E]."""
    session_B11 = torch.arange(len(x_BNE), device=x_BNE.device)[:, None, None]
    return x_BNE[session_B11, place_BNK]
