"""The figures of a stored backtest as a person reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from alpha_assets.evaluation.gates import NOT_JUDGED
from alpha_assets.pipeline.context import RecipeContext

# What rebalances are counted of, beside those that hold nothing.
HELD_BACK = {
    "n_below_exposure": "that aimed at less than the exposure",
    "n_capped": "that stopped at max_turnover",
    "n_over_cap": "whose limits needed more than max_turnover",
    "n_unsolved": "at which the solver did not converge",
}
# Decimals and names of the figures of a comparison.
COMPARED = {
    "rank_ic": (4, "rank IC"),
    "sharpe": (2, "Sharpe, net"),
    "turnover": (2, "turnover a year"),
}


def title(context: RecipeContext, metrics: Mapping[str, Any]) -> str:
    """Return one line that names recipe, market and span of the figures."""
    span = metrics["span"]
    simulated = ", SIMULATED DATA" if context.market.is_simulated else ""
    left_out = span.get("n_sessions_undecided") or 0
    without = f" without {left_out} sessions that nothing decided" if left_out else ""
    return (
        f"{context.recipe.folder} on {context.market.name}{simulated}: {span['first_session']} to "
        f"{span['last_session']}{without}, digest {context.recipe.digest}"
    )


def headline_figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures that a run prints, formatted."""
    shown: dict[str, str] = {}
    for name, horizon in metrics["signal"].items():
        ic = horizon["rank_ic"]
        shown[f"rank IC {name}"] = f"{_number(ic['mean'], 4)}{_interval(ic)}"
        shown[f"  t (smallest of three) {name}"] = _number(ic["t"], 2)
        planted = horizon.get("planted")
        if planted and planted.get("share") is not None:
            shown[f"  share of planted IC {name}"] = f"{100 * planted['share']:.0f} % (estimate)"
        elif planted:
            shown[f"  share of planted IC {name}"] = "not known"
        if planted and planted.get("ceiling") is not None:
            shown[f"  least squares expects {name}"] = f"{100 * planted['ceiling']:.0f} %"
        for row in horizon.get("components", ()):
            words = f"  correlation with {row['component']} {name}"
            shown[words] = _with_error(row["correlation"], row["error"], 2)
    for side in ("net", "gross"):
        figures = metrics["portfolio"][side]
        shown[f"Sharpe, {side}"] = _sharpe(figures, with_error=True)
    shown |= _attainable_figures(metrics.get("attainable") or {})
    rule = metrics["portfolio"].get("rebalances") or {}
    if rule.get("n_empty"):
        why = "; ".join(str(row["reason"]) for row in rule.get("reasons") or ())
        shown["rebalances that held nothing"] = (
            f"{rule['n_empty']} of {rule['n']}{f': {why}' if why else ''}"
        )
    for side in ("longs", "shorts"):
        if rule.get(f"n_{side}_unfilled"):
            shown[f"rebalances whose {side} were not filled"] = (
                f"{rule[f'n_{side}_unfilled']} of {rule['n']}"
            )
    for name, words in HELD_BACK.items():
        if rule.get(name):
            shown[f"rebalances {words}"] = f"{rule[name]} of {rule['n']}"
    for leg in ("long", "short"):
        of_leg = (metrics["portfolio"].get("legs") or {}).get(leg)
        if of_leg:
            shown[f"  {leg} leg, net"] = _sharpe(of_leg["net"])
    for gate in metrics.get("gates") or ():
        shown[f"gate {gate['gate']}"] = gate_in_words(gate)
    return shown


def gate_in_words(gate: Mapping[str, Any]) -> str:
    """Return what a gate found and asked: `passed: 0.051 > 0.045`."""
    if gate["verdict"] == NOT_JUDGED:
        return f"{NOT_JUDGED}: {gate['reason']}"
    sign = ">" if gate["gate"] != "not_below_parent" else "≥"
    return f"{gate['verdict']}: {_number(gate['found'], 4)}, asked {sign} {gate['wanted']:g}"


