"""Declaration of `alpha_assets.models.master`."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.errors import BadInput
from alpha_assets.models.specs.base import RankerSpec, Width

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class MasterSpec(RankerSpec):
    """Declared under `[model]` in a recipe whose features have market-wide series."""

    kind: Literal["master"] = "master"
    """Name of the kind."""
    d_model: Width = Field(default=32, multiple_of=2)
    """Width of the model; even, and a multiple of both numbers of heads."""
    time_heads: int = Field(default=4, gt=0)
    """Heads of the attention over steps."""
    symbol_heads: int = Field(default=2, gt=0)
    """Heads of the attention over symbols."""
    gate: Literal["affine", "softmax", "none"] = "affine"
    """Factor of each feature: 1 + W m, which may turn a feature's sign; F softmax(W m /
    temperature), as in the paper, which is positive; or 1.
    """
    temperature: float = Field(default=5.0, gt=0)
    """Of the softmax: the higher, the more alike the factors."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of activations dropped in training."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        for name in ("time_heads", "symbol_heads"):
            heads = getattr(self, name)
            if self.d_model % heads:
                raise ValueError(f"d_model = {self.d_model} is not a multiple of {name} = {heads}")
        return self

    def check_reads(
        self, families: Collection[str], columns: Collection[str], n_market: int
    ) -> None:
        """Refuse a gate without a market-wide series to open it.

        Raises:
            BadInput: naming both.
        """
        if self.gate != "none" and not n_market:
            raise BadInput(
                f'model.gate = "{self.gate}" weighs features by market-wide series, and the '
                "inputs have none: add a family that has some to features.families, or set "
                'model.gate = "none"'
            )

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights.

        Raises:
            BadInput: a gate, and no market-wide series to open it.
        """
        from alpha_assets.models.master import MasterRanker

        self.check_reads(sizes.families, sizes.columns, sizes.n_market)
        return MasterRanker(self, sizes)
