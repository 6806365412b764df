"""Long only, in proportion to the exponential of the score."""

from typing import Literal

import numpy as np
from pydantic import Field

from alpha_assets.arrays.types import Array, Index
from alpha_assets.backtest.rules.base import Seen
from alpha_assets.backtest.rules.sided import Side, SidedSpec
from alpha_assets.backtest.rules.standard import standardised

ALL = "by softmax"


class SoftmaxSpec(SidedSpec):
    """Long only: weight = exp(z / temperature) / sum, z the standardised score."""

    rule: Literal["softmax"]
    """Long only."""
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    """Standard deviations of the score over which a weight grows by e: small holds few names, large
    all alike.
    """

    @property
    def is_long_only(self) -> bool:
        """Whether there is no short side."""
        return True

    def most_names(self, n: int) -> int:
        """Return the most names that a side can have of n scored ones."""
        return n

    def sides(self, seen: Seen) -> list[Side]:
        """Return all names, on one side."""
        return [(ALL, 1.0, np.arange(len(seen.score_N)))]

    def pull(self, seen: Seen, side_K: Index) -> Array:
        """Return exp(z / temperature), its largest value scaled to 1."""
        z_K = standardised(seen.score_N)[side_K] / self.temperature
        return np.exp(z_K - z_K.max()) if len(z_K) else z_K
