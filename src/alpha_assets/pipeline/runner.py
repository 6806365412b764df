"""Every stage that is missing or stale: models and scores by workers, the others here."""

from collections.abc import Sequence
from typing import TypeVar

from alpha_assets.calendar import month_range, next_month
from alpha_assets.errors import RangeError
from alpha_assets.pipeline.checkpoint import checkpoint_stage, ensure_models
from alpha_assets.pipeline.checks import bars_are_sound, require, require_families
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.executor import (
    CHECKED,
    Executor,
    InProcess,
    in_order,
    tasks_of,
    tasks_of_study,
)
from alpha_assets.pipeline.frontier import months_of_data, thin_months
from alpha_assets.pipeline.raw import ingest_feed
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Made
from alpha_assets.pipeline.stages import month_stages, span_stages, stages_below
from alpha_assets.pipeline.study import months_to_study, study_stage
from alpha_assets.pipeline.variants import record
from alpha_assets.pipeline.windows import (
    first_trained_month,
    first_usable,
    named_without_bars,
    needed_history,
)
from alpha_assets.quality.coverage import LATEST

# Stages whose months workers make: the others are short, and a month's targets may go on from those
# of the month before.
BY_WORKERS = ("checkpoint", "predictions")

Context = TypeVar("Context", bound=MarketContext)


def run(
    context: RecipeContext,
    first_month: str | None = None,
    last_month: str | None = None,
    *,
    executor: Executor | None = None,
) -> Made:
    """Walk from raw rows to the tear sheet.

    Args:
        context: with a recipe.
        first_month: first to decide; default: the first with a full training window.
        last_month: last to decide; default: the last with bars.
        executor: makes models and scores; default: this process.

    Returns:
        The report.

    Raises:
        RangeError: months without data or without enough history.
        BadInput: the model's library is not installed.
        CheckFailed: a question of `pipeline.checks` about these months stops.
        WorkerLost: the workers that made a month were killed, again and again.
    """
    check_form(first_month, last_month)
    context.recipe.check_installed()
    if context.recipe.variant:
        asked = ", ".join(context.recipe.overrides)
        context.progress("recipe", f"{context.recipe.folder}: {context.recipe.name} with {asked}")
    context = ingest_all(context)
    for note in context.market.notes:
        context.progress("market", note)
    stored = months_of_data(context)
    last = last_month or stored[-1]
    check_months(context, stored, first_month, last)
    make_market_stages(context, month_range(stored[0], last))
    for words in named_without_bars(context):
        context.progress("market", words)
    decided = months_to_decide(context, first_month, last)
    require(bars_are_sound, context, decided)
    require_families(context, decided)
    for words in thin_months(context, decided):
        context.progress("panel", words)
    by_workers = [stage for stage in month_stages(context.recipe) if stage.name in BY_WORKERS]
    make_what_models_lean_on(context, decided[0])
    tasks = tasks_of(context, by_workers, decided)
    if tasks and (why := in_order(context, tasks)):
        context.progress("run", why)
    (executor or InProcess()).run(tasks, context.progress)
    of_tasks = {month for task in tasks for month in task.parts}
    for month in decided:
        for stage in month_stages(context.recipe):
            if stage not in by_workers:
                stage.ensure(context, [month])
            elif stage.name in CHECKED and month not in of_tasks:
                require(CHECKED[stage.name], context, [month])
    for stage in span_stages(context.recipe):
        (made,) = stage.ensure(context, decided)
    record(context)  # where all was fresh nothing wrote it, and it may have been lost
    return made


def study(context: RecipeContext, *, executor: Executor | None = None) -> Made:
    """Make the recipe's study of all stored months, and the market's stages that it reads.

    Args:
        context: with a recipe.
        executor: trains the folds; default: this process.

    Raises:
        BadInput: the recipe asks for none, or the model's library is not installed.
        RangeError: the purge leaves nothing of a fold.
    """
    study_stage(context.recipe)
    context.recipe.check_installed()
    context = ingest_all(context)
    stored = months_of_data(context)
    make_market_stages(context, stored)
    require_families(context, stored[-LATEST:])
    (executor or InProcess()).run(tasks_of_study(context), context.progress)
    (made,) = study_stage(context.recipe).ensure(context, months_to_study(context))
    return made


