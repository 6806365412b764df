"""From panel rows to feature columns: blocks of symbols, dense within, rows again at the end.

A block is a [D, N] array of few symbols, so that what is computed stays in the cache of
one core.  Where the blocks are cut, and how many threads share them, changes no bit.
A symbol that learned a factor late has a column for each state of its past: the kernels need
not know, and each session takes the column of what it knew.
Shape letters: D sessions, N symbols, C columns (symbols, then their later states), R panel rows.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.keys import KEYS
from alpha_assets.arrays.types import Array, Dates, Mask, Places
from alpha_assets.errors import BadInput
from alpha_assets.features.base import Feature, shared_max_stale
from alpha_assets.features.blocks import (
    Block,
    State,
    as_known_at,
    block_cuts,
    columns_behind,
    nullable,
    session_places,
    states_of,
    symbol_places,
    with_volume_factor,
)
from alpha_assets.features.compute_cross_symbol import across_features
from alpha_assets.features.cross_symbol import Across
from alpha_assets.features.inputs import (
    INPUTS,
    MARKET_RETURN,
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    VERSION_COLUMNS,
    Input,
    add_returns,
    as_column,
    inputs_at,
    inputs_behind,
    joined,
    pools_symbols,
)
from alpha_assets.features.scopes import Keys
from alpha_assets.panel.dense import late_factors
from alpha_assets.panel.joins import Join
from alpha_assets.panel.lives import by_life

# Sessions: features that look back as far as this, and further than the number before, are made
# together.
REACHES = (1, 30, 120)
PEER_COLUMNS = ("sector", "market_segment")  # of the panel: which sector or section a row is of


def max_lookback(catalog: Iterable[Feature]) -> int:
    """Return the panel rows (sessions) that one row of all these features needs."""
    return max((feature.lookback for feature in catalog), default=1)


def by_reach(catalog: Iterable[Feature]) -> list[list[Feature]]:
    """Return features put together by how far they look back, those that look least far first.

    A panel of all columns over the longest look-back would hold little but what no feature reads.
    """
    made: dict[int, list[Feature]] = {}
    for item in catalog:
        made.setdefault(bisect_left(REACHES, item.lookback), []).append(item)
    return [made[at] for at in sorted(made)]


def panel_columns(catalog: Iterable[Feature], inputs: Mapping[str, Input]) -> list[str]:
    """Return the panel columns that features are made of, and those that all of them need.

    Args:
        catalog: the features.
        inputs: all of the market; see `inputs_with`.
    """
    named = [name for item in catalog for name in item.inputs]
    leaves = [c for item in inputs_behind(named, inputs).values() for c in item.columns]
    base = (*KEYS, *PEER_COLUMNS, *REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, *VERSION_COLUMNS)
    return list(dict.fromkeys((*base, *leaves)))


def compute_features(
    panel: pl.DataFrame,
    catalog: Sequence[Feature],
    first: date,
    last: date,
    *,
    sessions: Dates | None = None,
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
    panel = with_volume_factor(panel)
    apart = [item for item in catalog if isinstance(item, Across)]
    alone = [item for item in catalog if not isinstance(item, Across)]
    inputs = inputs_with(own, shared_max_stale(catalog))
    narrow = [item for item in alone if item.scope == "symbol"]
    behind = columns_behind((name for item in narrow for name in item.inputs), inputs)
    grid = _Grid.of(by_life(panel), sessions, behind)
    span = grid.span(first, last)
    n_sessions, n_symbols = grid.row_DN[span].shape
    n_columns = n_symbols + len(grid.states)
    out = {}
    for item in alone:
        width = n_columns if item.scope == "symbol" else n_symbols
        out[item.name] = np.empty((n_sessions, width), dtype=dtype)
    cuts = block_cuts(len(grid.sessions), n_columns, block_symbols)
    pooled = pools_symbols((name for item in alone for name in item.inputs), inputs)
    mean_D1 = _market_return(grid, cuts, inputs) if pooled else None
    wide = [item for item in alone if item.scope != "symbol"]
    _fill_keys(wide, panel, grid, span, inputs, out, mean_D1)
    _fill_symbols(narrow, grid, span, inputs, out, threads, cuts, mean_D1)
    for item in narrow:
        out[item.name] = as_known_at(out[item.name], grid.states, span.start)
    made = _as_rows(panel, grid.row_DN[span] >= 0, out)
    across = across_features(panel, grid.sessions, first, last, catalog=apart, dtype=dtype)
    made = made.with_columns(across.drop(KEYS).get_columns())
    return made.select(*KEYS, *[item.name for item in catalog])


def inputs_with(own: Sequence[Join], max_stale: int) -> dict[str, Input]:
    """Return all inputs, those of the market's own feeds too."""
    return {**inputs_at(max_stale), **{item.name: item for join in own for item in joined(join)}}


def _fill_keys(
    catalog: Sequence[Feature],
    panel: pl.DataFrame,
    grid: "_Grid",
    span: slice,
    inputs: Mapping[str, Input],
    out: Mapping[str, NDArray[np.floating]],
    mean_D1: Array | None,
) -> None:
    """Fill the facts of sectors, sections and the market: once per key, then spread."""
    series = {} if mean_D1 is None else {MARKET_RETURN: mean_D1}
    for scope in dict.fromkeys(item.scope for item in catalog):
        keys_of = Keys.of(panel, scope, grid.sessions, inputs, series)
        code_DN = keys_of.codes(grid.row_DN[span])
        for item in catalog:
            if item.scope == scope:
                value_DK = _latest(item, keys_of, span)
                out[item.name][:] = keys_of.spread(value_DK, code_DN)


