"""From scores to what is held: sides, weights, limits, exposure, and the way there from the old.

Shape letters: N scored names, M names that are scored or held.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from alpha_assets.arrays.types import Array, Index
from alpha_assets.backtest.rules.base import RuleSpec, Seen
from alpha_assets.backtest.rules.covariance import has_returns, ledoit_wolf
from alpha_assets.backtest.rules.limits import limited, neutralised, shared

SESSIONS_A_YEAR = 252
ROUNDING = 1e-9  # of exposure: a limit that is exceeded by less holds


@dataclass(frozen=True)
class Aim:
    """What a rule wants to hold, were trading free.

    Attributes:
        weight_N: signed shares of equity.
        reason_N: why, of every scored name.
    """

    weight_N: Array
    reason_N: Array


def aim_of(seen: Seen, spec: RuleSpec) -> Aim:
    """Return what the rule wants to hold of the scored names.

    Sides, then the weights in them, then neutrality and limits, then the exposure.
    A name whose volatility, beta or returns are needed and unknown is not ranked.
    """
    n = len(seen.score_N)
    reason_N = np.full(n, spec.unheld, dtype=object)
    can_N = np.ones(n, dtype=bool)
    for is_needed, is_known_N, words in (
        (spec.inverse_volatility, seen.volatility_N > 0, "its volatility is unknown"),
        ("beta" in spec.neutral, ~np.isnan(seen.beta_N), "its beta is unknown"),
        (spec.needs_returns, has_returns(seen.return_TN), "too few of its returns are known"),
    ):
        if is_needed:
            reason_N[can_N & ~is_known_N] = words
            can_N &= is_known_N
    some = np.flatnonzero(can_N)
    known = seen if len(some) == n else seen.only(some)
    weight_N = np.zeros(n)
    sides = spec.sides(known)
    if not spec.is_long_only:
        barred_K = some[known.is_barred_N]
        reason_N[barred_K] = "not shortable"
    if any(len(side) < spec.min_side for _, _, side in sides):
        reason_N[:] = f"a side has fewer than {spec.min_side} names"
        return Aim(weight_N, reason_N)
    weight_K = np.zeros(len(some))
    for name, sign, side in sides:
        pull_K = spec.pull(known, side)
        if spec.inverse_volatility:
            pull_K = pull_K / known.volatility_N[side]
        if not pull_K.sum() > 0:
            pull_K = np.ones(len(side))
        weight_K[side] = sign * shared(pull_K, spec.gross_exposure / len(sides), spec.max_weight)
        reason_N[some[side]] = name
    weight_K = neutralised(weight_K, known, spec)
    if spec.neutral and not weight_K.any():
        reason_N[:] = f"no weights of these names are neutral to {' and '.join(spec.neutral)}"
        return Aim(weight_N, reason_N)
    weight_K = limited(weight_K, known.sector_N, spec)
    weight_K = weight_K * exposure_of(weight_K, known, spec)
    weight_N[some] = weight_K
    return Aim(weight_N, reason_N)


def exposure_of(weight_N: Array, seen: Seen, spec: RuleSpec) -> float:
    """Return the share of the exposure that regime and volatility allow, at most 1."""
    shares = [share for name, share in spec.regimes.used.items() if seen.regime.get(name)]
    exposure = min(shares, default=1.0)
    if spec.volatility_target is not None:
        held_K = np.flatnonzero(weight_N)
        if len(held_K):
            covariance = ledoit_wolf(seen.return_TN[:, held_K])
            variance = float(weight_N[held_K] @ covariance @ weight_N[held_K])
            volatility = sqrt(variance * SESSIONS_A_YEAR) * exposure
            if volatility > spec.volatility_target:
                exposure *= spec.volatility_target / volatility
    return exposure


@dataclass(frozen=True)
class Moved:
    """Where a rebalance goes.

    Attributes:
        weight_M: what is to be held.
        is_forced: whether limits needed more trading than `max_turnover` allows.
    """

    weight_M: Array
    is_forced: bool


def moved(held_M: Array, aim_M: Array, sector_M: Index, spec: RuleSpec) -> Moved:
    """Return what is held after going from `held_M` towards `aim_M`.

    `step` of the way; then as far as `max_turnover` lets it.  A position on its way out is closed
    below `close_below`.  Limits hold for what is held: where they need more trading than
    `max_turnover` allows, they go first.

    Args:
        held_M: weights that the targets so far hold, of names that still are in the market.
        aim_M: weights that the rule wants.
        sector_M: place of the sector.
        spec: the rule.
    """
    if not spec.remembers:
        return Moved(aim_M, False)
    change_M = (aim_M - held_M) * spec.step if spec.step < 1 else aim_M - held_M
    found_M = held_M + change_M if spec.step < 1 else aim_M.copy()
    found_M[(aim_M == 0) & (np.abs(found_M) < spec.close_below)] = 0.0
    turnover = float(np.abs(found_M - held_M).sum())
    if spec.max_turnover is not None and turnover > spec.max_turnover:
        found_M = held_M + (found_M - held_M) * (spec.max_turnover / turnover)
    inside_M = limited(found_M, sector_M, spec)
    is_forced = (
        spec.max_turnover is not None
        and float(np.abs(inside_M - held_M).sum()) > spec.max_turnover + ROUNDING
    )
    return Moved(inside_M, is_forced)
