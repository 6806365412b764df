"""Declarations of the terms in `alpha_assets.models.losses.distance`."""

from typing import TYPE_CHECKING, ClassVar, Literal

from alpha_assets.models.losses.specs.base import TermSpec

if TYPE_CHECKING:
    from alpha_assets.models.losses.base import Sections, Term, Terms


class MSESpec(TermSpec):
    """Squared distance of score and target; the scores' spread becomes IC times the target's."""

    kind: Literal["mse"] = "mse"
    """Name of the kind."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part
        from alpha_assets.models.losses.distance import squared_error

        def mse(sections: "Sections") -> "Terms":
            return {"mse": Part(1.0, squared_error(sections))}

        return mse


class WeightedMSESpec(TermSpec):
    """Squared distance of score and target, weighted by where the target stands; the best most.

    With x the average rank of a target over the names of its section, in (0, 1], and σ the
    logistic function, a name weighs

        exponential: e^target    top: 0.1 + 0.9 σ(40 (x - 0.8))    upper: 0.5 + 0.5 σ(15 (x - 0.5))

    over the sum of all weights of the section.
    """

    kind: Literal["weighted_mse"] = "weighted_mse"
    """Name of the kind."""
    weighting: Literal["exponential", "top", "upper"] = "top"
    """`exponential` in the target's own units, `top`: the best fifth, `upper`: the better half."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part
        from alpha_assets.models.losses.distance import target_weights

        def weighted_mse(sections: "Sections") -> "Terms":
            share_SN = target_weights(sections, self.weighting)
            error_SN = sections.score_SN - sections.target_SN
            return {"weighted_mse": Part(1.0, (share_SN * error_SN.square()).sum(-1))}

        return weighted_mse


class HuberSpec(TermSpec):
    """Huber distance of score and target: squared up to one target unit, linear beyond."""

    kind: Literal["huber"] = "huber"
    """Name of the kind."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part
        from alpha_assets.models.losses.distance import huber

        def term(sections: "Sections") -> "Terms":
            return {"huber": Part(1.0, huber(sections))}

        return term


class PinballSpec(TermSpec):
    """Pinball loss of every quantile, of which the quantile is the minimum.

    Source: Koenker & Bassett (1978).
    """

    needs_quantiles: ClassVar[bool] = True

    kind: Literal["pinball"] = "pinball"
    """Name of the kind."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part
        from alpha_assets.models.losses.distance import pinball

        def term(sections: "Sections") -> "Terms":
            return {"pinball": Part(1.0, pinball(sections))}

        return term
