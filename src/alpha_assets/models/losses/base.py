"""What a loss is made of: weighted terms on masked cross-sections, one session at a time.

All are means over the sessions that have at least `min_names` pairs and labels that differ;
the others have no weight.  All arithmetic is in Float32 (or the scores' own Float64), never
under autocast: bf16 leaves 15 distinct values of 2,000 scores around 1.
Losses that do not see the scale of the scores have a fixed floor under their spread, in score
units, so that a constant section has a bounded gradient, and a light pin that holds the
spread near 1; the pin does not reward noise.
Shape letters: B sessions, N symbols, H horizons, Q quantiles, S = B·H sections, horizons inner.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from alpha_assets.models.losses.specs.base import TermSpec

SPREAD_FLOOR = 1e-3  # score units
LEAST_VARIANCE = 1e-12  # of targets: below, a section has nothing to rank


@dataclass(frozen=True, eq=False)
class LossValue:
    """A scalar to minimise and what it is made of (detached, each a mean over sections)."""

    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Extras:
    """What some terms read beside scores and targets.

    Attributes:
        levels: of the quantiles; empty without.
        quantile_BNHQ: of a model that has them.
        return_BNH: forward returns, NaN where unknown; of terms with `needs_returns`.
        follows_B: whether a session is the one after the batch's session before it.
        horizons: H, in sessions; of terms that charge costs.
        draw_BN: uniform random numbers, other ones in every epoch; of terms with `needs_draws`.
        column_BN: columns of the cross-section as of D by name, NaN where unknown; those that
            terms name.
    """

    levels: tuple[float, ...] = ()
    quantile_BNHQ: Tensor | None = None
    return_BNH: Tensor | None = None
    follows_B: Tensor | None = None
    horizons: tuple[int, ...] = ()
    draw_BN: Tensor | None = None
    column_BN: Mapping[str, Tensor] = field(default_factory=dict)


NO_EXTRAS = Extras()


@dataclass(frozen=True, eq=False)
class Sections:
    """Cross-sections with zeros where masked.

    Attributes:
        score_SN: of the masked-in names, 0 elsewhere.
        target_SN: the same for targets.
        mask_SN: 1 where both are known.
        n_S1: names per section, at least 1.
        kept_S: 1 for sections that count.
        n_horizons: H.
        extras: of the batch, as they were given.
    """

    score_SN: Tensor
    target_SN: Tensor
    mask_SN: Tensor
    n_S1: Tensor
    kept_S: Tensor
    n_horizons: int = 1
    extras: Extras = field(default_factory=Extras)


class Part(NamedTuple):
    """A part of a term.

    Attributes:
        weight: in the term.
        value_S: of each section.
        kept_S: 1 for sections that count; None: those of `Sections.kept_S`.
    """

    weight: float
    value_S: Tensor
    kept_S: Tensor | None = None


Terms = Mapping[str, Part]
Term = Callable[[Sections], Terms]


class Loss(Protocol):
    """A function of a batch's scores and targets."""

    def __call__(
        self,
        score_BNH: Tensor,
        target_BNH: Tensor,
        mask_BN: Tensor,
        extras: Extras = NO_EXTRAS,
    ) -> LossValue:
        """Return the loss of a batch.

        Args:
            score_BNH: of the model.
            target_BNH: NaN where unknown.
            mask_BN: names that are scored.
            extras: what some terms read beside.
        """


def build_loss(*terms: TermSpec) -> Loss:
    """Return the weighted sum of loss terms."""
    built = [(spec, spec.build()) for spec in terms]

    def loss(
        score_BNH: Tensor,
        target_BNH: Tensor,
        mask_BN: Tensor,
        extras: Extras = NO_EXTRAS,
    ) -> LossValue:
        found: dict[str, tuple[float, Tensor]] = {}
        with torch.autocast(score_BNH.device.type, enabled=False):
            for spec, term in built:
                sections = _sections(score_BNH, target_BNH, mask_BN, spec.min_names, extras)
                weight_S = _horizon_weights(spec.horizon_weights, sections)
                for name, part in term(sections).items():
                    kept_S = sections.kept_S if part.kept_S is None else part.kept_S
                    mean = _mean(part.value_S, kept_S if weight_S is None else kept_S * weight_S)
                    found[_free_name(name, found)] = (spec.weight * part.weight, mean)
            total = torch.stack([weight * mean for weight, mean in found.values()]).sum()
        return LossValue(total, {name: mean.detach() for name, (_, mean) in found.items()})

    return loss


