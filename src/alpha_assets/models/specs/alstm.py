"""Declaration of `alpha_assets.models.alstm`."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.specs.base import Depth, RankerSpec, Width

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class ALSTMSpec(RankerSpec):
    """Declared under `[model]` in a recipe."""

    kind: Literal["alstm"] = "alstm"
    """Name of the kind."""
    hidden: Width = Field(default=64, ge=2)
    """Hidden units; the attention has half as many."""
    layers: Depth = 2
    """Layers of the recurrent network."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Of the recurrent network."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of activations dropped between layers and before the scores in training."""

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.alstm import ALSTMRanker

        return ALSTMRanker(self, sizes)
