"""Who moves with whom: pairwise correlation of residual returns, exact to the last bit.

What the market explains is taken out of every symbol's returns of 60 sessions, and what is
left is standardised and rounded to whole multiples of 2 ** -20.  The integers are at most
2 ** 23, their products at most 2 ** 46, and sums of 60 products stay below 2 ** 52: float64
holds every partial sum exactly, in whatever order it is added up.  So the matrix products
give the same bits from any BLAS, on any number of threads, in any tiling, whichever other
symbols stand beside a pair; what follows them is elementwise and correctly rounded.
Rounding moves a correlation by less than one millionth.

Shape letters: D sessions, W sessions of a window, N symbols, E directed edges, B symbols of a
tile, C symbols of another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alpha_assets.arrays.types import Array, Dates, Index, Mask
from alpha_assets.arrays.windows import ROUNDING
from alpha_assets.features.inputs import add_returns

WINDOW = 60  # sessions
LEAST_COMMON = 40  # sessions that both symbols of a pair, and each with the market, must have
LEAST_CORRELATION = 0.3  # of an edge
SCALE = 2.0**20  # steps in one standard deviation
# Standard deviations.  One of n values is never further out than sqrt(n - 1), so that the
# bound cuts nothing from 60 of them: it is what keeps the sums exact if the window grows.
BOUND = 8.0
EXACT = 2.0**53  # below this, float64 holds every whole number
TILE = 512  # symbols; a few matrices of a tile fit into the cache of a core


@dataclass(frozen=True, eq=False)
class Graph:
    """Symbols that move together beyond the market, as directed edges in both directions.

    Attributes:
        is_node_N: symbols that could have edges: those with enough residuals.
        symbol_E: where an edge starts; sorted by this, then by neighbour.
        neighbour_E: where it ends.
        weight_E: correlation of the two.
    """

    is_node_N: Mask
    symbol_E: Index
    neighbour_E: Index
    weight_E: Array

    @cached_property
    def degree_N(self) -> Index:
        """Neighbours of each symbol."""
        return np.bincount(self.symbol_E, minlength=len(self.is_node_N))

    @cached_property
    def by_strength_E(self) -> Index:
        """The edges in the order of symbol, then from the strongest; equals by neighbour."""
        return np.asarray(np.lexsort((self.neighbour_E, -self.weight_E, self.symbol_E)))

    def strongest(self, k: int) -> Index:
        """Return the k strongest edges of each symbol, in the order of `by_strength_E`."""
        start_N = np.concatenate([[0], np.cumsum(self.degree_N)])[:-1]
        rank_E = np.arange(len(self.symbol_E)) - start_N[self.symbol_E]
        strongest: Index = self.by_strength_E[rank_E < k]
        return strongest

    def among(self, is_member_N: Mask) -> "Graph":
        """Return the graph of some of its symbols."""
        kept_E = is_member_N[self.symbol_E] & is_member_N[self.neighbour_E]
        return Graph(
            self.is_node_N & is_member_N,
            self.symbol_E[kept_E],
            self.neighbour_E[kept_E],
            self.weight_E[kept_E],
        )


def week_starts(sessions: Dates) -> Mask:
    """Return which sessions are the first of their ISO week.

    Never the first one given: what came before it is not known, and nothing can be
    correlated on it anyway.
    """
    # numpy's weeks start on Thursday 1970-01-01; four days later makes them ISO weeks.
    week_D = (sessions.astype("datetime64[D]") + np.timedelta64(3, "D")).astype("datetime64[W]")
    return np.append(np.zeros(min(len(week_D), 1), dtype=bool), week_D[1:] != week_D[:-1])


def weekly_graphs(
    session_return_DN: Array, is_there_DN: Mask, row_G: Index
) -> Iterator[tuple[int, Graph]]:
    """Yield the graph of each of some rows, from that row and the 59 before it.

    Args:
        session_return_DN: returns; row D holds the session before D, NaN without a bar.
        is_there_DN: whether the symbol has a panel row at D; others are no nodes.
        row_G: rows wanted, the weeks' first sessions.
    """
    total_D, count_D = np.zeros(len(session_return_DN)), np.zeros(len(session_return_DN))
    add_returns(session_return_DN, total_D, count_D)
    with np.errstate(invalid="ignore"):
        market_D = total_D / count_D
    for row in row_G:
        window = slice(max(row + 1 - WINDOW, 0), row + 1)
        yield (
            int(row),
            correlation_graph(session_return_DN[window], market_D[window], is_there_DN[row]),
        )


def correlation_graph(return_WN: Array, market_W: Array, is_there_N: Mask) -> Graph:
    """Return which symbols' residuals correlate by 0.3 or more over at least 40 sessions.

    Args:
        return_WN: returns of the window's sessions, NaN where unknown.
        market_W: return of the market.
        is_there_N: symbols to consider.

    Source: Mantegna (1999), Eur. Phys. J. B 11; Onnela et al. (2003), Phys. Rev. E 68.
    """
    step_WN = standardised(residuals(return_WN, market_W))
    is_node_N = is_there_N & ~np.isnan(step_WN).all(axis=0)
    node_N = np.flatnonzero(is_node_N)
    a_P, b_P, weight_P = _pairs(step_WN[:, node_N])
    symbol_E = node_N[np.concatenate([a_P, b_P])]
    neighbour_E = node_N[np.concatenate([b_P, a_P])]
    order = np.argsort(symbol_E * len(is_node_N) + neighbour_E)
    weight_E = np.concatenate([weight_P, weight_P])
    return Graph(is_node_N, symbol_E[order], neighbour_E[order], weight_E[order])


def residuals(return_WN: Array, market_W: Array) -> Array:
    """Return what a least-squares line on the market, with intercept, leaves of the returns.

    All NaN for a symbol with fewer than 40 returns, and where market, symbol, or what is left
    of it do not vary.
    """
    known_WN = ~(np.isnan(return_WN) | np.isnan(market_W)[:, None])
    count_N = known_WN.sum(axis=0)
    y_WN = np.where(known_WN, return_WN, 0.0)
    x_WN = np.where(known_WN, market_W[:, None], 0.0)
    share_N = 1.0 / np.maximum(count_N, 1)
    raw_yy_N, raw_xx_N = _total(y_WN * y_WN), _total(x_WN * x_WN)
    y_WN = np.where(known_WN, y_WN - _total(y_WN) * share_N, 0.0)
    x_WN = np.where(known_WN, x_WN - _total(x_WN) * share_N, 0.0)
    xx_N, yy_N = _total(x_WN * x_WN), _total(y_WN * y_WN)
    varies_N = (xx_N > ROUNDING * raw_xx_N) & (yy_N > ROUNDING * raw_yy_N)
    slope_N = _total(x_WN * y_WN) / np.where(varies_N, xx_N, 1.0)
    left_WN = y_WN - slope_N * x_WN
    is_usable_N = varies_N & (count_N >= LEAST_COMMON)
    is_usable_N &= _total(left_WN * left_WN) > ROUNDING * raw_yy_N
    return np.where(known_WN & is_usable_N, left_WN, np.nan)


def standardised(residual_WN: Array) -> Array:
    """Return residuals over their standard deviation, as whole steps of 2 ** -20 of it."""
    known_WN = ~np.isnan(residual_WN)
    residual_WN = np.where(known_WN, residual_WN, 0.0)
    count_N = known_WN.sum(axis=0)
    sd_N = np.sqrt(_total(residual_WN * residual_WN) / np.maximum(count_N, 1))
    z_WN = residual_WN / np.where(count_N > 0, sd_N, 1.0)
    return np.where(known_WN, np.rint(np.clip(z_WN, -BOUND, BOUND) * SCALE), np.nan)


def _total(x_WN: Array) -> Array:
    """Return the sums over a window, from its oldest session to its newest."""
    total_N = np.zeros(x_WN.shape[1])
    for x_N in x_WN:
        total_N += x_N
    return total_N


def _pairs(step_WN: Array) -> tuple[Index, Index, Array]:
    """Return the pairs a < b that are edges, and their correlations, in no order."""
    n_sessions, n_symbols = step_WN.shape
    assert n_sessions * (BOUND * SCALE) ** 2 < EXACT, f"{n_sessions} sessions are too many"
    is_full_N = ~np.isnan(step_WN).any(axis=0)
    # Those without gaps first: a tile of them needs one matrix product instead of six.
    order_N = np.argsort(~is_full_N, kind="stable")
    tiles = [_Tile.of(step_WN, order_N[n : n + TILE]) for n in range(0, n_symbols, TILE)]
    found = [
        _edges(left, right, is_same=n == 0)
        for t, left in enumerate(tiles)
        for n, right in enumerate(tiles[t:])
    ]
    if not found:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    a_P, b_P, weight_P = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return a_P, b_P, weight_P


@dataclass(frozen=True)
class _Tile:
    """Some symbols' steps, 0 where unknown, and which are known."""

    symbol_B: Index
    step_WB: Array
    square_WB: Array
    known_WB: Array
    is_full: bool

    @classmethod
    def of(cls, step_WN: Array, symbol_B: Index) -> "_Tile":
        step_WB = step_WN[:, symbol_B]
        known_WB = ~np.isnan(step_WB)
        step_WB = np.where(known_WB, step_WB, 0.0)
        known_as_one_WB = known_WB.astype(np.float64)
        return cls(symbol_B, step_WB, step_WB * step_WB, known_as_one_WB, bool(known_WB.all()))


