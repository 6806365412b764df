"""What a model sees: tensors alone, without dates, labels or the universe's future.

Shape letters: B decision sessions, N symbols, T sessions up to and with the decision,
F features, M market-wide series, K neighbours, V components of a vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

TIME_MAJOR = ("x_BNTF", "valid_BNT")
VECTORS = ("vectors_BNV", "has_vector_BN")  # of a batch, by name of the input


@dataclass(frozen=True, eq=False)
class Batch:
    """Cross-sections of B sessions over one symbol axis.

    Attributes:
        x_BNTF: features; a view, time-major in memory; anything where `valid` is False.
        valid_BNT: a universe row existed at that step.
        mask_BN: to be scored: in the universe at D, with a bar at D-1.
        symbol_id_N: place in the month's list of symbols, from 1; 0 = unknown.
        sector_id_BN: place in the month's list of sectors as of D, from 1; 0 = unknown.
        market_BTM: market-wide series, equal for all symbols.
        edges_BNK: places of the K neighbours on the symbol axis as of D; None without a graph.
        edge_weight_BNK: weight of each neighbour, 0 where there is none; None without a graph.
        vectors_BNV: raw vectors of feeds as of D by name of the input, 0 where there is none.
        has_vector_BN: where there is one, by name of the input.
    """

    x_BNTF: Tensor
    valid_BNT: Tensor
    mask_BN: Tensor
    symbol_id_N: Tensor
    sector_id_BN: Tensor
    market_BTM: Tensor
    edges_BNK: Tensor | None = None
    edge_weight_BNK: Tensor | None = None
    vectors_BNV: Mapping[str, Tensor] = field(default_factory=dict)
    has_vector_BN: Mapping[str, Tensor] = field(default_factory=dict)

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors by field, those of inputs by `vectors_BNV.<name>`, on the host.

        Windows are returned as they lie in memory, time-major: the same layout gives the same bits.
        """
        found: dict[str, Tensor] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in VECTORS:
                found |= {f"{item.name}.{name}": tensor for name, tensor in value.items()}
            elif value is not None:
                found[item.name] = value.transpose(1, 2) if item.name in TIME_MAJOR else value
        return {name: value.cpu() for name, value in found.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, Tensor]) -> "Batch":
        """Return the batch that `arrays` was taken from."""
        plain = {name: value for name, value in arrays.items() if "." not in name}
        windows = {name: plain.pop(name).transpose(1, 2) for name in TIME_MAJOR}
        by_name: dict[str, dict[str, Tensor]] = {item: {} for item in VECTORS}
        for name, value in arrays.items():
            item, dot, of_input = name.partition(".")
            if dot:
                by_name[item][of_input] = value
        return cls(**windows, **plain, **by_name)  # type: ignore[arg-type]

    def select(self, place_N: Tensor) -> "Batch":
        """Return the batch of the symbols at these places, in this order.

        A neighbour that is not among them is no neighbour any more: its weight is 0.

        Args:
            place_N: of the symbol axis, on the batch's device, each at most once.
        """
        edges, weights = self.edges_BNK, self.edge_weight_BNK
        if edges is not None and weights is not None:
            edges, weights = select_edges(edges, weights, place_N)
        return replace(
            self,
            x_BNTF=_select_time_major(self.x_BNTF, place_N),
            valid_BNT=_select_time_major(self.valid_BNT, place_N),
            mask_BN=self.mask_BN.index_select(1, place_N),
            symbol_id_N=self.symbol_id_N.index_select(0, place_N),
            sector_id_BN=self.sector_id_BN.index_select(1, place_N),
            edges_BNK=edges,
            edge_weight_BNK=weights,
            vectors_BNV={name: v.index_select(1, place_N) for name, v in self.vectors_BNV.items()},
            has_vector_BN={
                name: has.index_select(1, place_N) for name, has in self.has_vector_BN.items()
            },
        )

    def permuted(self, order_N: Tensor) -> "Batch":
        """Return the same batch with its symbols in another order; edges follow their symbols."""
        return self.select(order_N)


def select_edges(edges_BNK: Tensor, weight_BNK: Tensor, place_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the edges and weights of the symbols at these places, in this order.

    Edges to symbols that are not among them have weight 0, and point to the first one.
    """
    new_N = torch.full((edges_BNK.shape[1],), -1, device=edges_BNK.device)
    new_N[place_N] = torch.arange(len(place_N), device=edges_BNK.device)
    edges_BNK = new_N[edges_BNK.index_select(1, place_N)]
    weight_BNK = torch.where(edges_BNK >= 0, weight_BNK.index_select(1, place_N), 0.0)
    return edges_BNK.clamp(min=0), weight_BNK


def _select_time_major(x_BNT: Tensor, place_N: Tensor) -> Tensor:
    """Return the symbols at these places of a view that is time-major in memory, as such a view."""
    return x_BNT.transpose(1, 2).index_select(2, place_N).transpose(1, 2)
