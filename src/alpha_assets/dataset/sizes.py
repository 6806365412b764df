"""What a model must know of the data before it can be made."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sizes:
    """How long each axis of a batch is, and what stands on it.

    Attributes:
        n_features: F, columns of `Batch.x_BNTF`.
        n_market: M, market-wide series.
        steps: T, sessions of a window, the decision's own included.
        n_horizons: H.
        n_symbols: of the month's list; static ids go up to and with it, 0 = unknown.
        n_sectors: of the month's list, likewise.
        families: by name of each column family the places of its columns in F.
        n_neighbours: K, of a graph; 0 without one.
        vectors: by name of each raw vector its width.
        columns: names along F; empty where they are not known.
    """

    n_features: int
    n_market: int
    steps: int
    n_horizons: int
    n_symbols: int
    n_sectors: int = 0
    families: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    n_neighbours: int = 0
    vectors: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
