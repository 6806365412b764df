"""What to hold, from one session's scores and what was known when it was decided.

No price of the session, or of a later one, is an argument of anything here.
"""

from collections.abc import Collection
from typing import Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from alpha_assets.arrays.types import Array
from alpha_assets.calendar import RebalanceRule
from alpha_assets.errors import BadInput, SpecError
from alpha_assets.spec import Spec

TARGETS = {
    "session": pl.Date,
    "symbol": pl.String,
    "score": pl.Float32,
    "target_weight": pl.Float64,
    "reason": pl.String,
}


class PortfolioSpec(Spec):
    """Declared under `[portfolio]` in a recipe."""

    rule: Literal["long_short_quantile", "long_only_quantile"] = "long_short_quantile"
    """Long the top quantile and short the bottom one, or long the top one alone."""
    horizon: int = Field(gt=0)
    """Whose scores are traded, sessions; one of `label.horizons`."""
    quantile: float = Field(default=0.1, gt=0, le=0.5)
    """Share of the scored names that a side holds."""
    count: int | None = Field(default=None, gt=0)
    """Names that a side holds, whatever their share; none: `quantile` decides."""
    min_side: int = Field(default=2, gt=0)
    """Names that a side must have, else nothing is held."""
    weighting: Literal["equal", "score"] = "equal"
    """Within a side: the same weight for all, or in proportion to the distance of the score
    from the session's median.
    """
    max_weight: float | None = Field(default=None, gt=0, le=10)
    """Largest absolute weight of a name; what is cut off goes to the others of its side, and
    stays in cash where all of them are at the limit.
    """
    gross_exposure: float = Field(default=1.0, gt=0, le=10)
    """Sum of absolute weights, a fraction of equity."""
    rebalance: RebalanceRule = "weekly"
    """Every session, or on the first session of each ISO week or month that can be decided."""
    fill: Literal["open", "close"] = "open"
    """The auction of the decision session at which orders fill."""
    capital: float = Field(default=100e6, gt=0)
    """Equity before the first session, in the market's currency."""
    lot: int | None = Field(default=None, gt=0)
    """Shares that orders are rounded to, towards zero; none: fractions."""
    max_participation: float | None = Field(default=None, gt=0, le=1)
    """Largest fill of a session, a share of ADV; none: no limit."""

    @model_validator(mode="after")
    def _a_side_can_be_full(self) -> Self:
        if self.count is not None and self.count < self.min_side:
            raise ValueError(
                f"count = {self.count} is below min_side = {self.min_side}: nothing would ever "
                "be held"
            )
        return self


def check_portfolio(spec: PortfolioSpec, price_level: str) -> None:
    """Refuse rules that need prices as they were traded where the market has none.

    Raises:
        SpecError: lots on split-adjusted prices.
    """
    if spec.lot is not None and price_level != "raw":
        raise SpecError(
            f"portfolio.lot = {spec.lot} needs prices as traded, and this market's price level "
            f"is {price_level!r}; leave lot out"
        )


def target_weights(
    scores: pl.DataFrame, not_shortable: Collection[str], spec: PortfolioSpec
) -> pl.DataFrame:
    """Return what to hold from one session on.

    Each side holds `count`, or round(quantile · n), of the n scored names: the best ones, and
    the worst ones that can be borrowed.  Names of equal score stand in the order of symbols.
    The two sides share the gross exposure equally; one side alone has all of it.  Every scored
    name has a row: a weight of 0 is one that is not to be held.

    Args:
        scores: `session`, `symbol`, `horizon`, `score` of one session.
        not_shortable: symbols known not to be shortable at its decision: the short side
            passes over them.
        spec: the rule.

    Raises:
        BadInput: several sessions, a symbol twice, or a score that is not a finite number.
    """
    scored = (
        scores.filter(pl.col("horizon") == spec.horizon)
        .select("session", "symbol", "score")
        .sort("symbol")
    )
    _check_scores(scored)
    symbols = scored["symbol"].to_list()
    score_N = scored["score"].to_numpy().astype(np.float64)
    n = len(symbols)
    size = spec.count if spec.count is not None else round(spec.quantile * n)
    # A stable sort: names of equal score stay in the order of symbols.
    best_first = np.argsort(-score_N, kind="stable")
    barred_N = np.array([symbol in not_shortable for symbol in symbols], dtype=bool)
    sides = [("top quantile", 1.0, best_first[:size])]
    reason_N = np.full(n, "not in a quantile", dtype=object)
    if spec.rule == "long_short_quantile":
        worst_first = best_first[size:][::-1]
        sides.append(("bottom quantile", -1.0, worst_first[~barred_N[worst_first]][:size]))
        reason_N[barred_N] = "not shortable"
    if any(len(side) < spec.min_side for _, _, side in sides):
        reason_N[:] = f"a side has fewer than {spec.min_side} names"
        sides = []
    weight_N = np.zeros(n)
    for name, sign, side in sides:
        pull_K = _pull(score_N[side], score_N, spec)
        weight_N[side] = sign * _shared(pull_K, spec.gross_exposure / len(sides), spec.max_weight)
        reason_N[side] = name
    return scored.with_columns(
        pl.Series("target_weight", weight_N), pl.Series("reason", reason_N.tolist(), pl.String)
    ).cast(TARGETS)  # type: ignore[arg-type]


def _pull(side_K: Array, score_N: Array, spec: PortfolioSpec) -> Array:
    """Return in what proportion the names of a side are held; equally where all are the same."""
    if spec.weighting == "equal":
        return np.ones(len(side_K))
    distance_K = np.abs(side_K - np.median(score_N))
    return distance_K if distance_K.sum() > 0 else np.ones(len(side_K))


def _shared(pull_K: Array, total: float, limit: float | None) -> Array:
    """Return `total` shared out in proportion to `pull_K`, none above `limit`.

    What the limit cuts off goes to the others in their proportion, until none is above it.
    """
    if limit is None:
        return np.asarray(pull_K * (total / pull_K.sum()))
    weight_K = np.zeros(len(pull_K))
    is_free_K = np.ones(len(pull_K), dtype=bool)
    while True:
        left = total - limit * np.count_nonzero(~is_free_K)
        pulled = pull_K[is_free_K].sum()
        weight_K[is_free_K] = pull_K[is_free_K] * (left / pulled) if pulled > 0 else 0.0
        above_K = is_free_K & (weight_K > limit)
        if not above_K.any():
            return weight_K
        weight_K[above_K] = limit
        is_free_K &= ~above_K


def _check_scores(scored: pl.DataFrame) -> None:
    if scored["session"].n_unique() > 1:
        raise BadInput(
            f"scores of {scored['session'].n_unique()} sessions were given; targets are decided "
            "one session at a time"
        )
    if scored["symbol"].n_unique() < scored.height:
        twin = scored["symbol"].filter(scored["symbol"].is_duplicated())[0]
        raise BadInput(f"symbol {twin!r} has two scores in one session; want one")
    odd = scored.filter(~pl.col("score").is_finite().fill_null(False))
    if odd.height:
        first = odd.row(0, named=True)
        raise BadInput(
            f"{odd.height} scores are not finite numbers, first {first['symbol']!r} at "
            f"{first['session']}: {first['score']}; a name without a score has no row"
        )