def _attainable_figures(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the share of the attainable at the recipe's own capital and costs."""
    own = next((row for row in found.get("sharpe", ()) if row["cost_scale"] == 1.0), None)
    if own is None:
        return {}
    shown = {}
    for name, words in (("reached", ""), ("own_rule", ", planted drift under this rule")):
        share = own[f"{name}_share"]
        shown[f"  share of attainable Sharpe{words}"] = (
            "not known"
            if share is None
            else f"{100 * share:.0f} % ± {100 * own[f'{name}_share_error']:.0f} % of "
            f"{_with_error(own['attainable'], own['attainable_error'], 2)}"
        )
    left_out = found.get("left_out") or {}
    for name, why in left_out.items():
        shown[f"  left out of the rules that attain it: {name}"] = str(why)
    return shown


def _sharpe(figures: Mapping[str, Any], *, with_error: bool = False) -> str:
    """Return a Sharpe ratio, or why there is none."""
    if figures["sharpe"] is None:
        why = (figures.get("reasons") or {}).get("sharpe")
        return f"none: {why}" if why else _number(None, 2)
    return _with_error(figures["sharpe"], figures["sharpe_se"] if with_error else None, 2)


def _interval(figures: Mapping[str, Any], digits: int = 4) -> str:
    """Return the interval of a figure in brackets, or why it has none."""
    if figures["low"] is not None and figures["high"] is not None:
        return f" [{_number(figures['low'], digits)}, {_number(figures['high'], digits)}]"
    why = figures.get("reasons", {}).get("low")
    return f", no interval{f': {why}' if why else ''}"


def _number(value: float | None, digits: int) -> str:
    """Return a figure with so many decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def compared_figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a comparison formatted: its title, the rows of two tables, and notes.

    Args:
        found: as `compare` returns it.
    """
    ground, recipes = found["ground"], found["recipes"]
    simulated = ", SIMULATED DATA" if found["simulated"] else ""
    lost = [
        f"Left out of {row['recipe']}: {row['n_sessions']} sessions of "
        f"{' to '.join(_ends(row['months']))}: {row['why']}."
        for row in ground["left_out"]
    ]
    return {
        "title": (
            f"{len(recipes)} recipes on {found['market']}{simulated}: {ground['first_session']} to "
            f"{ground['last_session']}, {ground['n_sessions']} common sessions"
        ),
        "figures": [_own_row(row) for row in recipes],
        "differences": [_difference_row(row) for row in found["differences"]],
        "notes": [*lost, *found["notes"]],
    }


def component_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the rows of `components`, formatted."""
    return [
        {
            "component": row["component"],
            "horizon": row["horizon"],
            "correlation": _with_error(row["correlation"], row["error"], 3),
            "switched off": _with_error(row["correlation_off"], row["error_off"], 3)
            if row["planted"]
            else "it is off",
        }
        for row in found
    ]


def importance_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the rows of `importance`, formatted."""
    return [
        {
            "horizon": row["horizon"],
            "family": row["family"],
            "columns": row["columns"],
            "rank IC": _number(row["rank_ic"], 4),
            "lost without": f"{_number(row['loss'], 4)}{_interval(row)}",
        }
        for row in found
    ]


def _ends(months: Sequence[str]) -> Sequence[str]:
    return months if len(months) == 1 else (months[0], months[-1])


def _own_row(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a recipe's own figures, each with its error where it has one."""
    net = row["net"]
    return {
        "recipe": row["recipe"],
        **{
            f"rank IC {name}": _with_error(ic["mean"], ic["error"], 4)
            for name, ic in row["rank_ic"].items()
        },
        "Sharpe, net": _with_error(net["sharpe"], net["sharpe_se"], 2),
        "turnover a year": _number(row["turnover"]["annual"], 2),
    }


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    return _number(value, digits) + ("" if error is None else f" ± {_number(error, digits)}")


def _difference_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a difference with its sign, and its interval or why there is none."""
    digits, figure = COMPARED[row["figure"]]
    horizon, value = row["horizon"], row["difference"]
    interval = _interval(row, digits)
    return {
        "recipe": row["recipe"],
        "figure": figure if horizon is None else f"{figure} h{horizon}",
        "difference": "–" if value is None else f"{value:+.{digits}f}" if value else "0",
        "95 % interval": interval.removeprefix(", ").strip(),
        "sessions": row["n_sessions"],
    }
