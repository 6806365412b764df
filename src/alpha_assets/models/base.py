"""What every ranker is: a function of a batch that names its own stages.

The contract that `tests/models/test_contract.py` holds every model to: masked values enter no
matrix product; no query is left without a key; what is masked scores 0 and touches no other
symbol; symbols may be permuted; a later step changes nothing earlier.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
H horizons, E width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch


@dataclass(frozen=True)
class Sizes:
    """What a model must know of the data before it can be made."""

    n_features: int
    n_market: int
    steps: int  # T: sessions of a window, the decision's own included
    n_horizons: int
    n_symbols: int  # of the month's list; static ids go up to and with it, 0 = unknown


class Ranker(nn.Module):
    """One score per session, symbol and horizon; only its order within a session means anything."""

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the output of each stage for the decision session, in order of computing.

        The first is `input` [B, N, F], the last is `head` [B, N, H] in Float32.
        """
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """Return score_BNH in Float32, higher for symbols expected to outperform; masked: 0."""
        score_BNH = self.stages(batch)["head"]
        return torch.where(batch.mask_BN[..., None], score_BNH, 0.0)


class Head(nn.Module):
    """Linear read-out in Float32, whatever the trunk ran in.

    Weights start at N(0, 1/width), so that scores of a normalised trunk start with a spread of
    about 1.  There is no bias: a number added to a whole session means nothing.
    """

    def __init__(self, width: int, n_horizons: int) -> None:
        super().__init__()
        self.weight_HE = nn.Parameter(torch.randn(n_horizons, width) * width**-0.5)

    def forward(self, x_BNE: Tensor) -> Tensor:
        """Return score_BNH."""
        with torch.autocast(x_BNE.device.type, enabled=False):
            return nn.functional.linear(x_BNE.float(), self.weight_HE)


def known(x_BTNF: Tensor, valid_BTN: Tensor) -> Tensor:
    """Return x in Float32 with exact zeros where nothing is known: 0 times NaN would be NaN."""
    return x_BTNF.float().masked_fill(~valid_BTN[..., None], 0.0)
