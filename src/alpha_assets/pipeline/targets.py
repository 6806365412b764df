"""The stage of targets: what to hold from every rebalance session on."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TypedDict

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.backtest import CostsSpec
from alpha_assets.backtest.portfolio import TARGETS, Known, decided
from alpha_assets.backtest.rebalances import (
    Displaced,
    below_exposure,
    displaced,
    held_back,
    little_aimed_at,
    rebalance_sessions,
    thin_sides,
)
from alpha_assets.backtest.rules import smoothed
from alpha_assets.backtest.rules.base import RETURN
from alpha_assets.calendar import as_date, month_of
from alpha_assets.config.recipe import Recipe
from alpha_assets.errors import MissingOutput, StorageError
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.checkpoint import IS_FIRST
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.freshness import BELOW
from alpha_assets.pipeline.frontier import frontier
from alpha_assets.pipeline.held import (
    NOTHING,
    Remembered,
    last_held,
    reads_of_rule,
    remembered,
)
from alpha_assets.pipeline.market_stages import members_stage, panel_stage
from alpha_assets.pipeline.predictions import candidates, predictions_stage
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Inputs, Output, Read, Span, Stage
from alpha_assets.pipeline.transforms import decided_among, sessions_back
from alpha_assets.pipeline.windows import SKIPPED
from alpha_assets.spec import kept
from alpha_assets.store.folder import ROWS
from alpha_assets.store.manifest import Manifest

PANEL_COLUMNS = ["session", "symbol", "shortable", "sector"]  # that targets are decided by


@kept
def targets_stage(recipe: Recipe) -> Stage[RecipeContext]:
    """Return the stage of what to hold.

    Whether a month begins with a rebalance depends on sessions of the months before it that share
    its first period: could they be decided?
    """
    market = recipe.market
    panel, members = panel_stage(market), members_stage(market, recipe.spec.universe.name)
    before: dict[str, Stage[MarketContext]] = {"members/before": members, "panel/before": panel}
    if recipe.spec.universe.held:
        before["held/before"] = members_stage(market, recipe.held_universe)
    return Stage(
        name="targets",
        key=(recipe.folder, "targets"),
        place=lambda context: context.targets,
        made_by=lambda: identity.targets(recipe),
        reads=(
            Read(predictions_stage(recipe), fresh=True),
            Read(panel),
            *(
                Read(
                    table,
                    name=name,
                    months_back=1,
                    until=-1,
                    span=_months_before_in_period,
                )
                for name, table in before.items()
            ),
            *reads_of_rule(recipe),
        ),
        make=make_targets,
    )


def _months_before_in_period(
    context: RecipeContext, months: Sequence[str], seen: Seen
) -> Span | None:
    """Return the months before `months` that share its first session's rebalance period."""
    (month,) = months
    if _is_first(context, month):
        return None
    calendar, rule = context.market.calendar, context.recipe.spec.portfolio.rebalance
    start = calendar.month_sessions(month)[0]
    near = calendar.period_sessions(start, rule)
    before = sorted({month_of(session) for session in near[near < start]})
    return (before[0], before[-1]) if before else None


def make_targets(context: RecipeContext, months: Sequence[str], inputs: Inputs) -> Iterator[Output]:
    """Decide what to hold from every rebalance session of a month."""
    (month,) = months
    source = context.predictions.folder(month).manifest()
    assert source is not None, "it was required"
    predictions = context.predictions.read(month, month).collect()
    panel = context.panel.read(month, month, columns=PANEL_COLUMNS).collect()
    possible, earlier = before_in_period(context, month)
    memory = remembered(context, month)
    frame, filled = decided_over(context, predictions, panel, earlier=earlier, memory=memory)
    rebalanced = frame["session"].unique().sort().to_numpy().astype("datetime64[D]")
    odd = Displaced((), ())
    if source.status not in SKIPPED:
        odd = _displaced(context, month, np.union1d(rebalanced, earlier[:1]), possible)
    back = held_back(frame, context.recipe.spec.portfolio.max_turnover, memory.held)
    low = little_aimed_at(filled)
    limits = below_exposure(low, len(rebalanced), context.recipe.spec.portfolio)
    thin = thin_sides(frame, context.recipe.spec.portfolio)
    for words in (*odd.sentences, *back.sentences, *thin, *limits):
        context.progress("targets", f"{month}: {words}")
    facts = {
        "rebalances": len(rebalanced),
        "rebalances_moved": len(odd.moved),
        "rebalances_missed": len(odd.missed),
        "rebalances_unsolved": len(back.unsolved),
        "rebalances_over_cap": len(back.over_cap),
        "rebalances_capped": len(back.capped),
        "rebalances_below_exposure": len(low),
        "names_held": frame.filter(pl.col("target_weight") != 0)["symbol"].n_unique(),
    }
    more = {BELOW: {str(day): share for day, share in low.items()}}
    yield Output(month, {ROWS: frame}, status=source.status, facts=facts, more=more)


