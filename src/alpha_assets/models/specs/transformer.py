"""Declarations of `alpha_assets.models.transformer`."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.specs.base import Depth, RankerSpec, Width

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class AttentionSpec(RankerSpec):
    """What the declarations of rankers with attention have in common."""

    d_model: Width = 32
    """Width of the model; a multiple of `heads`."""
    heads: int = Field(default=2, gt=0)
    """Attention heads."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.heads:
            raise ValueError(f"d_model = {self.d_model} is not a multiple of heads = {self.heads}")
        return self


class EncoderSpec(AttentionSpec):
    """What the declarations of rankers with a Transformer encoder have in common."""

    layers: Depth = 1
    """Encoder layers."""
    feed_forward: Depth = 4
    """Hidden units of a layer, as a multiple of `d_model`."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of activations dropped in training."""


class TransformerSpec(EncoderSpec):
    """Declared under `[model]` in a recipe."""

    kind: Literal["transformer"] = "transformer"
    """Name of the kind."""

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.transformer import TransformerRanker

        return TransformerRanker(self, sizes)
