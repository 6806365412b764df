"""What scores earn under a fixed family of portfolio rules, with many capitals and costs.

The yardstick of the share of the attainable: scores that know what was planted, held by every rule
of the family, each account as the simulator would keep it.
Shape letters: R rules, S settings of capital and costs, D sessions, N symbols.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from alpha_assets.arrays.types import Array, Dates, Mask
from alpha_assets.backtest.capacity import Account, net_returns
from alpha_assets.backtest.costs import CostsSpec
from alpha_assets.backtest.market_data import Marks
from alpha_assets.backtest.rebalances import rebalance_sessions
from alpha_assets.backtest.rules import OptimisedSpec, PortfolioSpec
from alpha_assets.backtest.rules.dense import Aims, weights_over
from alpha_assets.calendar import Calendar, RebalanceRule

# What each rule of the family wants to hold; a further rule is a further line.
AIMS: Mapping[str, Mapping[str, Any]] = {
    "quantile 0.1": {"rule": "long_short_quantile", "quantile": 0.1},
    "quantile 0.1, band 0.2": {
        "rule": "long_short_quantile",
        "quantile": 0.1,
        "exit_quantile": 0.2,
    },
    "quantile 0.2": {"rule": "long_short_quantile", "quantile": 0.2},
    "quantile 0.2, band 0.4": {
        "rule": "long_short_quantile",
        "quantile": 0.2,
        "exit_quantile": 0.4,
    },
    "rank": {"rule": "rank_weighted"},
    "score": {"rule": "score_weighted"},
}
# Each on the way there at every step, and as often as each of these.
STEPS: Mapping[str, float] = {"1": 1.0, "1/2": 0.5, "1/4": 0.25, "1/8": 0.125}
REBALANCES: tuple[RebalanceRule, ...] = ("daily", "weekly", "monthly")
# What the family takes over from the portfolio that it is the yardstick of.
SHARED = ("horizon", "min_side", "gross_exposure", "fill", "lot", "max_participation")

CAPITALS = (1e6, 1e7, 1e8, 1e9)
COST_SCALES = (0.5, 1.0, 2.0)


class Setting(NamedTuple):
    """What an account begins with, and what every cost is multiplied by."""

    capital: float
    cost_scale: float = 1.0


def settings_around(capital: float) -> tuple[Setting, ...]:
    """Return the recipe's own capital at each scale of costs, and the fixed capitals."""
    own = [Setting(capital, scale) for scale in COST_SCALES]
    return (*own, *(Setting(fixed) for fixed in CAPITALS if fixed != capital))


def family(portfolio: PortfolioSpec) -> dict[str, PortfolioSpec]:
    """Return the rules of the family by name, with the fills and exposure of a portfolio."""
    shared = {name: getattr(portfolio, name) for name in SHARED}
    rule: TypeAdapter[PortfolioSpec] = TypeAdapter(PortfolioSpec)
    return {
        f"{aim}, step {words}, {when}": rule.validate_python(
            {**shared, **AIMS[aim], "step": step, "rebalance": when}
        )
        for aim in AIMS
        for words, step in STEPS.items()
        for when in REBALANCES
    }


def rule_returns(
    score_DN: Array,
    is_barred_DN: Mask,
    is_listed_DN: Mask,
    marks: Marks,
    calendar: Calendar,
    rules: Mapping[str, PortfolioSpec],
    costs: CostsSpec,
    settings: Sequence[Setting],
) -> Array:
    """Return what the scores earn after costs under each rule and setting, [R, S, D].

    A session without any score decides nothing.

    Args:
        score_DN: on the sessions and symbols of `marks`; NaN where a name is not scored.
        is_barred_DN: known not to be shortable.
        is_listed_DN: in the market.
        marks: the market.
        calendar: of the market.
        rules: that differ in targets, not in how they fill.
        costs: at a scale of 1.
        settings: capital and scale of costs.
    """
    decided = marks.sessions[~np.isnan(score_DN).all(axis=1)]
    aims: dict[PortfolioSpec, Aims] = {}
    wanted = []
    for rule in rules.values():
        due = rebalance_sessions(decided, decided[:0], calendar, rule.rebalance)
        kind = rule.model_copy(update={"step": 1.0, "max_turnover": None, "rebalance": "daily"})
        # What a band keeps depends on all that is held, as does what is worth its cost.
        depends = rule.has_band or isinstance(rule, OptimisedSpec)
        known = None if depends else aims.setdefault(kind, {})
        wanted.append(
            weights_over(
                score_DN, is_barred_DN, is_listed_DN, _places(marks, due), rule, aims=known
            )
        )
    accounts = [Account(r, *setting) for r in range(len(wanted)) for setting in settings]
    fills = next(iter(rules.values()))
    net_CD = net_returns(wanted, marks, fills, costs, accounts)
    return net_CD.reshape(len(wanted), len(settings), len(marks.sessions))


def _places(marks: Marks, sessions: Dates) -> list[int]:
    places: list[int] = np.searchsorted(marks.sessions, sessions).tolist()
    return places
