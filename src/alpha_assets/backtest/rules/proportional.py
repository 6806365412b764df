"""All names in proportion to their rank or their score."""

from abc import abstractmethod
from typing import Literal

import numpy as np
from pydantic import Field

from alpha_assets.arrays.types import Array, Index
from alpha_assets.backtest.rules.base import Seen
from alpha_assets.backtest.rules.sided import Side, SidedSpec
from alpha_assets.backtest.rules.standard import standardised

ABOVE, BELOW = "above the middle", "below the middle"


class CentredSpec(SidedSpec):
    """All names, in proportion to the distance of some value of theirs from its middle, 0."""

    @abstractmethod
    def centred(self, seen: Seen) -> Array:
        """Return the value of each name: held long above 0, and short below."""

    def sides(self, seen: Seen) -> list[Side]:
        """Return the names above 0, and those below that can be borrowed or are short already."""
        value_N = self.centred(seen)
        can_N = ~seen.is_barred_N | (seen.held_N < 0)
        return [
            (ABOVE, 1.0, np.flatnonzero(value_N > 0)),
            (BELOW, -1.0, np.flatnonzero((value_N < 0) & can_N)),
        ]

    def pull(self, seen: Seen, side_K: Index) -> Array:
        """Return the distances from 0."""
        return np.abs(self.centred(seen)[side_K])


class RankWeightedSpec(CentredSpec):
    """All names, in proportion to the distance of their rank from the middle rank."""

    rule: Literal["rank_weighted"]
    """By rank: how far apart scores are plays no part."""

    def centred(self, seen: Seen) -> Array:
        """Return average ranks less the middle rank; equal scores have equal ones."""
        return average_rank(seen.score_N) - (len(seen.score_N) + 1) / 2

    @property
    def unheld(self) -> str:
        """Why a scored name is on no side."""
        return "in the middle"


class ScoreWeightedSpec(CentredSpec):
    """All names, in proportion to their standardised score."""

    rule: Literal["score_weighted"]
    """By score: (score - mean) / standard deviation of the session."""
    clip: float = Field(default=3.0, ge=0.1)
    """Largest absolute standardised score that counts; what is beyond counts as this."""

    def centred(self, seen: Seen) -> Array:
        """Return standardised scores, clipped."""
        return np.clip(standardised(seen.score_N), -self.clip, self.clip)

    @property
    def unheld(self) -> str:
        """Why a scored name is on no side."""
        return "at the mean"


def average_rank(score_N: Array) -> Array:
    """Return ranks from 1, equal scores with the mean of their ranks."""
    _, place_N, count_U = np.unique(score_N, return_inverse=True, return_counts=True)
    last_U = np.cumsum(count_U)
    rank_N: Array = (last_U - (count_U - 1) / 2)[place_N]
    return rank_N
