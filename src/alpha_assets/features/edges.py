"""The correlation graph as a table: the strongest neighbours of every symbol, week by week."""

from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.features.compute_cross_symbol import RETURNS, Board
from alpha_assets.features.correlation import WINDOW, week_starts, weekly_graphs
from alpha_assets.features.inputs import inputs_at

EDGE_KEYS = ("session", "symbol", "neighbour")
EDGE_SCHEMA = {
    "session": pl.Date,
    "symbol": pl.String,
    "neighbour": pl.String,
    "weight": pl.Float32,  # correlation of the residual returns, 0.3 or more
}
NEIGHBOURS = 20  # of one symbol in the table, at most


def edge_lookback(max_stale: int) -> int:
    """Return the panel rows behind one graph."""
    return WINDOW - 1 + inputs_at(max_stale)[RETURNS].lookback


def edge_rows(
    panel: pl.DataFrame,
    sessions: Dates,
    first: date,
    last: date,
    members: pl.DataFrame,
    max_stale: int,
) -> pl.DataFrame:
    """Return the edges of the graphs that are made from `first` to `last`.

    One is made on the first session of each ISO week.  What the market explains is the mean
    of all symbols of the panel; the edges are those between members at that session.

    Args:
        panel: rows of all symbols from `edge_lookback(max_stale) - 1` sessions before `first` (or
            from the market's first session, where that is later) to `last` or beyond.
        sessions: the market's sessions over the panel's span, sorted.
        first: first session of interest.
        last: last session of interest.
        members: `session`, `symbol` of those that may be neighbours.
        max_stale: of the market.

    Returns:
        `session`, `symbol`, `neighbour`, `weight`: the 20 strongest neighbours of each symbol,
        sorted by the first three.

    Raises:
        BadInput: a column is missing, or a row's date is none of `sessions`.
    """
    known = sessions[sessions <= np.datetime64(last)]
    board = Board(panel.filter(pl.col("session") <= last), known, max_stale)
    start_G = np.flatnonzero(week_starts(known))
    start_G = start_G[known[start_G] >= np.datetime64(first)]
    is_member_DN = board.holds(members)
    returns_DN = board.values([RETURNS])[RETURNS]
    parts = [pl.DataFrame(schema=EDGE_SCHEMA)]
    for row, whole in weekly_graphs(returns_DN, board.is_there_DN, start_G):
        graph = whole.among(is_member_DN[row])
        kept = np.sort(graph.strongest(NEIGHBOURS))
        parts.append(
            pl.DataFrame(
                {
                    "session": np.full(len(kept), known[row]),
                    "symbol": board.symbols.gather(graph.symbol_E[kept]),
                    "neighbour": board.symbols.gather(graph.neighbour_E[kept]),
                    "weight": graph.weight_E[kept].astype(np.float32),
                }
            )
        )
    return pl.concat(parts)
