"""The columns of stored scores."""

from typing import Any

import polars as pl

from alpha_assets.models import RankerSpec
from alpha_assets.training.learner import ModelSpec

SCHEMA = {
    "session": pl.Date,
    "symbol": pl.String,
    "horizon": pl.Int16,
    "score": pl.Float32,
    "model_month": pl.String,
}


def predictions_schema(model: ModelSpec) -> dict[str, Any]:
    """Return the columns of the scores of a model: one more per quantile."""
    return {**SCHEMA, **dict.fromkeys(quantile_columns(model), pl.Float32)}


def quantile_columns(model: ModelSpec) -> tuple[str, ...]:
    """Return the names of the columns of quantiles, such as `q10` of level 0.1."""
    levels = model.quantiles if isinstance(model, RankerSpec) else ()
    return tuple(f"q{level * 100:g}" for level in levels)
