"""Targets of many sessions at once, on dense arrays: for scores that no recipe predicted.

The same rules as `target_weights`, for those that read nothing but scores, sectors and what may
be shorted.  Shape letters: D sessions, N symbols.
"""

from collections.abc import Collection

import numpy as np

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.backtest.rules.base import RuleSpec, Seen
from alpha_assets.backtest.rules.decide import aim_of, moved
from alpha_assets.errors import BadInput


def weights_over(
    score_DN: Array,
    is_barred_DN: Mask,
    is_listed_DN: Mask,
    rebalances: Collection[int],
    spec: RuleSpec,
    sector_N: Index | None = None,
) -> dict[int, Array]:
    """Return what is to be held from each rebalance on, by the place of its session.

    Args:
        score_DN: NaN where a name is not scored; names in the order of symbols.
        is_barred_DN: known not to be shortable.
        is_listed_DN: in the market: what is held of others is given up at once.
        rebalances: places of the sessions that rebalance.
        spec: the rule.
        sector_N: place of the sector; default: all in one.

    Raises:
        BadInput: the rule reads features or scores of several sessions.
    """
    if spec.features or spec.scores_back:
        raise BadInput(
            f"rule {spec!r} reads more than the scores of a session; it cannot be walked over them"
        )
    n_symbols = score_DN.shape[1]
    sector_N = np.zeros(n_symbols, dtype=np.int64) if sector_N is None else sector_N
    held_N = np.zeros(n_symbols)
    found: dict[int, Array] = {}
    for d in sorted(rebalances):
        held_N = np.where(is_listed_DN[d], held_N, 0.0)
        some = np.flatnonzero(~np.isnan(score_DN[d]))
        if not len(some):
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
        aim_N = np.zeros(n_symbols)
        aim_N[some] = aim_of(seen, spec).weight_N
        held_N = moved(held_N, aim_N, sector_N, spec).weight_M
        found[d] = held_N
    return found
