"""What a model sees: tensors alone, without dates, labels or the universe's future.

Shape letters: B decision sessions, N symbols, T sessions up to and with the decision,
F features, M market-wide series, K neighbours.
"""

from dataclasses import dataclass

from torch import Tensor


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
    """

    x_BNTF: Tensor
    valid_BNT: Tensor
    mask_BN: Tensor
    symbol_id_N: Tensor
    sector_id_BN: Tensor
    market_BTM: Tensor
    edges_BNK: Tensor | None = None
