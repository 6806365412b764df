"""Declaration of `alpha_assets.models.tft`."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.specs.base import Depth
from alpha_assets.models.specs.transformer import AttentionSpec

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class TFTSpec(AttentionSpec):
    """Declared under `[model]` in a recipe."""

    kind: Literal["tft"] = "tft"
    """Name of the kind."""
    heads: int = Field(default=4, gt=0)
    """Attention heads; they share one value projection of width `d_model` / `heads`."""
    attention_layers: Depth = 1
    """Attention blocks, each with its gate, before the position-wise network."""
    selection: Literal["shared", "per_feature"] = "shared"
    """Variable selection: one network for all features, or the paper's, one for each."""
    symbol_embedding: bool = False
    """Whether each symbol has a learned vector, which enters selection, LSTM and enrichment."""
    unknown_share: float = Field(default=0.05, gt=0, lt=1)
    """Share of symbols that are unknown in a step of training, where symbols have a vector."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of activations dropped before each gate in training."""

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.tft import TFTRanker

        return TFTRanker(self, sizes)
