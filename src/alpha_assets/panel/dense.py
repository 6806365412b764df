"""Panel rows as dense arrays, for everything that counts in sessions.

Shape letters: D decision sessions, N symbols.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from alpha_assets.arrays.places import codes, places_on
from alpha_assets.arrays.types import Array, Dates, Index
from alpha_assets.errors import BadInput


def dense(
    frame: pl.DataFrame,
    columns: Sequence[str],
    sessions: Dates,
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
    d = places_on(sessions, day)
    n = codes(frame["symbol"], pl.Series(symbols, dtype=pl.String))
    inside = (d >= 0) & (n >= 0)
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


class Late(NamedTuple):
    """A factor that a row learned of an earlier ex-session, on dense axes.

    Attributes:
        column: of the symbol.
        row: that learned it: what ends there or later uses it as if it stood on its session.
        since: first row with the ex-session's bar or a later one; rows from here to `row` stand
            as they were, and are restated for what ends at `row` or later.
        ratio: what their product of price factors is multiplied by.
        volume_ratio: the same of volume factors.
    """

    column: int
    row: int
    since: int
    ratio: float
    volume_ratio: float


def late_factors(
    panel: pl.DataFrame,
    row_R: Index,
    column_R: Index,
    sessions: Dates,
) -> tuple[Late, ...]:
    """Return the factors that rows of the panel learned late, in the order of columns and rows.

    Args:
        panel: with `late_factors`; without, nothing was late.
        row_R: place of each panel row's session; rows outside the axes are below 0.
        column_R: place of its symbol.
        sessions: of the first axis.
    """
    if "late_factors" not in panel.columns or panel["late_factors"].null_count() == panel.height:
        return ()
    late_P = panel["late_factors"].is_not_null().arg_true().to_numpy()
    found = []
    for place, entries in zip(late_P, panel["late_factors"][late_P].to_list(), strict=True):
        row, column = int(row_R[place]), int(column_R[place])
        if row < 0 or column < 0:
            continue
        for entry in entries:
            since = int(np.searchsorted(sessions, np.datetime64(entry["session"]), side="right"))
            if since < row:
                found.append(Late(column, row, since, entry["ratio"], entry["volume_ratio"]))
    return tuple(sorted(found))
