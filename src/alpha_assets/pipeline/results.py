"""The figures of a stored backtest as a person reads them."""

from collections.abc import Mapping
from typing import Any

from alpha_assets.pipeline.context import RecipeContext


def title(context: RecipeContext, metrics: Mapping[str, Any]) -> str:
    """Return one line that says whose figures these are."""
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
    for side in ("net", "gross"):
        figures = metrics["portfolio"][side]
        shown[f"Sharpe, {side}"] = (
            f"{_number(figures['sharpe'], 2)} ± {_number(figures['sharpe_se'], 2)}"
        )
    rule = metrics["portfolio"].get("rebalances") or {}
    if rule.get("n_empty"):
        shown["rebalances that held nothing"] = f"{rule['n_empty']} of {rule['n']}"
    return shown


def _interval(figures: Mapping[str, Any]) -> str:
    """Return the interval of a figure in brackets, or why it has none."""
    if figures["low"] is not None and figures["high"] is not None:
        return f" [{_number(figures['low'], 4)}, {_number(figures['high'], 4)}]"
    why = figures.get("reasons", {}).get("low")
    return f", no interval{f': {why}' if why else ''}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
