"""The stage of scores: a month's sessions from the checkpoint that decides it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import as_date, month_of
from alpha_assets.config.recipe import Recipe
from alpha_assets.dataset.axes import graph_sessions
from alpha_assets.panel.lives import by_life, rows_by_life
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.checkpoint import checkpoint_stage, stored_checkpoint
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import POINTER, RecipeContext
from alpha_assets.pipeline.families import section_families
from alpha_assets.pipeline.market_stages import (
    cross_section_stage,
    graph_stage,
    members_stage,
    panel_stage,
    raw_rows,
)
from alpha_assets.pipeline.neighbours import WEEK, graph_span, stored_edges
from alpha_assets.pipeline.raw import feeds_of_inputs
from alpha_assets.pipeline.stage import Inputs, Output, Read, Stage
from alpha_assets.pipeline.transforms import sessions_back, tradable_rows
from alpha_assets.pipeline.windows import SKIPPED
from alpha_assets.spec import kept
from alpha_assets.store.folder import ROWS
from alpha_assets.store.manifest import COMPLETE, Manifest
from alpha_assets.training.score_columns import predictions_schema

if TYPE_CHECKING:
    from alpha_assets.dataset.tensor import Dataset
    from alpha_assets.training.checkpoint import Checkpoint


@kept
def predictions_stage(recipe: Recipe) -> Stage[RecipeContext]:
    """Return the stage of a recipe's scores."""
    market, training = recipe.market, recipe.spec.training
    back, universe = recipe.spec.window.sessions_before, recipe.spec.universe.name
    universe_held = recipe.held_universe
    of_graph: list[Read[RecipeContext]] = []
    if recipe.spec.inputs.graph is not None:
        of_graph = [Read(graph_stage(market, universe), sessions_back=WEEK, span=graph_span)]
    return Stage(
        name="predictions",
        key=(recipe.folder, "predictions"),
        place=lambda context: context.predictions,
        made_by=lambda: identity.predictions(recipe),
        reads=(
            Read(
                checkpoint_stage(recipe),
                name="checkpoint/{last}",
                months_back=training.retrain_every - 1,  # a month may point to an earlier one
                span=lambda context, months, seen: (months[0], months[0]),
                fresh=True,
            ),
            Read(
                cross_section_stage(market, universe, section_families(recipe)),
                sessions_back=back,
            ),
            *([Read(members_stage(market, universe_held))] if recipe.spec.universe.held else []),
            Read(panel_stage(market), sessions_back=max(back, WEEK) if of_graph else back),
            *of_graph,
            *(Read(raw_rows(f), all_before=True, optional=True) for f in feeds_of_inputs(recipe)),
        ),
        make=make_scores,
    )


@dataclass(frozen=True)
class MonthModel:
    """The model that decides a month, or word that there is none."""

    manifest: Manifest
    checkpoint: "Checkpoint | None"  # None: skipped


def month_model(context: RecipeContext, month: str, way_out: str | None = None) -> MonthModel:
    """Return the model that decides `month`, following a pointer to an earlier one.

    Args:
        context: with a recipe.
        month: to decide.
        way_out: of a refusal; default: the run of the month.

    Raises:
        MissingOutput: the month's checkpoint has not been made.
        StaleOutput: other settings or other code made it.
        StorageError: it is damaged.
    """
    stage = checkpoint_stage(context.recipe)
    way_out = way_out or run_again(context, month)
    manifest = stage.require(context, [month], fresh=False, way_out=way_out)
    if manifest.status in SKIPPED:
        return MonthModel(manifest, None)
    made_in = str(manifest.extra["model_month"]) if manifest.status == POINTER else month
    stage.require(context, [made_in], fresh=False, way_out=way_out)
    return MonthModel(manifest, stored_checkpoint(context.checkpoint(made_in), context.on_device))


def make_scores(context: RecipeContext, months: Sequence[str], inputs: Inputs) -> Iterator[Output]:
    """Score every decision session of a month."""
    (month,) = months
    model = month_model(context, month)
    if model.checkpoint is None:
        schema = predictions_schema(context.recipe.spec.model)
        frame, status = pl.DataFrame(schema=schema), model.manifest.status
    else:
        frame, status = _score_stored(context, model.checkpoint, month), COMPLETE
    yield Output(month, {ROWS: frame}, status=status, facts=prediction_facts(frame))


