"""Declaration of `alpha_assets.models.neighbour_mean`."""

from typing import TYPE_CHECKING, Literal

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.specs.base import RankerSpec

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class NeighbourMeanSpec(RankerSpec):
    """Declared under `[model]` in a recipe that has `[inputs.graph]`."""

    kind: Literal["neighbour_mean"] = "neighbour_mean"
    """Name of the kind."""

    @property
    def reads_graph(self) -> bool:
        """Whether the ranker sees the neighbours of each symbol."""
        return True

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.neighbour_mean import NeighbourMeanRanker

        return NeighbourMeanRanker(self, sizes)
