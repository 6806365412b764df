"""How often there was something to hold, and how often nothing was held."""

from collections.abc import Collection
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.backtest.rebalances import held_back

Record = dict[str, object]


def rebalances(
    targets: pl.DataFrame,
    daily: pl.DataFrame,
    positions: pl.DataFrame | None = None,
    max_turnover: float | None = None,
    below_exposure: Collection[date] = (),
) -> Record:
    """Return counts of rebalances and of sessions at which the book was empty.

    Args:
        targets: `session symbol score target_weight reason` of the judged span; a session with rows
            is a rebalance.
        daily: the judged sessions of the daily table.
        positions: of the backtest; None: sides without a position are not counted.
        max_turnover: the rule's cap on turnover, if it has one.
        below_exposure: rebalances that aimed at much less than the rule's exposure.

    Returns:
        `n`, `n_empty` (every weight 0), `reasons` of the empty ones (records of `reason` and
        `n_rebalances`, most frequent first), `n_unsolved` (a solver did not converge, and what was
        held stayed), `n_over_cap` (limits took more trading than the cap), `n_capped` (trading
        stopped at the cap), `n_below_exposure`, `names_scored` (median of all rebalances),
        `n_sessions`, `n_sessions_empty` (nothing held at the close), `n_longs_unfilled` and
        `n_shorts_unfilled` (rebalances that wanted the side and held no name of it at the close).
    """
    each = targets.group_by("session").agg(
        n_names=pl.col("score").is_not_null().sum(),
        is_empty=(pl.col("target_weight") == 0).all(),
        # Of an empty one the commonest reason; of two equally common ones the first by name.
        reason=pl.col("reason").sort().mode().sort().first(),
    )
    empty = each.filter("is_empty")
    reasons = empty.group_by("reason").agg(n_rebalances=pl.len())
    back = held_back(targets, max_turnover)
    names = each["n_names"].to_numpy()
    return {
        "n": len(each),
        "n_empty": len(empty),
        "reasons": reasons.sort(["n_rebalances", "reason"], descending=[True, False]).to_dicts(),
        "n_unsolved": len(back.unsolved),
        "n_over_cap": len(back.over_cap),
        "n_capped": len(back.capped),
        "n_below_exposure": each.filter(pl.col("session").is_in(list(below_exposure))).height,
        "names_scored": float(np.median(names)) if len(names) else None,
        "n_sessions": len(daily),
        "n_sessions_empty": int((daily["gross_exposure"] == 0).sum()),
        **_unfilled(targets, positions),
    }


def _unfilled(targets: pl.DataFrame, positions: pl.DataFrame | None) -> Record:
    if positions is None:
        return {}
    held = targets.select("session", "symbol", "target_weight").join(
        positions.select("session", "symbol", "shares"), on=["session", "symbol"], how="left"
    )
    counts: Record = {}
    for side, sign in (("longs", 1), ("shorts", -1)):
        wants = held.filter(pl.col("target_weight") * sign > 0)
        by_session = wants.group_by("session").agg(has=(pl.col("shares") * sign > 0).any())
        counts[f"n_{side}_unfilled"] = int((~by_session["has"].fill_null(False)).sum())
    return counts
