"""A Transformer encoder over each symbol's own sessions, read out at the decision session.

Pre-norm blocks, causal in time.  Only the last step is scored, so the last block computes only
the last query.  A step without a universe row is one learned vector, not a masked key: no
query can be left without a key, and attention needs no mask.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
E width, A heads, H horizons.  Tensors run time-major, as the dataset holds them.

Source: Vaswani et al. (2017), arXiv 1706.03762; pre-norm: Xiong et al. (2020), arXiv 2002.04745.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.specs.transformer import TransformerSpec

POSITION_SD = 0.02  # spread at the start of what a step's place adds


class TransformerRanker(Ranker):
    """Scores each symbol from its own recent cross-sectional features."""

    def __init__(self, spec: TransformerSpec, sizes: Sizes) -> None:
        super().__init__()
        width = spec.d_model
        self.quantiles = spec.quantiles
        self.projection = nn.Linear(sizes.n_features, width)
        self.market = nn.Linear(sizes.n_market, width, bias=False) if sizes.n_market else None
        self.missing_E = nn.Parameter(torch.randn(width) * POSITION_SD)
        self.position_TE = nn.Parameter(torch.randn(sizes.steps, width) * POSITION_SD)
        self.blocks = nn.ModuleList(
            Block(width, spec.heads, spec.feed_forward, spec.dropout) for _ in range(spec.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = Head(width, sizes.n_horizons, spec.quantiles)

    def embed(self, batch: Batch) -> Tensor:
        """Return the token of every step, h_BTNE."""
        valid_BTN = batch.valid_BNT.transpose(1, 2)
        h_BTNE: Tensor = self.projection(known(batch.x_BNTF.transpose(1, 2), valid_BTN))
        h_BTNE = torch.where(valid_BTN[..., None], h_BTNE, self.missing_E.to(h_BTNE.dtype))
        if self.market is not None:
            h_BTNE = h_BTNE + self.market(batch.market_BTM)[:, :, None]
        return h_BTNE + self.position_TE[:, None]

    def encode(self, batch: Batch) -> Tensor:
        """Return what all blocks but the last make of every step, h_BTNE; causal in T."""
        h_BTNE = self.embed(batch)
        for block in self.blocks[:-1]:
            h_BTNE = block(h_BTNE)
        return h_BTNE

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `projection`, one `block` each, `norm` and `head`."""
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
        h_BTNE = self.embed(batch)
        found = {"input": x_BNF, "projection": h_BTNE[:, -1]}
        for number, block in enumerate(self.blocks, start=1):
            h_BTNE = block(h_BTNE, last_only=number == len(self.blocks))
            found[f"block{number}"] = h_BTNE[:, -1]
        found["norm"] = self.norm(h_BTNE[:, -1])
        found["head"] = self.head(found["norm"])
        return found


class Block(nn.Module):
    """Attention over time, then a position-wise layer, each added to what came in."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, feed_forward * width)
        self.narrow = nn.Linear(feed_forward * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h_BTNE: Tensor, last_only: bool = False) -> Tensor:
        """Return the block's output at every step, or [B, 1, N, E] of the last step alone."""
        normed_BTNE = self.attention_norm(h_BTNE)
        if last_only:
            h_BTNE = h_BTNE[:, -1:]
        attended_BTNE = self._attend(normed_BTNE[:, -h_BTNE.shape[1] :], normed_BTNE, last_only)
        h_BTNE = h_BTNE + self.dropout(self.output(attended_BTNE))
        wide = nn.functional.gelu(self.widen(self.feed_forward_norm(h_BTNE)))
        narrowed_BTNE: Tensor = self.narrow(self.dropout(wide))
        out_BTNE: Tensor = h_BTNE + self.dropout(narrowed_BTNE)
        return out_BTNE

    def _attend(self, query_BQNE: Tensor, source_BTNE: Tensor, last_only: bool) -> Tensor:
        n_sessions, n_queries, n_symbols, width = query_BQNE.shape
        key_BTNE, value_BTNE = self.key_value(source_BTNE).chunk(2, dim=-1)
        # The last query may see every step; with all queries each sees its own and earlier ones.
        attended = nn.functional.scaled_dot_product_attention(
            self._per_symbol(self.query(query_BQNE)),
            self._per_symbol(key_BTNE),
            self._per_symbol(value_BTNE),
            is_causal=not last_only,
        )
        attended = attended.view(n_sessions, n_symbols, self.heads, n_queries, width // self.heads)
        return attended.permute(0, 3, 1, 2, 4).reshape(query_BQNE.shape)

    def _per_symbol(self, x_BTNE: Tensor) -> Tensor:
        """Return [B·N, A, T, E/A]: one short sequence per symbol and head."""
        n_sessions, n_steps, n_symbols, width = x_BTNE.shape
        split = x_BTNE.reshape(n_sessions, n_steps, n_symbols, self.heads, width // self.heads)
        return split.permute(0, 2, 3, 1, 4).reshape(
            n_sessions * n_symbols, self.heads, n_steps, width // self.heads
        )