def _sections(
    score_BNH: Tensor, target_BNH: Tensor, mask_BN: Tensor, min_names: int, extras: Extras
) -> Sections:
    n_symbols, n_horizons = score_BNH.shape[1:]
    score_SN = per_section(score_BNH)
    if score_SN.dtype != torch.float64:
        score_SN = score_SN.float()
    target_SN = per_section(target_BNH).to(score_SN.dtype)
    in_SN = mask_BN[:, None].expand(-1, n_horizons, -1).reshape(-1, n_symbols)
    in_SN = in_SN & torch.isfinite(target_SN)
    mask_SN = in_SN.to(score_SN.dtype)
    n_S = mask_SN.sum(-1)
    # Selected, not multiplied: a masked value may be anything, and 0 times NaN is NaN.
    target_SN = torch.where(in_SN, target_SN, 0.0)
    n_S1 = n_S.clamp(min=1)[:, None]
    sections = Sections(torch.where(in_SN, score_SN, 0.0), target_SN, mask_SN, n_S1, n_S)
    target_variance_S = centred(target_SN, sections).square().sum(-1) / n_S1[:, 0]
    kept_S = (n_S >= min_names) & (target_variance_S > LEAST_VARIANCE)
    return replace(sections, kept_S=kept_S.to(score_SN.dtype), n_horizons=n_horizons, extras=extras)


def per_section(x_BNH: Tensor) -> Tensor:
    """Return [S, N] of [B, N, H]: the sections of a session one after the other."""
    return x_BNH.transpose(1, 2).reshape(-1, x_BNH.shape[1])


def centred(x_SN: Tensor, sections: Sections) -> Tensor:
    """Return x less its section's mean, 0 where masked."""
    mean_S1 = (x_SN * sections.mask_SN).sum(-1, keepdim=True) / sections.n_S1
    return (x_SN - mean_S1) * sections.mask_SN


def spread(x_SN: Tensor, sections: Sections, floor: float = SPREAD_FLOOR) -> Tensor:
    """Return √(variance + floor²) of each section, over the names that are in; shape [S, 1]."""
    variance_S1 = centred(x_SN, sections).square().sum(-1, keepdim=True) / sections.n_S1
    return (variance_S1 + floor**2).sqrt()


def standardised(sections: Sections) -> Tensor:
    """Return scores less their section's mean, in units of their floored spread."""
    return centred(sections.score_SN, sections) / spread(sections.score_SN, sections)


def pin(sections: Sections, weight: float) -> dict[str, Part]:
    """Return λ (log s(p))²: zero at a spread of 1, for losses that do not see the scale."""
    if not weight:
        return {}
    return {"pin": Part(weight, spread(sections.score_SN, sections).log().square()[:, 0])}


def _horizon_weights(weights: Sequence[float], sections: Sections) -> Tensor | None:
    """Return the weight of each section, of mean 1 over horizons; None where all count alike."""
    if not weights:
        return None
    assert len(weights) == sections.n_horizons, "the recipe compared them with its horizons"
    weight_H = sections.kept_S.new_tensor(weights)
    weight_H = weight_H * len(weights) / weight_H.sum()
    return weight_H.repeat(len(sections.kept_S) // len(weights))


def _mean(value_S: Tensor, kept_S: Tensor) -> Tensor:
    """Return the mean over the sections that count; 0 if none does."""
    return (value_S * kept_S).sum() / kept_S.sum().clamp(min=1)


def _free_name(name: str, taken: Mapping[str, object]) -> str:
    """Return the name of a part, numbered where a term before it has the same."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
