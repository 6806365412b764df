"""From scores to what is held: what the rule wants, and the way there from what is held.

Shape letters: N scored names, M names that are scored or held.
"""

from dataclasses import dataclass

import numpy as np

from alpha_assets.arrays.types import Array, Index
from alpha_assets.backtest.rules.base import Aim, RuleSpec, Seen
from alpha_assets.backtest.rules.covariance import has_returns
from alpha_assets.backtest.rules.limits import limited

ROUNDING = 1e-9  # of exposure: a limit that is exceeded by less holds


def aim_of(seen: Seen, spec: RuleSpec) -> Aim:
    """Return what the rule wants to hold of the scored names.

    A name whose volatility, beta or returns are needed and unknown is not ranked.
    """
    n = len(seen.score_N)
    reason_N = np.full(n, "", dtype=object)
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
    if n and not len(some):
        words = " and ".join(sorted(set(reason_N.tolist())))
        return Aim.nothing(n, f"no name can be ranked: of each, {words}")
    aim = spec.aim(seen if len(some) == n else seen.only(some))
    weight_N = np.zeros(n)
    weight_N[some] = aim.weight_N
    reason_N[some] = aim.reason_N
    if aim.for_all:
        reason_N[:] = aim.for_all
    return Aim(weight_N, reason_N, aim.for_all, aim.filled)


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
