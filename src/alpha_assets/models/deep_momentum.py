"""A recurrent network whose scores are positions in (-1, 1), long above 0 and short below.

The last state of an LSTM over each symbol's own sessions is read out by a line and bounded by
tanh.  It is meant for a loss on what positions earn net of what trading them costs, on blocks of
consecutive sessions.  A step without a universe row is one learned vector.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
E width, H horizons.

Source: Lim, Zohren & Roberts (2019), J. Financ. Data Sci. 1(4), arXiv 1904.04912.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.specs.deep_momentum import DeepMomentumSpec

MISSING_SD = 0.02  # spread at the start of what stands for a step that is missing


class DeepMomentumRanker(Ranker):
    """Takes a position in each symbol from its own recent features."""

    def __init__(self, spec: DeepMomentumSpec, sizes: Sizes) -> None:
        super().__init__()
        width = spec.hidden
        self.projection = nn.Linear(sizes.n_features, width)
        self.market = nn.Linear(sizes.n_market, width, bias=False) if sizes.n_market else None
        self.missing_E = nn.Parameter(torch.randn(width) * MISSING_SD)
        self.lstm = nn.LSTM(width, width, spec.layers, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = Head(width, sizes.n_horizons)

    def activation(self, head: Tensor) -> Tensor:
        """Return positions."""
        return head.tanh()

    def embed(self, batch: Batch) -> Tensor:
        """Return the token of every step, h_BTNE."""
        valid_BTN = batch.valid_BNT.transpose(1, 2)
        h_BTNE: Tensor = self.projection(known(batch.x_BNTF.transpose(1, 2), valid_BTN))
        h_BTNE = torch.where(valid_BTN[..., None], h_BTNE, self.missing_E.to(h_BTNE.dtype))
        if self.market is not None:
            h_BTNE = h_BTNE + self.market(batch.market_BTM)[:, :, None]
        return h_BTNE

    def encode(self, batch: Batch) -> Tensor:
        """Return the LSTM's state after every step, h_BTNE; causal in T."""
        h_BTNE = self.dropout(self.embed(batch))
        n_sessions, n_steps, n_symbols, width = h_BTNE.shape
        state_RTE, _ = self.lstm(h_BTNE.transpose(1, 2).reshape(-1, n_steps, width))
        state_BNTE: Tensor = state_RTE.view(n_sessions, n_symbols, n_steps, width)
        return state_BNTE.transpose(1, 2)

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `lstm`, `norm` and `head`: positions before they are bounded."""
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
        state_BNE = self.encode(batch)[:, -1]
        normed_BNE = self.norm(state_BNE)
        head_BNH = self.head(self.dropout(normed_BNE))
        return {"input": x_BNF, "lstm": state_BNE, "norm": normed_BNE, "head": head_BNH}
