"""Where a symbol stands among those whose residual returns move with its own.

The graph is made on the first session of each ISO week, from the 60 sessions before, and
stays in force for the week.  Sums over neighbours run in symbol order.
Shape letters: S sessions of one week, N symbols, E directed edges.
"""

import numpy as np

from alpha_assets.arrays.types import Array, Index
from alpha_assets.features.correlation import Graph
from alpha_assets.features.cross_symbol import across

FAMILY = "graph"

STRONGEST = 10  # neighbours
EDGES_AT_ONCE = 4096  # whose neighbours are compared; what the cache of a core holds
WORD = 64  # bits


@across(
    unit="fraction",
    formula="neighbours / (n - 1); n symbols have 40 residuals or more",
    source="Onnela et al. (2003), Phys. Rev. E 68.",
)
def graph_degree(graph: Graph) -> Array:
    """Share of the other symbols that the symbol moves with beyond the market."""
    return degree(graph)


@across(
    unit="correlation, 0.3 or more",
    formula="mean of rho over the neighbours",
    source="Mantegna (1999), Eur. Phys. J. B 11.",
)
def graph_peer_corr_mean(graph: Graph) -> Array:
    """How closely the symbol moves with its neighbours; null without any."""
    return _mean_weight(graph, np.arange(len(graph.weight_E)))


@across(
    unit="correlation, 0.3 or more",
    formula="max of rho",
    source="Mantegna (1999), Eur. Phys. J. B 11.",
)
def graph_peer_corr_max(graph: Graph) -> Array:
    """How closely the symbol moves with its nearest neighbour; null without any."""
    return _mean_weight(graph, graph.strongest(1))


@across(
    unit="correlation, 0.3 or more",
    formula="mean of the 10 largest rho",
    source="Mantegna (1999), Eur. Phys. J. B 11.",
)
def graph_topk_corr(graph: Graph) -> Array:
    """How closely the symbol moves with its ten nearest neighbours, or those it has."""
    return _mean_weight(graph, graph.strongest(STRONGEST))


@across(
    unit="fraction",
    formula="sum of rho · ret_5 over the neighbours / sum of rho - ret_5, of those with a return",
    source=(
        "Ali & Hirshleifer (2020), J. Financ. Econ. 136, with correlated returns in place of "
        "shared analysts."
    ),
)
def graph_peer_ret_5(graph: Graph, ret_5: Array) -> Array:
    """What the neighbours gained in a week and the symbol did not: what it may catch up with."""
    peers_SN = np.empty_like(ret_5)
    for s, ret_N in enumerate(ret_5):
        ret_E = ret_N[graph.neighbour_E]
        known_E = ~np.isnan(ret_E)
        weight_E = np.where(known_E, graph.weight_E, 0.0)
        total_N = _sum(graph, graph.symbol_E, weight_E * np.where(known_E, ret_E, 0.0))
        peers_SN[s] = total_N / _sum(graph, graph.symbol_E, weight_E)
    return peers_SN - ret_5


@across(
    unit="fraction",
    formula="2 · triangles / (k · (k - 1)) with k neighbours",
    source="Watts & Strogatz (1998), Nature 393; Onnela et al. (2003), Phys. Rev. E 68.",
)
def graph_clust(graph: Graph) -> Array:
    """Share of the pairs of neighbours that are neighbours themselves; null with fewer than two."""
    twice_N = _sum(graph, graph.symbol_E, common_neighbours(graph).astype(np.float64))
    pairs_N = graph.degree_N * (graph.degree_N - 1)
    return np.where(pairs_N > 0, twice_N / np.maximum(pairs_N, 1), np.nan)


@across(
    unit="fraction",
    formula="graph_degree - graph_degree four weeks before",
    source="Onnela et al. (2003), Phys. Rev. E 68.",
)
def graph_degree_chg_4w(graph: Graph, graph_4w: Graph) -> Array:
    """How much of the others the symbol has come to move with in four weeks."""
    return degree(graph) - degree(graph_4w)


def degree(graph: Graph) -> Array:
    """Return the share of the other nodes that each node has an edge to; NaN for no node."""
    n_nodes = int(graph.is_node_N.sum())
    share_N = graph.degree_N / max(n_nodes - 1, 1)
    return np.where(graph.is_node_N & (n_nodes > 1), share_N, np.nan)


def common_neighbours(graph: Graph) -> Index:
    """Return how many neighbours the two ends of each edge share; whole numbers, so exact."""
    node_N = np.cumsum(graph.degree_N > 0) - 1
    a_E, b_E = node_N[graph.symbol_E], node_N[graph.neighbour_E]
    n_nodes = int(a_E[-1]) + 1 if len(a_E) else 0
    is_edge = np.zeros((n_nodes, -(-n_nodes // WORD) * WORD), dtype=bool)
    is_edge[a_E, b_E] = True
    bits = np.packbits(is_edge, axis=1).view(np.uint64)
    count_E = np.empty(len(a_E), dtype=np.int64)
    for start in range(0, len(a_E), EDGES_AT_ONCE):
        cut = slice(start, start + EDGES_AT_ONCE)
        count_E[cut] = np.bitwise_count(bits[a_E[cut]] & bits[b_E[cut]]).sum(axis=1)
    return count_E


def _mean_weight(graph: Graph, edge_K: Index) -> Array:
    """Return the mean correlation of each symbol over some of the edges."""
    symbol_K = graph.symbol_E[edge_K]
    total_N = _sum(graph, symbol_K, graph.weight_E[edge_K])
    return total_N / np.bincount(symbol_K, minlength=len(graph.is_node_N))


def _sum(graph: Graph, symbol_K: Index, x_K: Array) -> Array:
    """Return the sum of each symbol over some edges, in the order given: one after the other."""
    total_N = np.bincount(symbol_K, weights=x_K, minlength=len(graph.is_node_N))
    return total_N.astype(np.float64, copy=False)
