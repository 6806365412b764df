"""Scores of several sessions as one: the mean of standardised scores, newer ones with more weight.

Shape letters: D sessions, N symbols.
"""

from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array
from alpha_assets.backtest.rules.standard import standardised


def smoothed(scores: pl.DataFrame, sessions: list[date], half_life: float) -> pl.DataFrame:
    """Return the scores of the last of some sessions, averaged over those before it.

    score = sum_k w^k z[D - k] / sum_k w^k over the sessions at which the name was scored,
    w = 0.5^(1 / half-life), z the score standardised over the names of its session

    Args:
        scores: `session`, `symbol`, `score` of one horizon.
        sessions: consecutive ones of the market, the one decided last; one without scores counts
            as unknown, and still ages those before it.
        half_life: sessions after which a score has half the weight.

    Returns:
        `session`, `symbol`, `score` of the names that the last session scored.
    """
    last = scores.filter(pl.col("session") == sessions[-1]).sort("symbol")
    names = last["symbol"]
    total_N, weight_N = np.zeros(len(names)), np.zeros(len(names))
    decay = 0.5 ** (1 / half_life)
    for k, session in enumerate(reversed(sessions)):
        of_session = scores.filter(pl.col("session") == session).sort("symbol")
        if not of_session.height:
            continue
        z_M: Array = standardised(of_session["score"].to_numpy().astype(np.float64))
        found = pl.DataFrame({"symbol": names}).join(
            of_session.select("symbol", z=pl.Series(z_M)),
            on="symbol",
            how="left",
            maintain_order="left",
        )["z"]
        is_known_N = found.is_not_null().to_numpy()
        total_N += np.where(is_known_N, decay**k * found.fill_null(0.0).to_numpy(), 0.0)
        weight_N += np.where(is_known_N, decay**k, 0.0)
    return last.select(
        "session", "symbol", score=pl.Series((total_N / weight_N).astype(np.float32))
    )
