"""Scores of one decision session: one forward pass over exactly its universe rows.

Shape letters: N symbols of the session, H horizons, S seeds.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from alpha_assets.arrays.types import Array32, Dates
from alpha_assets.calendar import as_date
from alpha_assets.dataset import Axes, symbol_axis
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import DegenerateModel, StaleOutput
from alpha_assets.panel.lives import plain_symbol
from alpha_assets.training.card import Card
from alpha_assets.training.checkpoint import Checkpoint
from alpha_assets.training.fit import reproducible
from alpha_assets.training.memory import SMALLER, size_in_words, within_memory
from alpha_assets.training.score_columns import predictions_schema, quantile_columns


def prediction_axes(card: Card, cross_section: pl.DataFrame, sessions: Dates) -> Axes:
    """Return the axes of a dataset that a checkpoint can score.

    Args:
        card: of the checkpoint; it names the columns, and the lists that static ids index.
        cross_section: rows of those sessions.
        sessions: consecutive, from `sequence` - 1 before the first decision to the last.
    """
    return Axes(
        sessions=np.asarray(sessions, dtype="datetime64[D]"),
        symbols=symbol_axis(cross_section, sessions),
        features=card.section_columns,
        market_features=card.market_features,
        horizons=card.horizons,
        known_symbols=card.symbols,
        known_sectors=card.sectors,
        families={
            name: places
            for name, places in card.families.items()
            if places[0] < len(card.section_columns)  # fitted inputs are appended
        },
    )


def score_session(checkpoint: Checkpoint, data: Dataset, session: np.datetime64) -> pl.DataFrame:
    """Return the mean score over seeds of every symbol that may be scored at a session.

    The pass sees that session's universe rows and nothing else of the dataset, so that a score
    has the same bits in a backtest and on the day.

    Args:
        checkpoint: of the session's month.
        data: holds the session and the `sequence` - 1 before it, on the checkpoint's columns.
        session: to be decided.

    Returns:
        `session`, `symbol`, `horizon`, `score`, `model_month`, in key order; universe rows
        without a bar at D-1 are not scored and have no row. Empty if there is none to score.

    Raises:
        StaleOutput: the dataset has other columns or ids than the checkpoint.
        DegenerateModel: a score that is not finite.
    """
    card = checkpoint.card
    _refuse_mismatch(card, data)
    batch, symbols = data.cross_section(session, card.learner.window.sequence)
    scored_N = batch.mask_BN[0].cpu().numpy()
    if not scored_N.any():
        return pl.DataFrame(schema=predictions_schema(card.learner.model))
    output = batch_output(checkpoint, batch)
    score_NH = output.score_NH[scored_N]
    if not np.isfinite(score_NH).all():
        raise DegenerateModel(
            f"{int((~np.isfinite(score_NH)).sum())} scores of {session} by the model of "
            f"{card.month} are not finite, want all; look at the features of that session"
        )
    kept = [symbol for symbol, is_in in zip(symbols, scored_N, strict=True) if is_in]
    n_horizons = len(card.horizons)
    levels = quantile_columns(card.learner.model)
    frame = pl.DataFrame(
        {
            "session": [as_date(session)] * (len(kept) * n_horizons),
            "symbol": np.repeat(np.array(kept, dtype=object), n_horizons).tolist(),
            "horizon": list(card.horizons) * len(kept),
            "score": score_NH.ravel(),
            "model_month": [card.month] * (len(kept) * n_horizons),
            **{
                name: output.quantile_NHQ[scored_N, :, q].ravel()
                for q, name in enumerate(levels)
                if output.quantile_NHQ is not None
            },
        },
        schema=predictions_schema(card.learner.model),
    )
    frame = frame.with_columns(plain_symbol(pl.col("symbol")))  # of a life, its symbol
    return frame.sort("session", "symbol", "horizon")


@dataclass(frozen=True, eq=False)
class SessionOutput:
    """Means over seeds of one session's symbols.

    Attributes:
        score_NH: Float32.
        quantile_NHQ: of models with quantiles; None without.
    """

    score_NH: Array32
    quantile_NHQ: Array32 | None = None


@torch.no_grad()
def batch_output(checkpoint: Checkpoint, batch: Batch) -> SessionOutput:
    """Return the mean over seeds of what the models say of one session's symbols.

    Args:
        checkpoint: of the session's month.
        batch: of that one session, on the checkpoint's device.

    Raises:
        OutOfMemory: it does not fit.
    """
    device = batch.x_BNTF.device
    autocasts = checkpoint.card.precision == "bf16"
    with (
        within_memory(f"scores of a session, {size_in_words(batch)}", device, lambda: SMALLER),
        reproducible(checkpoint.card.learner.training.threads, device),
        torch.autocast(device.type, torch.bfloat16, enabled=autocasts),
    ):
        made = [model.infer(batch) for model in checkpoint.models]
    quantiles = [one.quantile_BNHQ[0] for one in made if one.quantile_BNHQ is not None]
    return SessionOutput(
        _mean_over_seeds([one.score_BNH[0] for one in made]),
        _mean_over_seeds(quantiles) if quantiles else None,
    )


def _mean_over_seeds(of_seeds: list[Tensor]) -> Array32:
    """Return the mean, summed in Float64."""
    return np.asarray(torch.stack(of_seeds).double().mean(0).float().cpu().numpy())


def _refuse_mismatch(card: Card, data: Dataset) -> None:
    axes = data.axes
    for name, trained, given in (
        ("features", card.features, axes.features),
        ("market_features", card.market_features, axes.market_features),
        ("symbols", card.symbols, axes.known_symbols),
        ("sectors", card.sectors, axes.known_sectors),
        ("horizons", card.horizons, axes.horizons),
    ):
        if trained != given:
            odd = sorted(set(trained).symmetric_difference(given), key=str)[:3]
            raise StaleOutput(
                f"the model of {card.month} was trained with {len(trained)} {name}, the dataset "
                f"has {len(given)} (first difference: {odd or 'their order'}); build the dataset "
                "on the card's columns, or train the month again"
            )