def stored_below_exposure(context: RecipeContext, months: Sequence[str]) -> dict[date, float]:
    """Return the rebalances of months whose targets aim at much less than the rule's exposure.

    Args:
        context: with a recipe.
        months: whose targets are stored.

    Returns:
        By session the share of the exposure that is aimed at.
    """
    found = dict[date, float]()
    for month in months:
        manifest = context.targets.folder(month).manifest()
        if manifest is not None:
            stored: Mapping[str, float] = manifest.extra[BELOW]
            found |= {date.fromisoformat(day): share for day, share in stored.items()}
    return found


def _is_first(context: RecipeContext, month: str) -> bool:
    """Return whether no session before a month can have been decided: it has the first model."""
    try:
        model = context.checkpoint(month).manifest()
    except StorageError:
        return False
    return model is not None and bool(model.extra.get(IS_FIRST))


def earlier_in_period(
    context: RecipeContext, session: date | np.datetime64, model: Manifest
) -> Dates:
    """Return the sessions before `session`, in its rebalance period, that a model may decide.

    Args:
        context: with a recipe.
        session: a decision session.
        model: of the checkpoint of its month; before the first month with enough history no
            session can be decided.
    """
    calendar, rule = context.market.calendar, context.recipe.spec.portfolio.rebalance
    near = calendar.period_sessions(session, rule)
    near = near[near < np.asarray(session, dtype="datetime64[D]")]
    if model.extra.get(IS_FIRST):
        near = near[near >= calendar.month_sessions(month_of(session))[0]]
    return near


def before_in_period(context: RecipeContext, month: str) -> tuple[Dates, Dates]:
    """Return the sessions before `month`, in its first rebalance period, that a model may decide.

    Returns:
        All of them, and those that were decided.

    Raises:
        MissingOutput: rows of those sessions have not been made.
    """
    start = context.market.calendar.month_sessions(month)[0]
    model = context.checkpoint(month).manifest()
    if model is None or model.status in SKIPPED:
        nothing = np.empty(0, dtype="datetime64[D]")
        return nothing, nothing
    earlier = earlier_in_period(context, start, model)
    if not len(earlier):
        return earlier, earlier
    first, last = month_of(earlier[0]), month_of(earlier[-1])
    for table in (context.members, context.held_members, context.panel):
        if last not in table.months():
            raise MissingOutput(
                f"{table.name} of {last} has not been made, and whether {month} begins with a "
                f"rebalance depends on it: {start} is not the first session of its period; "
                f"{run_again(context)}"
            )
    within = pl.col("session").is_in(earlier.tolist())
    members = candidates(context, first, last).filter(within).collect()
    panel = context.panel.read(first, last).select("session", "symbol", "stale").filter(within)
    return earlier, decided_among(earlier, members, panel.collect())


def _displaced(context: RecipeContext, month: str, rebalanced: Dates, possible: Dates) -> Displaced:
    """Return which rebalances of the periods that reach into `month` were moved or missed."""
    calendar, rule = context.market.calendar, context.recipe.spec.portfolio.rebalance
    sessions = calendar.month_sessions(month)
    reached = np.datetime64(frontier(context))
    seen = np.union1d(possible, sessions[sessions <= reached])
    return displaced(rebalanced, seen, calendar, rule)