def _edges(left: _Tile, right: _Tile, *, is_same: bool) -> tuple[Index, Index, Array]:
    """Return the edges between two tiles; within one, each pair once."""
    product_BC = left.step_WB.T @ right.step_WB
    if left.is_full and right.is_full:
        count_BC = np.full((1, 1), float(len(left.step_WB)))
        sum_a_BC = _total(left.step_WB)[:, None]
        sum_b_BC = _total(right.step_WB)[None, :]
        squares_a_BC = _total(left.square_WB)[:, None]
        squares_b_BC = _total(right.square_WB)[None, :]
    else:
        count_BC = left.known_WB.T @ right.known_WB
        sum_a_BC = left.step_WB.T @ right.known_WB
        sum_b_BC = left.known_WB.T @ right.step_WB
        squares_a_BC = left.square_WB.T @ right.known_WB
        squares_b_BC = left.known_WB.T @ right.square_WB
    covariance_BC = count_BC * product_BC - sum_a_BC * sum_b_BC
    raw_a_BC, raw_b_BC = count_BC * squares_a_BC, count_BC * squares_b_BC
    spread_a_BC = raw_a_BC - sum_a_BC * sum_a_BC
    spread_b_BC = raw_b_BC - sum_b_BC * sum_b_BC
    usable_a_BC = (spread_a_BC > ROUNDING * raw_a_BC) & (count_BC >= LEAST_COMMON)
    usable_b_BC = spread_b_BC > ROUNDING * raw_b_BC
    spread_BC = np.sqrt(spread_a_BC * spread_b_BC)
    # Few pairs come near the least correlation: only those are divided and looked at closely.
    near_BC = covariance_BC >= (LEAST_CORRELATION * (1 - 1e-9)) * spread_BC
    near_BC &= usable_a_BC & usable_b_BC
    b, c = np.nonzero(near_BC)
    if is_same:
        b, c = b[b < c], c[b < c]
    weight_P = np.minimum(covariance_BC[b, c] / spread_BC[b, c], 1.0)
    is_edge_P = weight_P >= LEAST_CORRELATION
    a_P, b_P = left.symbol_B[b[is_edge_P]], right.symbol_B[c[is_edge_P]]
    return np.minimum(a_P, b_P), np.maximum(a_P, b_P), weight_P[is_edge_P]
