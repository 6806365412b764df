"""Panel rows as dense arrays, for everything that counts in sessions.

Shape letters: D decision sessions, N symbols.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.errors import BadInput
from alpha_assets.panel.bars import codes

Array = NDArray[np.float64]


def dense(
    frame: pl.DataFrame,
    columns: Sequence[str],
    sessions: NDArray[np.datetime64],
    symbols: Sequence[str],
) -> dict[str, Array]:
    """Return columns as [D, N] arrays; row D is decision session D, with the bar of D - 1.

    Args:
        frame: `session`, `symbol` and the columns, numbers or flags (true = 1); rows outside
            the axes are left out.
        columns: the columns wanted.
        sessions: the first axis, sorted.
        symbols: the second axis, sorted.

    Returns:
        Float64 arrays by name; NaN where there is no row or the value is null.

    Raises:
        BadInput: two rows share session and symbol.
    """
    shape = (len(sessions), len(symbols))
    if not shape[0] * shape[1]:
        return {name: np.full(shape, np.nan) for name in columns}
    day = frame["session"].to_numpy().astype("datetime64[D]")
    d = np.searchsorted(sessions, day).clip(max=shape[0] - 1)
    n = codes(frame["symbol"], pl.Series(symbols, dtype=pl.String))
    inside = (sessions[d] == day) & (n >= 0)
    cell = (d * shape[1] + n)[inside]
    if not (np.diff(cell) > 0).all():
        ordered = np.sort(cell)
        twins = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(twins):
            at = (str(sessions[twins[0] // shape[1]]), symbols[twins[0] % shape[1]])
            raise BadInput(f"{len(twins)} rows share (session, symbol), first {at}; each is unique")
    arrays = {}
    for name in columns:
        value_DN = np.full(shape, np.nan)
        value_DN.ravel()[cell] = frame[name].cast(pl.Float64).to_numpy()[inside]
        arrays[name] = value_DN
    return arrays
