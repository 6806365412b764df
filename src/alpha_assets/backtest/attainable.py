"""What scores earn under a fixed family of portfolio rules, with many capitals and costs.

The yardstick of the share of the attainable: scores that know what was planted, held by every rule
of the family, each account as the simulator would keep it.  Rules that weigh the drift against risk
and costs belong to it; what they hold depends on the capital and on the costs.
Shape letters: R rules, S settings of capital and costs, D sessions, N symbols.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from alpha_assets.arrays.types import Array, Dates, Index, Mask
from alpha_assets.backtest.capacity import Account, net_returns
from alpha_assets.backtest.costs import CostsSpec
from alpha_assets.backtest.market_data import Marks
from alpha_assets.backtest.rebalances import rebalance_sessions
from alpha_assets.backtest.rules import AimPortfolioSpec, CostAwareSpec, PortfolioSpec, RuleSpec
from alpha_assets.backtest.rules.dense import Aims, Walk, Weighing, walk_over
from alpha_assets.calendar import Calendar, RebalanceRule
from alpha_assets.errors import BadInput

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
# Those that weigh the drift against risk and the costs themselves, as their defaults have it.  The
# solver takes a twentieth of a second a rebalance: the cost-aware rule is walked at the recipe's
# own capital alone.
WEIGHED: Mapping[str, Mapping[str, Any]] = {
    "aim portfolio, weekly": {"rule": "aim_portfolio", "rebalance": "weekly"},
    "cost-aware, weekly": {"rule": "cost_aware", "rebalance": "weekly"},
}
Weigher = AimPortfolioSpec | CostAwareSpec
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
    """Return the rules of scores by name, with the fills and exposure of a portfolio."""
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


class WeighedFamily(NamedTuple):
    """The rules that weigh the drift.

    Attributes:
        rules: by name.
        left_out: why, by name, those are left out whose library is not installed.
    """

    rules: dict[str, Weigher]
    left_out: dict[str, str]


def weighed_family(portfolio: PortfolioSpec) -> WeighedFamily:
    """Return the rules that weigh the drift, with the fills, exposure and capital of a portfolio.

    Their scores are the drift itself, so that they have nothing to estimate.
    """
    shared = {name: getattr(portfolio, name) for name in (*SHARED, "capital")}
    rule: TypeAdapter[PortfolioSpec] = TypeAdapter(PortfolioSpec)
    found = WeighedFamily({}, {})
    for name, declared in WEIGHED.items():
        spec = rule.validate_python({**shared, **declared})
        assert isinstance(spec, Weigher), "each of them weighs the drift"
        try:
            spec.check_installed()
        except BadInput as why:
            found.left_out[name] = str(why)
        else:
            found.rules[name] = spec
    return found


class Scored(NamedTuple):
    """Scores of every session, and what is known of their names, on the axes of a market.

    Attributes:
        score_DN: NaN where a name is not scored.
        is_barred_DN: known not to be shortable.
        is_listed_DN: in the market.
        sector_DN: place of the sector, -1 unknown; None: all in one.
    """

    score_DN: Array
    is_barred_DN: Mask
    is_listed_DN: Mask
    sector_DN: Index | None = None


class WeighedReturns(NamedTuple):
    """What a planted drift earns under rules that weigh it.

    Attributes:
        net_RSD: net return; NaN where a rule is not walked at a setting.
        unsolved_RS: rebalances at which the solver did not converge, so that what was held went on.
    """

    net_RSD: Array
    unsolved_RS: Index


class _Plan(NamedTuple):
    """A rule at one capital and one scale of costs, and the settings whose accounts hold it."""

    rule: int
    spec: Weigher
    weighing: Weighing
    settings: tuple[int, ...]


def weighed_returns(
    scored: Scored,
    marks: Marks,
    calendar: Calendar,
    rules: Mapping[str, Weigher],
    weighing: Weighing,
    settings: Sequence[Setting],
    own: Weigher | None = None,
) -> WeighedReturns:
    """Return what a drift earns after costs under rules that weigh it.

    A rule of the family plans with the capital and the costs of each setting, one that needs the
    solver at its own capital alone.  The recipe's own rule plans once, with its own capital and
    costs, and its targets are held with all settings, as those of the recipe's scores are.

    Args:
        scored: the drift as scores, on the sessions and symbols of `marks`.
        marks: the market.
        calendar: of the market.
        rules: of the family.
        weighing: what they read; at a scale of 1.
        settings: capital and scale of costs.
        own: the recipe's own rule, which comes last in what is returned.  It is given the worth of
            a score that it declares; where it would estimate one, the drift itself.
    """
    drift = replace(weighing, is_drift=True)
    plans = [
        _Plan(
            r,
            rule.model_copy(update={"capital": setting.capital}),
            replace(drift, cost_scale=setting.cost_scale),
            (s,),
        )
        for r, rule in enumerate(rules.values())
        for s, setting in enumerate(settings)
        if setting.capital == rule.capital or not isinstance(rule, CostAwareSpec)
    ]
    if own is not None:
        given = drift if own.calibrates else weighing
        plans.append(_Plan(len(rules), own, given, tuple(range(len(settings)))))
    shape = len(rules) + (own is not None), len(settings)
    net_RSD = np.full((*shape, len(marks.sessions)), np.nan)
    unsolved_RS = np.zeros(shape, dtype=np.int64)
    if not plans:
        return WeighedReturns(net_RSD, unsolved_RS)
    walks = list(_walks(scored, marks, calendar, plans))
    held = [(p, s) for p, plan in enumerate(plans) for s in plan.settings]
    accounts = [Account(p, *settings[s]) for p, s in held]
    wanted = [walk.weights for walk in walks]
    net_CD = net_returns(wanted, marks, plans[0].spec, weighing.costs, accounts)
    for (p, s), net_D in zip(held, net_CD, strict=True):
        net_RSD[plans[p].rule, s] = net_D
        unsolved_RS[plans[p].rule, s] = len(walks[p].unsolved)
    return WeighedReturns(net_RSD, unsolved_RS)


def _walks(
    scored: Scored, marks: Marks, calendar: Calendar, plans: Sequence[_Plan]
) -> Iterator[Walk]:
    """Yield what each plan holds."""
    for plan in plans:
        yield walk_over(
            scored.score_DN,
            scored.is_barred_DN,
            scored.is_listed_DN,
            _due(scored.score_DN, marks, calendar, plan.spec),
            plan.spec,
            scored.sector_DN,
            plan.weighing,
        )


def rule_returns(
    score_DN: Array,
    is_barred_DN: Mask,
    is_listed_DN: Mask,
    marks: Marks,
    calendar: Calendar,
    rules: Mapping[str, PortfolioSpec],
    costs: CostsSpec,
    settings: Sequence[Setting],
    sector_DN: Index | None = None,
) -> Array:
    """Return what the scores earn after costs under each rule and setting, [R, S, D].

    A session without any score decides nothing.

    Args:
        score_DN: on the sessions and symbols of `marks`; NaN where a name is not scored.
        is_barred_DN: known not to be shortable.
        is_listed_DN: in the market.
        marks: the market.
        calendar: of the market.
        rules: that read scores alone, and differ in targets, not in how they fill.
        costs: at a scale of 1.
        settings: capital and scale of costs.
        sector_DN: place of the sector, -1 unknown; default: all in one.
    """
    aims: dict[PortfolioSpec, Aims] = {}
    wanted = []
    for rule in rules.values():
        kind = rule.model_copy(update={"step": 1.0, "max_turnover": None, "rebalance": "daily"})
        known = None if rule.has_band else aims.setdefault(kind, {})  # it goes by all that is held
        due = _due(score_DN, marks, calendar, rule)
        walk = walk_over(score_DN, is_barred_DN, is_listed_DN, due, rule, sector_DN, aims=known)
        wanted.append(walk.weights)
    accounts = [Account(r, *setting) for r in range(len(wanted)) for setting in settings]
    fills = next(iter(rules.values()))
    net_CD = net_returns(wanted, marks, fills, costs, accounts)
    return net_CD.reshape(len(wanted), len(settings), len(marks.sessions))


def _due(score_DN: Array, marks: Marks, calendar: Calendar, rule: RuleSpec) -> list[int]:
    """Return the places of the sessions that rebalance among those with scores."""
    decided: Dates = marks.sessions[~np.isnan(score_DN).all(axis=1)]
    due = rebalance_sessions(decided, decided[:0], calendar, rule.rebalance)
    places: list[int] = np.searchsorted(marks.sessions, due).tolist()
    return places
