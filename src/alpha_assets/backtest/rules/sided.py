"""Rules that hold names on sides: who stands on which, in what proportion, inside what limits.

Shape letters: N scored names, K names of a side.
"""

from abc import abstractmethod
from math import sqrt

import numpy as np

from alpha_assets.arrays.types import Array, Index
from alpha_assets.backtest.rules.base import SESSIONS_A_YEAR, Aim, RuleSpec, Seen
from alpha_assets.backtest.rules.covariance import ledoit_wolf
from alpha_assets.backtest.rules.limits import limited, neutralised, shared

Side = tuple[str, float, Index]  # reason, sign, places of its names


class SidedSpec(RuleSpec):
    """What rules have in common that share the gross exposure among sides."""

    @abstractmethod
    def sides(self, seen: Seen) -> list[Side]:
        """Return which names each side holds, before it is known whether there are enough."""

    @abstractmethod
    def pull(self, seen: Seen, side_K: Index) -> Array:
        """Return in what proportion the names of a side are held, at least 0."""

    @property
    def fills_its_exposure(self) -> bool:
        """Whether it aims at all of `gross_exposure`, but for limits, regimes and volatility."""
        return True

    @property
    def unheld(self) -> str:
        """Why a scored name is on no side."""
        return "not held by the rule"

    def aim(self, seen: Seen) -> Aim:
        """Return sides, then the weights in them, neutrality, limits, and the exposure."""
        n = len(seen.score_N)
        reason_N = np.full(n, self.unheld, dtype=object)
        sides = self.sides(seen)
        if not self.is_long_only:
            reason_N[seen.is_barred_N] = "not shortable"
        if any(len(side) < self.min_side for _, _, side in sides):
            return Aim.nothing(n, f"a side has fewer than {self.min_side} names")
        weight_N = np.zeros(n)
        for name, sign, side in sides:
            pull_K = self.pull(seen, side)
            if self.inverse_volatility:
                pull_K = pull_K / seen.volatility_N[side]
            if not pull_K.sum() > 0:
                pull_K = np.ones(len(side))
            gross = self.gross_exposure / len(sides)
            weight_N[side] = sign * shared(pull_K, gross, self.max_weight)
            reason_N[side] = name
        weight_N = neutralised(weight_N, seen, self)
        if self.neutral and not weight_N.any():
            kinds = " and ".join(self.neutral)
            return Aim.nothing(n, f"no weights of these names are neutral to {kinds}")
        weight_N = limited(weight_N, seen.sector_N, self)
        filled = float(np.abs(weight_N).sum()) / self.gross_exposure
        return Aim(weight_N * exposure_of(weight_N, seen, self), reason_N, filled=filled)


def exposure_of(weight_N: Array, seen: Seen, spec: RuleSpec) -> float:
    """Return the share of the exposure that regime and volatility allow, at most 1."""
    exposure = spec.regimes.share(seen.regime)
    if spec.volatility_target is not None:
        held_K = np.flatnonzero(weight_N)
        if len(held_K):
            covariance = ledoit_wolf(seen.return_TN[:, held_K])
            variance = float(weight_N[held_K] @ covariance @ weight_N[held_K])
            volatility = sqrt(variance * SESSIONS_A_YEAR) * exposure
            if volatility > spec.volatility_target:
                exposure *= spec.volatility_target / volatility
    return exposure
