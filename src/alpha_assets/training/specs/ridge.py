"""Declaration of `alpha_assets.training.ridge`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from alpha_assets.models.specs.base import BaseModelSpec


class RidgeSpec(BaseModelSpec):
    """Declared under `[model]` in a recipe."""

    estimator: ClassVar[str] = "ridge"
    is_exact: ClassVar[bool] = True

    kind: Literal["ridge"] = "ridge"
    """Name of the kind."""
    penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0), min_length=1
    )
    """Penalties to choose from on the validation sessions, as multiples of the mean variance of
    the features; without validation sessions, the first one.
    """
    min_names: int = Field(default=10, ge=2)
    """Sessions with fewer names with a label are left out."""
