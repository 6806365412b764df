"""A recurrent network whose scores are positions in (-1, 1), long above 0 and short below.

The last state of an LSTM over each symbol's own sessions is read out by a line and bounded by
tanh.  It is meant for a loss on what positions earn net of what trading them costs, on blocks of
consecutive sessions.  A step without a universe row is one learned vector.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
E width, H horizons.

Source: Lim, Zohren & Roberts (2019), J. Financ. Data Sci. 1(4), arXiv 1904.04912.
"""

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch, Sizes
from alpha_assets.models.base import Head, Ranker, RankerSpec, known

MISSING_SD = 0.02  # spread at the start of what stands for a step that is missing


class DeepMomentumSpec(RankerSpec):
    """Declared under `[model]` in a recipe; its scores are positions in (-1, 1)."""

    kind: Literal["deep_momentum"] = "deep_momentum"
    """Name of the kind."""
    hidden: int = Field(default=32, gt=0)
    """Width of the tokens and of the LSTM's state."""
    layers: int = Field(default=1, gt=0)
    """Layers of the LSTM."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of activations dropped in training, of the tokens and of the last state."""

    @model_validator(mode="after")
    def _positions_have_no_quantiles(self) -> Self:
        if self.quantiles:
            raise ValueError(
                f'quantiles = {list(self.quantiles)}: the scores of kind = "deep_momentum" are '
                "positions, not levels of the target; take quantiles out"
            )
        return self

    def build(self, sizes: Sizes) -> Ranker:
        """Return the ranker with fresh weights."""
        return DeepMomentumRanker(self, sizes)


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
