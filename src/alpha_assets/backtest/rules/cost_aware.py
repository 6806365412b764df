"""Drift less risk less the recipe's own costs, maximised inside all limits by a solver."""

from math import sqrt
from typing import Literal

import numpy as np
from pydantic import Field

from alpha_assets.backtest.rules.base import SESSIONS_A_YEAR, Aim, Seen
from alpha_assets.backtest.rules.covariance import shrunk_factors
from alpha_assets.backtest.rules.limits import limited, orthogonal_to
from alpha_assets.backtest.rules.optimised import OptimisedSpec, charges_of
from alpha_assets.backtest.rules.solver import Limits, Problem, library, solved

FACTORS = 20  # of the covariance that is solved with; with fewer names it is exact
UNSOLVED = "the solver did not converge: held as before"


class CostAwareSpec(OptimisedSpec):
    """Weights of the largest drift less risk less costs, inside all limits.

    Needs the extra `portfolio`.
    max w'drift - risk_aversion/2 w'Sw - costs(w - held) horizon/holding_sessions - fee of shorts,
    drift, S (Ledoit-Wolf, 252 sessions) and fee over the horizon.
    Source: Boyd et al. (2017), Multi-Period Trading via Convex Optimization, section 4.
    """

    rule: Literal["cost_aware"]
    """By a solver, session by session; what is held goes on where it is not worth its cost."""
    holding_sessions: int | None = Field(default=None, gt=0, le=1_000)
    """Sessions that a position is expected to be kept: the cost of a trade is shared among them;
    none: the horizon.
    """
    trade_penalty: float = Field(default=0.0, ge=0, le=1e6)
    """Times half the variance of the trades themselves: a further, quadratic cost."""

    @property
    def keeps_all_limits(self) -> bool:
        """Whether limits and neutrality are kept together: the solver does."""
        return True

    def check_installed(self) -> None:
        """Refuse the rule where the solver is not installed.

        Raises:
            BadInput: naming the extra that brings it.
        """
        library()

    def aim(self, seen: Seen) -> Aim:
        """Return the solution; what is held, inside its limits, where there is none."""
        n = len(seen.score_N)
        why = self.checked(seen)
        if why:
            return Aim.nothing(n, why)
        gross = self.gross_exposure * self.regimes.share(seen.regime)
        if gross == 0:
            return Aim(np.zeros(n), np.full(n, "no exposure in this regime", dtype=object))
        weight_N = solved(self.problem(seen, gross, self.max_turnover))
        if weight_N is None and self.max_turnover is not None:
            # Other limits may need more trading than the cap, or as much as neutrality takes: the
            # cap is then kept on the way there, in proportion.
            weight_N = solved(self.problem(seen, gross, None))
        if weight_N is None:
            held_N = limited(seen.held_N, seen.sector_N, self)
            return Aim(held_N, np.full(n, UNSOLVED, dtype=object), UNSOLVED)
        weight_N = limited(weight_N, seen.sector_N, self)
        filled = float(np.abs(weight_N).sum()) / gross
        return Aim(weight_N, self.reasons(weight_N, seen), filled=filled)

    def problem(self, seen: Seen, gross: float, turnover: float | None) -> Problem:
        """Return what is solved for a session, at a gross exposure and a cap on turnover."""
        charges, everyone_N = charges_of(seen), np.ones(len(seen.score_N), dtype=bool)
        per_session = shrunk_factors(seen.return_TN, FACTORS)
        limits = Limits(
            gross=gross,
            weight=self.max_weight,
            net=self.max_net,
            sector=self.max_sector,
            turnover=turnover,
            volatility=(
                None
                if self.volatility_target is None
                else self.volatility_target / sqrt(SESSIONS_A_YEAR)
            ),
            sector_N=seen.sector_N,
            can_short_N=~seen.is_barred_N,
            neutral_XN=orthogonal_to(everyone_N, seen, self),
        )
        return Problem(
            drift_N=self.drift(seen),
            held_N=seen.held_N,
            covariance=per_session,
            risk=self.risk_aversion * self.horizon,
            charges=charges,
            trading=self.horizon / (self.holding_sessions or self.horizon),
            short_N=charges.borrow_N * (self.horizon / SESSIONS_A_YEAR),
            penalty=self.trade_penalty * self.horizon,
            limits=limits,
        )
