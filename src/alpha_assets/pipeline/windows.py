"""Which months a model is trained on, which model decides a month, and which it starts from."""

from datetime import date

import polars as pl

from alpha_assets.calendar import as_date, month_of, month_range, next_month
from alpha_assets.dataset import Split, split_month
from alpha_assets.errors import MissingOutput, RangeError, SpecError
from alpha_assets.labels import longest_horizon
from alpha_assets.panel.universe import unknown_symbols
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.transforms import sessions_back
from alpha_assets.store.manifest import Manifest
from alpha_assets.training.retraining import model_month, parent_month

NO_HISTORY = "not_enough_history"
NO_NAMES = "not_enough_names"  # a hole in the data, or too small a universe, in a month's window
SKIPPED = (NO_HISTORY, NO_NAMES)  # statuses of a month without a model


def first_usable(context: RecipeContext) -> date:
    """Return the first session that the recipe's universe has rows for.

    Where leading months of the cross-section are not stored and the universe is full at once in
    the first that is, it may have begun before: the market's first session is returned, so that
    no window ends at what happens to be stored; reading the months that lack is refused.

    Raises:
        MissingOutput: no month of the cross-section has been made, or leading ones lack and the
            window or the chain of models starts at the market's first usable session.
        SpecError: the universe has no member in any month.
    """
    members = context.members
    months = members.months()
    found: date | None = None
    for month in months:
        rows = members.read(month, month).select(pl.col("session").min()).collect()
        if rows.item() is not None:
            found = as_date(rows.item())
            break
    if not months:
        raise MissingOutput(f"{members.name} has no rows; {run_again(context)}")
    if found is None:
        name = context.recipe.spec.universe.name
        rules = context.market.universe(name).model_dump(exclude_defaults=True)
        raise SpecError(
            f"universe {name!r} of market {context.market.name!r} has no member from {months[0]} "
            f"to {months[-1]}; [universes.{name}] asks for "
            f"{', '.join(f'{rule} = {value}' for rule, value in rules.items())}; choose another "
            "[universe] name in the recipe, or change those rules in the market's file"
        )
    sessions, start = context.market.calendar.month_sessions, first_month_of_data(context)
    if start >= months[0] or found > as_date(sessions(months[0])[0]):
        return found
    spec = context.recipe.spec
    for why, rests in (
        ("an expanding window", spec.split.expanding),
        ("the count of training.retrain_every months", spec.training.retrain_every > 1),
        ("the chain of warm starts", spec.training.warm_start),
    ):
        if rests:
            lacking = month_range(start, months[0])[:-1]
            raise MissingOutput(
                f"{members.name} lacks {len(lacking)} leading months, {lacking[0]} to "
                f"{lacking[-1]}, for which bars are stored; {why} starts at the market's first "
                f"usable session; {run_again(context)}"
            )
    return as_date(sessions(start)[0])


def named_without_bars(context: RecipeContext) -> list[str]:
    """Return which symbols that a universe of the recipe names are in no month of the panel."""
    panel, found = context.panel, list[str]()
    for name in dict.fromkeys((context.recipe.spec.universe.name, context.recipe.held_universe)):
        rules = context.market.universe(name)
        if rules.symbols is None:
            continue
        symbols = panel.read(columns=["symbol"]).unique().collect()
        absent = unknown_symbols(symbols, rules)
        if absent:
            found.append(
                f"{len(absent)} of the {len(rules.symbols)} symbols that universe {name!r} names "
                f"have no bar: {', '.join(absent)}; {len(rules.symbols) - len(absent)} are left"
            )
    return found


def usable_from(context: RecipeContext, seen: Seen) -> date:
    """Return `first_usable` as one look found it."""
    return seen.once("first usable session", lambda: first_usable(context))


def first_month_of_data(context: RecipeContext) -> str:
    """Return the first month that stages can be made for: that of the first stored bar.

    Raises:
        MissingOutput: no bars are stored.
    """
    bars = context.raw["daily_bars"]
    months = bars.months()
    if not months:
        raise MissingOutput(f"market {context.market.name!r} has no bars in this storage")
    first = bars.read(last=months[0], columns=["event_date"]).min().collect().item()
    return max(month_of(first), context.market.spec.first_month)


def split_of(context: RecipeContext, month: str, usable: date) -> Split:
    """Return the training and validation sessions of a month."""
    spec = context.recipe.spec
    horizon, steps = longest_horizon(spec.label), spec.window.sequence
    return split_month(context.market.calendar, month, horizon, spec.split, usable, steps)


def window_months(context: RecipeContext, split: Split) -> tuple[str, str]:
    """Return the first and last month whose cross-sections a month's model reads."""
    first = split.train[0] if len(split.train) else split.first_session
    window = context.recipe.spec.window
    start = sessions_back(context.market.calendar, first, window.sessions_before)
    return month_of(start), next_month(split.month, -1)


def first_trained_month(context: RecipeContext, usable: date) -> str:
    """Return the first month with a full training window.

    Raises:
        RangeError: no month of the calendar has one.
    """
    found = split_of(context, month_of(usable), usable).first_month
    if found is None:
        raise RangeError(
            f"no month of the calendar, which ends at {context.market.calendar.sessions[-1]}, has "
            f"the history for a model after {usable}: {needed_history(context)}"
        )
    return found


def needed_history(context: RecipeContext) -> str:
    """Return the sessions that a month must have before it, and what asks for most of them."""
    spec = context.recipe.spec
    split, horizon = spec.split, longest_horizon(spec.label)
    n_purges = 2 if split.valid_sessions else 1
    least = "lookback_sessions" if split.min_train_sessions is None else "min_train_sessions"
    asked = {
        f"split.{least} = {split.needed_sessions}": split.needed_sessions,
        f"split.valid_sessions = {split.valid_sessions}": split.valid_sessions,
        f"split.embargo_sessions = {split.embargo_sessions}": split.embargo_sessions,
        f"a label of {horizon} sessions behind each span": n_purges * horizon,
    }
    if spec.window.sequence > split.needed_sessions:  # reaches back from the last of them
        del asked[f"split.{least} = {split.needed_sessions}"]
        asked[f"window.sequence = {spec.window.sequence}"] = spec.window.sequence
    most = max(asked, key=lambda words: asked[words])
    return (
        f"{', '.join(words for words, n in asked.items() if n)} make {sum(asked.values())} "
        f"sessions; want less of what asks for most, {most}, or bring more history"
    )


def leans_on(context: RecipeContext, split: Split, usable: date) -> tuple[str, str | None]:
    """Return the month whose model decides a month, and the month that its training starts from."""
    if not split.is_ready:
        return split.month, None
    first_month, training = first_trained_month(context, usable), context.recipe.spec.training
    trained_in = model_month(split.month, first_month, training.retrain_every)
    return trained_in, parent_month(split.month, first_month, training)


def why_skipped(manifest: Manifest) -> str:
    """Return why a month has no model, from the manifest of its checkpoint; empty if it has one."""
    if manifest.status not in SKIPPED:
        return ""
    if manifest.status == NO_NAMES:
        return str(manifest.extra["why"])
    first = manifest.extra.get("first_month")
    return "too little history for a model" + (
        f", the first month with enough is {first}" if first else ""
    )


def last_exit(context: RecipeContext, last: date) -> date:
    """Return the session at which the longest label of a decision session ends."""
    calendar = context.market.calendar
    reach = int(calendar.index_of(last)) + max(context.recipe.spec.label.horizons)
    return as_date(calendar.sessions[min(reach, len(calendar.sessions) - 1)])
