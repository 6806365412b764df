"""The stored backtests of recipes and variants of one market against one another."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.rates import UNKNOWN_RATE
from alpha_assets.backtest.corporate_actions import cash_rates, paid_rates
from alpha_assets.calendar import month_of, month_range
from alpha_assets.config.recipe import Recipe
from alpha_assets.errors import RangeError
from alpha_assets.evaluation.compare import TrackRecord, common_sessions, comparison
from alpha_assets.evaluation.inference import CONFIDENCE
from alpha_assets.evaluation.metrics import plain
from alpha_assets.evaluation.portfolio import cash_return
from alpha_assets.evaluation.spans import Undecided, judged, stretches
from alpha_assets.pipeline.command import command
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.raw import backtest_feeds
from alpha_assets.pipeline.report import judged_days, stored_metrics
from alpha_assets.pipeline.variants import stored_variants

DAILY = ("session", "net_return", "cash_return", "turnover", "gross_exposure")


@dataclass(frozen=True)
class Judged:
    """A recipe's stored backtest.

    Attributes:
        context: whose.
        span: which sessions it judges, as in `metrics.json`.
        record: the sessions that count.
    """

    context: RecipeContext
    span: Mapping[str, Any]
    record: TrackRecord

    @property
    def name(self) -> str:
        """The name of the recipe or variant."""
        return self.record.recipe


def compare(contexts: Sequence[RecipeContext]) -> dict[str, Any]:
    """Return recipes' figures on their common sessions, and the differences from the first.

    Args:
        contexts: two or more, of one market and storage.

    Returns:
        Plain values: `market`, `simulated`, `ground` (the common sessions, and in `left_out` what
        is not judged of each, with the reason), `horizons`, `recipes`,
        `differences` and `notes`.

    Raises:
        RangeError: no session is judged of all.
        MissingOutput: a recipe has no backtest.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    sides = [stored_record(context) for context in contexts]
    records = [side.record for side in sides]
    sessions = common_sessions(records)
    if not len(sessions):
        raise RangeError(_nothing_common(sides))
    market = contexts[0].market
    found = comparison(records, market.calendar.sessions_per_year)
    ground = {
        "first_session": sessions[0],
        "last_session": sessions[-1],
        "n_sessions": len(sessions),
        "n_months": sessions.dt.truncate("1mo").n_unique(),
        "left_out": [row for side in _once(sides) for row in left_out(side, sides)],
    }
    differences = found["differences"]
    assert isinstance(differences, list), "a record each"
    notes = [
        *_unlike(sides),
        *_unknown_cash(contexts[0], sessions),
        *_built_up(sides),
        *_trials(sides, len(differences)),
    ]
    about = {"market": market.name, "simulated": market.is_simulated, "ground": ground}
    return plain({**about, **found, "notes": notes})


def stored_record(context: RecipeContext) -> Judged:
    """Return a recipe's stored backtest, refused where it is not fresh; see `stored_metrics`."""
    metrics = stored_metrics(context)
    daily = context.backtest.read("daily")
    earned = pl.Series("cash_return", cash_return(daily, _paid_rates(context, daily)))
    phi = {
        int(name.removeprefix("h")): figures["score_persistence"]
        for name, figures in metrics["signal"].items()
    }
    record = TrackRecord(
        recipe=context.recipe.folder,
        daily=judged_days(metrics, daily.with_columns(earned)).select(DAILY),
        ic=context.backtest.read("ic"),
        persistence={h: math.nan if known is None else known for h, known in phi.items()},
        traded_horizon=context.recipe.spec.portfolio.horizon,
        seed=metrics["data"]["seed"],
    )
    return Judged(context, metrics["span"], record)


def _paid_rates(context: RecipeContext, daily: pl.DataFrame) -> pl.DataFrame | None:
    """Return the cash rates that the books paid: they are not stored with them."""
    sessions = daily["session"].to_numpy().astype("datetime64[D]")
    return paid_rates(_rate_rows(context), sessions, context.market.calendar)


def _rate_rows(context: RecipeContext) -> pl.DataFrame | None:
    if "rates" not in backtest_feeds(context.market) or not context.raw["rates"].months():
        return None
    return context.raw["rates"].read().collect()


def _unknown_cash(context: RecipeContext, sessions: pl.Series) -> Iterator[str]:
    """Return a sentence where some cash rate is not known, and counts as 0."""
    rows = _rate_rows(context)
    if rows is None or not rows.height:
        yield "No cash rates were given: Sharpe ratios are over a rate of 0."
        return
    rate_D = cash_rates(rows, sessions.to_numpy().astype("datetime64[D]"), context.market.calendar)
    n = int(np.count_nonzero(np.isnan(rate_D)))
    if n:
        yield (
            f"The cash rate is not known, and counts as {UNKNOWN_RATE:g}, in {n} of "
            f"{len(sessions)} common sessions."
        )


