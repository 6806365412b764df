"""Scores of a month's sessions from its checkpoint, and what to hold because of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.backtest import (
    TARGETS,
    Displaced,
    displaced,
    rebalance_sessions,
    target_weights,
)
from alpha_assets.calendar import as_date, month_of
from alpha_assets.dataset import Dataset
from alpha_assets.errors import MissingOutput, RangeError, StorageError
from alpha_assets.panel.lives import by_life, rows_by_life
from alpha_assets.pipeline import identity, market_stages, train
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import (
    Made,
    RecipeContext,
    manifest_of,
    require,
    require_fresh,
    staleness,
)
from alpha_assets.pipeline.train import POINTER, SKIPPED
from alpha_assets.pipeline.transforms import (
    decidable_sessions,
    decided_among,
    feature_rows,
    panel_rows,
    panel_start,
    section_rows,
    series_rows,
    series_start,
    sessions_back,
    tradable_rows,
    universe_start,
)
from alpha_assets.store.manifest import Manifest
from alpha_assets.training import Checkpoint, score_session
from alpha_assets.training.predict import SCHEMA as PREDICTIONS
from alpha_assets.training.predict import prediction_axes


@dataclass(frozen=True)
class MonthModel:
    """The model that decides a month, or word that there is none."""

    manifest: Manifest
    checkpoint: Checkpoint | None  # None: skipped


def month_model(context: RecipeContext, month: str) -> MonthModel:
    """Return the model that decides `month`, following a pointer to an earlier one.

    Raises:
        MissingOutput: the month's checkpoint has not been made.
        StaleOutput: other settings or other code made it.
        StorageError: it is damaged.
    """
    way_out = run_again(context, month)
    manifest = require(context.checkpoint(month), identity.checkpoint(context.recipe), way_out)
    if manifest.status in SKIPPED:
        return MonthModel(manifest, None)
    made_in = str(manifest.extra["model_month"]) if manifest.status == POINTER else month
    source = context.checkpoint(made_in)
    require(source, identity.checkpoint(context.recipe), way_out)
    return MonthModel(manifest, train.stored_checkpoint(source, context.device))


def scores(
    context: RecipeContext,
    checkpoint: Checkpoint,
    section: pl.DataFrame,
    panel: pl.DataFrame,
    decided: Dates,
) -> pl.DataFrame:
    """Return the scores of `decided` sessions; see `scoring_data`."""
    data = scoring_data(context, checkpoint, section, panel, decided)
    frames = [score_session(checkpoint, data, session) for session in decided]
    return pl.concat([pl.DataFrame(schema=PREDICTIONS), *frames])


def scoring_data(
    context: RecipeContext,
    checkpoint: Checkpoint,
    section: pl.DataFrame,
    panel: pl.DataFrame,
    decided: Dates,
) -> Dataset:
    """Return what the checkpoint sees at `decided` sessions.

    Args:
        context: whose calendar and device are used.
        checkpoint: of the month.
        section: cross-section rows of the sessions and the `sequence` - 1 before them.
        panel: `session`, `symbol`, `stale`, `life` of the same sessions.
        decided: sessions, sorted.
    """
    card = checkpoint.card
    steps = card.learner.training.sequence
    start = sessions_back(context.market.calendar, decided[0], steps - 1)
    within = pl.col("session").is_between(start, as_date(decided[-1]))
    panel = panel.filter(within)
    section = rows_by_life(section.filter(within), panel)
    axes = prediction_axes(card, section, context.market.calendar.between(start, decided[-1]))
    tradable = tradable_rows(by_life(panel))
    return Dataset.build(section, axes, tradable=tradable, device=context.device)


def predictions_inputs(context: RecipeContext, month: str) -> dict[str, str]:
    """Return what a month of predictions is made from."""
    first = _first_read(context, month)
    return {
        f"checkpoint/{month}": train.model_hash(context, month),
        "cross_section": context.hashes(context.section).combined(first, month),
        "panel": context.hashes(context.panel).combined(first, month),
    }


def _first_read(context: RecipeContext, month: str) -> str:
    session = context.market.calendar.month_sessions(month)[0]
    steps = context.recipe.spec.training.sequence
    return month_of(sessions_back(context.market.calendar, session, steps - 1))


def make_predictions(context: RecipeContext, months: Sequence[str]) -> list[Made]:
    """Write the scores of every decision session of `months`."""
    return [_make_predictions(context, month) for month in sorted(months)]


def _make_predictions(context: RecipeContext, month: str) -> Made:
    inputs = predictions_inputs(context, month)
    folder = context.predictions.folder(month)
    if staleness(folder, identity.predictions(context.recipe), inputs) is None:
        return Made.found("predictions", month, folder)
    context.progress("predictions", month)
    train.require_checkpoint(context, month)
    model = month_model(context, month)
    if model.checkpoint is None:
        frame, status = pl.DataFrame(schema=PREDICTIONS), model.manifest.status
    else:
        frame = _score_stored(context, model.checkpoint, month)
        status = "complete"
    facts = prediction_facts(frame)
    manifest = context.predictions.write(
        month,
        frame,
        manifest_of(identity.predictions(context.recipe), inputs, status=status, facts=facts),
    )
    return Made.of("predictions", month, folder, manifest)


def _score_stored(context: RecipeContext, checkpoint: Checkpoint, month: str) -> pl.DataFrame:
    section = context.section.read(_first_read(context, month), month).collect()
    panel = context.panel.read(_first_read(context, month), month)
    known = section["session"].unique()
    sessions = context.market.calendar.month_sessions(month)
    decided = sessions[np.isin(sessions, known.to_numpy().astype("datetime64[D]"))]
    if not len(decided):
        return pl.DataFrame(schema=PREDICTIONS)
    stale = panel.select("session", "symbol", "stale", "life").collect()
    return scores(context, checkpoint, section, stale, decided)


def prediction_facts(frame: pl.DataFrame) -> dict[str, float | int]:
    """Return what a look at a month's scores should show."""
    if not frame.height:
        return {"sessions": 0, "symbols": 0}
    spread = frame.group_by("session", "horizon").agg(pl.col("score").cast(pl.Float64).std())[
        "score"
    ]
    return {
        "sessions": frame["session"].n_unique(),
        "symbols": frame["symbol"].n_unique(),
        "score_spread": float(np.median(spread.drop_nulls().to_numpy())) if len(spread) else 0.0,
    }


