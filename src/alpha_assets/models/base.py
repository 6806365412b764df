"""What every ranker is: a function of a batch that names its own stages.

The contract that `tests/models/test_contract.py` holds every model to: masked values enter no
matrix product; no query is left without a key; what is masked scores 0 and touches no other
symbol; symbols may be permuted; a later step changes nothing earlier.
Shape letters: B decision sessions, N symbols, T steps, F features, M market-wide series,
H horizons, Q quantiles, E width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.specs.base import MEDIAN

BESIDE_A_LINE = 0.1  # spread of a fresh trunk's scores beside a line that is known
FIRST_GAP = 0.5  # between neighbouring quantiles of a fresh head, in score units


@dataclass(frozen=True, eq=False)
class Output:
    """What a ranker says of a batch; masked names have 0.

    Attributes:
        score_BNH: higher for symbols expected to outperform; only its order within a session
            means anything. The median, where there are quantiles.
        quantile_BNHQ: of the target, rising in Q; None without quantiles.
    """

    score_BNH: Tensor
    quantile_BNHQ: Tensor | None = None


class Ranker(nn.Module):
    """One score per session, symbol and horizon; only its order within a session means anything.

    Attributes:
        quantiles: levels of the last axis of the head, rising; empty for plain scores.
    """

    quantiles: tuple[float, ...] = ()

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the output of each stage for the decision session, in order of computing.

        The first is `input` [B, N, F], the last is `head` in Float32: [B, N, H], or [B, N, H, Q]
        of a ranker with quantiles.
        """
        raise NotImplementedError

    def activation(self, head: Tensor) -> Tensor:
        """Return the scores that the last stage stands for: the stage itself, or a bounded form."""
        return head

    def infer(self, batch: Batch) -> Output:
        """Return scores, and quantiles where the ranker has them, in Float32."""
        head = self.activation(self.stages(batch)["head"])
        if not self.quantiles:
            return Output(torch.where(batch.mask_BN[..., None], head, 0.0))
        quantile_BNHQ = torch.where(batch.mask_BN[..., None, None], head, 0.0)
        return Output(quantile_BNHQ[..., self.quantiles.index(MEDIAN)], quantile_BNHQ)

    def forward(self, batch: Batch) -> Tensor:
        """Return score_BNH in Float32, higher for symbols expected to outperform; masked: 0."""
        return self.infer(batch).score_BNH


class WithLinearPath(Ranker):
    """A ranker plus a linear function of the decision session's features, trained together.

    The linear weights start at 0, so that a fresh ranker scores as its trunk does, unless training
    sets them (`linear_start`); quantiles of a horizon all move by the same amount, and so cannot
    cross.
    """

    def __init__(self, trunk: Ranker, sizes: Sizes) -> None:
        super().__init__()
        self.quantiles = trunk.quantiles
        self.trunk = trunk
        self.weight_HF = nn.Parameter(torch.zeros(sizes.n_horizons, sizes.n_features))

    @torch.no_grad()
    def start_at(self, line_HF: Tensor) -> None:
        """Set the linear weights, and let the trunk's fresh scores be small beside theirs.

        Args:
            line_HF: with scores of spread 1.
        """
        self.weight_HF.copy_(line_HF)
        head = self.trunk.head
        assert isinstance(head, Head), "every network reads out through one"
        head.weight_HE.mul_(BESIDE_A_LINE)

    def activation(self, head: Tensor) -> Tensor:
        """Return the scores of the sum, as the trunk makes them of its own last stage."""
        return self.trunk.activation(head)

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the trunk's stages, its last one as `trunk`, and the sum as `head`."""
        found = dict(self.trunk.stages(batch))
        trunk = found.pop("head")
        with torch.autocast(trunk.device.type, enabled=False):
            linear_BNH = nn.functional.linear(found["input"].float(), self.weight_HF)
        linear = linear_BNH[..., None] if self.quantiles else linear_BNH
        return {**found, "trunk": trunk, "head": trunk + linear}


class Head(nn.Module):
    """Linear read-out in Float32, whatever the trunk ran in.

    Weights start at N(0, 1/width), so that scores of a normalised trunk start with a spread of
    about 1.  There is no bias: a number added to a whole session means nothing.
    With quantiles the read-out is the median, and each further one lies a positive distance
    (softplus of a second read-out) beyond its neighbour, so that quantiles cannot cross.
    """

    def __init__(self, width: int, n_horizons: int, quantiles: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.weight_HE = nn.Parameter(torch.randn(n_horizons, width) * width**-0.5)
        self.n_below = quantiles.index(MEDIAN) if quantiles else 0
        self.has_quantiles = bool(quantiles)
        self.n_gaps = max(0, len(quantiles) - 1)
        if self.n_gaps:
            self.gap = nn.Linear(width, n_horizons * self.n_gaps)
            nn.init.zeros_(self.gap.weight)
            nn.init.constant_(self.gap.bias, torch.tensor(FIRST_GAP).expm1().log().item())

    def forward(self, x_BNE: Tensor) -> Tensor:
        """Return score_BNH, or quantile_BNHQ."""
        with torch.autocast(x_BNE.device.type, enabled=False):
            median_BNH = nn.functional.linear(x_BNE.float(), self.weight_HE)
            if not self.n_gaps:
                return median_BNH[..., None] if self.has_quantiles else median_BNH
            gap_BNG = nn.functional.softplus(self.gap(x_BNE.float()))
            gap_BNHG = gap_BNG.unflatten(-1, (median_BNH.shape[-1], self.n_gaps))
            below = gap_BNHG[..., : self.n_below].cumsum(-1).flip(-1)
            above = gap_BNHG[..., self.n_below :].cumsum(-1)
            at_BNH1 = median_BNH[..., None]
            return torch.cat([at_BNH1 - below, at_BNH1, at_BNH1 + above], dim=-1)


def known(x_BTNF: Tensor, valid_BTN: Tensor) -> Tensor:
    """Return x in Float32 with exact zeros where nothing is known: 0 times NaN would be NaN."""
    return x_BTNF.float().masked_fill(~valid_BTN[..., None], 0.0)
