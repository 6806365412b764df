"""Targets of many sessions at once, on dense arrays: for scores that no recipe predicted.

The same rules as `target_weights`, for those that read nothing but scores, sectors, what may be
shorted, and what drift is weighed by.  Shape letters: D sessions, N symbols.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.backtest.costs import CostsSpec
from alpha_assets.backtest.rules.base import COVARIANCE_SESSIONS, RuleSpec, Seen
from alpha_assets.backtest.rules.calibration import ITSELF, declared, worth_of
from alpha_assets.backtest.rules.charges import Charges
from alpha_assets.backtest.rules.cost_aware import UNSOLVED
from alpha_assets.backtest.rules.decide import aim_of, moved
from alpha_assets.backtest.rules.optimised import OptimisedSpec
from alpha_assets.errors import BadInput

# What a rule wants to hold, by the place of the session and which names are short and barred.
Aims = dict[tuple[int, bytes], Array]


@dataclass(frozen=True)
class Weighing:
    """What rules read that weigh drift against risk and costs.

    Attributes:
        costs: the recipe's.
        return_DN: at each session the return of the session before, `ret_1`; NaN unknown.
        adv_DN: mean traded money a session as known at it, `adv_20`; NaN unknown.
        spread_DN: what ranges imply, `cs_spread_20`; None: no name has one.
        row_D: place of each session of the scores in the arrays above, which may begin before
            them; None: they are of the same sessions.
        cost_scale: what every cost is multiplied by.
        is_drift: whether a score is what its name is expected to earn over the horizon, a fraction;
            else it is worth what the rule declares, or estimates.
    """

    costs: CostsSpec
    return_DN: Array
    adv_DN: Array
    spread_DN: Array | None = None
    row_D: Index | None = None
    cost_scale: float = 1.0
    is_drift: bool = False


class Walk(NamedTuple):
    """What is held over sessions.

    Attributes:
        weights: what is to be held from each rebalance on, by the place of its session.
        unsolved: places of the rebalances at which the solver did not converge: what was held
            goes on.
    """

    weights: dict[int, Array]
    unsolved: tuple[int, ...]


def walk_over(
    score_DN: Array,
    is_barred_DN: Mask,
    is_listed_DN: Mask,
    rebalances: Collection[int],
    spec: RuleSpec,
    sectors: Index | None = None,
    weighing: Weighing | None = None,
    aims: Aims | None = None,
) -> Walk:
    """Return what is to be held from each rebalance on.

    Args:
        score_DN: NaN where a name is not scored; names in the order of symbols.
        is_barred_DN: known not to be shortable.
        is_listed_DN: in the market: what is held of others is given up at once.
        rebalances: places of the sessions that rebalance.
        spec: the rule.
        sectors: place of the sector, [N] or of each session, [D, N]; default: all in one.
        weighing: of rules that weigh drift against costs; needed by them alone.
        aims: what the rule wants to hold, as far as an earlier call for the same scores found it;
            completed here.  Of rules that differ in nothing but `step`, `max_turnover` and
            `rebalance`, and whose aim depends on nothing that is held but on short positions in
            names that may not be shorted: they may stay.

    Raises:
        BadInput: the rule reads features or smoothed scores, or what is not given.
    """
    if isinstance(spec, OptimisedSpec) and weighing is None:
        raise BadInput(f"rule {spec.kind!r} reads costs, returns and ADV: give `weighing`")
    is_weighed = isinstance(spec, OptimisedSpec) and not spec.reads_others
    if (spec.features or spec.scores_back) and not is_weighed:
        raise BadInput(
            f"rule {spec!r} reads more than the scores of a session; it cannot be walked over them"
        )
    n_symbols = score_DN.shape[1]
    sectors = np.zeros(n_symbols, dtype=np.int64) if sectors is None else sectors
    sector_DN = np.broadcast_to(sectors, score_DN.shape)
    held_N = np.zeros(n_symbols)
    found: dict[int, Array] = {}
    unsolved: list[int] = []
    known = {} if aims is None else aims
    for d in sorted(rebalances):
        held_N = np.where(is_listed_DN[d], held_N, 0.0)
        some = np.flatnonzero(~np.isnan(score_DN[d]))
        if not len(some):
            continue
        sector_N = sector_DN[d]
        asked = d, (is_barred_DN[d] & (held_N < 0)).tobytes()
        if asked in known:
            held_N = moved(held_N, known[asked], sector_N, spec).weight_M
            found[d] = held_N
            continue
        unknown_K = np.full(len(some), np.nan)
        seen = Seen(
            session=str(d),
            score_N=score_DN[d, some],
            held_N=held_N[some],
            is_barred_N=is_barred_DN[d, some],
            sector_N=sector_N[some],
            volatility_N=unknown_K,
            beta_N=unknown_K,
            regime={},
            return_TN=np.full((0, len(some)), np.nan),
        )
        if isinstance(spec, OptimisedSpec) and weighing is not None:
            seen = _weighed(seen, weighing, score_DN, d, some, spec)
        aim_N = np.zeros(n_symbols)
        aim = aim_of(seen, spec)
        aim_N[some] = aim.weight_N
        if aim.for_all == UNSOLVED:
            unsolved.append(d)
        known[asked] = aim_N
        held_N = moved(held_N, aim_N, sector_N, spec).weight_M
        found[d] = held_N
    return Walk(found, tuple(unsolved))


def _weighed(
    seen: Seen, weighing: Weighing, score_DN: Array, d: int, some: Index, spec: OptimisedSpec
) -> Seen:
    """Return what is seen of a session together with what drift is weighed by."""
    row = d if weighing.row_D is None else int(weighing.row_D[d])
    return_TN = weighing.return_DN[max(row + 1 - COVARIANCE_SESSIONS, 0) : row + 1, some]
    spread_DN, unknown_K = weighing.spread_DN, np.full(len(some), np.nan)
    charges = Charges.of(
        weighing.costs,
        spec.capital,
        weighing.adv_DN[row, some],
        unknown_K if spread_DN is None else spread_DN[row, some],
        return_TN,
    ).times(weighing.cost_scale)
    if weighing.is_drift:
        worth = ITSELF
    elif spec.drift_bps is not None:
        worth = declared(spec.drift_bps)
    else:
        first = max(d - spec.scores_back, 0)
        rows = slice(first, d + 1) if weighing.row_D is None else weighing.row_D[first : d + 1]
        worth = worth_of(
            score_DN[first : d + 1],
            weighing.return_DN[rows],
            spec.horizon,
            spec.calibration_sessions,
        )
    return replace(seen, return_TN=return_TN, charges=charges, worth=worth)