def targets_inputs(context: RecipeContext, month: str) -> dict[str, str]:
    """Return what a month of targets is made from."""
    inputs = {
        "predictions": context.hashes(context.predictions).combined(month, month),
        "panel": context.hashes(context.panel).combined(month, month),
    }
    before = [] if _is_first(context, month) else _months_before_in_period(context, month)
    if before:  # whether their sessions could be decided says whether this month's are the first
        inputs["cross_section/before"] = context.hashes(context.section).combined(
            before[0], before[-1]
        )
        inputs["panel/before"] = context.hashes(context.panel).combined(before[0], before[-1])
    return inputs


def _is_first(context: RecipeContext, month: str) -> bool:
    """Return whether no session before a month can have been decided: it has the first model."""
    try:
        model = context.checkpoint(month).manifest()
    except StorageError:
        return False
    return model is not None and bool(model.extra.get(train.IS_FIRST))


def _months_before_in_period(context: RecipeContext, month: str) -> list[str]:
    """Return the months before `month` that share its first session's rebalance period."""
    calendar, rule = context.market.calendar, context.recipe.spec.portfolio.rebalance
    start = calendar.month_sessions(month)[0]
    near = calendar.period_sessions(start, rule)
    return sorted({month_of(session) for session in near[near < start]})


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
    if model.extra.get(train.IS_FIRST):
        near = near[near >= calendar.month_sessions(month_of(session))[0]]
    return near


def make_targets(context: RecipeContext, months: Sequence[str]) -> list[Made]:
    """Write what to hold from every rebalance session of `months`."""
    return [_make_targets(context, month) for month in sorted(months)]


