"""Declarations of the terms in `alpha_assets.models.losses.rank`."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alpha_assets.models.losses.specs.base import LARGEST, TermSpec

if TYPE_CHECKING:
    from alpha_assets.models.losses.base import Sections, Term, Terms


class ICSpec(TermSpec):
    """Minus the correlation of score and target; with `rank_normal` labels, nearly Spearman's."""

    kind: Literal["ic"] = "ic"
    """Name of the kind."""
    pin: float = Field(default=1e-3, ge=0, le=LARGEST)
    """Weight of the term that holds the spread of the scores near 1."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part, pin
        from alpha_assets.models.losses.rank import correlation

        def ic(sections: "Sections") -> "Terms":
            return {"ic": Part(1.0, -correlation(sections)), **pin(sections, self.pin)}

        return ic


class ICHuberSpec(TermSpec):
    """Mostly the correlation, with a little Huber loss that gives the scores their scale."""

    kind: Literal["ic_huber"] = "ic_huber"
    """Name of the kind."""
    huber_weight: float = Field(default=0.1, gt=0, lt=1)
    """Share of the Huber loss; the rest is the correlation."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part
        from alpha_assets.models.losses.distance import huber
        from alpha_assets.models.losses.rank import correlation

        def ic_huber(sections: "Sections") -> "Terms":
            return {
                "ic": Part(1 - self.huber_weight, -correlation(sections)),
                "huber": Part(self.huber_weight, huber(sections)),
            }

        return ic_huber


class SoftSpearmanSpec(TermSpec):
    """Minus the rank correlation, through ranks with a gradient."""

    kind: Literal["soft_spearman"] = "soft_spearman"
    """Name of the kind."""
    ramp: float = Field(default=0.2, gt=0, le=2)
    """Half-width of the ramp in spreads of the scores; 0.2 is 16 % of the names."""
    pin: float = Field(default=1e-3, ge=0, le=LARGEST)
    """Weight of the term that holds the spread of the scores near 1."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part, pin
        from alpha_assets.models.losses.rank import soft_spearman

        def spearman(sections: "Sections") -> "Terms":
            value_S = -soft_spearman(sections, self.ramp)
            return {"spearman": Part(1.0, value_S), **pin(sections, self.pin)}

        return spearman