def scores(
    context: RecipeContext,
    checkpoint: "Checkpoint",
    section: pl.DataFrame,
    panel: pl.DataFrame,
    decided: Dates,
    edges: pl.DataFrame | None,
    held: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the scores of `decided` sessions; see `scoring_data`.

    Args:
        context: as there, and so are checkpoint, section, panel, decided and edges.
        checkpoint: of the month.
        section: of those whom the model sees.
        panel: of the same sessions.
        decided: sessions, sorted.
        edges: of the graphs, or None.
        held: `session`, `symbol` of who may be held; None: everyone in the section.  The others
            are part of what the model sees, and have no score.
    """
    from alpha_assets.training.predict import score_session

    data = scoring_data(context, checkpoint, section, panel, decided, edges)
    frames = [score_session(checkpoint, data, session) for session in decided]
    found = pl.concat(
        [pl.DataFrame(schema=predictions_schema(checkpoint.card.learner.model)), *frames]
    )
    if held is None:
        return found
    keys = ["session", "symbol"]
    return found.join(held.select(keys), on=keys, how="semi", maintain_order="left")


def scoring_data(
    context: RecipeContext,
    checkpoint: "Checkpoint",
    section: pl.DataFrame,
    panel: pl.DataFrame,
    decided: Dates,
    edges: pl.DataFrame | None,
) -> "Dataset":
    """Return what the checkpoint sees at `decided` sessions.

    Args:
        context: whose calendar and device are used.
        checkpoint: of the month.
        section: cross-section rows of the sessions and the `sequence` - 1 before them.
        panel: `session`, `symbol`, `stale`, `life` of the same sessions.
        decided: sessions, sorted.
        edges: of the graphs in force at them, by life; None where the recipe asks for no graph.
    """
    from alpha_assets.dataset.neighbours import Neighbours
    from alpha_assets.dataset.tensor import Dataset
    from alpha_assets.pipeline.inputs import scoring_view
    from alpha_assets.training.predict import prediction_axes

    card = checkpoint.card
    window, calendar = card.learner.window, context.market.calendar
    start = sessions_back(calendar, decided[0], window.sessions_before)
    within = pl.col("session").is_between(start, as_date(decided[-1]))
    panel = panel.filter(within)
    section = rows_by_life(section.filter(within), panel)
    axes = prediction_axes(card, section, calendar.between(start, decided[-1]))
    tradable = tradable_rows(by_life(panel))
    data = Dataset.build(section, axes, tradable=tradable, device=context.on_device)
    data = scoring_view(context, checkpoint, data, section)
    if edges is None:
        return data
    made_D = graph_sessions(calendar, axes.sessions)
    graph = Neighbours.of(edges, made_D, axes.symbols, card.n_neighbours, context.on_device)
    return replace(data, graph=graph)


def _score_stored(context: RecipeContext, checkpoint: "Checkpoint", month: str) -> pl.DataFrame:
    section = context.section.read(_first_read(context, month), month).collect()
    panel = context.panel.read(_first_read(context, month), month)
    known = section["session"].unique()
    sessions = context.market.calendar.month_sessions(month)
    decided = sessions[np.isin(sessions, known.to_numpy().astype("datetime64[D]"))]
    if not len(decided):
        return pl.DataFrame(schema=predictions_schema(context.recipe.spec.model))
    stale = panel.select("session", "symbol", "stale", "life").collect()
    edges, held = stored_edges(context, decided), stored_held(context, month, month)
    return scores(context, checkpoint, section, stale, decided, edges, held)


def candidates(context: RecipeContext, first: str, last: str) -> pl.LazyFrame:
    """Return `session`, `symbol` of those who are scored and may be held, of some months.

    Args:
        context: with a recipe.
        first: month.
        last: month.
    """
    keys = list(KEYS)
    found = context.members.read(first, last).select(keys)
    if not context.recipe.spec.universe.held:
        return found
    held = context.held_members.read(first, last).select(keys)
    return found.join(held, on=keys, how="semi")


def stored_held(context: RecipeContext, first: str, last: str) -> pl.DataFrame | None:
    """Return who may be held in some months; None: everyone in the recipe's universe."""
    if not context.recipe.spec.universe.held:
        return None
    found: pl.DataFrame = candidates(context, first, last).collect()
    return found


def _first_read(context: RecipeContext, month: str) -> str:
    session = context.market.calendar.month_sessions(month)[0]
    window = context.recipe.spec.window
    return month_of(sessions_back(context.market.calendar, session, window.sessions_before))


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
