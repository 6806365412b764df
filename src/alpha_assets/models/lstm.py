"""An LSTM over each symbol's own sessions, read out at the decision session.

A step without a universe row is one learned vector in place of its features.  Symbols of all
sessions of a batch are one axis for the LSTM, so that each step is one product.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
E hidden units, H horizons.

Source: Hochreiter & Schmidhuber (1997), Neural Computation 9(8); forget gates that start open:
Jozefowicz, Zaremba & Sutskever (2015), ICML.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.specs.lstm import LSTMSpec

MISSING_SD = 0.02  # spread at the start of what stands in for a step without a row


class LSTMRanker(Ranker):
    """Scores each symbol from its own recent features and the market-wide series."""

    def __init__(self, spec: LSTMSpec, sizes: Sizes) -> None:
        super().__init__()
        self.quantiles = spec.quantiles
        self.missing_F = nn.Parameter(torch.randn(sizes.n_features) * MISSING_SD)
        self.lstm = nn.LSTM(
            sizes.n_features + sizes.n_market,
            spec.hidden,
            spec.layers,
            dropout=spec.dropout if spec.layers > 1 else 0.0,
        )
        start_open(self.lstm)
        self.bottleneck = nn.Linear(spec.hidden, spec.bottleneck)
        self.norm = nn.LayerNorm(spec.bottleneck, elementwise_affine=False)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = Head(spec.bottleneck, sizes.n_horizons, spec.quantiles)

    def encode(self, batch: Batch) -> Tensor:
        """Return the state of the last layer at every step, h_BTNE; causal in T."""
        return over_time(self.lstm, inputs(batch, self.missing_F))

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `lstm`, `bottleneck` and `head`."""
        state_BNE = self.encode(batch)[:, -1]
        read_BNE = self.norm(nn.functional.gelu(self.bottleneck(state_BNE)))
        return {
            "input": known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1]),
            "lstm": state_BNE,
            "bottleneck": read_BNE,
            "head": self.head(self.dropout(read_BNE)),
        }


def inputs(batch: Batch, missing_F: Tensor) -> Tensor:
    """Return the features of every step with the market-wide series behind them, [B, T, N, F+M].

    Args:
        batch: any.
        missing_F: in place of the features of a step without a universe row.
    """
    valid_BTN = batch.valid_BNT.transpose(1, 2)
    x_BTNF = known(batch.x_BNTF.transpose(1, 2), valid_BTN)
    x_BTNF = torch.where(valid_BTN[..., None], x_BTNF, missing_F)
    if not batch.market_BTM.shape[-1]:
        return x_BTNF
    market_BTNM = batch.market_BTM[:, :, None].expand(*x_BTNF.shape[:3], -1)
    return torch.cat([x_BTNF, market_BTNM], dim=-1)


@torch.no_grad()
def start_open(network: nn.LSTM | nn.GRU) -> None:
    """Draw the weights of a recurrent network so that a fresh one keeps a state for many steps.

    Weights of inputs are Glorot-uniform gate by gate, those of states orthogonal, biases 0 but
    for an LSTM's forget gates, which start at 1.
    """
    width = network.hidden_size
    for name, parameter in network.named_parameters():
        if name.startswith("bias"):
            parameter.zero_()
            if isinstance(network, nn.LSTM) and name.startswith("bias_ih"):
                parameter[width : 2 * width] = 1.0
            continue
        for gate in parameter.split(width):
            draw = nn.init.xavier_uniform_ if name.startswith("weight_ih") else nn.init.orthogonal_
            draw(gate)


def over_time(
    network: nn.LSTM | nn.GRU, x_BTNE: Tensor, start: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Return the state of a recurrent network's last layer at every step, h_BTNE.

    Args:
        network: time first.
        x_BTNE: its inputs.
        start: hidden and cell state before the first step, each [layers, B·N, E]; None: zeros.
    """
    n_sessions, n_steps, n_symbols, width = x_BTNE.shape
    x_TRE = x_BTNE.transpose(0, 1).reshape(n_steps, n_sessions * n_symbols, width)
    h_TRE: Tensor = network(x_TRE, start)[0]
    h_TBNE = h_TRE.view(n_steps, n_sessions, n_symbols, network.hidden_size)
    return h_TBNE.transpose(0, 1)
