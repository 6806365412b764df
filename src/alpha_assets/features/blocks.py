"""Between panel rows and dense arrays: where rows lie, inputs of a few symbols, columns again.

A block is a [D, N] array of few symbols, so that what is computed stays in the cache of one
core.  Where the blocks are cut changes no bit.
Shape letters: D sessions, N symbols, R panel rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.places import places_on, runs
from alpha_assets.arrays.types import Array, Dates, Index
from alpha_assets.errors import BadInput
from alpha_assets.features.base import Feature
from alpha_assets.features.inputs import INPUTS, Input
from alpha_assets.panel.dense import Late

Floats = TypeVar("Floats", bound=NDArray[np.floating])

BLOCK_CELLS = 40_000  # a third of a megabyte per array: 16 symbols of 2,520 sessions


class Block:
    """Inputs and features of a few symbols, each made when it is first asked for."""

    def __init__(
        self,
        column: Callable[[str], Array],
        inputs: Mapping[str, Input] = INPUTS,
        features: Mapping[str, Feature] | None = None,
        known: Mapping[str, Array] | None = None,
    ) -> None:
        """Start with nothing made.

        Args:
            column: from the name of a panel column to its [D, N]; asked once per name.
            inputs: that may be asked for.
            features: of single symbols that may be asked for too.
            known: inputs that more is needed for than these symbols.
        """
        self._column = column
        self._inputs = inputs
        self._features = features or {}
        self._raw: dict[str, Array] = {}
        self._made: dict[str, Array] = dict(known or {})

    def __getitem__(self, name: str) -> Array:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Array:
        if name in self._features:
            own = self._features[name]
            return own(*[self[other] for other in own.inputs])
        item = self._inputs[name]
        if item.columns:
            return item(*[self._of_panel(column) for column in item.columns])
        return item(*[self[other] for other in item.inputs])

    def _of_panel(self, name: str) -> Array:
        if name not in self._raw:
            self._raw[name] = self._column(name)
        return self._raw[name]


@dataclass(frozen=True)
class State:
    """A symbol's past as known from a row on: after factors that were learned late.

    Attributes:
        column: of the symbol.
        row: from which it is known.
        moves: since when, until when (exclusive) and by what rows are restated.
    """

    column: int
    row: int
    moves: tuple[Late, ...]

    def restate(self, name: str, value_D: Array) -> None:
        """Restate the symbol's panel column `name` in place."""
        for late in self.moves:
            if name == "cum_factor":
                value_D[late.since : late.row] *= late.ratio
            elif name == "cum_volume_factor":
                value_D[late.since : late.row] *= late.volume_ratio


def states_of(late: Sequence[Late]) -> tuple[State, ...]:
    """Return the states after each row that learned something, by symbol and row."""
    found = []
    for column, of_symbol in groupby(late, key=lambda item: item.column):
        moves: tuple[Late, ...] = ()
        for row, together in groupby(of_symbol, key=lambda item: item.row):
            moves = (*moves, *together)
            found.append(State(column, row, moves))
    return tuple(found)


def as_known_at(value_DC: Floats, states: Sequence[State], first: int = 0) -> Floats:
    """Return each symbol's values as each session knew them, one column a symbol.

    Args:
        value_DC: the symbols' values, then those of their states in the order given.
        states: of the symbols.
        first: place of the first row on the axis that the states' rows count on.
    """
    if not states:
        return value_DC
    n_symbols = value_DC.shape[1] - len(states)
    value_DN = cast("Floats", value_DC[:, :n_symbols].copy())
    for n, state in enumerate(states):
        since = max(state.row - first, 0)
        value_DN[since:, state.column] = value_DC[since:, n_symbols + n]
    return value_DN


def with_volume_factor(panel: pl.DataFrame) -> pl.DataFrame:
    """Return a panel that knows volume factors: without any, those of prices."""
    if "cum_volume_factor" in panel.columns or "cum_factor" not in panel.columns:
        return panel
    return panel.with_columns(pl.col("cum_factor").alias("cum_volume_factor"))


def block_cuts(
    n_sessions: int, n_symbols: int, block_symbols: int | None = None
) -> tuple[slice, ...]:
    """Return where the symbols are cut into blocks, by default of what a cache holds."""
    size = block_symbols or 1 + BLOCK_CELLS // max(n_sessions, 1)
    return tuple(slice(n, min(n + size, n_symbols)) for n in range(0, n_symbols, size))


def columns_behind(
    names: Iterable[str],
    inputs: Mapping[str, Input] = INPUTS,
    features: Mapping[str, Feature] | None = None,
) -> tuple[str, ...]:
    """Return the panel columns that inputs and features are made of, in a fixed order."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if features and name in features:
            waiting += features[name].inputs
        else:
            found.update(inputs[name].columns)
            waiting += inputs[name].inputs
    return tuple(sorted(found))


def session_places(panel: pl.DataFrame, sessions: Dates) -> Index:
    """Return the number of each panel row's session.

    Raises:
        BadInput: a row's date is none of `sessions`.
    """
    day_R = panel["session"].to_numpy()
    first_P, n_P = runs(day_R)  # the rows of a session stand together: one look-up for each
    place_P = places_on(sessions, day_R[first_P])
    strange_P = place_P < 0
    if strange_P.any():
        raise BadInput(
            f"the panel has rows of {day_R[first_P][strange_P][0]}, which is none of the market's "
            f"{len(sessions)} sessions given; give every session of the market"
        )
    return np.repeat(place_P, n_P)


def symbol_places(panel: pl.DataFrame) -> tuple[pl.Series, Index]:
    """Return the panel's symbols, sorted, and the number of each row's."""
    symbols = panel["symbol"].unique().sort()
    code_R = panel["symbol"].cast(pl.Enum(symbols)).to_physical().to_numpy()
    return symbols, code_R.astype(np.int64)


def nullable(name: str, value_R: NDArray[np.floating]) -> pl.Series:
    """Return a column with null for what is not finite, without a second copy of the values."""
    import pyarrow as pa  # takes a twentieth of the time that a verb has which computes nothing

    known_R = np.isfinite(value_R)
    bits = pa.py_buffer(np.packbits(known_R, bitorder="little"))
    value_R[~known_R] = 0.0  # one bit pattern under every null
    array = pa.Array.from_buffers(
        pa.from_numpy_dtype(value_R.dtype), len(value_R), [bits, pa.py_buffer(value_R)]
    )
    return pl.Series(name, array)