def _make_targets(context: RecipeContext, month: str) -> Made:
    recipe, folder = context.recipe, context.targets.folder(month)
    inputs = targets_inputs(context, month)
    if staleness(folder, identity.targets(recipe), inputs) is None:
        return Made.found("targets", month, folder)
    context.progress("targets", month)
    source = require_fresh(
        context.predictions.folder(month),
        identity.predictions(recipe),
        predictions_inputs(context, month),
        run_again(context, month),
    )
    predictions = context.predictions.read(month, month).collect()
    panel = context.panel.read(month, month, columns=["session", "symbol", "shortable"]).collect()
    possible, earlier = before_in_period(context, month)
    frame = targets_of(context, predictions, panel, earlier=earlier)
    rebalanced = frame["session"].unique().sort().to_numpy().astype("datetime64[D]")
    odd = Displaced((), ())
    if source.status not in SKIPPED:
        odd = _displaced(context, month, np.union1d(rebalanced, earlier[:1]), possible)
    for words in odd.sentences:
        context.progress("targets", f"{month}: {words}")
    facts = {
        "rebalances": len(rebalanced),
        "rebalances_moved": len(odd.moved),
        "rebalances_missed": len(odd.missed),
        "names_held": frame.filter(pl.col("target_weight") != 0)["symbol"].n_unique(),
    }
    manifest = context.targets.write(
        month,
        frame,
        manifest_of(identity.targets(recipe), inputs, status=source.status, facts=facts),
    )
    return Made.of("targets", month, folder, manifest)


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
    for table in (context.section, context.panel):
        if last not in table.months():
            raise MissingOutput(
                f"{table.name} of {last} has not been made, and whether {month} begins with a "
                f"rebalance depends on it: {start} is not the first session of its period; "
                f"{run_again(context)}"
            )
    within = pl.col("session").is_in(earlier.tolist())
    members = context.section.read(first, last).select("session", "symbol").filter(within).collect()
    panel = context.panel.read(first, last).select("session", "symbol", "stale").filter(within)
    return earlier, decided_among(earlier, members, panel.collect())


def _displaced(context: RecipeContext, month: str, rebalanced: Dates, possible: Dates) -> Displaced:
    """Return which rebalances of the periods that reach into `month` were moved or missed."""
    calendar, rule = context.market.calendar, context.recipe.spec.portfolio.rebalance
    sessions = calendar.month_sessions(month)
    reached = np.datetime64(market_stages.frontier(context))
    seen = np.union1d(possible, sessions[sessions <= reached])
    return displaced(rebalanced, seen, calendar, rule)


def targets_of(
    context: RecipeContext,
    predictions: pl.DataFrame,
    panel: pl.DataFrame,
    *,
    earlier: Dates | None = None,
) -> pl.DataFrame:
    """Return what to hold from each rebalance session among the predicted ones.

    Args:
        context: whose recipe has the rule, and whose calendar says what a period is.
        predictions: of any sessions.
        panel: `session`, `symbol`, `shortable` of the same sessions.
        earlier: decided sessions before them in the period of the first one.
    """
    spec, calendar = context.recipe.spec.portfolio, context.market.calendar
    sessions = predictions["session"].unique().sort().to_numpy().astype("datetime64[D]")
    before = sessions[:0] if earlier is None else earlier
    frames = [pl.DataFrame(schema=TARGETS)]
    for session in rebalance_sessions(sessions, before, calendar, spec.rebalance):
        today = pl.col("session") == as_date(session)
        barred = panel.filter(today & ~pl.col("shortable").fill_null(True))["symbol"]
        frames.append(target_weights(predictions.filter(today), frozenset(barred.to_list()), spec))
    return pl.concat(frames)


@dataclass(frozen=True)
class Decision:
    """One session's scores and targets.

    Attributes:
        session: that was decided.
        model_month: whose model scored it.
        scores: rows as in `predictions`.
        targets: rows as in `targets`; empty on a session that is no rebalance.
        notes: why there are no scores or no targets; empty where there are both.
    """

    session: date
    model_month: str
    scores: pl.DataFrame
    targets: pl.DataFrame
    notes: tuple[str, ...] = ()  # what a person should know of what it was decided from

    @property
    def rows(self) -> pl.DataFrame:
        """Scores with the weight to hold beside them, best first."""
        weights = self.targets.select("symbol", "target_weight", "reason")
        return self.scores.join(weights, on="symbol", how="left").sort(
            ["horizon", "score", "symbol"], descending=[False, True, False]
        )


def session_to_decide(context: RecipeContext, asof: str | None = None) -> date:
    """Return a session by its date, by default the next one to decide.

    Raises:
        RangeError: not a session, or one that stored bars do not reach.
    """
    calendar = context.market.calendar
    edge = market_stages.frontier(context)
    if asof is None:
        return edge
    session = as_date(calendar.sessions[calendar.index_of(parsed_date(asof))])
    if session > edge:
        raise RangeError(
            f"session {session} cannot be decided yet: stored bars reach the decision of {edge}"
        )
    return session


