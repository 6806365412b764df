"""Declaration of `alpha_assets.models.patch_transformer`."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.errors import BadInput
from alpha_assets.models.specs.transformer import EncoderSpec

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class PatchTransformerSpec(EncoderSpec):
    """Declared under `[model]` in a recipe."""

    kind: Literal["patch_transformer"] = "patch_transformer"
    """Name of the kind."""
    patch: int = Field(default=16, gt=0)
    """Steps of a patch."""
    stride: int = Field(default=8, gt=0)
    """Steps from one patch to the next; at most `patch`, so that no step is left out."""

    @model_validator(mode="after")
    def _patches_leave_no_step_out(self) -> Self:
        if self.stride > self.patch:
            raise ValueError(
                f"stride = {self.stride} is more than patch = {self.patch}, so that steps between "
                "patches would be left out; want at most as much"
            )
        return self

    def check_window(self, steps: int) -> None:
        """Refuse windows in which no patch is whole.

        Raises:
            BadInput: naming both.
        """
        if self.patch > steps:
            raise BadInput(
                f"model.patch = {self.patch} is more than window.sequence = {steps}, so that no "
                "patch would be whole; want a smaller patch or a longer window"
            )

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.patch_transformer import PatchTransformerRanker

        return PatchTransformerRanker(self, sizes)
