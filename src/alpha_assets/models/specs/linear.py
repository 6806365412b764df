"""Declaration of `alpha_assets.models.linear`."""

from typing import TYPE_CHECKING, Literal

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.specs.base import RankerSpec

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class LinearSpec(RankerSpec):
    """Declared under `[model]` in a recipe."""

    kind: Literal["linear"] = "linear"
    """Name of the kind."""

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.linear import LinearRanker

        return LinearRanker(self, sizes)
