"""Terms that ask for a value: distances of score, or of quantiles, and target.

Shape letters: B sessions, N symbols, H horizons, Q quantiles, S sections.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from alpha_assets.models.losses.base import Part, Sections, Term, Terms, TermSpec, per_section


class MSESpec(TermSpec):
    """Squared distance of score and target; the scores' spread becomes IC times the target's."""

    kind: Literal["mse"] = "mse"
    """Name of the kind."""

    def build(self) -> Term:
        """Return the term."""

        def mse(sections: Sections) -> Terms:
            return {"mse": Part(1.0, squared_error(sections))}

        return mse


class HuberSpec(TermSpec):
    """Huber distance of score and target: squared up to one target unit, linear beyond."""

    kind: Literal["huber"] = "huber"
    """Name of the kind."""

    def build(self) -> Term:
        """Return the term."""

        def term(sections: Sections) -> Terms:
            return {"huber": Part(1.0, huber(sections))}

        return term


class PinballSpec(TermSpec):
    """Pinball loss of every quantile, of which the quantile is the minimum.

    Source: Koenker & Bassett (1978).
    """

    needs_quantiles: ClassVar[bool] = True

    kind: Literal["pinball"] = "pinball"
    """Name of the kind."""

    def build(self) -> Term:
        """Return the term."""

        def term(sections: Sections) -> Terms:
            return {"pinball": Part(1.0, pinball(sections))}

        return term


def squared_error(sections: Sections) -> Tensor:
    """Return the mean squared distance of score and target per section."""
    error_SN = sections.score_SN - sections.target_SN  # 0 - 0 where masked
    return error_SN.square().sum(-1) / sections.n_S1[:, 0]


def huber(sections: Sections) -> Tensor:
    """Return the mean Huber distance (δ = 1 target unit) per section."""
    distance_SN = torch.nn.functional.huber_loss(
        sections.score_SN, sections.target_SN, reduction="none"
    )
    return distance_SN.sum(-1) / sections.n_S1[:, 0]


def pinball(sections: Sections) -> Tensor:
    """Return the mean pinball loss over names and quantiles per section.

    max(q (y - p), (q - 1)(y - p)) for quantile p at level q
    """
    quantile_BNHQ = sections.extras.quantile_BNHQ
    assert quantile_BNHQ is not None, "the learner compared the term with its model"
    level_Q = quantile_BNHQ.new_tensor(sections.extras.levels, dtype=sections.score_SN.dtype)
    loss_S = torch.zeros_like(sections.n_S1[:, 0])
    for q, level in enumerate(level_Q):
        quantile_SN = per_section(quantile_BNHQ[..., q]).to(sections.score_SN.dtype)
        error_SN = sections.target_SN - torch.where(sections.mask_SN > 0, quantile_SN, 0.0)
        loss_SN = torch.maximum(level * error_SN, (level - 1) * error_SN)
        loss_S = loss_S + loss_SN.sum(-1) / sections.n_S1[:, 0]
    return loss_S / len(level_Q)
