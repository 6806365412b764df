"""Factors that make prices of different days comparable, each from the session that knew it.

A factor stands on its ex-date and multiplies all earlier prices: 0.5 for a 1-to-2 split.
Series are adjusted forwards, price / cum_factor, so that a value once written never moves.
Shape letters: R rows, D sessions, N symbols.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class Factors(NamedTuple):
    """Factors on the sessions of a span.

    Attributes:
        session_DN: product of the factors that became effective at the session; 1 without.
        cum_DN: product of all that became effective so far, since the symbol's first bar.
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
    """Return shares after the session's ex-dates per share before; NaN where nobody says so.

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
