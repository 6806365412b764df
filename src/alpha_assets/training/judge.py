"""What validation says of scores: rank IC, the value that selects, and the degeneracy guard.

Shape letters: D sessions, N symbols, H horizons.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.arrays.types import Array
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import TooFewNames
from alpha_assets.training.degeneracy import check_rank_ic, check_scores, score_statistics
from alpha_assets.training.estimator import Epoch, Scorer
from alpha_assets.training.selection import selected_value
from alpha_assets.training.settings import Plan
from alpha_assets.training.specs.degeneracy import GuardSpec


@dataclass(frozen=True, eq=False)
class Judged:
    """What the validation sessions say of one candidate.

    Attributes:
        rank_ic: mean per horizon.
        selected: what selection goes by, higher is better.
        ic_DH: rank IC per session, NaN where it has none.
        n_DH: pairs per session.
        error: standard error of the mean rank IC; see `standard_error`.
    """

    rank_ic: tuple[float, ...]
    selected: float
    ic_DH: Array
    n_DH: Array
    error: float | None = None

    def added_to(self, epoch: Epoch) -> Epoch:
        """Return what was judged with its verdict."""
        return replace(
            epoch,
            valid_rank_ic=self.mean_rank_ic,
            rank_ic=self.rank_ic,
            selected=self.selected,
            rank_ic_error=self.error,
        )

    @property
    def mean_rank_ic(self) -> float:
        """Mean over horizons."""
        return float(np.mean(self.rank_ic))


def judge(
    score_DNH: Array, data: Dataset, valid_D: Tensor, plan: Plan, where: str, loss: float | None
) -> Judged:
    """Return what validation says of scores.

    Args:
        score_DNH: of the validation sessions, NaN where masked.
        data: with their returns.
        valid_D: their places.
        plan: by what it selects.
        where: epoch or candidate, for the message.
        loss: on the validation sessions, where selection goes by it.

    Raises:
        TooFewNames: no validation session has enough names with a label.
    """
    return_DNH = known_returns(data, valid_D)
    ic_DH = np.stack(
        [rank_ic(score_DNH[..., h], return_DNH[..., h]) for h in range(score_DNH.shape[-1])], axis=1
    )
    for horizon, ic_D in zip(data.axes.horizons, ic_DH.T, strict=True):
        if not np.isfinite(ic_D).any():
            raise TooFewNames(
                f"{where}, horizon {horizon}: no validation session has 10 names with a score and "
                "a label; want a larger universe, or a longer split.valid_sessions"
            )
    selected = selected_value(
        plan.training.selection,
        ic_DH,
        score_DNH,
        return_DNH,
        data.axes.horizons,
        loss=loss,
        cost_bps=plan.cost_bps,
    )
    n_DH = (np.isfinite(score_DNH) & np.isfinite(return_DNH)).sum(axis=1).astype(float)
    rank_ics = tuple(float(np.nanmean(ic_D)) for ic_D in ic_DH.T)
    return Judged(rank_ics, selected, ic_DH, n_DH, standard_error(ic_DH, data.axes.horizons))


def standard_error(ic_DH: Array, horizons: tuple[int, ...]) -> float | None:
    """Return the standard error of the mean rank IC over sessions and horizons.

        mean over horizons of s / √(D / h): labels overlap, D sessions stand for D / h

    Horizons of one session move together, so that their errors do not cancel.  None where a
    horizon has less than two independent sessions.

    Args:
        ic_DH: rank IC per session, NaN where it has none.
        horizons: H, in sessions.
    """
    errors = []
    for ic_D, horizon in zip(ic_DH.T, horizons, strict=True):
        known_D = ic_D[np.isfinite(ic_D)]
        if len(known_D) < 2 * horizon:
            return None
        errors.append(float(known_D.std(ddof=1) * np.sqrt(horizon / len(known_D))))
    return float(np.mean(errors))


@torch.no_grad()
def session_scores(model: Scorer, data: Dataset, place_D: Tensor) -> Array:
    """Return the scores [D, N, H] of a model that reads the decision session alone, NaN if masked.

    Args:
        model: ready to score.
        data: with the sessions.
        place_D: their places.
    """
    found = []
    for place in place_D:
        batch = data.windows(place[None].to(data.device), 1)
        score_1NH = model.infer(batch).score_BNH
        found.append(torch.where(batch.mask_BN[..., None], score_1NH, torch.nan))
    return np.asarray(torch.cat(found).double().cpu().numpy())


def known_returns(data: Dataset, place_D: Tensor) -> Array:
    """Return the forward returns of sessions [D, N, H], NaN where masked or unknown."""
    mask_DN1 = data.mask_DN[place_D].cpu().numpy()[..., None]
    return np.where(mask_DN1, data.return_DNH[place_D.cpu().numpy()], np.nan)


def guard_scores(
    score_DNH: Array, data: Dataset, place_D: Tensor, guard: GuardSpec, where: str
) -> tuple[str, ...]:
    """Return what is odd about scores of consecutive sessions; stop at what cannot be right.

    Raises:
        DegenerateModel: naming the statistic, its value, its limit and what to try.
    """
    mask_DN = data.mask_DN[place_D].cpu().numpy()
    warnings: list[str] = []
    for h, horizon in enumerate(data.axes.horizons):
        found = score_statistics(score_DNH[..., h], mask_DN)
        warnings += check_scores(found, guard, f"{where}, horizon {horizon}")
    return tuple(warnings)


def guard_rank_ic(
    judged: Judged, horizons: tuple[int, ...], guard: GuardSpec, where: str
) -> tuple[str, ...]:
    """Return warnings of high rank ICs; stop where luck is no excuse.

    Raises:
        DegenerateModel: a mean rank IC is far above `guard.rank_ic_max`.
    """
    warnings: list[str] = []
    for horizon, ic_D, n_D in zip(horizons, judged.ic_DH.T, judged.n_DH.T, strict=True):
        place = f"{where}, horizon {horizon}"
        warnings += check_rank_ic(ic_D, n_D, horizon, guard, place)
    return tuple(warnings)


def guard_best(
    score_DNH: Array, data: Dataset, valid_D: Tensor, place_D: Tensor, plan: Plan, where: str
) -> tuple[str, ...]:
    """Return what is odd about the one candidate that is kept; stop at what cannot be right.

    Args:
        score_DNH: of `place_D`.
        data: with the returns.
        valid_D: validation sessions; empty: there is no rank IC to judge.
        place_D: sessions looked at: those of validation, else some of training.
        plan: with the guard.
        where: the candidate.
    """
    odd = guard_scores(score_DNH, data, place_D, plan.guard, where)
    if not len(valid_D):
        return odd
    judged = judge(score_DNH, data, valid_D, plan, where, 0.0)
    return (*odd, *guard_rank_ic(judged, data.axes.horizons, plan.guard, where))
