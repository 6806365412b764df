"""What a recipe's scores hold of each component of a rig, with it planted and without.

The market without a component has the same seed, series and shocks; its outputs lie in a storage
of their own, `<storage>/_off/<component>/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alpha_assets.config.market import Market, load_market
from alpha_assets.errors import BadInput, MissingOutput, StaleOutput
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.backtest import judged_months
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.report import stored_metrics
from alpha_assets.sources.sim.market import component_names
from alpha_assets.store.store import Store

OFF = "_off"  # below the storage


def components(context: RecipeContext, off: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return a row per horizon and component.

    Args:
        context: whose stored backtest is read.
        off: components without which the recipe is run again, over the same months.

    Returns:
        Rows of `horizon`, `component`, `planted` (whether its switch is on), `correlation` and
        `error` of the scores with it, and `correlation_off` and `error_off`: the same where it
        is not planted; None where no such run is stored.

    Raises:
        BadInput: the market is no rig, or has no such component, or it is off already.
        MissingOutput: the recipe has no backtest.
        StaleOutput: other settings, other code or other inputs made it.
    """
    rig = context.market.sim.rig if context.market.is_simulated else None
    if rig is None:
        raise BadInput(
            f"market {context.market.name!r} has no section [sim.rig]: nothing with a switch is "
            "planted in it; choose --market rig"
        )
    known = component_names(context.market.sim)
    planted = {name: bool(getattr(rig, name)) for name in known}
    for name in off:
        if name not in known:
            raise BadInput(f"--off {name}: no component of the rig; want one of {', '.join(known)}")
        if not planted[name]:
            raise BadInput(f"--off {name}: [sim.rig] {name} = false already; leave one of them out")
    metrics = stored_metrics(context)
    months = judged_months(context)
    without = {}
    for name in known:
        if not planted[name]:
            continue
        other = without_component(context, name)
        if name in off:
            other.progress("components", f"run without {name}")
            runner.run(other, months[0], months[-1])
        try:
            without[name] = stored_metrics(other)
        except (MissingOutput, StaleOutput):
            if name in off:
                raise
    return [
        {
            "horizon": horizon,
            "component": row["component"],
            "planted": planted[row["component"]],
            "correlation": row["correlation"],
            "error": row["error"],
            **_off_figures(without.get(row["component"]), horizon, row["component"]),
        }
        for horizon, figures in metrics["signal"].items()
        for row in figures["components"]
    ]


def without_component(context: RecipeContext, name: str) -> RecipeContext:
    """Return the context of the same recipe on the market without a component."""
    market = context.market
    store = Store(f"{context.store.address}/{OFF}/{name}")
    other: Market = replace(
        load_market(
            market.name, overrides=[*market.overrides, f"sim.rig.{name}=false"], data=market.data
        ),
        storage=store.address,
    )
    return replace(context, market=other, store=store, recipe=context.recipe.on(other))


def _off_figures(
    metrics: Mapping[str, Any] | None, horizon: str, component: str
) -> dict[str, float | None]:
    if metrics is None:
        return {"correlation_off": None, "error_off": None}
    (row,) = [
        row for row in metrics["signal"][horizon]["components"] if row["component"] == component
    ]
    return {"correlation_off": row["correlation"], "error_off": row["error"]}
