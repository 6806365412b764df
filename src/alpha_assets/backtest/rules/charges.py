"""What a rule expects a trade and a short position to cost, from what was known at the decision.

The laws are those of `backtest/costs.py`, per share of equity.  Shape letters: N names.
"""

from dataclasses import dataclass

import numpy as np

from alpha_assets.arrays.types import Array, Index
from alpha_assets.backtest.costs import BPS, CostsSpec, impact_cost

VOLATILITY_SESSIONS = 20  # of the daily volatility that impact goes by, as in the simulator
LEAST_RETURNS = 16  # of them, or the costs' `unknown_volatility` counts


@dataclass(frozen=True)
class Charges:
    """Coefficients of the costs of each name, as fractions of equity.

    A change of weight dw costs linear abs(dw) + impact abs(dw)^1.5.

    Attributes:
        linear_N: commission and half-spread.
        impact_N: of the square-root law.
        borrow_N: fee on a short weight, a fraction a year.
    """

    linear_N: Array
    impact_N: Array
    borrow_N: Array

    @classmethod
    def of(
        cls, costs: CostsSpec, capital: float, adv_N: Array, spread_N: Array, return_TN: Array
    ) -> "Charges":
        """Return the charges of one session.

        Quoted borrow fees are not planned with: all names have the fee of the costs.

        Args:
            costs: the recipe's.
            capital: money that a weight of 1 is.
            adv_N: mean traded money a session; where it is unknown, a trade counts as a whole
                day's volume.
            spread_N: bid-ask spread that ranges imply; read where the costs say so, NaN unknown.
            return_TN: daily returns, the last ones first to count.
        """
        own = costs.half_spread_bps * BPS
        half_N = np.full(len(adv_N), own)
        if costs.spread == "corwin_schultz":
            half_N = np.fmax(spread_N / 2, own)
        # The law at a trade of all of the capital: impact grows with the power 1.5 of the weight.
        # Where ADV is unknown it has no size to grow with, and the whole is a linear cost.
        volatility_N = daily_volatility(return_TN)
        whole_N = impact_cost(np.full(len(adv_N), capital), adv_N, volatility_N, costs) / capital
        is_known_N = adv_N > 0
        return cls(
            linear_N=costs.commission_bps * BPS + half_N + np.where(is_known_N, 0.0, whole_N),
            impact_N=np.where(is_known_N, whole_N, 0.0),
            borrow_N=np.full(len(adv_N), costs.borrow_fee_bps_annual * BPS),
        )

    def only(self, some: Index) -> "Charges":
        """Return the charges of some names, by their places."""
        return Charges(self.linear_N[some], self.impact_N[some], self.borrow_N[some])

    def times(self, scale: float) -> "Charges":
        """Return the charges where every cost is multiplied."""
        return Charges(self.linear_N * scale, self.impact_N * scale, self.borrow_N * scale)

    def of_trade(self, change_N: Array) -> float:
        """Return what changes of weights cost, a fraction of equity."""
        size_N = np.abs(change_N)
        return float(self.linear_N @ size_N + self.impact_N @ size_N**1.5)


def daily_volatility(return_TN: Array) -> Array:
    """Return the standard deviation of the last 20 log returns; NaN where too few are known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        log_TN = np.log1p(return_TN[-VOLATILITY_SESSIONS:])
    is_known_TN = np.isfinite(log_TN)
    n_N = is_known_TN.sum(axis=0)
    sum_N = np.where(is_known_TN, log_TN, 0.0).sum(axis=0)
    apart_TN = np.where(is_known_TN, log_TN - sum_N / np.maximum(n_N, 1), 0.0)
    variance_N = (apart_TN**2).sum(axis=0) / np.maximum(n_N - 1, 1)
    return np.where(n_N >= LEAST_RETURNS, np.sqrt(variance_N), np.nan)
