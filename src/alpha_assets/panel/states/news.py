"""Articles about a company: how many so far, and what the last day's were about.

An embedding has hundreds of numbers, too many for a row a session and symbol.  The panel holds a
fixed projection of it: sums of all its numbers with signs that never change.  Distances survive
such a projection nearly; a recipe that wants all numbers reads the raw rows.

Source: Achlioptas (2003), Database-friendly random projections, J. Comput. Syst. Sci. 66.
"""

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Array32
from alpha_assets.calendar import Calendar
from alpha_assets.panel.states.event_times import decision_stamps, session_numbers

WIDTH = 16  # numbers of the projection
SCALE = 2**20  # numbers are rounded to whole multiples of 1 / SCALE: their sums are exact
LARGEST = 64.0  # numbers beyond are drawn in
ROWS_AT_ONCE = 4096
SIGNS_SEED = 768  # of the projection; another one would be another feature

EMBEDDED = tuple(f"emb_{k:02d}" for k in range(WIDTH))
NEWS_COLUMNS = {
    "count": "articles so far, count",
    **{name: "projection of the last articles' embedding" for name in EMBEDDED},
}


def signs(length: int, width: int = WIDTH) -> Array:
    """Return the fixed matrix of signs, [length, width]."""
    draws = np.random.Generator(np.random.Philox(key=SIGNS_SEED)).random((width, length))
    made: Array = np.where(draws < 0.5, -1.0, 1.0).T
    return made


def projected(embedding: Array32, width: int = WIDTH) -> Array:
    """Return the projections of some embeddings, [R, width].

    Whole numbers below 2**53 add up exactly in any order, so that neither the number of rows
    nor the machine's way to multiply matrices changes a bit.
    """
    matrix = signs(embedding.shape[1], width)
    made: Array = np.empty((len(embedding), width))
    for start in range(0, len(embedding), ROWS_AT_ONCE):
        part = np.clip(
            embedding[start : start + ROWS_AT_ONCE].astype(np.float64), -LARGEST, LARGEST
        )
        made[start : start + ROWS_AT_ONCE] = np.rint(part * SCALE) @ matrix
    made /= SCALE * np.sqrt(embedding.shape[1])
    return made


def news_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the count of articles and the mean projection of the newest, by symbol and session.

    An article without an embedding is one all the same; it adds nothing to the mean.
    Corrections of an article are kept in the store; the panel holds what was first read.
    """
    first = rows.filter(pl.col("revision") == 0)
    if first.is_empty():
        schema = {"symbol": pl.String, **dict.fromkeys(NEWS_COLUMNS, pl.Float64)}
        stamps = decision_stamps(np.empty(0, dtype=np.int64), calendar)
        return pl.DataFrame(schema=schema).with_columns(stamps)
    has_vector_R = first["embedding"].is_not_null().to_numpy()
    numbers = np.zeros((first.height, WIDTH))
    if has_vector_R.any():
        embedding = first["embedding"].drop_nulls()
        if isinstance(embedding.dtype, pl.List):
            embedding = embedding.list.to_array(int(embedding.list.len()[0]))
        numbers[has_vector_R] = projected(np.ascontiguousarray(embedding.to_numpy()))
    articles = first.select(
        "symbol",
        "event_date",
        "article",
        pl.Series("number", session_numbers(first, calendar)),
        pl.Series("has_vector", has_vector_R),
        *(pl.Series(name, numbers[:, k]) for k, name in enumerate(EMBEDDED)),
    ).sort("symbol", "number", "event_date", "article")
    key = articles.select("symbol", "number")
    starts = np.flatnonzero((key != key.shift(1)).fill_null(True).to_numpy().any(axis=1))
    count = np.diff(np.append(starts, articles.height)).astype(np.float64)
    group = np.repeat(np.arange(len(starts)), count.astype(np.int64))
    n_vectors = np.bincount(group, articles["has_vector"].to_numpy(), len(starts))
    divisor = np.where(n_vectors > 0, n_vectors, np.nan)
    states = (
        key[starts]
        .with_columns(
            pl.Series("articles", count),
            *(
                pl.Series(
                    name, np.bincount(group, articles[name].to_numpy(), len(starts)) / divisor
                )
                for name in EMBEDDED
            ),
        )
        .with_columns(pl.col(EMBEDDED).fill_nan(None))
    )
    return states.select(
        "symbol",
        pl.col("articles").cum_sum().over("symbol").alias("count"),
        *EMBEDDED,
    ).with_columns(decision_stamps(states["number"].to_numpy(), calendar))
