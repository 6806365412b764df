"""Declaration of `alpha_assets.models.lstm`."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.specs.base import Depth, RankerSpec, Width

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class LSTMSpec(RankerSpec):
    """Declared under `[model]` in a recipe."""

    kind: Literal["lstm"] = "lstm"
    """Name of the kind."""
    hidden: Width = 192
    """Hidden units of the LSTM."""
    layers: Depth = 2
    """Layers of the LSTM."""
    bottleneck: Width = 64
    """Units between the LSTM's last state and the scores."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of activations dropped between layers and before the scores in training."""

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.lstm import LSTMRanker

        return LSTMRanker(self, sizes)
