"""The features across symbols: what there is, and from panel rows to their columns.

What they need of single symbols is computed in blocks, as everywhere; then each reads whole
sessions.  Graphs are made and read week by week, so that few are held at a time.
Shape letters: D sessions, N symbols, R panel rows, S sessions of one week.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.asof import at_or_before
from alpha_assets.arrays.keys import KEYS
from alpha_assets.arrays.types import Array, Dates, Index, Mask
from alpha_assets.errors import BadInput
from alpha_assets.features import graph, sector_relative
from alpha_assets.features.base import shared_max_stale
from alpha_assets.features.blocks import (
    Block,
    as_known_at,
    block_cuts,
    columns_behind,
    nullable,
    session_places,
    states_of,
    symbol_places,
    with_volume_factor,
)
from alpha_assets.features.correlation import Graph, week_starts, weekly_graphs
from alpha_assets.features.cross_symbol import (
    COARSE_SECTOR,
    GRAPH,
    GRAPH_BEFORE,
    OWN,
    SECTOR,
    WEEKS_BEFORE,
    Across,
    own_at,
)
from alpha_assets.features.inputs import INPUTS, OPTIONAL_COLUMNS, inputs_at
from alpha_assets.feeds.sectors import COARSE
from alpha_assets.panel.dense import late_factors
from alpha_assets.panel.lives import by_life, plain_symbol

ACROSS: tuple[Across, ...] = (
    sector_relative.sec_ret_5,
    sector_relative.sec_ret_20,
    sector_relative.sec_rel_ret_5,
    sector_relative.sec_rel_ret_20,
    sector_relative.sec_rel_mom_12_1,
    sector_relative.sec_rel_vol_20,
    sector_relative.sec_rel_turn_z,
    sector_relative.sec_beta_60,
    graph.graph_degree,
    graph.graph_peer_corr_mean,
    graph.graph_peer_corr_max,
    graph.graph_topk_corr,
    graph.graph_peer_ret_5,
    graph.graph_clust,
    graph.graph_degree_chg_4w,
)

RETURNS = "session_return"


def across_features(
    panel: pl.DataFrame,
    sessions: Dates,
    first: date,
    last: date,
    *,
    catalog: Sequence[Across] = ACROSS,
    dtype: type[np.floating] = np.float32,
) -> pl.DataFrame:
    """Return features across symbols on the panel rows of `first` to `last`.

    Args:
        panel: rows of all symbols from the longest look-back less one session before `first`
            (or from the market's first session, where that is later) to `last` or beyond.
        sessions: the market's sessions over the panel's span, sorted.
        first: first session to return.
        last: last session to return.
        catalog: which, in the order of the columns wanted.
        dtype: of the columns; float64 shows what rounding to Float32 would hide.

    Returns:
        `session`, `symbol` and one Float32 per feature, null where unknown; the rows are
        those of the panel, in its order.

    Raises:
        BadInput: a column is missing, or a row's date is none of `sessions`.
    """
    lookback = max((item.lookback for item in catalog), default=1)
    start = int(np.searchsorted(sessions, np.datetime64(first), side="left"))
    stop = int(np.searchsorted(sessions, np.datetime64(last), side="right"))
    begin = max(start - lookback + 1, 0)
    span = sessions[begin:stop]
    if start >= stop:
        rows = panel.clear()
        span = sessions[:0]
    else:
        rows = panel.filter(pl.col("session").is_between(span[0].item(), span[-1].item()))
    board = Board(rows, span, shared_max_stale(catalog))
    single = board.values(name for item in catalog for name in _of_single_symbols(item))
    made: dict[str, Array | Index] = dict(single)
    if any(SECTOR in item.needs for item in catalog):
        made[SECTOR] = board.sectors()
    if any(COARSE_SECTOR in item.needs for item in catalog):
        made[COARSE_SECTOR] = board.sectors(coarse=True)
    out = {item.name: np.full((stop - start, board.n_symbols), np.nan) for item in catalog}
    for item in catalog:
        if not item.reads_graph:
            since = max(start - begin - item.rows + 1, 0)
            needs_DN = [made[name][since:] for name in item.needs]
            out[item.name][:] = item(*needs_DN)[start - begin - since :]
            if item.rows > 1:
                _restate(item, board, made, since, start - begin, out[item.name])
    weekly = [item for item in catalog if item.reads_graph]
    _fill_weekly(weekly, board, single, start - begin, out)
    wanted_R = board.day_R >= start - begin
    at_R = (board.day_R[wanted_R] - (start - begin), board.symbol_R[wanted_R])
    return (
        rows.select(KEYS)
        .filter(pl.Series(wanted_R, dtype=pl.Boolean))
        .with_columns(
            nullable(item.name, out.pop(item.name)[at_R].astype(dtype)) for item in catalog
        )
    )


def _restate(
    item: Across,
    board: "Board",
    made: Mapping[str, Array | Index],
    since: int,
    start: int,
    out_DN: Array,
) -> None:
    """Fill windows over a symbol's own past anew where it learned a factor late.

    What it is compared with, the others of its sector, stays as first computed.
    """
    for n, state in enumerate(board.states):
        if state.row >= len(board.sessions):
            continue
        needs_DN = []
        for name in item.needs:
            value_DN = made[name][since:]
            if name in board.later:
                value_DN = value_DN.copy()
                value_DN[:, state.column] = board.later[name][since:, n]
            needs_DN.append(value_DN)
        rows = slice(max(state.row - start, 0), None)
        out_DN[rows, state.column] = item(*needs_DN)[start - since :, state.column][rows]


def _of_single_symbols(item: Across) -> list[str]:
    """Return which arrays of single symbols a feature needs."""
    names = [name for name in item.needs if name in OWN or name in INPUTS]
    return [*names, RETURNS] if item.reads_graph else names


def _fill_weekly(
    catalog: Sequence[Across],
    board: "Board",
    made: Mapping[str, Array],
    start: int,
    out: Mapping[str, Array],
) -> None:
    """Fill the rows from `start` on of the features that read the graph, week by week."""
    starts = np.flatnonzero(week_starts(board.sessions))
    ends = np.append(starts[1:], len(board.sessions))
    week = int(at_or_before(starts, np.asarray(start)))
    reads_before = any(GRAPH_BEFORE in item.needs for item in catalog)
    early = max(week - (WEEKS_BEFORE if reads_before else 0), 0)
    if not catalog or not len(starts[early:]):
        return
    recent: deque[Graph] = deque(maxlen=WEEKS_BEFORE + 1)
    graphs = weekly_graphs(made[RETURNS], board.is_there_DN, starts[early:])
    for (row, found), end in zip(graphs, ends[early:], strict=True):
        recent.append(found)
        if end <= start:
            continue
        rows = slice(max(row, start), end)
        known: dict[str, Array | Graph] = {GRAPH: found}
        if len(recent) > WEEKS_BEFORE:
            known[GRAPH_BEFORE] = recent[0]
        known |= {name: value_DN[rows] for name, value_DN in made.items()}
        for item in catalog:
            if all(name in known for name in item.needs):
                out[item.name][rows.start - start : end - start] = item(
                    *[known[name] for name in item.needs]
                )


class Board:
    """Panel rows as dense arrays over all sessions and symbols, each life a column of its own."""

    def __init__(self, panel: pl.DataFrame, sessions: Dates, max_stale: int) -> None:
        self.sessions = sessions
        self._inputs, self._own = inputs_at(max_stale), own_at(max_stale)
        self._panel = with_volume_factor(panel)
        lives, self.symbol_R = symbol_places(by_life(panel))
        self.symbols = lives.to_frame("key").select(plain_symbol(pl.col("key"))).to_series()
        self.n_symbols = len(self.symbols)
        self.day_R: Index = session_places(panel, sessions)
        late = late_factors(panel, self.day_R, self.symbol_R, sessions)
        self.states = states_of(late)
        self.later: dict[str, Array] = {}  # of each state, what `values` returned of symbols
        self.is_there_DN: Mask = np.zeros((len(sessions), self.n_symbols), dtype=bool)
        self.is_there_DN[self.day_R, self.symbol_R] = True

    def values(self, names: Iterable[str]) -> dict[str, Array]:
        """Return inputs and single symbols' features as [D, N]."""
        wanted = list(dict.fromkeys(names))
        behind = columns_behind(wanted, self._inputs, self._own)
        missing = [c for c in behind if c not in (*self._panel.columns, *OPTIONAL_COLUMNS)]
        if missing:
            raise BadInput(
                f"the panel lacks {', '.join(missing)}, which features across symbols are made "
                "of; rebuild the panel"
            )
        columns = {name: self._dense(name) for name in behind}
        n_sessions, n_columns = len(self.sessions), self.n_symbols + len(self.states)
        made = {name: np.empty((n_sessions, n_columns)) for name in wanted}
        for cut in block_cuts(n_sessions, n_columns):
            of_cut = {c: np.ascontiguousarray(x_DN[:, cut]) for c, x_DN in columns.items()}
            block = Block(of_cut.__getitem__, self._inputs, self._own)
            for name in wanted:
                made[name][:, cut] = block[name]
        if self.states:
            self.later |= {name: x_DC[:, self.n_symbols :] for name, x_DC in made.items()}
        return {name: as_known_at(x_DC, self.states) for name, x_DC in made.items()}

    def sectors(self, *, coarse: bool = False) -> Index:
        """Return a number per sector as [D, N], -1 where it is not known.

        Args:
            coarse: of the exchange's 17; unknown for a sector that is none of its 33.
        """
        if SECTOR not in self._panel.columns:
            raise BadInput("the panel lacks sector, which names a symbol's peers; rebuild it")
        word = self._panel[SECTOR].cast(pl.String)
        if coarse:
            word = word.replace_strict(COARSE, default=None, return_dtype=pl.String)
        code = word.cast(pl.Enum(word.drop_nulls().unique().sort())).to_physical()
        code_DN = np.full(self.is_there_DN.shape, -1, dtype=np.int64)
        code_DN[self.day_R, self.symbol_R] = code.cast(pl.Int64).fill_null(-1).to_numpy()
        return code_DN

    def holds(self, rows: pl.DataFrame) -> Mask:
        """Return as [D, N] which of the panel's rows are among some `session`, `symbol`."""
        marked = rows.select(KEYS).with_columns(held=pl.lit(value=True))
        keys = self._panel.select(KEYS)
        held = keys.join(marked, on=KEYS, how="left", maintain_order="left")["held"]
        held_DN = np.zeros(self.is_there_DN.shape, dtype=bool)
        held_DN[self.day_R, self.symbol_R] = held.fill_null(value=False).to_numpy()
        return held_DN

    def _dense(self, name: str) -> Array:
        value_DN = np.full(self.is_there_DN.shape, np.nan)
        if name in self._panel.columns:
            value_R = self._panel[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            value_DN[self.day_R, self.symbol_R] = value_R
        if self.states:
            later_DC = value_DN[:, [state.column for state in self.states]]
            for n, state in enumerate(self.states):
                state.restate(name, later_DC[:, n])
            value_DN = np.concatenate([value_DN, later_DC], axis=1)
        return value_DN
