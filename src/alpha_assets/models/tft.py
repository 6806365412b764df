"""The Temporal Fusion Transformer, without its decoder, read out at the decision session.

Variable selection of each step, an LSTM, enrichment by what is known of the symbol, interpretable
attention over the steps, a position-wise network; each is let through by a gate and added to what
came in.  A learned vector per place in the window stands for the paper's known inputs.  A step
without a universe row is one learned vector in place of its features.
A symbol's own embedding is of its place in the month's list; in training a share of symbols has
that of unknown symbols instead, so that this one is learned too.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
E width, A heads, H horizons, Q queries.

Source: Lim, Arik, Loeff & Pfister (2021), Int. J. Forecasting 37(4), arXiv 1912.09363.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.gating import GRN, GateAddNorm, VariableSelection
from alpha_assets.models.lstm import MISSING_SD, inputs, over_time, start_open
from alpha_assets.models.specs.tft import TFTSpec
from alpha_assets.models.transformer import POSITION_SD


class TFTRanker(Ranker):
    """Scores each symbol from its own recent features and the market-wide series."""

    def __init__(self, spec: TFTSpec, sizes: Sizes) -> None:
        super().__init__()
        width, dropout = spec.d_model, spec.dropout
        n_context = width if spec.symbol_embedding else 0
        self.quantiles = spec.quantiles
        self.missing_F = nn.Parameter(torch.randn(sizes.n_features) * MISSING_SD)
        self.selection = VariableSelection(
            sizes.n_features + sizes.n_market, width, spec.selection, n_context, dropout
        )
        self.position_TE = nn.Parameter(torch.randn(sizes.steps, width) * POSITION_SD)
        self.symbol = Symbol(sizes.n_symbols, spec) if spec.symbol_embedding else None
        self.lstm = nn.LSTM(width, width)
        start_open(self.lstm)
        self.lstm_gate = GateAddNorm(width, dropout)
        self.enrich = GRN(width, width, n_context=n_context, dropout=dropout)
        self.attention = nn.ModuleList(Attention(spec) for _ in range(spec.attention_layers))
        self.position_wise = GRN(width, width, dropout=dropout)
        self.last_gate = GateAddNorm(width, dropout)
        self.head = Head(width, sizes.n_horizons, spec.quantiles)

    def encode(self, batch: Batch) -> Tensor:
        """Return what all but the last attention block makes of every step; causal in T."""
        h_BTNE = self._enriched(batch)["enriched"]
        for block in self.attention[:-1]:
            h_BTNE = block(h_BTNE)
        return h_BTNE

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `selection`, `lstm`, `enriched`, `attention` each, `fused` and `head`."""
        steps = self._enriched(batch)
        found = {"input": known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])}
        found |= {name: h_BTNE[:, -1] for name, h_BTNE in steps.items()}
        h_BTNE = steps["enriched"]
        for number, block in enumerate(self.attention, start=1):
            h_BTNE = block(h_BTNE, last_only=number == len(self.attention))
            found[f"attention{number}"] = h_BTNE[:, -1]
        h_BNE = self.position_wise(h_BTNE[:, -1])
        found["fused"] = self.last_gate(h_BNE, steps["lstm"][:, -1])
        found["head"] = self.head(found["fused"])
        return found

    def _enriched(self, batch: Batch) -> dict[str, Tensor]:
        """Return what variable selection, LSTM and enrichment make of every step, [B, T, N, E]."""
        n_sessions = len(batch.mask_BN)
        of_NE = {} if self.symbol is None else self.symbol(batch.symbol_id_N)
        chosen_BTNE, _ = self.selection(inputs(batch, self.missing_F), of_NE.get("selection"))
        chosen_BTNE = chosen_BTNE + self.position_TE[:, None]
        start = None
        if of_NE:
            hidden, cell = (of_NE[key].repeat(n_sessions, 1)[None] for key in ("hidden", "cell"))
            start = (hidden.to(chosen_BTNE.dtype), cell.to(chosen_BTNE.dtype))
        state_BTNE = self.lstm_gate(over_time(self.lstm, chosen_BTNE, start), chosen_BTNE)
        enriched_BTNE = self.enrich(state_BTNE, of_NE.get("enrichment"))
        return {"selection": chosen_BTNE, "lstm": state_BTNE, "enriched": enriched_BTNE}


class Symbol(nn.Module):
    """What is known of a symbol that does not change: four contexts of its embedding."""

    def __init__(self, n_symbols: int, spec: TFTSpec) -> None:
        super().__init__()
        width = spec.d_model
        self.unknown_share = spec.unknown_share
        self.embedding = nn.Embedding(n_symbols + 1, width)
        names = ("selection", "hidden", "cell", "enrichment")
        self.context = nn.ModuleDict(
            {name: GRN(width, width, dropout=spec.dropout) for name in names}
        )

    def forward(self, symbol_id_N: Tensor) -> dict[str, Tensor]:
        """Return each context by its name, [N, E]."""
        if self.training:
            draw_N = torch.rand(symbol_id_N.shape, device=symbol_id_N.device)
            symbol_id_N = symbol_id_N.masked_fill(draw_N < self.unknown_share, 0)
        embedded_NE = self.embedding(symbol_id_N)
        return {name: network(embedded_NE) for name, network in self.context.items()}


class Attention(nn.Module):
    """Interpretable attention: heads have weights of their own, averaged, and one value for all."""

    def __init__(self, spec: TFTSpec) -> None:
        super().__init__()
        width = spec.d_model
        self.heads = spec.heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width // spec.heads)
        self.output = nn.Linear(width // spec.heads, width)
        self.gate = GateAddNorm(width, spec.dropout)

    def forward(self, h_BTNE: Tensor, last_only: bool = False) -> Tensor:
        """Return the block's output at every step, or [B, 1, N, E] of the last step alone."""
        query_BQNE = h_BTNE[:, -1:] if last_only else h_BTNE
        attended_BNQE = self.weights(query_BQNE, h_BTNE) @ self.value(h_BTNE).transpose(1, 2)
        out_BQNE: Tensor = self.gate(self.output(attended_BNQE).transpose(1, 2), query_BQNE)
        return out_BQNE

    def weights(self, query_BQNE: Tensor, key_BTNE: Tensor) -> Tensor:
        """Return the mean weight over heads of each step in each query, [B, N, Q, T]."""
        query, key = self._by_head(self.query(query_BQNE)), self._by_head(self.key(key_BTNE))
        logit_BNAQT = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        n_queries, n_steps = logit_BNAQT.shape[-2:]
        if n_queries > 1:  # each query sees its own step and earlier ones; the last sees all
            later_QT = torch.ones(n_queries, n_steps, dtype=torch.bool, device=key.device).triu(1)
            logit_BNAQT = logit_BNAQT.masked_fill(later_QT, -torch.inf)
        weight_BNAQT: Tensor = logit_BNAQT.softmax(-1)
        return weight_BNAQT.mean(2)

    def _by_head(self, x_BTNE: Tensor) -> Tensor:
        n_sessions, n_steps, n_symbols, _ = x_BTNE.shape
        split = x_BTNE.view(n_sessions, n_steps, n_symbols, self.heads, -1)
        return split.permute(0, 2, 3, 1, 4)