def decided_over(
    context: RecipeContext,
    predictions: pl.DataFrame,
    panel: pl.DataFrame,
    *,
    earlier: Dates | None = None,
    memory: Remembered = NOTHING,
) -> tuple[pl.DataFrame, dict[date, float]]:
    """Return what to hold from each rebalance session among the predicted ones.

    Args:
        context: whose recipe has the rule, and whose calendar defines a period.
        predictions: of any sessions.
        panel: `PANEL_COLUMNS` of the same sessions.
        earlier: decided sessions before them in the period of the first one.
        memory: what the rule remembers of the sessions before.

    Returns:
        Targets, and by session the share of its exposure that the rule aims at; NaN unknown.
    """
    spec, calendar = context.recipe.spec.portfolio, context.market.calendar
    filled = dict[date, float]()
    sessions = predictions["session"].unique().sort().to_numpy().astype("datetime64[D]")
    before = sessions[:0] if earlier is None else earlier
    frames, held = [pl.DataFrame(schema=TARGETS)], dict(memory.held)
    for session in rebalance_sessions(sessions, before, calendar, spec.rebalance):
        today = pl.col("session") == as_date(session)
        there = panel.filter(today)
        names = set(there["symbol"].to_list())
        known = Known(
            not_shortable=frozenset(
                there.filter(~pl.col("shortable").fill_null(True))["symbol"].to_list()
            ),
            held={name: weight for name, weight in held.items() if name in names},
            sector=dict(there.select("symbol", "sector").iter_rows()),
            **_of_features(context, memory.features, session),
            **_of_worth(context, predictions, memory.scores, session),
        )
        scores = _scores_at(context, predictions, memory.scores, session)
        rows, filled[as_date(session)] = decided(scores, known, spec)
        frames.append(rows)
        if rows.height:
            held = last_held(rows)
    return pl.concat(frames), filled


def _of_features(
    context: RecipeContext, features: pl.DataFrame | None, session: np.datetime64
) -> dict[str, pl.DataFrame]:
    """Return what the rule reads of features at a session, and returns up to it."""
    spec, calendar = context.recipe.spec.portfolio, context.market.calendar
    if features is None:
        return {}
    found = {"features": features.filter(pl.col("session") == as_date(session))}
    if spec.needs_returns:
        start = sessions_back(calendar, session, spec.sessions_back)
        found["returns"] = features.filter(
            pl.col("session").is_between(start, as_date(session))
        ).select("session", "symbol", RETURN)
    return found


def _scores_at(
    context: RecipeContext,
    predictions: pl.DataFrame,
    before: pl.DataFrame | None,
    session: np.datetime64,
) -> pl.DataFrame:
    """Return the scores that are traded at a session: its own, or their mean over sessions."""
    spec, calendar = context.recipe.spec.portfolio, context.market.calendar
    own = predictions.filter(pl.col("session") == as_date(session))
    if spec.smoothing is None:
        return own
    start = sessions_back(calendar, session, spec.smoothing_sessions - 1)
    days = [as_date(day) for day in calendar.between(start, session)]
    found = smoothed(_scores_of(predictions, before, days, spec.horizon), days, spec.smoothing)
    return found.with_columns(horizon=pl.lit(spec.horizon, dtype=own.schema["horizon"]))


def _scores_of(
    predictions: pl.DataFrame, before: pl.DataFrame | None, days: list[date], horizon: int
) -> pl.DataFrame:
    """Return the scores of some sessions and one horizon."""
    parts = [
        part.filter((pl.col("horizon") == horizon) & pl.col("session").is_in(days)).select(
            "session", "symbol", "score"
        )
        for part in (before, predictions)
        if part is not None
    ]
    return pl.concat(parts)


class _OfWorth(TypedDict, total=False):
    scores: pl.DataFrame
    sessions: list[date]
    costs: CostsSpec


def _of_worth(
    context: RecipeContext,
    predictions: pl.DataFrame,
    before: pl.DataFrame | None,
    session: np.datetime64,
) -> _OfWorth:
    """Return what a rule weighs drift by: costs, and scores of the sessions before."""
    spec, calendar = context.recipe.spec.portfolio, context.market.calendar
    if not spec.needs_costs:
        return {}
    start = sessions_back(calendar, session, spec.scores_back)
    days = [as_date(day) for day in calendar.between(start, session)]
    return {
        "scores": _scores_of(predictions, before, days, spec.horizon),
        "sessions": days,
        "costs": context.recipe.costs,
    }
