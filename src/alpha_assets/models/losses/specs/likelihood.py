"""Declarations of the terms in `alpha_assets.models.losses.likelihood`."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alpha_assets.models.losses.specs.base import LARGEST, TermSpec

if TYPE_CHECKING:
    from alpha_assets.models.losses.base import Sections, Term, Terms


class PairwiseLogisticSpec(TermSpec):
    """Logistic loss of which of two names has the higher target, with label smoothing.

    Source: Burges et al. (2005), Learning to rank using gradient descent, ICML.
    """

    kind: Literal["pairwise_logistic"] = "pairwise_logistic"
    """Name of the kind."""
    shifts: int = Field(default=32, ge=0, le=10_000)
    """Each name is compared with those at so many distances on the symbol axis, from next to it
    to half of the axis; 0: every name with one other, paired at random anew in each epoch.
    """
    smoothing: float = Field(default=0.05, ge=0, lt=0.5)
    """Probability with which the order of a pair is taken to be the other one."""
    gap: float = Field(default=0.0, ge=0)
    """Pairs whose targets lie closer are left out; equal targets count as one half."""
    temperature: float = Field(default=10.0, ge=1e-3, le=LARGEST)
    """Spreads of the scores that make a logit of 1."""
    pin: float = Field(default=1e-3, ge=0, le=LARGEST)
    """Weight of the term that holds the spread of the scores near 1."""

    @property
    def needs_draws(self) -> bool:
        """The random pairing is made of them."""
        return self.shifts == 0

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part, pin, standardised
        from alpha_assets.models.losses.likelihood import drawn_pairs, pair_loss, shifted_pairs

        def pairwise(sections: "Sections") -> "Terms":
            score_SN = standardised(sections) / self.temperature
            if self.shifts:
                delta, apart, in_SP = shifted_pairs(score_SN, sections, self.shifts)
            else:
                delta, apart, in_SP = drawn_pairs(score_SN, sections)
            weight_SP = in_SP * (apart.abs() >= self.gap)
            value_SP = pair_loss(delta, apart, self.smoothing) * weight_SP
            n_S = weight_SP.sum(-1)
            value_S = value_SP.sum(-1) / n_S.clamp(min=0.5)
            kept_S = sections.kept_S * (n_S > 0)
            return {"pairwise": Part(1.0, value_S, kept_S), **pin(sections, self.pin)}

        return pairwise


class ListMLESpec(TermSpec):
    """Minus the log-likelihood of the order of the targets, per name, drawn best first.

    Source: Xia et al. (2008), Listwise approach to learning to rank, ICML; ties as in Breslow
    (1974), Biometrics 30.
    """

    kind: Literal["listmle"] = "listmle"
    """Name of the kind."""
    temperature: float = Field(default=10.0, ge=1e-3, le=LARGEST)
    """Spreads of the scores that make a logit of 1."""
    pin: float = Field(default=1e-3, ge=0, le=LARGEST)
    """Weight of the term that holds the spread of the scores near 1."""

    def build(self) -> "Term":
        """Return the term."""
        from alpha_assets.models.losses.base import Part, pin, standardised
        from alpha_assets.models.losses.likelihood import list_loss

        def listmle(sections: "Sections") -> "Terms":
            score_SN = standardised(sections) / self.temperature
            return {"listmle": Part(1.0, list_loss(score_SN, sections)), **pin(sections, self.pin)}

        return listmle
