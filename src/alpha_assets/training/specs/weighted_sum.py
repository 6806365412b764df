"""Declaration of `alpha_assets.training.weighted_sum`."""

from collections.abc import Collection, Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.errors import SpecError, did_you_mean
from alpha_assets.models.specs.base import BaseModelSpec

SCORED = "_cs_z"  # ends the column of a z-scored feature


class WeightedSumSpec(BaseModelSpec):
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

    def check_reads(
        self, families: Collection[str], columns: Collection[str], n_market: int
    ) -> None:
        """Refuse a weight of a feature that the recipe does not read.

        Raises:
            SpecError: naming it, and the nearest one.
        """
        read = [one.removesuffix(SCORED) for one in columns if one.endswith(SCORED)]
        for name in self.weights:
            if name not in read:
                raise SpecError(
                    f"model.weights: {name!r} is no feature that the recipe reads; "
                    f"{did_you_mean(name, read, 1)}name it under [features] as well"
                )
