"""One ranker per file, and the losses they learn from.  Nothing here has heard of frames."""

from collections.abc import Callable
from typing import Annotated, Any

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


RANKERS: dict[str, Callable[[Any, Sizes], Ranker]] = {
    "transformer": TransformerRanker,
    "linear": LinearRanker,
}


def build_model(spec: ModelSpec, sizes: Sizes) -> Ranker:
    """Return the ranker that a recipe declares, with fresh weights from torch's generator."""
    return RANKERS[spec.kind](spec, sizes)
