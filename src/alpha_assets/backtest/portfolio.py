"""What to hold, from one session's scores and what was known when it was decided."""

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from alpha_assets.calendar import RebalanceRule
from alpha_assets.spec import Spec

TARGETS = {
    "session": pl.Date,
    "symbol": pl.String,
    "score": pl.Float32,
    "target_weight": pl.Float64,
    "reason": pl.String,
}


class PortfolioSpec(Spec):
    """Declared under `[portfolio]` in a recipe.

    Attributes:
        rule: long the top quantile and short the bottom one, or long the top one alone.
        horizon: whose scores are traded, sessions.
        quantile: share of the scored names that a side holds.
        min_side: names that a side must have, else nothing is held.
        gross_exposure: sum of absolute weights, a fraction of equity.
        rebalance: on the first session of each ISO week, or of each month.
        fill: the auction of the decision session at which orders fill.
        capital: equity before the first session, in the market's currency.
        lot: shares that orders are rounded to, towards zero; None: fractions.
        max_participation: largest fill of a session, a share of ADV; None: no limit.
    """

    rule: Literal["long_short_quantile", "long_only_quantile"] = "long_short_quantile"
    horizon: int = Field(gt=0)
    quantile: float = Field(default=0.1, gt=0, le=0.5)
    min_side: int = Field(default=2, gt=0)
    gross_exposure: float = Field(default=1.0, gt=0, le=10)
    rebalance: RebalanceRule = "weekly"
    fill: Literal["open", "close"] = "open"
    capital: float = Field(default=100e6, gt=0)
    lot: float | None = Field(default=None, gt=0)
    max_participation: float | None = Field(default=None, gt=0, le=1)


def target_weights(
    scores: pl.DataFrame, not_shortable: frozenset[str], spec: PortfolioSpec
) -> pl.DataFrame:
    """Return what to hold from one session on; equal weights within a side.

    Each side holds round(quantile · n) of the n scored names, ties in the order of symbols,
    and half of the gross exposure; a side of one rule alone holds all of it.  Every scored
    name has a row: a weight of 0 says that it is not to be held.

    Args:
        scores: `session`, `symbol`, `horizon`, `score` of one session.
        not_shortable: symbols known not to be shortable at its decision: the short side
            passes over them.
        spec: the rule.
    """
    scored = (
        scores.filter(pl.col("horizon") == spec.horizon)
        .select("session", "symbol", "score")
        .sort("symbol")
    )
    n = scored.height
    size = round(spec.quantile * n)
    weight_N = np.zeros(n)
    reason_N = np.full(n, "not in a quantile", dtype=object)
    order_N = np.lexsort((np.arange(n), -scored["score"].to_numpy().astype(np.float64)))
    symbols = scored["symbol"].to_list()
    sides = {"top quantile": order_N[:size]}
    if spec.rule == "long_short_quantile":
        held = set(order_N[:size].tolist())
        lendable = [
            k for k in order_N[::-1].tolist() if symbols[k] not in not_shortable and k not in held
        ]
        sides["bottom quantile"] = np.array(lendable[:size], dtype=np.int64)
        for k, symbol in enumerate(symbols):
            if symbol in not_shortable:
                reason_N[k] = "not shortable"
    if any(len(side) < spec.min_side for side in sides.values()):
        reason_N[:] = f"a side has fewer than {spec.min_side} names"
        sides = {}
    share = spec.gross_exposure / max(len(sides), 1)
    for (name, side), sign in zip(sides.items(), (1.0, -1.0), strict=False):
        weight_N[side] = sign * share / len(side)
        reason_N[side] = name
    return scored.with_columns(
        pl.Series("target_weight", weight_N), pl.Series("reason", reason_N.tolist(), pl.String)
    ).cast(TARGETS)  # type: ignore[arg-type]
