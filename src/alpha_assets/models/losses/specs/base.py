"""What the declarations of all loss terms have in common."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from alpha_assets.spec import Spec

if TYPE_CHECKING:
    from alpha_assets.models.losses.base import Term

LARGEST = 1e6  # of a weight: a term that outweighs another one more leaves nothing of it in Float32


class TermSpec(Spec):
    """What the declarations of all loss terms have in common.

    Attributes:
        needs_order: the term compares a session with the one before it.
        needs_quantiles: the term reads the quantiles of a model that has them.
        needs_returns: the term reads forward returns, whatever the label's kind.
    """

    needs_order: ClassVar[bool] = False
    needs_quantiles: ClassVar[bool] = False
    needs_returns: ClassVar[bool] = False

    weight: float = Field(default=1.0, gt=0, le=LARGEST)
    """Of the term in the sum."""
    horizon_weights: tuple[Annotated[float, Field(le=LARGEST)], ...] = ()
    """Of each of `label.horizons`, in their order; none: all alike. Only their ratios count."""
    min_names: int = Field(default=10, ge=2)
    """Sessions with fewer names give no loss."""

    @model_validator(mode="after")
    def _some_horizon_counts(self) -> Self:
        weights = self.horizon_weights
        if weights and (min(weights) < 0 or sum(weights) <= 0):
            raise ValueError(
                f"horizon_weights = {list(weights)}: want numbers of at least 0, one of them above"
            )
        return self

    @property
    def needs_draws(self) -> bool:
        """Whether the term reads random numbers, other ones in every epoch."""
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the cross-section that the term reads, as of D."""
        return ()

    def build(self) -> "Term":
        """Return the function from sections to the parts of the term."""
        raise NotImplementedError
