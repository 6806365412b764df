"""Blocks of the Temporal Fusion Transformer: gates, gated residual networks, variable selection.

Each works on the last axis alone, and so on every step of every symbol apart.
Shape letters: L leading axes, any number of them; F features, E width, C width of the context.

Source: Lim, Arik, Loeff & Pfister (2021), Int. J. Forecasting 37(4), arXiv 1912.09363.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Selection = Literal["shared", "per_feature"]


class GLU(nn.Module):
    """Gated linear unit a(x) ⊙ σ(b(x)) with linear a and b, behind dropout."""

    def __init__(self, n_in: int, n_out: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.both = nn.Linear(n_in, 2 * n_out)

    def forward(self, x_LE: Tensor) -> Tensor:
        """Return the gated values, [L, n_out]."""
        return nn.functional.glu(self.both(self.dropout(x_LE)), dim=-1)


class GateAddNorm(nn.Module):
    """LayerNorm(skip + GLU(x)): what a layer computed, let through by a gate."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.gate = GLU(width, width, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x_LE: Tensor, skip_LE: Tensor) -> Tensor:
        """Return [L, E]."""
        normed_LE: Tensor = self.norm(skip_LE + self.gate(x_LE))
        return normed_LE


class GRN(nn.Module):
    """Gated residual network LayerNorm(skip(x) + GLU(W₁ ELU(W₂ x + W₃ c))).

    Args:
        n_in: width of x.
        width: hidden units.
        n_out: width of what comes out, n_in where 0; the skip is linear where the two differ.
        n_context: width of the context c; 0 without one.
        dropout: share of activations dropped before the gate in training.
    """

    def __init__(
        self, n_in: int, width: int, n_out: int = 0, n_context: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        n_out = n_out or n_in
        self.enter = nn.Linear(n_in, width)
        self.context = nn.Linear(n_context, width, bias=False) if n_context else None
        self.hidden = nn.Linear(width, width)
        self.gate = GLU(width, n_out, dropout)
        self.skip = nn.Linear(n_in, n_out) if n_in != n_out else nn.Identity()
        self.norm = nn.LayerNorm(n_out)

    def forward(self, x_LE: Tensor, context_LC: Tensor | None = None) -> Tensor:
        """Return [L, n_out]; the context's leading axes need only broadcast to those of x."""
        hidden_LE = self.enter(x_LE)
        if self.context is not None:
            assert context_LC is not None, "a network with a context is called with one"
            hidden_LE = hidden_LE + self.context(context_LC)
        hidden_LE = self.hidden(nn.functional.elu(hidden_LE))
        out_LE: Tensor = self.norm(self.skip(x_LE) + self.gate(hidden_LE))
        return out_LE


class VariableSelection(nn.Module):
    """Weighs the features of each step and returns one vector of them, and the weights.

    Feature j has the embedding e_j = x_j u_j + b_j.

    - `per_feature` is the paper's: the weights are softmax(GRN([e_1 ... e_F], c)), the vector is
      the weighted sum of GRN_j(e_j).  On the CPU the networks run one after the other, which is
      faster there; elsewhere all at once.
    - `shared` has the weights from a small network of the F values themselves and one GRN behind
      the weighted sum of the e_j, so that no [L, F, E] is ever held: some forty times as fast.

    Args:
        n_features: F.
        width: E of the vector that comes out.
        selection: which of the two.
        n_context: width of the context c that the weights depend on; 0 without one.
        dropout: of each gated residual network.
    """

    def __init__(
        self,
        n_features: int,
        width: int,
        selection: Selection = "shared",
        n_context: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.slope_FE = nn.Parameter(torch.randn(n_features, width))
        self.level_FE = nn.Parameter(torch.zeros(n_features, width))
        self.per_feature: nn.ModuleList | None = None
        if selection == "per_feature":
            self.weigh = GRN(n_features * width, width, n_features, n_context, dropout)
            self.per_feature = nn.ModuleList(
                GRN(width, width, dropout=dropout) for _ in range(n_features)
            )
            return
        self.enter = nn.Linear(n_features, width)
        self.context = nn.Linear(n_context, width, bias=False) if n_context else None
        self.leave = nn.Linear(width, n_features)
        self.mix = GRN(width, width, dropout=dropout)

    def forward(self, x_LF: Tensor, context_LC: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the vector [L, E] and the weights [L, F], which add up to 1."""
        if self.per_feature is not None:
            return self._per_feature(x_LF, context_LC, self.per_feature)
        hidden_LE = self.enter(x_LF)
        if self.context is not None:
            assert context_LC is not None, "a selection with a context is called with one"
            hidden_LE = hidden_LE + self.context(context_LC)
        weight_LF = self.leave(nn.functional.elu(hidden_LE)).softmax(-1)
        return self.mix((weight_LF * x_LF) @ self.slope_FE + weight_LF @ self.level_FE), weight_LF

    def _per_feature(
        self, x_LF: Tensor, context_LC: Tensor | None, networks: nn.ModuleList
    ) -> tuple[Tensor, Tensor]:
        embedded_LFE = x_LF[..., None] * self.slope_FE + self.level_FE
        weight_LF = self.weigh(embedded_LFE.flatten(-2), context_LC).softmax(-1)
        if x_LF.device.type == "cpu":
            vector_LE = torch.zeros_like(embedded_LFE[..., 0, :])
            for j, network in enumerate(networks):
                vector_LE = vector_LE + weight_LF[..., j, None] * network(embedded_LFE[..., j, :])
            return vector_LE, weight_LF
        return (weight_LF[..., None] * at_once(networks, embedded_LFE)).sum(-2), weight_LF


def at_once(networks: nn.ModuleList, x_LFE: Tensor) -> Tensor:
    """Return what each of F networks of one architecture computes of its x, in one product each."""
    first = networks[0]
    all_of = [dict(network.named_parameters()) for network in networks]
    stacked = {name: torch.stack([of[name] for of in all_of]) for name in all_of[0]}
    run = vmap(partial(functional_call, first), (0, -2), -2, randomness="different")
    out_LFE: Tensor = run(stacked, x_LFE)
    return out_LFE
