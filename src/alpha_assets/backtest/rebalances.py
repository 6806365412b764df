"""Targets as weights on the axes of a market: which sessions rebalance, and to what.

Shape letters: D rebalance sessions, N symbols, R rows.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.backtest.marks import Marks
from alpha_assets.errors import BadInput
from alpha_assets.panel.bars import codes

Array = NDArray[np.float64]


def targets_by_session(targets: pl.DataFrame, marks: Marks) -> dict[int, Array]:
    """Return the weights of each rebalance by the place of its session; 0 without a row.

    Raises:
        BadInput: a date that is no session of the marks, a name without marks, a weight that
            is not a finite number, or two rows of one session and symbol.
    """
    named = targets.filter(pl.col("session") <= marks.sessions[-1])
    day_R = named["session"].to_numpy().astype("datetime64[D]")
    session_R = np.searchsorted(marks.sessions, day_R)
    is_stranger_R = marks.sessions[session_R] != day_R
    if is_stranger_R.any():
        raise BadInput(
            f"targets of {day_R[is_stranger_R][0]} have no session in the books, which begin on "
            f"{marks.sessions[0]}; targets stand on sessions"
        )
    days, place_R = np.unique(session_R, return_inverse=True)
    is_named_R = named["symbol"].is_not_null().to_numpy()
    place_R, named = place_R[is_named_R], named.filter(pl.Series(is_named_R))
    odd = named.filter(~pl.col("target_weight").is_finite().fill_null(False))
    if odd.height:
        first = odd.row(0, named=True)
        raise BadInput(
            f"the target of {first['symbol']!r} on {first['session']} is "
            f"{first['target_weight']}; want a share of equity, signed"
        )
    symbol_R = codes(named["symbol"], pl.Series(marks.symbols, dtype=pl.String))
    if (symbol_R < 0).any():
        unknown = named["symbol"].to_list()[int(np.argmax(symbol_R < 0))]
        raise BadInput(f"targets name {unknown!r}, which the marks do not have")
    n_rows_DN = np.zeros((len(days), len(marks.symbols)), dtype=np.int32)
    np.add.at(n_rows_DN, (place_R, symbol_R), 1)
    if (n_rows_DN > 1).any():
        d, n = np.argwhere(n_rows_DN > 1)[0]
        raise BadInput(
            f"{marks.symbols[n]!r} has {n_rows_DN[d, n]} targets on {marks.sessions[days[d]]}; "
            "want one"
        )
    weight_DN = np.zeros(n_rows_DN.shape)
    weight_DN[place_R, symbol_R] = named["target_weight"].to_numpy()
    return dict(zip(days.tolist(), weight_DN, strict=True))