def left_out(side: Judged, sides: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return the stretches that are not judged of `side`, with the reason, in order.

    They are what it was asked for and did not decide, and what is judged of others and was not
    asked of it.
    """
    undecided = [
        Undecided(
            date.fromisoformat(row["first_session"]),
            date.fromisoformat(row["last_session"]),
            row["n_sessions"],
            row["why"],
        )
        for row in side.span["undecided"]
    ]
    daily = [other.record.daily.select("session") for other in sides]
    every = pl.concat(daily).unique()["session"].sort()
    own = pl.Series(judged(pl.DataFrame({"session": every}), undecided))
    not_asked = own & ~every.is_in(side.record.daily["session"].implode())
    asked = f"{side.span['asked_first_month']} to {side.span['asked_last_month']}"
    why = f"its backtest is of {asked}; {_run_of_all(side, sides)} decides the months of all"
    sessions = every.to_numpy().astype("datetime64[D]")
    found = [*undecided, *stretches(sessions, not_asked.to_numpy(), [why] * len(sessions))]
    return [
        {
            "recipe": side.name,
            "first_session": stretch.first_session,
            "last_session": stretch.last_session,
            "n_sessions": stretch.n_sessions,
            "months": month_range(month_of(stretch.first_session), month_of(stretch.last_session)),
            "why": stretch.why,
        }
        for stretch in sorted(found, key=lambda stretch: stretch.first_session)
    ]


def _run_of_all(side: Judged, sides: Sequence[Judged]) -> str:
    """Return the command that decides, for one recipe, the months of all of them."""
    first = min(other.span["asked_first_month"] for other in sides)
    last = max(other.span["asked_last_month"] for other in sides)
    return command(side.context, "run", "--first-month", first, "--last-month", last)


def _once(sides: Sequence[Judged]) -> list[Judged]:
    """Return each recipe once: one may be compared with itself."""
    return list({side.name: side for side in sides}.values())


def _nothing_common(sides: Sequence[Judged]) -> str:
    spans = [
        f"{side.name} ({side.span['first_session']} to {side.span['last_session']})"
        for side in sides
    ]
    return (
        f"no session is judged of all of {', '.join(spans)}; "
        f"{_run_of_all(sides[-1], sides)} decides the months of all"
    )


def _unlike(sides: Sequence[Judged]) -> Iterator[str]:
    """Return sentences on how the recipes differ in what their figures are figures of."""
    for side in _once(sides):
        recipe = side.context.recipe
        if recipe.variant:
            yield f"{side.name}: {recipe.name} with {', '.join(recipe.overrides)}."
    settings = [_settings_of_figures(side.context.recipe) for side in sides]
    for key in settings[0]:
        values = [json.dumps(of_side[key]).strip('"') for of_side in settings]
        if len(set(values)) > 1:
            yield f"{key} differs: {_by_recipe(sides, values)}."
    horizons = [", ".join(map(str, sorted(side.record.persistence))) for side in sides]
    if len(set(horizons)) > 1:
        yield (
            f"Horizons differ: {_by_recipe(sides, horizons)}; rank IC is compared at those that "
            "all predict."
        )


def _settings_of_figures(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that decide what a figure measures, rather than how good it is."""
    costs = recipe.costs.model_dump(mode="json")
    return {
        "universe": recipe.spec.universe.name,
        "label.entry": recipe.spec.label.entry,
        **{f"costs.{key}": value for key, value in costs.items()},
    }


def _by_recipe(sides: Sequence[Judged], values: Sequence[str]) -> str:
    return "; ".join(f"{v} ({side.name})" for side, v in zip(sides, values, strict=True))


def _built_up(sides: Sequence[Judged]) -> Iterator[str]:
    """Return a sentence where some books stand already in the first common session."""
    firsts = [side.span["first_session"] for side in sides]
    late = [side.name for side, first in zip(sides, firsts, strict=True) if first == max(firsts)]
    if min(firsts) < max(firsts):
        yield (
            f"On {max(firsts)} the book of {', '.join(late)} is built up from cash, which its "
            "turnover and costs include; the others hold theirs already."
        )


def _trials(sides: Sequence[Judged], n_differences: int) -> Iterator[str]:
    """Return sentences on how many trials stand behind what is shown."""
    if len(sides) > 2:
        missed = (1 - CONFIDENCE) * n_differences
        yield (
            f"{len(sides) - 1} comparisons with {sides[0].name}, {n_differences} differences: each "
            f"interval by itself holds its difference in {100 * CONFIDENCE:.0f} % of worlds; of "
            f"{n_differences}, {missed:.1f} are expected to miss."
        )
    context, shown = sides[0].context, {side.name for side in sides}
    for base in dict.fromkeys(side.context.recipe.name for side in sides):
        n_more = len(set(stored_variants(context.store, context.market, base)) - shown)
        if n_more:
            yield (
                f"More variants of {base} are stored: {n_more}. The best of several trials looks "
                "better than it is."
            )
