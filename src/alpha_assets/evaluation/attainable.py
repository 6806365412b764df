"""The best net Sharpe ratio of a family of rules, without the luck of having chosen the best.

A rule is chosen on the even sessions and measured on the odd ones, and the other way round.
Letters: D sessions, R rules, S settings of capital and costs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from alpha_assets.arrays.types import Array, Mask
from alpha_assets.backtest.attainable import Setting
from alpha_assets.evaluation.inference import newey_west_variance
from alpha_assets.evaluation.performance import MIN_SESSIONS
from alpha_assets.evaluation.sharpe import (
    ROUNDING,
    sharpe_error_cautious,
    sharpe_influence,
    sharpe_ratio,
)

Record = dict[str, object]

UNWALKED = "this rule reads more than the scores of a session"


@dataclass(frozen=True, eq=False)
class AttainableInputs:
    """What the planted drift earns under a family of rules, on the sessions of the books.

    Attributes:
        settings: of capital and costs; the first ones have the recipe's capital.
        why: why nothing of it is known; empty where it is.
        rules: names of the family.
        net_RSD: net return of the planted scores under each rule and setting; NaN throughout where
            a rule is not walked at a setting.
        own_SD: the same under the recipe's own rule; None: it reads more than scores.
        reached_SD: net return of the recipe's own targets.
        left_out: why, by name, rules of the family are left out.
        unsolved_S: rebalances of the cost-aware rule at which the solver did not converge.
        own_unsolved: those of the planted drift under the recipe's own rule.
    """

    settings: tuple[Setting, ...]
    why: str = ""
    rules: tuple[str, ...] = ()
    net_RSD: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))
    own_SD: Array | None = None
    reached_SD: Array = field(default_factory=lambda: np.zeros((0, 0)))
    left_out: Mapping[str, str] = field(default_factory=dict)
    unsolved_S: tuple[int, ...] = ()
    own_unsolved: int = 0


@dataclass(frozen=True, eq=False)
class Attainable:
    """What a family of rules can be expected to earn, per session.

    Attributes:
        sharpe: mean of the ratio that the rule chosen on the even sessions has on the odd ones, and
            of the other way round; NaN where no rule has a ratio on either half.
        error: its standard error.
        chosen: places of the rules chosen on the even and on the odd sessions; None: there is none.
        influence_D: by how much each session moves `sharpe`.
    """

    sharpe: float
    error: float
    chosen: tuple[int, int] | None
    influence_D: Array


def attainable(excess_RD: Array, lag: int) -> Attainable:
    """Return what the family earns where it was not chosen.

    Args:
        excess_RD: net return over cash by rule and session.
        lag: sessions of serial correlation that are known of.
    """
    n = excess_RD.shape[1]
    halves = (np.arange(0, n, 2), np.arange(1, n, 2))
    best = [_best(excess_RD[:, half]) for half in halves]
    nothing = Attainable(math.nan, math.nan, None, np.full(n, math.nan))
    if best[0] is None or best[1] is None:
        return nothing
    chosen = (best[0], best[1])
    influence_D, ratios = np.empty(n), []
    for half, rule in zip(halves, chosen[::-1], strict=True):
        ratios.append(sharpe_ratio(excess_RD[rule, half]))
        influence_D[half] = sharpe_influence(excess_RD[rule, half])
    if np.isnan(ratios).any():
        return nothing
    return Attainable(float(np.mean(ratios)), _error(influence_D, lag), chosen, influence_D)


def share_of(excess_D: Array, best: Attainable, lag: int) -> tuple[float, float]:
    """Return the share of the attainable ratio that a series of returns has, and its error.

    The error is that of a ratio of two figures of the same sessions (delta method).

    Args:
        excess_D: net return over cash.
        best: of the same sessions.
        lag: sessions of serial correlation that are known of.
    """
    share = sharpe_ratio(excess_D) / best.sharpe
    apart_D = sharpe_influence(excess_D) - share * best.influence_D
    return share, _error(apart_D, lag) / best.sharpe


def attainable_record(
    inputs: AttainableInputs,
    *,
    sessions_per_year: float,
    cash_D: Array,
    counts_D: Mask,
    hac_lag: int = 0,
) -> Record:
    """Return the share of the attainable by setting of capital and costs.

    Args:
        inputs: returns of the family and of the recipe.
        sessions_per_year: of the market's calendar.
        cash_D: what cash earned in each session, a fraction.
        counts_D: sessions that count.
        hac_lag: sessions of serial correlation that are known of.

    Returns:
        `sharpe`: a record a setting: `capital`, `cost_scale`, `attainable` and its error, the
        rules `chosen_on_even` and `chosen_on_odd`, and of `reached` (the recipe) and `own_rule`
        (the planted drift under the recipe's rule) the net Sharpe ratio and the share of the
        attainable, with errors; null with its `reason`; `n_rules` that were walked, and at how many
        rebalances the solver did not converge, `unsolved` and `own_rule_unsolved`.
        `left_out`: why, by name, rules of the family are left out.
        `reason`: why nothing is known, or null.
    """
    n = int(np.count_nonzero(counts_D))
    why = inputs.why
    if not why and n < 2 * MIN_SESSIONS:
        why = f"{n} sessions are fewer than {2 * MIN_SESSIONS}, {MIN_SESSIONS} to choose a rule on"
    if why:
        nothing = [_nothing(setting, why) for setting in inputs.settings]
        return {"sharpe": nothing, "left_out": {}, "reason": why}
    year = math.sqrt(sessions_per_year)
    records: list[Record] = []
    for s, setting in enumerate(inputs.settings):
        best = attainable((inputs.net_RSD[:, s] - cash_D)[:, counts_D], hac_lag)
        record = _nothing(setting, None)
        is_walked_R = ~np.isnan(inputs.net_RSD[:, s]).all(axis=1)
        record["n_rules"] = int(np.count_nonzero(is_walked_R))
        record["unsolved"] = inputs.unsolved_S[s] if inputs.unsolved_S else 0
        record["own_rule_unsolved"] = inputs.own_unsolved
        record |= {"attainable": best.sharpe * year, "attainable_error": best.error * year}
        if best.chosen is not None:
            even, odd = best.chosen
            record |= {"chosen_on_even": inputs.rules[even], "chosen_on_odd": inputs.rules[odd]}
        is_clear = best.sharpe > best.error
        if not is_clear:
            record["reason"] = (
                "the planted drift earns no net Sharpe ratio under these rules that lies a "
                "standard error above 0"
            )
        parts: Mapping[str, Array | None] = {
            "reached": inputs.reached_SD[s],
            "own_rule": None if inputs.own_SD is None else inputs.own_SD[s],
        }
        for name, net_D in parts.items():
            if net_D is None:
                record[f"{name}_reason"] = UNWALKED
                continue
            excess_D = (net_D - cash_D)[counts_D]
            record[name] = sharpe_ratio(excess_D) * year
            record[f"{name}_error"] = sharpe_error_cautious(excess_D, hac_lag) * year
            if is_clear:
                share, error = share_of(excess_D, best, hac_lag)
                record |= {f"{name}_share": share, f"{name}_share_error": error}
        records.append(record)
    return {"sharpe": records, "left_out": dict(inputs.left_out), "reason": None}


def _nothing(setting: Setting, why: str | None) -> Record:
    """Return the record of a setting of which nothing is known."""
    figures = [
        f"{name}{suffix}"
        for name in ("reached", "own_rule")
        for suffix in ("", "_error", "_share", "_share_error")
    ]
    return {
        "capital": setting.capital,
        "cost_scale": setting.cost_scale,
        **dict.fromkeys(("attainable", "attainable_error", *figures), math.nan),
        **dict.fromkeys(("chosen_on_even", "chosen_on_odd")),
        **dict.fromkeys(("n_rules", "unsolved", "own_rule_unsolved"), 0),
        "own_rule_reason": None,
        "reason": why,
    }


def _best(excess_RD: Array) -> int | None:
    """Return the place of the rule with the largest Sharpe ratio; None where none has one."""
    if excess_RD.shape[1] < 2:
        return None
    mean_R, sd_R = excess_RD.mean(axis=1), excess_RD.std(axis=1, ddof=1)
    ratio_R = np.full(len(mean_R), -np.inf)
    np.divide(mean_R, sd_R, out=ratio_R, where=sd_R > ROUNDING * np.maximum(np.abs(mean_R), 1.0))
    place = int(np.argmax(ratio_R))
    return place if np.isfinite(ratio_R[place]) else None


def _error(influence_D: Array, lag: int) -> float:
    """Return the standard error of a mean, the larger of those with and without correlation."""
    n = len(influence_D)
    if n < 2 or np.isnan(influence_D).any():
        return math.nan
    lags = max(lag, round(math.cbrt(n)))
    with_lags = newey_west_variance(influence_D, lags)
    return math.sqrt(max(with_lags, newey_west_variance(influence_D, 0)))
