"""A recurrent network whose states at all sessions are weighed by attention (ALSTM).

    z = tanh(W x),  h = LSTM(z),  a = softmax over t of v · tanh(U h_t),
    score = w · LayerNorm([h_T, Σ a_t h_t])

A step without a universe row is one learned vector in place of z.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
E hidden units, H horizons.

Source: Feng et al. (2019), IJCAI, arXiv 1810.09936; Qin et al. (2017), arXiv 1704.02971.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.lstm import MISSING_SD, over_time, start_open
from alpha_assets.models.specs.alstm import ALSTMSpec


class ALSTMRanker(Ranker):
    """Scores each symbol from its own recent features and the market-wide series."""

    def __init__(self, spec: ALSTMSpec, sizes: Sizes) -> None:
        super().__init__()
        width = spec.hidden
        self.quantiles = spec.quantiles
        self.projection = nn.Linear(sizes.n_features, width)
        self.market = nn.Linear(sizes.n_market, width, bias=False) if sizes.n_market else None
        self.missing_E = nn.Parameter(torch.randn(width) * MISSING_SD)
        network = nn.LSTM if spec.cell == "lstm" else nn.GRU
        between = spec.dropout if spec.layers > 1 else 0.0
        self.recurrent = network(width, width, spec.layers, dropout=between)
        start_open(self.recurrent)
        self.attention = nn.Linear(width, width // 2)
        self.attention_read = nn.Linear(width // 2, 1, bias=False)
        self.norm = nn.LayerNorm(2 * width, elementwise_affine=False)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = Head(2 * width, sizes.n_horizons, spec.quantiles)

    def embed(self, batch: Batch) -> Tensor:
        """Return z of every step, [B, T, N, E]."""
        valid_BTN = batch.valid_BNT.transpose(1, 2)
        z_BTNE: Tensor = self.projection(known(batch.x_BNTF.transpose(1, 2), valid_BTN))
        if self.market is not None:
            z_BTNE = z_BTNE + self.market(batch.market_BTM)[:, :, None]
        z_BTNE = z_BTNE.tanh()
        return torch.where(valid_BTN[..., None], z_BTNE, self.missing_E.to(z_BTNE.dtype))

    def encode(self, batch: Batch) -> Tensor:
        """Return the state of the last layer at every step, h_BTNE; causal in T."""
        return over_time(self.recurrent, self.embed(batch))

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `projection`, `recurrent`, `attended` and `head`."""
        z_BTNE = self.embed(batch)
        h_BTNE = over_time(self.recurrent, z_BTNE)
        weight_BTN1 = self.attention_read(self.attention(h_BTNE).tanh()).softmax(1)
        attended_BNE = (weight_BTN1 * h_BTNE).sum(1)
        read_BNE = self.norm(torch.cat([h_BTNE[:, -1], attended_BNE], dim=-1))
        return {
            "input": known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1]),
            "projection": z_BTNE[:, -1],
            "recurrent": h_BTNE[:, -1],
            "attended": attended_BNE,
            "head": self.head(self.dropout(read_BNE)),
        }
