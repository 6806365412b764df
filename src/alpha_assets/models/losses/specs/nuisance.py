"""Declarations of the terms in `alpha_assets.models.losses.nuisance`."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alpha_assets.models.losses.specs.base import TermSpec

if TYPE_CHECKING:
    from alpha_assets.models.losses.base import Sections, Term, Terms


class DecorrelationSpec(TermSpec):
    """Squared rank correlation of scores with a nuisance factor, a column that the model reads."""

    kind: Literal["decorrelation"] = "decorrelation"
    """Name of the kind."""
    column: str
    """Of the cross-section, as of D, such as `beta_60_cs_z`."""
    ramp: float = Field(default=0.2, gt=0, le=2)
    """Half-width of the ramp in spreads of the scores; 0.2 is 16 % of the names."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The factor."""
        return (self.column,)

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part
        from alpha_assets.models.losses.nuisance import beside_factor
        from alpha_assets.models.losses.rank import soft_spearman

        def decorrelation(sections: "Sections") -> "Terms":
            factor_BN = sections.extras.column_BN[self.column]
            beside, kept_S = beside_factor(sections, factor_BN, self.min_names)
            value_S = soft_spearman(beside, self.ramp).square()
            return {"decorrelation": Part(1.0, value_S, kept_S)}

        return decorrelation
