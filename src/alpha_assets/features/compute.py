"""From panel rows to feature columns: blocks of symbols, dense within, rows again at the end.

A block is a [D, N] array of few symbols, so that what is computed stays in the cache of
one core.  Where the blocks are cut, and how many threads share them, changes no bit.
Shape letters: D sessions, N symbols, R panel rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from alpha_assets.errors import BadInput
from alpha_assets.features.across import across_features
from alpha_assets.features.base import Feature
from alpha_assets.features.inputs import (
    INPUTS,
    MARKET_RETURN,
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    Input,
    add_returns,
    as_column,
    joined,
)
from alpha_assets.features.kernels import Array
from alpha_assets.features.scopes import Keys
from alpha_assets.features.wide import Across
from alpha_assets.panel.joins import Join

BLOCK_CELLS = 40_000  # a third of a megabyte per array: 16 symbols of 2,520 sessions

KEYS = ("session", "symbol")


def max_lookback(catalog: Iterable[Feature]) -> int:
    """Return the panel rows (sessions) that one row of all these features needs."""
    return max((feature.lookback for feature in catalog), default=1)


def compute_features(
    panel: pl.DataFrame,
    catalog: Sequence[Feature],
    first: date,
    last: date,
    *,
    sessions: NDArray[np.datetime64] | None = None,
    threads: int = 1,
    block_symbols: int | None = None,
    dtype: type[np.floating] = np.float32,
    own: Sequence[Join] = (),
) -> pl.DataFrame:
    """Return every feature of `catalog` on the panel rows of `first` to `last`.

    Args:
        panel: rows of all symbols from `max_lookback(catalog) - 1` sessions before `first` (or
            from the market's first session, where that is later) to `last` or beyond.
        catalog: features in the order of the columns wanted.
        first: first session to return.
        last: last session to return.
        sessions: the market's sessions, where the panel may lack one for all symbols.
        threads: how many work at once; changes no bit.
        block_symbols: symbols worked on together, by default what a cache holds; changes no bit.
        own: joins of the market's own feeds, beside those that every market may have.
        dtype: of the columns; float64 shows what rounding to Float32 would hide.

    Returns:
        `session`, `symbol` and one Float32 per feature, null where unknown; the rows are
        those of the panel.

    Raises:
        BadInput: a column is missing, or rows are not unique and sorted by session and symbol.
    """
    if (panel["session"] > last).any():
        panel = panel.filter(pl.col("session") <= last)
    whole, apart = catalog, [item for item in catalog if isinstance(item, Across)]
    catalog = [item for item in catalog if not isinstance(item, Across)]
    inputs = {**INPUTS, **{item.name: item for join in own for item in joined(join)}}
    grid = _Grid.of(panel, sessions, columns_behind(catalog, inputs))
    wanted = (grid.sessions >= np.datetime64(first)) & (grid.sessions <= np.datetime64(last))
    start, stop = _span(wanted)
    kept_DN = grid.row_DN[start:stop] >= 0
    out = {item.name: np.empty(kept_DN.shape, dtype=dtype) for item in catalog}
    n_sessions, n_symbols = grid.row_DN.shape
    block_symbols = block_symbols or 1 + BLOCK_CELLS // max(n_sessions, 1)
    cuts = [slice(n, min(n + block_symbols, n_symbols)) for n in range(0, n_symbols, block_symbols)]
    section = _market_return(grid, cuts) if _reads_market(catalog) else None
    narrow = [item for item in catalog if item.scope == "symbol"]
    for scope in dict.fromkeys(item.scope for item in catalog if item.scope != "symbol"):
        keys_of = Keys.of(panel, scope, grid.sessions, inputs)
        code_DN = keys_of.codes(grid.row_DN[start:stop])
        for item in catalog:
            if item.scope == scope:
                since = max(start - item.rows + 1, 0)
                value_DK = item(*[keys_of[name][since:stop] for name in item.inputs])
                out[item.name][:] = keys_of.spread(value_DK[start - since :], code_DN)

    def work(cut: slice) -> None:
        block = _Block(grid, cut, section, inputs)
        for item in narrow:
            # No more rows than declared: a day costs less, and a short look-back would show.
            since = max(start - item.rows + 1, 0)
            value_DN = item(*[block[name][since:stop] for name in item.inputs])
            out[item.name][:, cut] = value_DN[start - since :]

    if threads == 1:
        for cut in cuts:
            work(cut)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, cuts))
    keys = panel.select(KEYS).tail(int(kept_DN.sum()))
    across = across_features(panel, grid.sessions, first, last, catalog=apart, dtype=dtype)
    is_full = bool(kept_DN.all())
    columns = []
    for name in [item.name for item in catalog]:
        value_DN = out.pop(name)
        columns.append(_nullable(name, value_DN.ravel() if is_full else value_DN[kept_DN]))
    made = keys.with_columns(*columns, *across.drop(KEYS).get_columns())
    return made.select(*KEYS, *[item.name for item in whole])


@dataclass(frozen=True)
class _Grid:
    """Where each panel row lies: the row of (session, symbol), -1 where there is none."""

    sessions: NDArray[np.datetime64]
    row_DN: NDArray[np.int32]
    columns: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(
        cls,
        panel: pl.DataFrame,
        sessions: NDArray[np.datetime64] | None,
        columns: Collection[str],
    ) -> "_Grid":
        needed = (*KEYS, *REQUIRED_COLUMNS, *sorted(set(columns) - {*OPTIONAL_COLUMNS}))
        missing = [name for name in dict.fromkeys(needed) if name not in panel.columns]
        if missing:
            raise BadInput(
                f"the panel lacks {', '.join(missing)}, which these features are made of; "
                "rebuild the panel with the feeds that the market has on, or leave them out"
            )
        if sessions is None:
            sessions = panel["session"].unique().sort().to_numpy()
        day = panel["session"].to_numpy()
        d = np.searchsorted(sessions, day)
        strange = (d == len(sessions)) | (sessions[np.minimum(d, len(sessions) - 1)] != day)
        if strange.any():
            raise BadInput(
                f"the panel has rows of {day[strange][0]}, which is none of the market's "
                f"{len(sessions)} sessions given"
            )
        symbols = panel["symbol"].unique().sort()
        n = panel["symbol"].cast(pl.Enum(symbols)).to_physical().to_numpy().astype(np.int64)
        place = d * len(symbols) + n
        if not (place[1:] > place[:-1]).all():
            at = int(np.flatnonzero(place[1:] <= place[:-1])[0]) + 1
            raise BadInput(
                f"panel row {at} {panel.select(KEYS).row(at)} does not come after the one before "
                f"it {panel.select(KEYS).row(at - 1)}; want unique rows, sorted by session, symbol"
            )
        row_DN = np.full(len(sessions) * len(symbols), -1, dtype=np.int32)
        row_DN[place] = np.arange(len(place), dtype=np.int32)
        present = [
            name
            for name in dict.fromkeys((*OPTIONAL_COLUMNS, *columns))
            if name in panel.columns and name not in REQUIRED_COLUMNS
        ]
        return cls(
            sessions=sessions,
            row_DN=row_DN.reshape(len(sessions), len(symbols)),
            columns={
                name: panel[name].cast(pl.Float64).to_numpy()
                for name in (*REQUIRED_COLUMNS, *present)
            },
        )


def market_series(
    rows: pl.DataFrame,
    catalog: Sequence[Feature],
    sessions: NDArray[np.datetime64],
    *,
    own: Sequence[Join] = (),
) -> pl.DataFrame:
    """Return market-wide features of rows that hold one session each.

    Args:
        rows: `session` and the market-wide columns of the panel.
        catalog: market-wide features.
        sessions: of the rows, sorted.
        own: joins of the market's own feeds.
    """
    inputs = {**INPUTS, **{item.name: item for join in own for item in joined(join)}}
    keys_of = Keys.of(rows, "market", sessions, inputs)
    made = [
        _nullable(item.name, item(*[keys_of[n] for n in item.inputs])[:, 0].astype(np.float32))
        for item in catalog
    ]
    return rows.select("session").with_columns(made)


def columns_behind(catalog: Iterable[Feature], inputs: Mapping[str, Input]) -> tuple[str, ...]:
    """Return the panel columns that one symbol's own features are made of, in a fixed order."""
    found: dict[str, None] = {}
    waiting = [name for item in catalog if item.scope == "symbol" for name in item.inputs]
    while waiting:
        item = inputs[waiting.pop()]
        found.update(dict.fromkeys(item.columns))
        waiting += item.inputs
    return tuple(sorted(found))


class _Block:
    """The inputs of a few symbols, each made when it is first asked for."""

    def __init__(
        self,
        grid: _Grid,
        cut: slice,
        section: tuple[Array, Array] | None,
        inputs: Mapping[str, Input] = INPUTS,
    ) -> None:
        self._inputs = inputs
        self._row_DN = grid.row_DN[:, cut]
        self._absent_DN = self._row_DN < 0
        self._columns = grid.columns
        self._section = section
        self._raw: dict[str, Array] = {}
        self._made: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Array:
        if name == MARKET_RETURN:
            assert self._section is not None
            return as_column(*self._section, self._row_DN.shape[1])
        item = self._inputs[name]
        if item.columns:
            return item(*[self._column(column) for column in item.columns])
        return item(*[self[other] for other in item.inputs])

    def _column(self, name: str) -> Array:
        if name not in self._raw:
            if name in self._columns:
                value_DN = self._columns[name][self._row_DN]  # -1 reads some row, then erased
                value_DN[self._absent_DN] = np.nan
            else:
                value_DN = np.full(self._row_DN.shape, np.nan)
            self._raw[name] = value_DN
        return self._raw[name]


def _reads_market(catalog: Iterable[Feature]) -> bool:
    return any(MARKET_RETURN in item.inputs for item in catalog)


def _market_return(grid: _Grid, cuts: Sequence[slice]) -> tuple[Array, Array]:
    """Return sum and count of the symbols' returns per session, added up in symbol order."""
    total_D, count_D = np.zeros(len(grid.sessions)), np.zeros(len(grid.sessions))
    (returns,) = INPUTS[MARKET_RETURN].inputs
    for cut in cuts:
        add_returns(_Block(grid, cut, None)[returns], total_D, count_D)
    return total_D, count_D


def _span(wanted_D: NDArray[np.bool_]) -> tuple[int, int]:
    place = np.flatnonzero(wanted_D)
    return (int(place[0]), int(place[-1]) + 1) if len(place) else (0, 0)


def _nullable(name: str, value_R: NDArray[np.floating]) -> pl.Series:
    """Return a column with null for NaN, without a second copy of the values."""
    known_R = np.isfinite(value_R)
    bits = pa.py_buffer(np.packbits(known_R, bitorder="little"))
    value_R[~known_R] = 0.0  # one bit pattern under every null
    array = pa.Array.from_buffers(
        pa.from_numpy_dtype(value_R.dtype), len(value_R), [bits, pa.py_buffer(value_R)]
    )
    return pl.Series(name, array)
