"""A share of the way to an aim, in closed form: where costs are quadratic and scores decay."""

from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from alpha_assets.arrays.types import Array
from alpha_assets.backtest.rules.base import Aim, Seen
from alpha_assets.backtest.rules.covariance import ledoit_wolf
from alpha_assets.backtest.rules.limits import limited, neutralised
from alpha_assets.backtest.rules.optimised import OptimisedSpec, charges_of
from alpha_assets.backtest.rules.sided import exposure_of

PERIOD = {"daily": 1, "weekly": 5, "monthly": 21}  # sessions from one rebalance to the next


class Rate(NamedTuple):
    """How a rebalance goes.

    Attributes:
        share: of the way from what is held to the aim.
        discount: of the Markowitz weights: the aim is that share of them.
    """

    share: float
    discount: float


class AimPortfolioSpec(OptimisedSpec):
    """A share of the way towards an aim: Markowitz weights, discounted by how fast scores decay.

    The best rule where costs are quadratic and in proportion to risk.
    w = held + a/c (aim - held), aim = (risk_aversion S)^-1 drift / (1 + decay a/risk_aversion),
    a = (sqrt(g^2 + 4 g c) - g) / 2, g the risk aversion, c the cost of a trade dw as c/2 dw'S dw:
    what the recipe's costs are of going from nothing to the aim.
    Source: Gârleanu & Pedersen (2013), J. Finance 68, 2309-2340, propositions 1-4, undiscounted.
    """

    rule: Literal["aim_portfolio"]
    """In closed form, without a solver."""
    half_life: float | None = Field(default=None, gt=0, le=2_500)
    """Sessions after which half of a score's drift is left; none: the horizon."""

    @property
    def period(self) -> int:
        """Sessions from one rebalance to the next."""
        return PERIOD[self.rebalance]

    @property
    def decay(self) -> float:
        """Share of a score's drift that is gone by the next rebalance."""
        return float(1 - 0.5 ** (self.period / (self.half_life or self.horizon)))

    def aim(self, seen: Seen) -> Aim:
        """Return where the rebalance goes."""
        n = len(seen.score_N)
        why = self.checked(seen)
        if why:
            return Aim.nothing(n, why)
        covariance_NN = ledoit_wolf(seen.return_TN) * self.period
        drift_N = self.drift(seen) * (self.period / self.horizon)
        best_N = np.asarray(
            np.linalg.solve(self.risk_aversion * covariance_NN, drift_N), np.float64
        )
        free_N = self._allowed(best_N, seen)
        rate = self.rate(free_N, drift_N, covariance_NN, seen)
        weight_N = seen.held_N + rate.share * (free_N * rate.discount - seen.held_N)
        is_barred_N = seen.is_barred_N & (weight_N < np.minimum(seen.held_N, 0.0))
        weight_N = np.where(is_barred_N, np.minimum(seen.held_N, 0.0), weight_N)
        weight_N[np.abs(weight_N) < self.close_below * (free_N == 0)] = 0.0
        weight_N = limited(weight_N, seen.sector_N, self)
        filled = float(np.abs(free_N).sum()) * rate.discount / self.gross_exposure
        return Aim(weight_N, self.reasons(weight_N, seen), filled=filled)

    def _allowed(self, weight_N: Array, seen: Seen) -> Array:
        """Return weights that may be entered: no barred short, neutral, inside limits."""
        weight_N = np.where(seen.is_barred_N & (weight_N < 0), np.minimum(seen.held_N, 0), weight_N)
        weight_N = limited(neutralised(weight_N, seen, self), seen.sector_N, self)
        return weight_N * exposure_of(weight_N, seen, self)

    def rate(self, aim_N: Array, drift_N: Array, covariance_NN: Array, seen: Seen) -> Rate:
        """Return the share of the way to go, and how much of the aim is aimed at.

        Where limits have cut the aim, the risk aversion is the one at which what is left is the
        best multiple of itself.
        """
        variance = float(aim_N @ covariance_NN @ aim_N)
        if not variance > 0:
            return Rate(1.0, 1.0)
        risk = max(self.risk_aversion, float(aim_N @ drift_N) / variance)
        return rate_of(risk, 2 * charges_of(seen).of_trade(aim_N) / variance, self.decay)


def rate_of(risk: float, cost: float, decay: float) -> Rate:
    """Return the rate at a risk aversion, a quadratic cost and a decay per period.

    The share is a/c; written so that it is 1 where trading is free.
    """
    share = 2 * risk / (risk + sqrt(risk**2 + 4 * risk * cost))
    return Rate(share, 1 / (1 + decay * share * cost / risk))
