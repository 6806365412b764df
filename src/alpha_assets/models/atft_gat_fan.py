"""Variable selection, a normalised series, a recurrent encoder with attention, and a graph.

Each step of a symbol is a weighted choice among its features.  The series of steps is normalised
(or not), runs through an LSTM, and the decision session attends to all steps.  Then symbols attend
to their neighbours in the graph (or not).  A step without a universe row is one learned vector.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
E width, H horizons.

Sources: variable selection and gates, `gating`; `normalisation`; `graph_attention`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.gating import GateAddNorm, VariableSelection
from alpha_assets.models.graph_attention import (
    GraphAttention,
    GraphFusion,
    StepValues,
    edges_of,
    neighbours_alone,
)
from alpha_assets.models.normalisation import FrequencyNorm, MultiScaleNorm
from alpha_assets.models.specs.atft_gat_fan import AtftGatFanSpec
from alpha_assets.models.transformer import Block

MISSING_SD = 0.02  # spread at the start of what stands for a step that is missing


class AtftGatFanRanker(Ranker):
    """Scores each symbol from its own recent features and the states of its neighbours."""

    def __init__(self, spec: AtftGatFanSpec, sizes: Sizes) -> None:
        super().__init__()
        width, steps, dropout = spec.d_model, sizes.steps, spec.dropout
        self.quantiles = spec.quantiles
        self.select = VariableSelection(sizes.n_features, width, spec.selection, dropout=dropout)
        self.market = nn.Linear(sizes.n_market, width, bias=False) if sizes.n_market else None
        self.missing_E = nn.Parameter(torch.randn(width) * MISSING_SD)
        is_causal, is_fan = spec.norm == "causal", spec.norm == "fan"
        self.scales = MultiScaleNorm(steps, width, spec.windows) if is_causal else None
        self.fan = FrequencyNorm(steps, width, spec.frequencies) if is_fan else None
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.after_lstm = GateAddNorm(width, dropout)
        self.attention = Block(width, spec.heads, spec.feed_forward, dropout)
        n_layers = spec.graph_layers if spec.graph else 0
        by_step = spec.graph_values != "state"
        self.reads_inputs = spec.graph_values == "inputs"
        self.values = None
        if spec.graph and by_step:
            n_read = sizes.n_features if self.reads_inputs else width
            self.values = StepValues(n_read, width, steps, silent=self.reads_inputs)
        self.graph = nn.ModuleList(
            GraphAttention(width, spec.graph_heads, dropout, uniform=by_step)
            for _ in range(n_layers)
        )
        self.fusion = nn.ModuleList(GraphFusion(width, scaled=not by_step) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.head = Head(width, sizes.n_horizons, spec.quantiles)

    def gives(self, batch: Batch, h_BTNE: Tensor) -> Tensor | None:
        """Return what each symbol gives its neighbours, [B, N, E]; None: its encoded state."""
        if self.values is None:
            return None
        if self.reads_inputs:
            h_BTNE = known(batch.x_BNTF, batch.valid_BNT).transpose(1, 2)
        value_BNE: Tensor = self.values(h_BTNE)
        return value_BNE

    def embed(self, batch: Batch) -> Tensor:
        """Return the token of every step, h_BTNE, before it is normalised."""
        valid_BTN = batch.valid_BNT.transpose(1, 2)
        chosen_BTNE, _ = self.select(known(batch.x_BNTF.transpose(1, 2), valid_BTN))
        missing_E = self.missing_E.to(chosen_BTNE.dtype)
        h_BTNE: Tensor = torch.where(valid_BTN[..., None], chosen_BTNE, missing_E)
        if self.market is not None:
            h_BTNE = h_BTNE + self.market(batch.market_BTM)[:, :, None]
        return h_BTNE

    def normalised(self, h_BTNE: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the encoder sees, h_BTNE, and what is given back behind it, or nothing."""
        if self.scales is not None:
            scaled_BTNE: Tensor = self.scales(h_BTNE)
            return scaled_BTNE, None
        if self.fan is not None:
            rest_BTNE, back_BNE = self.fan(h_BTNE)
            return rest_BTNE, back_BNE
        return h_BTNE, None

    def recur(self, h_BTNE: Tensor) -> Tensor:
        """Return the gated state of the LSTM after every step, h_BTNE; causal in T."""
        n_sessions, n_steps, n_symbols, width = h_BTNE.shape
        state_RTE, _ = self.lstm(h_BTNE.transpose(1, 2).reshape(-1, n_steps, width))
        state_BTNE = state_RTE.view(n_sessions, n_symbols, n_steps, width).transpose(1, 2)
        gated_BTNE: Tensor = self.after_lstm(state_BTNE, h_BTNE)
        return gated_BTNE

    def encode(self, batch: Batch) -> Tensor:
        """Return the state of the LSTM after every step, h_BTNE; causal in T but under `fan`."""
        return self.recur(self.normalised(self.embed(batch))[0])

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input` and what each layer makes of it, the `head` last.

        `encoded` is what the encoder sees of the decision session, behind the normalisation.
        """
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
        h_BTNE = self.embed(batch)
        found = {"input": x_BNF, "selection": h_BTNE[:, -1]}
        value_BNE = self.gives(batch, h_BTNE)
        h_BTNE, back_BNE = self.normalised(h_BTNE)
        found["encoded"] = h_BTNE[:, -1]
        h_BTNE = self.recur(h_BTNE)
        found["lstm"] = h_BTNE[:, -1]
        h_BNE = self.attention(h_BTNE, last_only=True)[:, -1]
        if back_BNE is not None:
            h_BNE = h_BNE + back_BNE
        found["attention"] = h_BNE
        if len(self.graph):
            edges = edges_of(batch)
            if self.values is not None:
                edges = neighbours_alone(edges)
            for number, layer in enumerate(self.graph):
                h_BNE = self.fusion[number](h_BNE, layer(h_BNE, edges, value_BNE))
                value_BNE = None  # further layers gather what the last one wrote into states
                found[f"graph{number + 1}"] = h_BNE
        found["norm"] = self.norm(h_BNE)
        found["head"] = self.head(found["norm"])
        return found
