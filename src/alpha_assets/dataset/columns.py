"""Which columns a month's model can learn: those that tell something for most of its window.

A feature that looks back a year, or whose feed began last spring, is 0 for all symbols until it
begins.  Weights that saw it on few sessions are as they were drawn, and what they make of it in
the month to be decided is noise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from alpha_assets.arrays.types import Dates


class Columns(NamedTuple):
    """Columns of the cross-section, each in the order given.

    Attributes:
        features: that differ between symbols.
        market_features: that are equal on all rows of a session.
        left_out: of both, those that span too little.
    """

    features: tuple[str, ...]
    market_features: tuple[str, ...]
    left_out: tuple[str, ...]


def informative(
    cross_section: pl.DataFrame, features: Sequence[str], market_features: Sequence[str]
) -> pl.DataFrame:
    """Return `session` and, by column, whether it holds information on each session with rows.

    A column does where it differs between symbols; a market-wide one where it is not 0.

    Args:
        cross_section: rows.
        features: columns that differ between symbols.
        market_features: columns that are equal on all rows of a session.
    """
    return (
        cross_section.lazy()
        .group_by("session")
        .agg(
            *[(pl.col(name).min() != pl.col(name).max()).fill_null(False) for name in features],
            *[(pl.col(name) != 0).any() for name in market_features],
        )
        .sort("session")
        .collect()
    )


def learnable_columns(
    informs: pl.DataFrame,
    train: Dates,
    features: Sequence[str],
    market_features: Sequence[str],
    min_span: float,
) -> Columns:
    """Return the columns that span enough of a training window.

    A column's span runs from the first training session on which it holds information (differs
    between symbols, or is not 0 for a market-wide one) to the last training session: a flag of
    rare events spans all that came after the first one.

    Args:
        informs: what `informative` returns of at least the training sessions.
        train: training decision sessions, sorted.
        features: columns to choose from; shares that are missing (`<family>_missing`) always stay.
        market_features: likewise, those that are equal on all rows of a session.
        min_span: share of the training sessions; 0 leaves nothing out.
    """
    if not min_span:
        return Columns(tuple(features), tuple(market_features), ())
    within = informs.filter(pl.col("session").is_between(train[0].item(), train[-1].item()))
    session = within["session"].to_numpy()
    chosen = [name for name in features if not name.endswith("_missing")]
    short = set()
    for name in (*chosen, *market_features):
        begun = session[within[name].to_numpy()]
        n_spanned = int((train >= begun.min()).sum()) if len(begun) else 0
        if n_spanned < min_span * len(train):
            short.add(name)
    return Columns(
        tuple(name for name in features if name not in short),
        tuple(name for name in market_features if name not in short),
        tuple(name for name in (*features, *market_features) if name in short),
    )