def _fill_symbols(
    catalog: Sequence[Feature],
    grid: "_Grid",
    span: slice,
    inputs: Mapping[str, Input],
    out: Mapping[str, NDArray[np.floating]],
    threads: int,
    cuts: Sequence[slice],
    mean_D1: Array | None,
) -> None:
    """Fill the facts of single symbols, block by block."""

    def work(cut: slice) -> None:
        known = {}
        if mean_D1 is not None:
            shape = (len(mean_D1), cut.stop - cut.start)
            known[MARKET_RETURN] = np.ascontiguousarray(np.broadcast_to(mean_D1, shape))
        block = Block(grid.columns_of(cut), inputs, known=known)
        for item in catalog:
            out[item.name][:, cut] = _latest(item, block, span)

    if threads == 1:
        for cut in cuts:
            work(cut)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, cuts))


def _latest(item: Feature, arrays: Keys | Block, span: slice) -> Array:
    """Return a feature on the rows of `span`, from no more rows than it declares.

    A day costs less so, and a look-back that is too short shows.
    """
    since = max(span.start - item.rows + 1, 0)
    value = item(*[arrays[name][since : span.stop] for name in item.inputs])
    return value[span.start - since :]


def _as_rows(
    panel: pl.DataFrame, kept_DN: Mask, out: dict[str, NDArray[np.floating]]
) -> pl.DataFrame:
    """Return the panel's last rows with a column per array, each array let go as it is read."""
    is_full = bool(kept_DN.all())
    columns = []
    for name in list(out):
        value_DN = out.pop(name)
        columns.append(nullable(name, value_DN.ravel() if is_full else value_DN[kept_DN]))
    return panel.select(KEYS).tail(int(kept_DN.sum())).with_columns(columns)


@dataclass(frozen=True)
class _Grid:
    """Where each panel row lies: the row of (session, symbol), -1 where there is none."""

    sessions: Dates
    row_DN: Places
    columns: Mapping[str, Array]
    states: tuple[State, ...]

    @classmethod
    def of(
        cls,
        panel: pl.DataFrame,
        sessions: Dates | None,
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
        symbols, n = symbol_places(panel)
        row_R = session_places(panel, sessions)
        place = row_R * len(symbols) + n
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
            states=states_of(late_factors(panel, row_R, n, sessions)),
        )

    def span(self, first: date, last: date) -> slice:
        """Return where the sessions from `first` to `last` lie."""
        wanted = (self.sessions >= np.datetime64(first)) & (self.sessions <= np.datetime64(last))
        place = np.flatnonzero(wanted)
        return slice(int(place[0]), int(place[-1]) + 1) if len(place) else slice(0, 0)

    def columns_of(self, cut: slice) -> Callable[[str], Array]:
        """Return what gives a panel column of some symbols, or states of them, as [D, N]."""
        n_symbols = self.row_DN.shape[1]
        row_DN = np.ascontiguousarray(self.row_DN[:, cut], dtype=np.intp)  # once for all columns
        states = self.states[max(cut.start - n_symbols, 0) : max(cut.stop - n_symbols, 0)]
        if states:
            more = [state.column for state in states]
            row_DN = np.concatenate([row_DN, self.row_DN[:, more]], axis=1)
        at = row_DN.shape[1] - len(states)
        absent_DN = row_DN < 0

        def column(name: str) -> Array:
            if name not in self.columns:
                return np.full(row_DN.shape, np.nan)
            value_DN = self.columns[name].take(row_DN, mode="clip")  # -1 reads a row, then erased
            np.copyto(value_DN, np.nan, where=absent_DN)
            for n, state in enumerate(states, start=at):
                state.restate(name, value_DN[:, n])
            return value_DN

        return column


def pools(item: Feature) -> bool:
    """Return whether a feature is made of the returns of all symbols."""
    return pools_symbols(name for name in item.inputs if name in INPUTS)


def market_series(
    rows: pl.DataFrame,
    catalog: Sequence[Feature],
    sessions: Dates,
    *,
    own: Sequence[Join] = (),
) -> pl.DataFrame:
    """Return market-wide features of rows that hold one session each.

    Args:
        rows: `session` and the market-wide columns of the panel.
        catalog: market-wide features, none of which pools symbols.
        sessions: of the rows, sorted.
        own: joins of the market's own feeds.
    """
    assert not any(pools(item) for item in catalog), "the rows hold no symbols"
    keys_of = Keys.of(rows, "market", sessions, inputs_with(own, shared_max_stale(catalog)))
    made = [
        nullable(item.name, item(*[keys_of[n] for n in item.inputs])[:, 0].astype(np.float32))
        for item in catalog
    ]
    return rows.select("session").with_columns(made)


def _market_return(grid: _Grid, cuts: Sequence[slice], inputs: Mapping[str, Input]) -> Array:
    """Return the mean of the symbols' returns per session as [D, 1], added up in symbol order."""
    total_D, count_D = np.zeros(len(grid.sessions)), np.zeros(len(grid.sessions))
    (returns,) = inputs[MARKET_RETURN].inputs
    n_symbols = grid.row_DN.shape[1]
    later = Block(grid.columns_of(slice(n_symbols, n_symbols + len(grid.states))), inputs)
    for cut in cuts:
        own = slice(cut.start, min(cut.stop, n_symbols))
        if own.start >= own.stop:
            break
        returns_DN = Block(grid.columns_of(own), inputs)[returns]
        # Each session counts with what it knew: what is learned later changes no mean.
        for n, state in enumerate(grid.states):
            if own.start <= state.column < own.stop:
                at = state.column - own.start
                returns_DN[state.row :, at] = later[returns][state.row :, n]
        add_returns(returns_DN, total_D, count_D)
    return as_column(total_D, count_D, 1)
