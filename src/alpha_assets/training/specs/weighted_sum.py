"""Declaration of `alpha_assets.training.weighted_sum`."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.training.specs.base import BaselineSpec


class WeightedSumSpec(BaselineSpec):
    """Declared under `[model]` in a recipe."""

    estimator: ClassVar[str] = "weighted_sum"
    is_exact: ClassVar[bool] = True

    kind: Literal["weighted_sum"] = "weighted_sum"
    """Name of the kind."""
    weights: Mapping[str, float] = Field(min_length=1)
    """Of each feature, by name; those that are not named have none."""

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError(
                f"weights = {dict(self.weights)}: all are 0, so that every score is the same"
            )
        return self
