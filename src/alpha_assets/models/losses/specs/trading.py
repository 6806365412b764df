"""Declarations of the terms in `alpha_assets.models.losses.trading`."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from alpha_assets.models.losses.specs.base import LARGEST, TermSpec

if TYPE_CHECKING:
    from alpha_assets.models.losses.base import Sections, Term, Terms


class TurnoverSpec(TermSpec):
    """Squared change of standardised scores from each session to the next: 2 (1 - ρ).

    ρ is the correlation of a session's scores with those of the session before, over the names
    of both.
    """

    needs_order: ClassVar[bool] = True

    kind: Literal["turnover"] = "turnover"
    """Name of the kind."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part
        from alpha_assets.models.losses.trading import score_change

        def term(sections: "Sections") -> "Terms":
            value_S, kept_S = score_change(sections)
            return {"turnover": Part(1.0, value_S, kept_S)}

        return term


class _EarningsSpec(TermSpec):
    """What terms on the earnings of score-proportional weights have in common."""

    needs_order: ClassVar[bool] = True
    needs_returns: ClassVar[bool] = True

    cost_bps: float = Field(default=0.0, ge=0, lt=10_000)
    """Of traded notional, of what changes from each session to the next; 0: earnings are gross.
    Sessions of which the one before is not in the block are left out where costs are charged.
    """
    pin: float = Field(default=1e-3, ge=0, le=LARGEST)
    """Weight of the term that holds the spread of the scores near 1."""


class SharpeSpec(_EarningsSpec):
    """Minus mean over standard deviation of what score-proportional weights earn in a batch.

    Weights are the centred scores over the sum of their absolute values; returns are those of
    the label's horizon, whatever its kind.
    """

    kind: Literal["sharpe"] = "sharpe"
    """Name of the kind."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part, pin
        from alpha_assets.models.losses.trading import earnings, over_deviation

        def term(sections: "Sections") -> "Terms":
            value_S = -over_deviation(*earnings(sections, self.cost_bps), sections)
            return {"sharpe": Part(1.0, value_S), **pin(sections, self.pin)}

        return term


class SortinoSpec(_EarningsSpec):
    """Minus mean over downside deviation of what score-proportional weights earn in a batch.

    As `sharpe`, but what is earned above 0 is no risk: √ mean(min(earned, 0)²).

    Source: Sortino & van der Meer (1991), Journal of Portfolio Management 17(4).
    """

    kind: Literal["sortino"] = "sortino"
    """Name of the kind."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part, pin
        from alpha_assets.models.losses.trading import earnings, over_deviation

        def term(sections: "Sections") -> "Terms":
            earned_BH, kept_BH = earnings(sections, self.cost_bps)
            value_S = -over_deviation(earned_BH, kept_BH, sections, downside=True)
            return {"sortino": Part(1.0, value_S), **pin(sections, self.pin)}

        return term
