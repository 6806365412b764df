"""What a rule remembers: what the targets so far hold, and scores of the sessions before.

Targets are a chain where the rule depends on what is held: a month goes on from the last targets
of the month before, undrifted, and begins flat where that month has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.backtest.rebalances import rebalance_sessions
from alpha_assets.calendar import as_date, month_of, month_range, next_month
from alpha_assets.config.recipe import Recipe
from alpha_assets.errors import MissingOutput, StaleOutput, StorageError
from alpha_assets.pipeline.command import run_again, train_and_predict
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.families import tables_of
from alpha_assets.pipeline.market_stages import features_stage
from alpha_assets.pipeline.predictions import predictions_stage
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Read, Span
from alpha_assets.pipeline.transforms import sessions_back
from alpha_assets.store.folder import Folder
from alpha_assets.store.table import MonthTable

HELD, SCORES_BEFORE = "targets/before", "predictions/before"


@dataclass(frozen=True)
class Remembered:
    """What a rule reads beside the scores and the panel of the sessions that are decided.

    Attributes:
        held: weights of the last targets before them.
        scores: predictions of the sessions before them.
        features: `session`, `symbol` and what the rule reads, also of the sessions before.
    """

    held: Mapping[str, float] = field(default_factory=dict)
    scores: pl.DataFrame | None = None
    features: pl.DataFrame | None = None


NOTHING: Remembered = Remembered()


def reads_of_rule(recipe: Recipe) -> list[Read[RecipeContext]]:
    """Return what the targets of a recipe read because of its rule."""
    rule, found = recipe.spec.portfolio, []
    if rule.remembers:
        found.append(
            Read[RecipeContext](
                None,
                name=HELD,
                months_back=1,
                until=-1,
                span=_months_held,
                fresh=True,
                what_for="; the targets of {month} go on from what is held",
            )
        )
    if rule.scores_back:
        found.append(
            Read(
                predictions_stage(recipe),
                name=SCORES_BEFORE,
                sessions_back=rule.scores_back,
                until=-1,
                span=_months_scored,
                fresh=True,
            )
        )
    if rule.features:
        families = tables_of(recipe.market, rule.features)
        found.append(
            Read(features_stage(recipe.market, families), sessions_back=rule.sessions_back)
        )
    return found


def _stored(table: MonthTable, seen: Seen, first: str, last: str) -> list[str]:
    """Return the last consecutive months up to `last` that are stored, or about to be."""
    known = seen.hashes(table)
    found: list[str] = []
    for month in reversed(month_range(first, last) if first <= last else ()):
        if month not in known.of_month and month not in known.again:
            break
        found.insert(0, month)
    return found


def _months_held(context: RecipeContext, months: Sequence[str], seen: Seen) -> Span | None:
    """Return the months from the last one with targets to the one before; None: begin flat."""
    before = next_month(months[0], -1)
    known = seen.hashes(context.targets)
    last = before
    while last in known.of_month or last in known.again:
        if last in known.again or _rows(context, last):
            return last, before
        last = next_month(last, -1)
    return None


def _rows(context: RecipeContext, month: str) -> int:
    try:
        manifest = context.targets.folder(month).manifest()
    except StorageError:
        return 1  # it is damaged: reading it refuses it by name
    return manifest.rows if manifest is not None else 0


def _months_scored(context: RecipeContext, months: Sequence[str], seen: Seen) -> Span | None:
    """Return the months before whose scores are averaged with those of `months`."""
    calendar, back = context.market.calendar, context.recipe.spec.portfolio.scores_back
    start = sessions_back(calendar, calendar.month_sessions(months[0])[0], back)
    found = _stored(context.predictions, seen, month_of(start), next_month(months[0], -1))
    return (found[0], found[-1]) if found else None


def months_remembered(context: RecipeContext, month: str) -> list[Folder]:
    """Return the stored months of targets and scores that a month's rule remembers."""
    rule, seen = context.recipe.spec.portfolio, Seen()
    found: list[Folder] = []
    for table, span in (
        (context.targets, _months_held(context, [month], seen) if rule.remembers else None),
        (context.predictions, _months_scored(context, [month], seen) if rule.scores_back else None),
    ):
        if span is not None:
            found += [table.folder(one) for one in table.months(*span)]
    return found