def ingest_all(context: Context) -> Context:
    """Store what the source delivers of every feed that is on; return the context to go on with.

    A feed that turns out to be refused (a plan may not include it after all) is off in it.

    Raises:
        SpecError: the recipe names what a refused feed makes.
    """
    for feed in context.market.feeds:
        ingest_feed(context, feed)
    refused = [feed for feed in context.market.feeds if feed not in context.market.source.feeds()]
    if refused:
        context = context.without_refused()
    for feed in refused:
        context.progress("raw", f"{feed} is off: {context.market.feeds_off[feed]}")
    return context


def check_form(first: str | None, last: str | None) -> None:
    """Refuse what are no months, or end before they start, before anything is read.

    Raises:
        RangeError: naming them.
    """
    given = [month for month in (first, last) if month is not None]
    if given:
        month_range(given[0], given[-1])


def check_months(
    context: RecipeContext, stored: Sequence[str], first: str | None, last: str
) -> None:
    """Refuse months that lie outside the data.

    Raises:
        RangeError: naming the months that there are.
    """
    for month in (first, last):
        if month is not None and not stored[0] <= month <= stored[-1]:
            raise RangeError(
                f"month {month} has no bars of market {context.market.name!r}; "
                f"they reach from {stored[0]} to {stored[-1]}"
            )


def make_market_stages(context: RecipeContext, months: Sequence[str]) -> None:
    """Make panel, features and the recipe's cross-section where they are missing or stale."""
    for stage in stages_below(context.recipe):
        stage.ensure(context, months)


def make_model(context: RecipeContext, month: str) -> None:
    """Make the checkpoint that decides a month, and whatever it needs that is missing or stale.

    That is the market's stages up to the month before, and, with warm starts, a parent or where a
    model serves several months, the checkpoints that it leans on.
    """
    context.recipe.check_installed()
    stored = months_of_data(context)
    before = [known for known in stored if known < month]
    make_market_stages(context, before)
    require_families(context, before[-LATEST:])
    ensure_models(context, month)


def make_what_models_lean_on(context: RecipeContext, month: str) -> None:
    """Make the models of earlier months that the one of a month points to or starts from.

    Those that are missing: one that is stale is refused by name, since months that it decided would
    be stale as well.
    """
    stage = checkpoint_stage(context.recipe)
    earlier = stage.leans_on(context, month, Seen())
    missing = [one for one in earlier if context.checkpoint(one).manifest() is None]
    if missing:
        context.progress("run", f"{month} goes on from the model of {missing[-1]}: it comes first")
        stage.ensure(context, missing)


def make_what_is_remembered(context: RecipeContext, month: str) -> None:
    """Make the targets that a session of a month goes on from, where the rule remembers any.

    They are those of the months since the last that is stored, and of the month itself as far as
    its bars reach.  Where no month before it is stored the first session begins flat.
    """
    rule = context.recipe.spec.portfolio
    if not (rule.remembers or rule.scores_back):
        return
    before = [stored for stored in context.targets.months() if stored < month]
    first = next_month(before[-1]) if before else month
    with_bars = [known for known in months_of_data(context) if known <= month]
    due = [known for known in with_bars if known >= first]
    if due:
        make_market_stages(context, with_bars)
    for one in due:
        for stage in month_stages(context.recipe):
            stage.ensure(context, [one])


def months_to_decide(context: RecipeContext, first_month: str | None, last: str) -> tuple[str, ...]:
    """Return the months to decide; those asked for, or all with a full training window.

    Raises:
        RangeError: no month up to `last` has enough history.
    """
    usable = first_usable(context)
    first_full = first_trained_month(context, usable)
    if first_month is None and first_full > last:
        raise RangeError(
            f"no month up to {last} has a full training window; the first one is {first_full}: "
            f"{needed_history(context)}"
        )
    if last < first_full:
        raise RangeError(
            f"month {last} has too little history, the first with enough is {first_full}: "
            f"{needed_history(context)}"
        )
    return month_range(first_month or first_full, last)
