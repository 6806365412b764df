"""The books of holding stored targets, and the stored scores that they were decided by."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import polars as pl

from alpha_assets.backtest.books import Books
from alpha_assets.backtest.rebalances import below_exposure, displaced, held_back, thin_sides
from alpha_assets.backtest.simulator import backtest
from alpha_assets.errors import RangeError
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.figures import why_undecided
from alpha_assets.pipeline.frontier import last_bar
from alpha_assets.pipeline.raw import judged_rows
from alpha_assets.pipeline.targets import stored_below_exposure
from alpha_assets.pipeline.transforms import span_of


def scores_of(context: RecipeContext, months: Sequence[str]) -> pl.DataFrame:
    """Return the stored predictions of `months`.

    Raises:
        RangeError: there are none.
    """
    predictions = context.predictions.read(months[0], months[-1]).collect()
    if not predictions.height:
        raise RangeError(
            f"months {months[0]} to {months[-1]} have no predictions: "
            f"{why_undecided(context, months[-1])}"
        )
    return predictions


def simulated(context: RecipeContext, months: Sequence[str], first: date) -> Books:
    """Return the books of holding the stored targets up to the last session of `months`.

    Args:
        context: with a recipe.
        months: decided ones.
        first: the first decided session; the books begin there.
    """
    calendar = context.market.calendar
    _, last = span_of(calendar.month_sessions(months[-1]))
    last = min(last, last_bar(context))
    targets = context.targets.read(months[0], months[-1]).collect()
    books = backtest(
        targets,
        judged_rows(context),
        calendar,
        first=first,
        last=last,
        portfolio=context.recipe.spec.portfolio,
        costs=context.recipe.costs,
        basis=context.market.source.basis,
        max_stale=context.market.spec.max_stale,
    )
    odd = displaced(
        targets["session"].unique().sort().to_numpy().astype("datetime64[D]"),
        calendar.between(first, last),
        calendar,
        context.recipe.spec.portfolio.rebalance,
    )
    begins = []
    start = str(targets["session"].min()) if targets.height else ""
    n_flat = len(calendar.between(first, start)) - 1 if start else 0
    if n_flat:
        begins.append(
            f"Nothing is held in the first {n_flat} sessions: their period began before them, and "
            f"the first rebalance is on {start}."
        )
    rule = context.recipe.spec.portfolio
    back = held_back(targets, rule.max_turnover)
    return replace(
        books,
        notes=(
            *begins,
            *odd.sentences,
            *back.sentences,
            *thin_sides(targets, rule),
            *below_exposure(
                stored_below_exposure(context, months), targets["session"].n_unique(), rule
            ),
            *books.notes,
        ),
    )
