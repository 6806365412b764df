"""What a recipe makes from vectors of a feed: fitted for a checkpoint, and applied by it.

Shape letters: L universe rows, R distinct vectors, K components.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array32
from alpha_assets.calendar import as_date, month_of
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe, vector_column
from alpha_assets.dataset import PcaSpec, Split, VectorsSpec
from alpha_assets.dataset.cells import on_axes
from alpha_assets.dataset.inputs import columns_of, family_of
from alpha_assets.dataset.space import Space
from alpha_assets.errors import BadInput
from alpha_assets.features.cross_section import section_z
from alpha_assets.panel.lives import births, rows_by_life
from alpha_assets.panel.universe import UniverseSpec
from alpha_assets.panel.vectors import VectorStates, vector_states
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.transforms import sessions_back
from alpha_assets.training.card import InputCard

if TYPE_CHECKING:
    from alpha_assets.dataset.tensor import Dataset
    from alpha_assets.training.checkpoint import Checkpoint
    from alpha_assets.training.pca import Pca

LISTINGS = "listings"


@dataclass(frozen=True, eq=False)
class FittedInput:
    """A fitted input of a checkpoint: what is kept of it, and what describes it."""

    pca: "Pca"
    card: InputCard


def states_of(
    context: RecipeContext, spec: PcaSpec | VectorsSpec, keys: pl.DataFrame
) -> VectorStates:
    """Return the newest vector of each universe row, as of its session.

    Args:
        context: whose raw rows are read, up to the decision of the last session.
        spec: of the input.
        keys: `session`, `symbol` of a life.
    """
    market = context.market
    feed = market.feeds[spec.feed]
    last = as_date(keys["session"].max())
    instant, number = market.calendar.decided_at(last), int(market.calendar.index_of(last))
    table = context.raw.get(LISTINGS)
    listings = table.read(until=instant) if table is not None and table.months() else None
    return vector_states(
        keys,
        context.raw[spec.feed].read(until=instant),
        feed,
        vector_column(market, spec),
        market.calendar,
        spec.max_age,
        births(listings, market.calendar, number),
    )


def training_view(
    context: RecipeContext, split: Split, data: "Dataset"
) -> "tuple[Dataset, Mapping[str, FittedInput]]":
    """Return a month's training data with the recipe's inputs, each fitted on it.

    Args:
        context: with a recipe.
        split: of the month.
        data: without them.

    Returns:
        The view, and what was fitted by name of the input.

    Raises:
        BadInput: fewer training sessions with vectors, or directions in which they vary, than
            components.
    """
    inputs = context.recipe.spec.inputs
    if not inputs.named:
        return data, {}
    start = sessions_back(
        context.market.calendar, split.train[0], context.recipe.spec.window.sessions_before
    )
    keys = universe_rows(context, start, as_date(split.last))
    fitted: dict[str, FittedInput] = {}
    for name, spec in inputs.fitted.items():
        states = states_of(context, spec, keys)
        fitted[name] = fitted_on(context, name, spec, keys, states, split)
        rows = component_rows(fitted[name], keys, states, rules_of(context))
        data = data.appended(rows, fitted[name].card.columns, family_of(name))
    return with_vectors(context, data, keys, context.store.unnamed_file), fitted


def fitted_on(
    context: RecipeContext,
    name: str,
    spec: PcaSpec,
    keys: pl.DataFrame,
    states: VectorStates,
    split: Split,
) -> FittedInput:
    """Return the principal components of what the universe had on a month's training sessions.

    Args:
        context: with a recipe.
        name: of the input.
        spec: of the input.
        keys: universe rows.
        states: the vector of each.
        split: of the month.
    """
    from alpha_assets.training.pca import fit_pca

    is_train_L = keys["session"].is_in(split.learned.tolist()).to_numpy() & states.has_L
    n_sessions = keys.filter(pl.Series(is_train_L))["session"].n_unique()
    if n_sessions < spec.components:
        raise BadInput(
            f"[inputs.{name}] components = {spec.components}: {n_sessions} of the "
            f"{len(split.learned)} training sessions {split.train[0]} to {split.train[-1]} of "
            f"{split.month} have a vector of {spec.feed}; want fewer components, a longer "
            "split.lookback_sessions, or later months"
        )
    used_R, count_R = np.unique(states.row_L[is_train_L], return_counts=True)
    pca = fit_pca(states.vector_RV[used_R], count_R, spec.components, name)
    card = InputCard(
        kind=spec.kind,
        feed=spec.feed,
        column=vector_column(context.market, spec),
        width=states.vector_RV.shape[1],
        max_age=spec.max_age,
        columns=columns_of(name, spec),
        explained=pca.explained_K,
        sessions=n_sessions,
        states=int(is_train_L.sum()),
        distinct=len(used_R),
    )
    return FittedInput(pca, card)


def component_rows(
    fitted: FittedInput, keys: pl.DataFrame, states: VectorStates, rules: UniverseSpec
) -> pl.DataFrame:
    """Return `session`, `symbol` and the columns of a fitted input.

    Components are winsorised z-scores over the symbols of the session that have a vector, whatever
    the scale of the universe, 0 for those without; `<name>_present` is 1 where there is one.
    """
    score_RK = fitted.pca.scores(states.vector_RV).astype(np.float32)
    order = keys.with_row_index("_row").sort("session", "symbol")
    place_L, session_L = order["_row"].to_numpy(), order["session"].to_numpy()
    edges = np.flatnonzero(np.append(True, session_L[1:] != session_L[:-1]))
    made = np.zeros((keys.height, len(fitted.card.columns)), dtype=np.float32)
    made[:, -1] = states.has_L
    for at_L in np.split(place_L, edges[1:]):
        known_L = at_L[states.has_L[at_L]]
        x_NK: Array32 = score_RK[states.row_L[known_L]]
        if len(known_L):
            made[known_L, :-1] = section_z(np.ascontiguousarray(x_NK.T), rules).z_NF
    columns = {name: made[:, k] for k, name in enumerate(fitted.card.columns)}
    return keys.select("session", "symbol").with_columns(
        pl.Series(name, column) for name, column in columns.items()
    )


def with_vectors(
    context: RecipeContext,
    data: "Dataset",
    keys: pl.DataFrame,
    new_space: Callable[[], Space] | None = None,
) -> "Dataset":
    """Return a view beside which the recipe's raw vectors stand.

    Args:
        context: whose raw rows are read.
        data: the view.
        keys: universe rows of its sessions.
        new_space: gives a file for the vectors of an input; None: they are few, and stay in memory.
    """
    from alpha_assets.dataset.vectors import Vectors

    vectors: dict[str, Vectors] = {}
    for name, spec in context.recipe.spec.inputs.vectors.items():
        states = states_of(context, spec, keys)
        places = keys.with_columns(pl.Series("row", states.row_L))
        row_DN = np.nan_to_num(on_axes(places, "row", data.axes), nan=-1.0).astype(np.int32)
        space = None if new_space is None else new_space()
        vectors[name] = Vectors.of(states.vector_RV, row_DN, name, space)
    return replace(data, vectors=vectors) if vectors else data


def scoring_view(
    context: RecipeContext, checkpoint: "Checkpoint", data: "Dataset", section: pl.DataFrame
) -> "Dataset":
    """Return what a checkpoint sees, with its inputs as it was fitted for them.

    Args:
        context: whose raw rows are read.
        checkpoint: of the month.
        data: without them.
        section: universe rows of the sessions of `data`, by life.
    """
    inputs = context.recipe.spec.inputs
    keys = section.select("session", "symbol")
    if not inputs.named or not keys.height:
        return data
    tables = component_tables(context, checkpoint, keys)
    for name, rows in zip(inputs.fitted, tables, strict=True):
        data = data.appended(rows, checkpoint.card.inputs[name].columns, family_of(name))
    return with_vectors(context, data, keys)


def component_tables(
    context: RecipeContext, checkpoint: "Checkpoint", keys: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Yield the rows of each fitted input of a checkpoint; see `component_rows`.

    Args:
        context: whose raw rows are read.
        checkpoint: whose inputs.
        keys: `session`, `symbol` of a life of all universe rows of some sessions.
    """
    for name, spec in context.recipe.spec.inputs.fitted.items():
        fitted = FittedInput(checkpoint.fitted[name], checkpoint.card.inputs[name])
        yield component_rows(fitted, keys, states_of(context, spec, keys), rules_of(context))


def rules_of(context: RecipeContext) -> UniverseSpec:
    """Return the rules of a recipe's universe."""
    return context.market.universe(context.recipe.spec.universe.name)


def input_cards(
    market: Market, recipe: Recipe, data: "Dataset", fitted: Mapping[str, FittedInput]
) -> dict[str, InputCard]:
    """Return what the card of a checkpoint holds of each input."""
    raw = {
        name: InputCard(
            kind=spec.kind,
            feed=spec.feed,
            column=vector_column(market, spec),
            width=data.vectors[name].table_RV.shape[1],
            max_age=spec.max_age,
        )
        for name, spec in recipe.spec.inputs.vectors.items()
    }
    return {**{name: one.card for name, one in fitted.items()}, **raw}


def universe_rows(context: RecipeContext, first: date, last: date) -> pl.DataFrame:
    """Return `session`, `symbol` of a life of the stored universe rows between two sessions."""
    months, within = (month_of(first), month_of(last)), pl.col("session").is_between(first, last)
    columns: Sequence[str] = ["session", "symbol"]
    section = context.section.read(*months, columns=columns).filter(within).collect()
    lives = context.panel.read(*months, columns=[*columns, "life"]).filter(within).collect()
    return rows_by_life(section, lives)
