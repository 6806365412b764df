"""What rules have in common that weigh drift against risk and the recipe's own costs.

Shape letters: N scored names of a session.
"""

from math import isnan
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from alpha_assets.arrays.types import Array
from alpha_assets.backtest.rules.base import (
    COVARIANCE_SESSIONS,
    RuleSpec,
    Seen,
)
from alpha_assets.backtest.rules.calibration import LEAST_SESSIONS
from alpha_assets.backtest.rules.charges import Charges
from alpha_assets.backtest.rules.standard import standardised

ADV, SPREAD = "adv_20", "cs_spread_20"  # features that costs are planned with
HELD, UNTRADED = "held by the rule", "not worth its cost"


class OptimisedSpec(RuleSpec):
    """What rules have in common that weigh drift against risk and costs.

    drift of a name = worth · z, z the standardised score, clipped, and worth the drift over the
    horizon that goes with one standard deviation: declared, or estimated from stored scores and
    the returns that followed them and were known by the session.
    """

    risk_aversion: float = Field(default=10.0, ge=1e-3, le=1e6)
    """Half of it times the variance of the book is what a drift must make up for: 1 is Kelly's."""
    drift_bps: float | None = Field(default=None, gt=0, le=10_000)
    """Drift over the horizon that goes with one standard deviation of the score, basis points;
    none: estimated over `calibration_sessions`.
    """
    calibration_sessions: int = Field(default=250, ge=LEAST_SESSIONS, le=2_500)
    """Sessions of stored scores that the drift is estimated from; nothing is held before 20 of them
    are known with the returns that followed.
    """
    clip: float = Field(default=3.0, ge=0.1)
    """Largest absolute standardised score that counts; what is beyond counts as this."""

    @model_validator(mode="after")
    def _nothing_else_decides(self) -> Self:
        for name, is_on in (
            ("inverse_volatility", self.inverse_volatility),
            ("step", self.step < 1),
        ):
            if is_on:
                raise ValueError(
                    f"{name} = {getattr(self, name)}: rule = {self.kind!r} decides by risk and "
                    f"cost how much to hold and how far to go; leave {name} out"
                )
        if self.smoothing is not None and self.drift_bps is None:
            raise ValueError(
                f"smoothing = {self.smoothing} and no drift_bps: what a score is worth is "
                "estimated from the scores of single sessions; declare drift_bps, or leave "
                "smoothing out"
            )
        return self

    @model_validator(mode="after")
    def _a_declared_drift_is_not_estimated(self) -> Self:
        why = f"drift_bps = {self.drift_bps} is declared: leave drift_bps out"
        self.refuse_idle("calibration_sessions", self.drift_bps is not None, why)
        return self

    @property
    def kind(self) -> str:
        """What `rule` is."""
        return self.names()[0]

    @property
    def remembers(self) -> bool:
        """Whether what is decided depends on what the targets so far hold: it does."""
        return True

    @property
    def needs_costs(self) -> bool:
        """Whether it reads the recipe's costs."""
        return True

    @property
    def needs_returns(self) -> bool:
        """Whether it reads a covariance."""
        return True

    @property
    def calibrates(self) -> bool:
        """Whether the worth of a score is estimated."""
        return self.drift_bps is None

    @property
    def _calibrated_over(self) -> int:
        """Sessions before the one decided from the first score that is calibrated on."""
        return self.calibration_sessions + self.horizon if self.calibrates else 0

    @property
    def sessions_back(self) -> int:
        """Sessions before the one decided whose features are read."""
        return max(COVARIANCE_SESSIONS - 1, self._calibrated_over)

    @property
    def scores_back(self) -> int:
        """Sessions before the one decided whose scores are read."""
        return max(super().scores_back, self._calibrated_over)

    @property
    def features(self) -> tuple[str, ...]:
        """The features as of the session that it reads beside scores."""
        return (*super().features, ADV, SPREAD)

    @property
    def reads_others(self) -> bool:
        """Whether it reads more than scores, sectors, loans and what drift is weighed by."""
        return "beta" in self.neutral or bool(self.regimes.used) or self.smoothing is not None

    def checked(self, seen: Seen) -> str:
        """Return why nothing can be decided of a session; empty where it can."""
        least = 2 * self.min_side
        if len(seen.score_N) < least:
            return f"fewer than {least} names"
        if not np.nansum(np.abs(seen.return_TN)) > 0:
            return "no name has a return that is not 0"
        if isnan(seen.worth.drift):
            return (
                f"too few sessions to know what a score is worth: {seen.worth.n_sessions}, "
                f"want {LEAST_SESSIONS}"
            )
        return ""

    def drift(self, seen: Seen) -> Array:
        """Return what each name is expected to earn over the horizon, a fraction."""
        if seen.worth.is_itself:
            return seen.score_N
        z_N = np.clip(standardised(seen.score_N), -self.clip, self.clip)
        return seen.worth.drift * z_N

    def reasons(self, weight_N: Array, seen: Seen) -> Array:
        """Return why each name is held or not."""
        reason_N = np.where(weight_N != 0, HELD, UNTRADED).astype(object)
        reason_N[seen.is_barred_N & (weight_N == 0)] = "not shortable"
        return reason_N


def charges_of(seen: Seen) -> Charges:
    """Return what trading is expected to cost."""
    assert seen.charges is not None, "the rule reads costs, and is given them"
    return seen.charges
