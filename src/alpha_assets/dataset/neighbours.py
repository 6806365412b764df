"""Who is whose neighbour at each session: a graph a week, held once for all its sessions.

Shape letters: G graphs, D sessions, N symbols, K neighbours, B sessions of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from alpha_assets.arrays.places import codes, places_on
from alpha_assets.arrays.types import Dates

NO_GRAPH = -1


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The graphs of a dataset's sessions.

    Attributes:
        edge_GNK: places of each symbol's neighbours on the symbol axis, the nearest first; -1
            where there is none, or one that is not on the axis.
        weight_GNK: correlation with each, 0 where there is none.
        graph_D: place of each session's graph; -1 where nothing is known of its week.
    """

    edge_GNK: Tensor
    weight_GNK: Tensor
    graph_D: Tensor

    @classmethod
    def of(
        cls,
        edges: pl.DataFrame,
        made_D: Dates,
        symbols: Sequence[str],
        n_neighbours: int,
        device: torch.device | str = "cpu",
    ) -> "Neighbours":
        """Return the nearest neighbours of each symbol in the graph of each session.

        The nearest are those of the whole graph: one that is not on the axis leaves its place
        empty, so that a symbol's neighbours do not depend on which others a dataset holds.

        Args:
            edges: `session` on which the graph was made, `symbol`, `neighbour`, `weight`.
            made_D: the session on which the graph of each session of the axis was made.
            symbols: of the axis.
            n_neighbours: K; equally near ones are taken in order of their name.
            device: where the tensors go.
        """
        made = np.unique(made_D)
        nearest = edges.filter(pl.col("session").is_in(made.tolist())).sort(
            "session", "symbol", "weight", "neighbour", descending=[False, False, True, False]
        )
        rank = pl.int_range(pl.len()).over("session", "symbol").alias("rank")
        nearest = nearest.with_columns(rank).filter(pl.col("rank") < n_neighbours)
        day = nearest["session"].cast(pl.Date).to_numpy().astype("datetime64[D]")
        known = np.unique(day)
        g, n = places_on(known, day), codes(nearest["symbol"], symbols)
        neighbour, rank_E = codes(nearest["neighbour"], symbols), nearest["rank"].to_numpy()
        on_axis = (n >= 0) & (neighbour >= 0)
        place = (g[on_axis], n[on_axis], rank_E[on_axis])
        shape = (len(known), len(symbols), n_neighbours)
        edge_GNK = np.full(shape, -1, dtype=np.int32)
        weight_GNK = np.zeros(shape, dtype=np.float32)
        edge_GNK[place] = neighbour[on_axis]
        weight_GNK[place] = nearest["weight"].to_numpy()[on_axis]
        return cls(
            torch.from_numpy(edge_GNK).to(device),
            torch.from_numpy(weight_GNK).to(device),
            torch.from_numpy(places_on(known, np.asarray(made_D))).to(device),
        )

    def at(self, place_B: Tensor, valid_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Return edges and weights at some sessions, between symbols with a universe row there.

        Args:
            place_B: of the session axis.
            valid_BN: which symbols have a universe row.

        Returns:
            edges_BNK, 0 where there is no neighbour, and edge_weight_BNK, 0 there.
        """
        n_sessions, n_symbols = valid_BN.shape
        shape = (n_sessions, n_symbols, self.edge_GNK.shape[-1])
        if not len(self.edge_GNK):
            return valid_BN.new_zeros(shape, dtype=torch.int64), self.weight_GNK.new_zeros(shape)
        graph_B = self.graph_D[place_B]
        edges_BNK = self.edge_GNK[graph_B.clamp(min=0)].long()
        counts_BNK = (edges_BNK >= 0) & (graph_B >= 0)[:, None, None] & valid_BN[..., None]
        edges_BNK = edges_BNK.clamp(min=0)
        counts_BNK &= valid_BN.gather(1, edges_BNK.flatten(1)).view(shape)
        weight_BNK = torch.where(counts_BNK, self.weight_GNK[graph_B.clamp(min=0)], 0.0)
        return torch.where(counts_BNK, edges_BNK, 0), weight_BNK
