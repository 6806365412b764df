"""Declaration of `alpha_assets.models.deep_momentum`."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.specs.base import Depth, RankerSpec, Width

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class DeepMomentumSpec(RankerSpec):
    """Declared under `[model]` in a recipe; its scores are positions in (-1, 1)."""

    kind: Literal["deep_momentum"] = "deep_momentum"
    """Name of the kind."""
    hidden: Width = 32
    """Width of the tokens and of the LSTM's state."""
    layers: Depth = 1
    """Layers of the LSTM."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of activations dropped in training, of the tokens and of the last state."""

    @model_validator(mode="after")
    def _positions_have_no_quantiles(self) -> Self:
        if self.quantiles:
            raise ValueError(
                f'quantiles = {list(self.quantiles)}: the scores of kind = "deep_momentum" are '
                "positions, not levels of the target; take quantiles out"
            )
        return self

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.deep_momentum import DeepMomentumRanker

        return DeepMomentumRanker(self, sizes)
