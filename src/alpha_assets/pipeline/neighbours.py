"""The edges of the graph that a recipe asks for: stored ones, and those of one session alone."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import as_date, month_of
from alpha_assets.dataset.axes import graph_sessions
from alpha_assets.panel.lives import rows_by_life
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.market_stages import graph_start, graph_table
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Span
from alpha_assets.pipeline.transforms import graph_rows, span_of

WEEK = 6  # sessions: no week has more before its last one


def graph_months(context: RecipeContext, sessions: Dates) -> tuple[str, str]:
    """Return the months that hold the graphs of some sessions, sorted ones."""
    made = graph_sessions(context.market.calendar, sessions[[0, -1]])
    return month_of(made[0]), month_of(made[1])


def graph_span(context: RecipeContext, months: Sequence[str], seen: Seen) -> Span:
    """Return the months that hold the graphs of all sessions of some months."""
    sessions = context.market.calendar.month_sessions
    return graph_months(context, sessions(months[0]))[0], months[-1]


def stored_edges(context: RecipeContext, sessions: Dates) -> pl.DataFrame | None:
    """Return the stored edges of the graphs in force at some sessions, by life of the symbols.

    None where the recipe asks for no graph.

    Args:
        context: with a recipe.
        sessions: sorted.
    """
    if context.recipe.spec.inputs.graph is None:
        return None
    first, last = graph_months(context, sessions)
    made = graph_sessions(context.market.calendar, sessions)
    rows = graph_table(context, context.recipe.spec.universe.name).read(first, last)
    edges = rows.filter(pl.col("session").is_between(*span_of(made))).collect()
    columns = ["session", "symbol", "life"]
    return edges_by_life(edges, context.panel.read(first, last, columns=columns).collect())


def edges_of_session(
    context: RecipeContext, panel: pl.DataFrame, session: date
) -> pl.DataFrame | None:
    """Return the edges in force at one session, made from panel rows from `edges_start` on."""
    if context.recipe.spec.inputs.graph is None:
        return None
    made = graph_session(context, session)
    rules = context.market.universe(context.recipe.spec.universe.name)
    start = graph_start(context.market, rules, made)
    near = panel.filter(pl.col("session").is_between(start, made))
    return edges_by_life(graph_rows(context.market, rules, near, start, made, made), near)


def edges_start(context: RecipeContext, session: date) -> date:
    """Return the first panel session that the graph in force at a session looks back to."""
    if context.recipe.spec.inputs.graph is None:
        return session
    rules = context.market.universe(context.recipe.spec.universe.name)
    return graph_start(context.market, rules, graph_session(context, session))


def graph_session(context: RecipeContext, session: date) -> date:
    """Return the session on which the graph in force at a session was made."""
    calendar = context.market.calendar
    return as_date(graph_sessions(calendar, calendar.between(session, session))[0])


def edges_by_life(edges: pl.DataFrame, panel: pl.DataFrame) -> pl.DataFrame:
    """Return edges between the lives of symbols that the panel's rows of their session are of."""
    ends = rows_by_life(edges, panel)
    other = ends.select("session", symbol="neighbour", own="symbol", weight="weight")
    named = rows_by_life(other, panel)
    return named.select("session", symbol="own", neighbour="symbol", weight="weight")
