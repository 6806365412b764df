"""One ranker per file, and the losses they learn from.  Nothing here has heard of frames."""

from typing import Annotated

from pydantic import Field

from alpha_assets.models.base import Ranker, Sizes
from alpha_assets.models.linear import LinearRanker, LinearSpec
from alpha_assets.models.losses import LossSpec, LossValue, build_loss
from alpha_assets.models.transformer import TransformerRanker, TransformerSpec

ModelSpec = Annotated[TransformerSpec | LinearSpec, Field(discriminator="kind")]

__all__ = [
    "LinearSpec",
    "LossSpec",
    "LossValue",
    "ModelSpec",
    "Ranker",
    "Sizes",
    "TransformerSpec",
    "build_loss",
    "build_model",
]


def build_model(spec: TransformerSpec | LinearSpec, sizes: Sizes) -> Ranker:
    """Return the ranker that a recipe declares, with fresh weights from torch's generator."""
    if isinstance(spec, TransformerSpec):
        return TransformerRanker(spec, sizes)
    return LinearRanker(spec, sizes)