def remembered(context: RecipeContext, month: str) -> Remembered:
    """Return what the rule remembers at the first session of a month, from stored outputs."""
    rule, features = context.recipe.spec.portfolio, None
    if rule.features:
        calendar = context.market.calendar
        start = sessions_back(calendar, calendar.month_sessions(month)[0], rule.sessions_back)
        columns = ["session", "symbol", *rule.features]
        features = (
            context.features.read(month_of(start), month, columns)
            .filter(pl.col("session") >= start)
            .collect()
        )
    return replace(_of_months_before(context, month), features=features)


def _of_months_before(context: RecipeContext, month: str) -> Remembered:
    """Return what the rule remembers of the targets and scores of the months before one."""
    rule, seen = context.recipe.spec.portfolio, Seen()
    span = _months_held(context, [month], seen) if rule.remembers else None
    held = {} if span is None else last_held(context.targets.read(*span).collect())
    span = _months_scored(context, [month], seen) if rule.scores_back else None
    return Remembered(held, None if span is None else context.predictions.read(*span).collect())


def last_held(targets: pl.DataFrame) -> dict[str, float]:
    """Return the weights of the last session of targets that are not 0."""
    last = targets.filter(
        (pl.col("session") == targets["session"].max()) & (pl.col("target_weight") != 0)
    )
    return dict(last.select("symbol", "target_weight").iter_rows())


def remembered_at(
    context: RecipeContext, session: date, earlier: Dates, features: pl.DataFrame
) -> Remembered:
    """Return what the rule remembers at one session that is decided here and now.

    Args:
        context: with a recipe.
        session: to decide.
        earlier: sessions of its month, before it, that were decided.
        features: as of the session and the sessions before that the rule reads.

    Raises:
        MissingOutput: targets or scores of a session before it, in the months that are stored,
            have not been made.
    """
    rule, calendar, month = (
        context.recipe.spec.portfolio,
        context.market.calendar,
        month_of(session),
    )
    first = _of_months_before(context, month)
    held, scores = first.held, first.scores
    if rule.remembers:
        _check_chain(context, month)
    way_out = (
        "the targets of a session go on from those before it; "
        f"{train_and_predict(context, session)}"
    )
    if rule.remembers:
        due = rebalance_sessions(
            earlier, np.empty(0, dtype="datetime64[D]"), calendar, rule.rebalance
        )
        why = f", a rebalance before {session}: {way_out}"
        stored = _complete(context.targets, month, session, due, why)
        if stored is not None and stored.height:
            held = last_held(stored)
    if rule.scores_back:
        why = f", and the rule reads scores of {rule.scores_back + 1} sessions: {way_out}"
        own = _complete(context.predictions, month, session, earlier, why)
        parts = [part for part in (scores, own) if part is not None]
        scores = pl.concat(parts) if parts else None
    return Remembered(held, scores, features if rule.features else None)


def _check_chain(context: RecipeContext, month: str) -> None:
    """Refuse a month whose chain of targets is broken, or not the one it was decided with.

    Raises:
        MissingOutput: targets of earlier months are stored, and not those of the month before.
        StaleOutput: the month's targets went on from others than those that are stored now.
    """
    table, seen = context.targets, Seen()
    manifest = table.folder(month).manifest() if month in table.months() else None
    before = next_month(month, -1)
    if manifest is None:
        stored = [one for one in table.months() if one < month]
        if stored and before not in stored:
            raise MissingOutput(
                f"{table.name} ends with {stored[-1]}, and what is held in {month} goes on from "
                f"{before}; {run_again(context, next_month(stored[-1]), before)}"
            )
        return
    span = _months_held(context, [month], seen)
    now = None if span is None else seen.hashes(table).combined(*span)
    if manifest.inputs.get(HELD) != now:
        raise StaleOutput(
            f"{table.name} of {month} went on from targets of {before} that have changed or are "
            f"gone; {run_again(context, before)}"
        )


def _complete(
    table: MonthTable, month: str, before: date, due: Dates, why: str
) -> pl.DataFrame | None:
    """Return the stored rows of a month before a session; None where it was never made.

    Args:
        table: of a row or more a session.
        month: one.
        before: a session of it.
        due: sessions that must have rows.
        why: what follows the first one that has none, in the refusal.

    Raises:
        MissingOutput: a session that is due has no rows.
    """
    found = None
    if month in table.months():
        found = table.read(month, month).filter(pl.col("session") < before).collect()
    have = set() if found is None else set(found["session"].to_list())
    lacking = [as_date(day) for day in due if as_date(day) not in have]
    if lacking:
        raise MissingOutput(f"{table.name} has no rows of {lacking[0]}{why}")
    return found
