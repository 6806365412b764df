"""MASTER: the market-wide series weigh features, then symbols see their past and each other.

The features of each step are multiplied by a gate of that step's market-wide series.  Attention
over each symbol's steps (causal) is followed by attention over the symbols of each step, and the
steps are added up by how like they are to the decision session.
A step without a universe row, or of a masked symbol, is one learned vector; it is no key for other
symbols.  Where a step has no key at all, every symbol is one: they are all that vector.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
E width, A heads, H horizons, S sequences, L their length.

Source: Li et al. (2024), AAAI, arXiv 2312.15235.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.lstm import MISSING_SD
from alpha_assets.models.specs.master import MasterSpec

SLOWEST = 10_000.0  # longest wave length of the positions, of 2 pi steps


class MasterRanker(Ranker):
    """Scores symbols from their recent features and each other's, weighed by the market's state."""

    position_TE: Tensor

    def __init__(self, spec: MasterSpec, sizes: Sizes) -> None:
        super().__init__()
        width = spec.d_model
        self.quantiles = spec.quantiles
        self.kind, self.temperature = spec.gate, spec.temperature
        self.gate = None if spec.gate == "none" else nn.Linear(sizes.n_market, sizes.n_features)
        if self.gate is not None and spec.gate == "affine":
            # Far from 0: where nothing but the product is planted, training first unlearns the
            # feature itself, and with it what a factor near 1 could have learned from.
            nn.init.normal_(self.gate.weight)
            nn.init.ones_(self.gate.bias)
        self.projection = nn.Linear(sizes.n_features, width)
        self.missing_E = nn.Parameter(torch.randn(width) * MISSING_SD)
        self.register_buffer("position_TE", waves(sizes.steps, width), persistent=False)
        self.over_steps = Attention(width, spec.time_heads, spec.dropout)
        self.over_symbols = Attention(width, spec.symbol_heads, spec.dropout)
        self.pool = nn.Linear(width, width, bias=False)
        self.head = Head(width, sizes.n_horizons, spec.quantiles)

    def factors(self, market_BTM: Tensor) -> Tensor:
        """Return what each feature is multiplied by at each step, [B, T, F]; without a gate 1."""
        if self.gate is None:
            return market_BTM.new_ones(())
        made_BTF: Tensor = self.gate(market_BTM)
        if self.kind == "affine":
            return made_BTF
        return made_BTF.shape[-1] * (made_BTF / self.temperature).softmax(-1)

    def embed(self, batch: Batch) -> Tensor:
        """Return the token of every step, h_BTNE."""
        is_known_BTN = self._known(batch)
        x_BTNF = known(batch.x_BNTF.transpose(1, 2), is_known_BTN)
        factor = self.factors(batch.market_BTM)
        h_BTNE: Tensor = self.projection(x_BTNF * (factor[:, :, None] if factor.ndim else factor))
        h_BTNE = torch.where(is_known_BTN[..., None], h_BTNE, self.missing_E.to(h_BTNE.dtype))
        return h_BTNE + self.position_TE[:, None]

    def encode(self, batch: Batch) -> Tensor:
        """Return what both attentions make of every step, h_BTNE; causal in T."""
        return self._across(batch, self._along(self.embed(batch)))

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `projection`, `over_steps`, `over_symbols`, `pooled` and `head`."""
        token_BTNE = self.embed(batch)
        along_BTNE = self._along(token_BTNE)
        h_BTNE = self._across(batch, along_BTNE)
        likeness_BTN = (self.pool(h_BTNE) * h_BTNE[:, -1:]).sum(-1)
        pooled_BNE = (likeness_BTN.softmax(1)[..., None] * h_BTNE).sum(1)
        return {
            "input": known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1]),
            "projection": token_BTNE[:, -1],
            "over_steps": along_BTNE[:, -1],
            "over_symbols": h_BTNE[:, -1],
            "pooled": pooled_BNE,
            "head": self.head(pooled_BNE),
        }

    def _known(self, batch: Batch) -> Tensor:
        return (batch.valid_BNT & batch.mask_BN[..., None]).transpose(1, 2)

    def _along(self, h_BTNE: Tensor) -> Tensor:
        h_BNTE = h_BTNE.transpose(1, 2)
        out_SLE: Tensor = self.over_steps(h_BNTE.flatten(0, 1), is_causal=True)
        return out_SLE.view(h_BNTE.shape).transpose(1, 2)

    def _across(self, batch: Batch, h_BTNE: Tensor) -> Tensor:
        is_key_SL = self._known(batch).flatten(0, 1)
        is_key_SL = is_key_SL | ~is_key_SL.any(-1, keepdim=True)
        out_SLE: Tensor = self.over_symbols(h_BTNE.flatten(0, 1), is_key_SL)
        return out_SLE.view(h_BTNE.shape)


class Attention(nn.Module):
    """Attention within sequences, then a position-wise layer, each added to what came in.

    Dropout is of what is attended, not of the weights: of hundreds of symbols each weighs so little
    that a dropped weight is no noise, and keeping all weights for it takes 4 times as long.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_dropout = nn.Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.Dropout(dropout),
        )

    def forward(
        self, h_SLE: Tensor, is_key_SL: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Return [S, L, E].

        Args:
            h_SLE: sequences.
            is_key_SL: which places may be seen, at least one of each sequence; None: all.
            is_causal: whether each place sees its own and earlier ones alone.
        """
        query, key, value = (
            x_SLE.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x_SLE in self.query_key_value(self.attention_norm(h_SLE)).chunk(3, dim=-1)
        )
        attended_SALE = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if is_key_SL is None else is_key_SL[:, None, None],
            is_causal=is_causal,
        )
        h_SLE = h_SLE + self.attention_dropout(attended_SALE.transpose(1, 2).flatten(-2))
        out_SLE: Tensor = h_SLE + self.feed_forward(self.feed_forward_norm(h_SLE))
        return out_SLE


def waves(n_steps: int, width: int) -> Tensor:
    """Return the sine and cosine positions of each step, [T, E]; Vaswani et al. (2017)."""
    rate_E = SLOWEST ** (-torch.arange(0, width, 2) / width)
    angle_TE = torch.arange(n_steps)[:, None] * rate_E
    return torch.stack([angle_TE.sin(), angle_TE.cos()], dim=-1).flatten(-2)
