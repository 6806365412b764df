"""A convex problem of one session: drift less risk less costs, inside limits, by Clarabel.

Shape letters: N names, K factors of the covariance.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import sqrt
from types import ModuleType
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.backtest.rules.charges import Charges
from alpha_assets.backtest.rules.covariance import Factors
from alpha_assets.errors import BadInput

LIBRARY, SOLVER = "cvxpy", "clarabel"
MOST_ITERATIONS = 200
# Units of weight, as a share of an equal one, and tolerances: what is tried in turn.
ATTEMPTS = ((1.0, 1e-8), (0.1, 1e-8), (0.01, 1e-8), (0.1, 1e-7))
INSIDE = 1 - 1e-6  # of a limit, so that what is held is inside it after the solver's rounding
SAME = 1e-7  # of the gross exposure: a change of weight below it is none


def library() -> ModuleType:
    """Return CVXPY.

    Raises:
        BadInput: it is not installed, or the solver is not.
    """
    try:
        import_module(SOLVER)
        return import_module(LIBRARY)
    except (ImportError, OSError) as error:
        raise BadInput(
            'portfolio.rule = "cost_aware" needs CVXPY and Clarabel, which cannot be imported '
            f"({error}); install the extra with: pip install 'alpha-assets[portfolio]'"
        ) from error


def is_installed() -> bool:
    """Return whether the solver is there, without the second that importing it takes."""
    return all(find_spec(name) is not None for name in (LIBRARY, SOLVER))


@dataclass(frozen=True)
class Limits:
    """What weights must keep to; None or no rows: no limit.

    Attributes:
        gross: sum of absolute weights.
        weight: absolute weight of a name.
        net: absolute sum of weights.
        sector: sum of absolute weights of a sector.
        turnover: sum of absolute changes.
        volatility: standard deviation per session.
        sector_N: place of the sector.
        can_short_N: a short position may be entered or grow.
        neutral_XN: rows that weights are orthogonal to.
    """

    gross: float
    weight: float | None
    net: float | None
    sector: float | None
    turnover: float | None
    volatility: float | None
    sector_N: Index
    can_short_N: Mask
    neutral_XN: Array


@dataclass(frozen=True)
class Problem:
    """What is maximised over weights w, with dw = w - held.

        drift w - risk/2 w'Sw - trading (linear abs(dw) + impact abs(dw)^1.5) - short max(-w, 0)
        - penalty/2 dw'S dw

    Attributes:
        drift_N: over the period.
        held_N: weights that are held.
        covariance: S, of the period.
        risk: aversion.
        charges: of a change of weight.
        trading: weight of the cost of trading.
        short_N: cost of a short weight over the period.
        penalty: of a quadratic cost.
        limits: of the weights.
    """

    drift_N: Array
    held_N: Array
    covariance: Factors
    risk: float
    charges: Charges
    trading: float
    short_N: Array
    penalty: float
    limits: Limits


def solved(problem: Problem) -> Array | None:
    """Return the weights of largest value; None where the solver did not converge.

    Weights are solved for in units of an equal share, and the value in units of what drift, risk
    or cost is typically worth, so that tolerances mean the same for few names and many.  Where the
    solver comes no nearer than its reduced accuracy, it is tried again in smaller units.  It works
    on one thread: the same numbers give the same bits.
    """
    for share, tolerance in ATTEMPTS:
        unit = problem.limits.gross * share / len(problem.drift_N)
        weight_N, is_impossible = _attempt(problem, unit, tolerance)
        if weight_N is not None or is_impossible:
            return weight_N
    return None


def _attempt(problem: Problem, unit: float, tolerance: float) -> tuple[Array | None, bool]:
    """Return the solution in some unit of weight, and whether limits make all impossible."""
    cp, limits = library(), problem.limits
    n = len(problem.drift_N)
    value = _value(problem, unit)
    held_N = problem.held_N / unit
    v, t = cp.Variable(n), cp.Variable(n, nonneg=True)  # weight, absolute change
    long, short = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
    parts = [v == long - short, v - held_N <= t, held_N - v <= t]

    def at_most(amount: Any, limit: float | None) -> None:  # noqa: ANN401 (the solver's type)
        if limit is not None:
            parts.append(amount <= limit * INSIDE / unit)

    risks = _Risk(problem.covariance, sqrt(problem.risk / value) * unit, parts)
    charged_N = problem.trading * problem.charges.linear_N * (unit / value)
    objective = (problem.drift_N * (unit / value)) @ v - risks.half(v)
    objective -= charged_N @ t + (problem.short_N * (unit / value)) @ short
    impact_N = problem.trading * problem.charges.impact_N * (unit**1.5 / value)
    moving = np.flatnonzero(impact_N > 0)
    if len(moving):
        objective -= impact_N[moving] @ cp.power(t[moving], 1.5)
    if problem.penalty:
        objective -= (problem.penalty / problem.risk) * risks.half(v - held_N)
    at_most(cp.sum(long) + cp.sum(short), limits.gross)
    at_most(long, limits.weight)
    at_most(short, limits.weight)
    at_most(cp.abs(cp.sum(v)), limits.net)
    at_most(cp.sum(t), limits.turnover)
    for sector in np.unique(limits.sector_N) if limits.sector is not None else ():
        some = np.flatnonzero(limits.sector_N == sector)
        at_most(cp.sum(long[some]) + cp.sum(short[some]), limits.sector)
    if limits.volatility is not None:
        own_N = np.sqrt(problem.covariance.own_N)
        spread = cp.hstack([problem.covariance.loading_KN @ v, cp.multiply(own_N, v)])
        parts.append(cp.norm(spread * (unit / limits.volatility)) <= INSIDE)
    barred = np.flatnonzero(~limits.can_short_N)
    if len(barred):
        parts.append(short[barred] <= np.maximum(-held_N[barred], 0.0))
    for row_N in limits.neutral_XN:
        largest = float(np.abs(row_N).max())
        if largest > 0:
            parts.append((row_N / largest) @ v == 0)
    whole = cp.Problem(cp.Maximize(objective), parts)
    with catch_warnings():
        simplefilter("ignore")  # of a solution that is not accurate: it is not taken
        try:
            whole.solve(
                solver=cp.CLARABEL,
                max_iter=MOST_ITERATIONS,
                tol_gap_abs=tolerance,
                tol_gap_rel=tolerance,
                tol_feas=tolerance,
            )
        except cp.error.SolverError:
            return None, False
    if whole.status != cp.OPTIMAL or v.value is None:
        return None, whole.status == cp.INFEASIBLE
    weight_N = np.asarray(v.value, dtype=np.float64) * unit
    is_same_N = np.abs(weight_N - problem.held_N) <= SAME * limits.gross
    weight_N = np.where(is_same_N, problem.held_N, weight_N)
    return np.where(np.abs(weight_N) <= SAME * limits.gross, 0.0, weight_N), False


class _Risk:
    """Half of the variance of some weights, times a size squared."""

    def __init__(self, covariance: Factors, size: float, parts: list[Any]) -> None:
        self.loading_KN = covariance.loading_KN * size
        self.own_N = np.sqrt(covariance.own_N) * size
        self.parts = parts

    def half(self, weights: Any) -> Any:  # noqa: ANN401 (the solver's type)
        """Return the expression; a variable of the factors keeps the solver's matrices sparse."""
        cp = library()
        loaded = cp.Variable(len(self.loading_KN))
        self.parts.append(loaded == self.loading_KN @ weights)
        own = cp.sum_squares(cp.multiply(self.own_N, weights)) if self.own_N.any() else 0.0
        return (cp.sum_squares(loaded) + own) / 2


def _value(problem: Problem, unit: float) -> float:
    """Return what a name's drift or risk is typically worth at an equal share."""
    drift = float(np.abs(problem.drift_N).mean()) * unit
    variance_N = (problem.covariance.loading_KN**2).sum(axis=0) + problem.covariance.own_N
    cost = problem.trading * float(
        (problem.charges.linear_N * unit + problem.charges.impact_N * unit**1.5).mean()
    )
    return max(drift, problem.risk * float(variance_N.mean()) * unit**2, cost, 1e-15)
