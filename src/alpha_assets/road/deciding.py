"""Scores of a month's sessions from its checkpoint, and what to hold because of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from alpha_assets.calendar import Dates, as_date, month_of
from alpha_assets.dataset import Axes, Dataset
from alpha_assets.road.frames import sessions_back, tradable_rows
from alpha_assets.road.learning import POINTER, SKIPPED
from alpha_assets.road.road import Made, Road, manifest_of, require, staleness
from alpha_assets.store.manifest import Manifest
from alpha_assets.training import Checkpoint, load_checkpoint, score_session
from alpha_assets.training.predict import SCHEMA as PREDICTIONS


@dataclass(frozen=True)
class MonthModel:
    """The model that decides a month, or word that there is none."""

    manifest: Manifest
    checkpoint: Checkpoint | None  # None: skipped, too little history


def month_model(road: Road, month: str) -> MonthModel:
    """Return the model that decides `month`, following a pointer to an earlier one.

    Raises:
        MissingOutput: the month's checkpoint has not been made.
        StaleOutput: it was made by another digest.
    """
    way_out = (
        f"alpha-assets run --recipe {road.the_recipe.name} --market {road.market.name} "
        f"--first-month {month} --last-month {month} makes it"
    )
    manifest = require(road.checkpoint(month), road.the_recipe.digest, way_out)
    if manifest.status == SKIPPED:
        return MonthModel(manifest, None)
    made_in = str(manifest.extra["model_month"]) if manifest.status == POINTER else month
    require(road.checkpoint(made_in), road.the_recipe.digest, way_out)
    return MonthModel(manifest, load_checkpoint(road.checkpoint(made_in).path, road.device))


def scores(
    road: Road, checkpoint: Checkpoint, section: pl.DataFrame, panel: pl.DataFrame, decided: Dates
) -> pl.DataFrame:
    """Return the scores of `decided` sessions.

    Args:
        road: whose calendar and device are used.
        checkpoint: of the month.
        section: cross-section rows of the sessions and the `sequence` - 1 before them.
        panel: `session`, `symbol`, `stale` of the same sessions.
        decided: sessions, sorted.
    """
    card = checkpoint.card
    steps = card.learner.training.sequence
    start = sessions_back(road.market.calendar, decided[0], steps - 1)
    within = pl.col("session").is_between(start, as_date(decided[-1]))
    section = section.filter(within)
    axes = Axes(
        sessions=road.market.calendar.between(start, decided[-1]),
        symbols=tuple(section["symbol"].unique().sort().to_list()),
        features=card.features,
        market_features=card.market_features,
        horizons=card.horizons,
        known_symbols=card.symbols,
        known_sectors=card.sectors,
    )
    data = Dataset.build(
        section, axes, tradable=tradable_rows(panel.filter(within)), device=road.device
    )
    frames = [score_session(checkpoint, data, session) for session in decided]
    return pl.concat([pl.DataFrame(schema=PREDICTIONS), *frames])


def predictions_inputs(road: Road, month: str, model: Manifest) -> dict[str, str]:
    """Return what a month of predictions is made from."""
    first = _first_read(road, month)
    return {
        f"checkpoint/{month}": model.content_hash,
        "cross_section": road.section.combined_hash(first, month),
        "panel": road.panel.combined_hash(first, month),
    }


def _first_read(road: Road, month: str) -> str:
    session = road.market.calendar.month_sessions(month)[0]
    steps = road.the_recipe.spec.training.sequence
    return month_of(sessions_back(road.market.calendar, session, steps - 1))


def make_predictions(road: Road, months: Sequence[str]) -> list[Made]:
    """Write the scores of every decision session of `months`."""
    return [_make_predictions(road, month) for month in sorted(months)]


def _make_predictions(road: Road, month: str) -> Made:
    model = month_model(road, month)
    inputs = predictions_inputs(road, month, model.manifest)
    folder = road.predictions.folder(month)
    if staleness(folder, road.the_recipe.digest, inputs) is None:
        return Made.found("predictions", month, folder)
    road.progress("predictions", month)
    if model.checkpoint is None:
        frame, status = pl.DataFrame(schema=PREDICTIONS), SKIPPED
    else:
        frame = _score_stored(road, model.checkpoint, month)
        status = "complete"
    facts = prediction_facts(frame)
    manifest = road.predictions.write(
        month,
        frame,
        manifest_of(road.the_recipe.digest, inputs, status=status, facts=facts),
    )
    return Made.of("predictions", month, folder, manifest)


def _score_stored(road: Road, checkpoint: Checkpoint, month: str) -> pl.DataFrame:
    section = road.section.read(_first_read(road, month), month).collect()
    panel = road.panel.read(_first_read(road, month), month)
    known = section["session"].unique()
    sessions = road.market.calendar.month_sessions(month)
    decided = sessions[np.isin(sessions, known.to_numpy().astype("datetime64[D]"))]
    if not len(decided):
        return pl.DataFrame(schema=PREDICTIONS)
    stale = panel.select("session", "symbol", "stale").collect()
    return scores(road, checkpoint, section, stale, decided)


def prediction_facts(frame: pl.DataFrame) -> dict[str, float | int]:
    """Return what a look at a month's scores should show."""
    if not frame.height:
        return {"sessions": 0, "symbols": 0}
    spread = frame.group_by("session", "horizon").agg(pl.col("score").std()).get_column("score")
    return {
        "sessions": frame["session"].n_unique(),
        "symbols": frame["symbol"].n_unique(),
        "score_spread": float(spread.cast(pl.Float64).median() or 0.0),
    }


def targets_inputs(road: Road, month: str) -> dict[str, str]:
    """Return what a month of targets is made from."""
    return {
        "predictions": road.predictions.combined_hash(month, month),
        "panel": road.panel.combined_hash(month, month),
    }
