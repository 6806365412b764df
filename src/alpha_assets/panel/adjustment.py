"""Factors that make prices of different days comparable, each from the session that knew it.

A factor stands on its ex-date and multiplies all earlier prices: 0.5 for a 1-to-2 split.
Series are adjusted forwards, price / cum_factor, so that a value once written never moves.
A factor that is corrected, or known late, moves the product at the session K that learns it;
`late_factors` in K's row says to which earlier ex-session it belongs.
Only what changes the number of shares rescales volume: volume · cum_volume_factor.
Shape letters: R rows, D sessions, N symbols.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Index
from alpha_assets.calendar import Calendar
from alpha_assets.panel.bars import session_numbers

VERSION = ("symbol", "event_date", "available_at", "revision", "adjustment_factor", "share_factor")
MOVES = {
    "symbol": pl.String,
    "session": pl.Int64,  # number of the ex-session
    "usable": pl.Int64,  # number of the first session that knows it
    "ratio": pl.Float64,  # what the product of price factors is multiplied by
    "volume_ratio": pl.Float64,  # the same of volume factors
}


def may_move(factor: pl.Expr, share: pl.Expr) -> pl.Expr:
    """Return whether a version of a bar can move a product, by itself or as a correction.

    A first version that states 1, or nothing, moves nothing and is not needed: what a later
    one states counts from 1.
    """
    states = (factor.fill_nan(None) != 1.0) | (share.fill_nan(None) != 1.0)
    return states.fill_null(False) | (pl.col("revision") > 0)


def moves_of(versions: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return by what, and when, the factors of bars moved the products of their symbols.

    The factor of a bar as known at D is that of its last version effective by D that states
    one; until one does it is unknown, and moves nothing.  No factor is used before its own
    session is over.

    Args:
        versions: the columns `VERSION` of every version of a bar that `may_move`.
        calendar: of the market.

    Returns:
        The columns `MOVES`, in the order of ex-session and symbol.
    """
    factor = pl.col("adjustment_factor").fill_nan(None)
    share = pl.col("share_factor").fill_nan(None)
    bar = ["symbol", "event_date"]
    rows = versions.filter(may_move(factor, share)).sort(*bar, "available_at", "revision")
    session = session_numbers(rows["event_date"], calendar)
    effective = calendar.effective(rows["available_at"].to_numpy())
    volume = pl.when(share.is_not_null()).then(1.0 / share).otherwise(factor)
    key = ["symbol", "session"]
    known = (
        rows.with_columns(
            pl.Series("session", session, dtype=pl.Int64),
            pl.Series("usable", np.maximum(effective, session + 1), dtype=pl.Int64),
            factor.forward_fill().over(bar).fill_null(1.0).alias("factor"),
            volume.forward_fill().over(bar).fill_null(1.0).alias("volume"),
        )
        .select(*key, "usable", "factor", "volume")
        .unique([*key, "usable"], keep="last", maintain_order=True)
    )
    moves = known.select(
        *key,
        "usable",
        *[
            (pl.col(name) / pl.col(name).shift(1).over(key).fill_null(1.0)).alias(ratio)
            for name, ratio in (("factor", "ratio"), ("volume", "volume_ratio"))
        ],
    )
    moved = (pl.col("ratio") != 1.0) | (pl.col("volume_ratio") != 1.0)
    return moves.filter(moved).sort("session", "symbol", "usable").cast(MOVES)  # type: ignore[arg-type]


class Factors(NamedTuple):
    """Factors on the sessions of a span.

    Attributes:
        session_DN: product of the factors that became known at the session; 1 without.
        cum_DN: product of all that were known by then, since the symbol's first bar.
    """

    session_DN: Array
    cum_DN: Array


def factors(
    usable_R: Index, code_R: Index, factor_R: Array, span: range, n_symbols: int
) -> Factors:
    """Return the factors of every session of `span`.

    cum[D] = cum[D - 1] · product of the factors effective at D, from 1 on, in this order:
    multiplying by 1 is exact, so neither the span nor other symbols change a bit.

    Args:
        usable_R: number of the session at which each row becomes effective; rows stand in the
            order of the sessions that they describe, which is the order of multiplication.
        code_R: its symbol's number.
        factor_R: price multiplier of its ex-date; NaN where not given, which means 1.
        span: session numbers wanted.
        n_symbols: how many symbols there are.
    """
    moves = np.flatnonzero((factor_R != 1.0) & ~np.isnan(factor_R) & (usable_R < span.stop))
    steps, step = np.unique(usable_R[moves], return_inverse=True)
    product_SN = np.ones((len(steps) + 1, n_symbols))  # row 0: before anything moved
    np.multiply.at(product_SN, (step + 1, code_R[moves]), factor_R[moves])

    session_DN = np.ones((len(span), n_symbols))
    inside = steps >= span.start
    session_DN[steps[inside] - span.start] = product_SN[1:][inside]
    np.multiply.accumulate(product_SN, axis=0, out=product_SN)
    known_D = np.searchsorted(steps, np.arange(span.start, span.stop), side="right")
    return Factors(session_DN, product_SN[known_D])


def share_factors(
    usable_R: Index,
    code_R: Index,
    share_factor_R: Array,
    factor_R: Array,
    span: range,
    n_symbols: int,
) -> Array:
    """Return shares after the session's ex-dates per share before; NaN where none is known.

    Where several bars become effective together and one of them states a share factor, the
    others count with 1 / adjustment_factor.
    """
    out_DN = np.full((len(span), n_symbols), np.nan)
    cell_R = (usable_R - span.start) * n_symbols + code_R
    inside_R = (usable_R >= span.start) & (usable_R < span.stop)
    stated = np.unique(cell_R[inside_R & ~np.isnan(share_factor_R)])
    if not len(stated):
        return out_DN
    out_DN.ravel()[stated] = 1.0
    rows = np.flatnonzero(inside_R & np.isin(cell_R, stated))
    implied_R = np.where(np.isnan(factor_R), 1.0, 1.0 / factor_R)
    ratio = np.where(np.isnan(share_factor_R), implied_R, share_factor_R)[rows]
    np.multiply.at(out_DN.ravel(), cell_R[rows], ratio)
    return out_DN