def decide(context: RecipeContext, asof: str | None = None) -> Decision:
    """Return what the month's model says of one session, and what to hold.

    Everything is built here and now from the raw rows that were effective by the session, and
    from nothing else that the store may hold but the checkpoint, which has to be fresh.

    Args:
        context: with a recipe.
        asof: the session; default: the next one to decide.

    Raises:
        RangeError: not a session, or one that stored bars do not reach.
        MissingOutput: the month's checkpoint has not been made.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    calendar = context.market.calendar
    for feed in context.raw:
        for lost, why in market_stages.lost_months(context, feed).items():
            raise StorageError(f"raw/{feed} of {lost} cannot be read: {why}; {run_again(context)}")
    session = session_to_decide(context, asof)
    month = month_of(session)
    model = month_model(context, month)
    train.require_checkpoint(context, month)
    if model.checkpoint is None:
        raise MissingOutput(f"month {month} was skipped: {train.why_skipped(model.manifest)}")
    steps = context.recipe.spec.training.sequence
    first = sessions_back(calendar, session, steps - 1)
    rules = context.market.universe(context.recipe.spec.universe.name)
    earlier = earlier_in_period(context, session, model.manifest)
    start = min(
        panel_start(context.market, first),
        universe_start(context.market, rules, min([first, *map(as_date, earlier[:1])])),
    )
    instant = calendar.decision(session)[()].astype("datetime64[us]").item().replace(tzinfo=UTC)
    known = {
        name: table.read(until=instant) for name, table in context.raw.items() if table.months()
    }
    panel = panel_rows(context.market, known, start, session)
    features = feature_rows(context.market, panel, first, session)
    series = series_rows(context.market, known, series_start(context.market, first), session)
    section = section_rows(
        context.market, rules, features, panel, first, session, series=series
    ).frame
    found = scores(context, model.checkpoint, section, panel, calendar.between(session, session))
    earlier = decidable_sessions(context.market, rules, panel, earlier)
    targets = targets_of(context, found, panel, earlier=earlier)
    return Decision(
        session=session,
        model_month=model.checkpoint.card.month,
        scores=found,
        targets=targets,
        notes=(
            *(market_stages.thin_sessions(panel.lazy(), session) if found.height else ()),
            *why_nothing(context, session, section, found, targets, earlier),
        ),
    )


def why_nothing(
    context: RecipeContext,
    session: date,
    section: pl.DataFrame,
    found: pl.DataFrame,
    targets: pl.DataFrame,
    earlier: Dates,
) -> tuple[str, ...]:
    """Return why a session has no scores, no targets, or nothing to hold; empty where it has.

    Args:
        context: with a recipe.
        session: that was decided.
        section: universe rows of the session, at least.
        found: its scores.
        targets: its targets.
        earlier: decided sessions before it in its rebalance period.
    """
    calendar, spec = context.market.calendar, context.recipe.spec
    rule, name = spec.portfolio.rebalance, spec.universe.name
    if not found.height:
        members = section.filter(pl.col("session") == session).height
        if not members:
            return (f"no score: universe {name!r} has no name at {session}",)
        before = calendar.before(session)
        return (
            f"no score: none of the {members} names of universe {name!r} had a bar on {before}, "
            f"the session before {session}",
        )
    if not targets.height and not len(earlier):
        return (f"no targets: the rule of {session}, a rebalance session ({rule}), gave no rows",)
    if not targets.height:
        due = calendar.period_sessions(session, rule)[-1]
        following = calendar.after(due)
        return (
            f"no targets: {session} is no rebalance session ({rule}); its period was rebalanced "
            f"on {earlier[0]}, and the next one is due on {following}",
        )
    if not (targets["target_weight"] != 0).any():
        reasons = ", ".join(targets["reason"].unique().sort().to_list())
        return (f"nothing to hold: {reasons}",)
    return ()


def parsed_date(text: str) -> date:
    """Return a date `YYYY-MM-DD`.

    Raises:
        RangeError: the text is not a date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RangeError(f"{text!r} is not a date; want YYYY-MM-DD, such as 2023-07-03") from None
