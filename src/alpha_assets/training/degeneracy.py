"""The degeneracy guard: does the model say anything, and could it be true?

No single statistic suffices (a constant with rounding noise has a healthy share of within-session
variance; a date effect has a healthy spread), so each epoch's validation scores are judged by
several, and the first that fails stops the month.  There is no remedy in here: noise in the head
or a reward for variance would hide the fault.
Shape letters: D sessions, N symbols, H horizons.

The thresholds were set on prototypes of each fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from alpha_assets.arrays.ranks import average_rank
from alpha_assets.arrays.types import Array, Mask
from alpha_assets.errors import DegenerateModel
from alpha_assets.training.specs.degeneracy import GuardSpec

TYPICAL_IC_SD = 0.1  # of one session's rank IC beyond sampling: factors that come and go
IC_HIGH_ERRORS = 2.0  # standard errors above the limit at which suspicion becomes a verdict


@dataclass(frozen=True)
class ScoreStatistics:
    """What one horizon's validation scores look like.

    Attributes:
        nonfinite: share of scores that are no numbers.
        spread: median over sessions of the cross-sectional standard deviation.
        mean_absolute: mean of abs(score).
        mean: mean score.
        within_share: mean cross-sectional variance as a share of the pooled variance.
        distinct: median share of distinct values in a session.
        modal: median share of the most frequent value in a session.
        rank_autocorrelation: of average ranks, from each session to the next.
    """

    nonfinite: float
    spread: float
    mean_absolute: float
    mean: float
    within_share: float
    distinct: float
    modal: float
    rank_autocorrelation: float

    @property
    def relative_spread(self) -> float:
        """Spread as a multiple of the mean absolute score."""
        return self.spread / self.mean_absolute if self.mean_absolute else 0.0


def score_statistics(score_DN: Array, mask_DN: Mask) -> ScoreStatistics:
    """Return the statistics of scores on consecutive sessions.

    Args:
        score_DN: one horizon's scores.
        mask_DN: names that are scored; sessions with fewer than 2 are left out.
    """
    rows_D = mask_DN.sum(axis=1) >= 2
    score_DN, mask_DN = score_DN[rows_D], mask_DN[rows_D]
    pooled = score_DN[mask_DN]
    nonfinite = float((~np.isfinite(pooled)).mean()) if len(pooled) else 1.0
    if nonfinite:
        return ScoreStatistics(nonfinite, *[np.nan] * 7)
    known_DN = np.where(mask_DN, score_DN, np.nan)
    spread_D = np.nanstd(known_DN, axis=1)
    variance = float(pooled.var())
    ties = [
        np.unique(row[kept], return_counts=True)[1]
        for row, kept in zip(score_DN, mask_DN, strict=True)
    ]
    return ScoreStatistics(
        nonfinite=nonfinite,
        spread=float(np.median(spread_D)),
        mean_absolute=float(np.abs(pooled).mean()),
        mean=float(pooled.mean()),
        within_share=float(np.square(spread_D).mean() / variance) if variance else 0.0,
        distinct=float(np.median([len(counts) / counts.sum() for counts in ties])),
        modal=float(np.median([counts.max() / counts.sum() for counts in ties])),
        rank_autocorrelation=_rank_autocorrelation(known_DN),
    )


def check_scores(found: ScoreStatistics, guard: GuardSpec, where: str) -> tuple[str, ...]:
    """Return what is odd about one horizon's scores; stop at what cannot be right.

    Args:
        found: the statistics.
        guard: their limits.
        where: horizon and epoch, for the message.

    Raises:
        DegenerateModel: naming the statistic, its value, its limit and what to try.
    """
    if found.nonfinite > 0:
        raise verdict(where, "nonfinite", found.nonfinite, "0", "lower optimiser.learning_rate")
    least = guard.spread_min * max(1.0, abs(found.mean))
    rounding = (
        "raise precision to float32, or lower optimiser.learning_rate; of trees, whose leaves give "
        "equal scores, lower guard.distinct_min and raise guard.modal_max"
    )
    stops = (
        ("spread", found.spread, found.spread < least, f"at least {least:.3g}",
         "look for a constant input or a dead layer; lower optimiser.learning_rate"),
        ("relative_spread", found.relative_spread,
         found.relative_spread < guard.relative_spread_min,
         f"at least {guard.relative_spread_min:.3g}",
         "the scores are one constant with noise; use the loss term \"ic\""),
        ("within_share", found.within_share, found.within_share < guard.within_share_min,
         f"at least {guard.within_share_min:.3g}",
         "the scores tell sessions apart, not symbols; use the loss term \"ic\", or lower "
         "guard.within_share_min where market-wide series may move a whole session"),
        ("distinct", found.distinct, found.distinct < guard.distinct_min,
         f"at least {guard.distinct_min:.3g}", rounding),
        ("modal", found.modal, found.modal > guard.modal_max,
         f"at most {guard.modal_max:.3g}", rounding),
    )  # fmt: skip
    for name, value, fails, limit, remedy in stops:
        if fails:
            raise verdict(where, name, value, limit, remedy)
    if found.rank_autocorrelation > guard.rank_autocorrelation_warn:
        return (
            f"{where}: rank_autocorrelation = {found.rank_autocorrelation:.4f} > "
            f"{guard.rank_autocorrelation_warn}: the scores hardly change; has the model "
            "learned the symbols by heart?",
        )
    return ()


def check_rank_ic(
    ic_D: Array, n_D: Array, horizon: int, guard: GuardSpec, where: str
) -> tuple[str, ...]:
    """Return a warning if a mean validation rank IC is high; stop where luck is no excuse.

    A mean over D sessions of overlapping labels stands for about D / h independent ones; its
    standard error holds sampling, 1 / (n - 1), and factors that come and go. Suspicion starts
    at `rank_ic_max`, the verdict falls two standard errors above.

    Args:
        ic_D: rank IC per session, NaN where it has none.
        n_D: pairs per session.
        horizon: of the label, sessions.
        guard: the limit.
        where: horizon and epoch, for the message.
    """
    known_D = np.isfinite(ic_D)
    if not known_D.any():
        return ()
    mean = float(ic_D[known_D].mean())
    variance = TYPICAL_IC_SD**2 + float((1 / (n_D[known_D] - 1)).mean())
    error = float(np.sqrt(variance * min(1.0, horizon / known_D.sum())))
    if mean > guard.rank_ic_max + IC_HIGH_ERRORS * error:
        raise verdict(
            where,
            "rank_ic",
            mean,
            f"at most {guard.rank_ic_max:.3g} + {IC_HIGH_ERRORS:g} standard errors of {error:.3g}",
            "look for a feature that knows the label (alpha-assets audit); if the signal is "
            "planted that strong, raise guard.rank_ic_max",
        )
    if mean > guard.rank_ic_max:
        return (f"{where}: rank_ic = {mean:.3f} > {guard.rank_ic_max}: a leak, or luck",)
    return ()


def stage_spreads(stages: Mapping[str, Tensor], mask_BN: Tensor) -> dict[str, float]:
    """Return how much each stage differs between the symbols of a session, in order.

    The root mean square over channels of the standard deviation over symbols, averaged over
    sessions.  Quantiles of a head count as channels.
    """
    weight_BN1 = mask_BN[..., None].double()
    n_B11 = weight_BN1.sum(1, keepdim=True).clamp(min=1)
    spreads: list[Tensor] = []
    for stage_BNE in stages.values():
        x_BNE = torch.where(mask_BN[..., None], stage_BNE.flatten(2).double(), 0.0)
        mean_B1E = x_BNE.sum(1, keepdim=True) / n_B11
        square_BNE = (x_BNE - mean_B1E).square() * weight_BN1
        spreads.append((square_BNE.sum(1) / n_B11[:, 0]).mean(-1).sqrt().mean())
    return dict(zip(stages, torch.stack(spreads).tolist(), strict=True))


def check_stages(spreads: Mapping[str, float], guard: GuardSpec, where: str) -> None:
    """Stop if a stage no longer distinguishes symbols, naming the first.

    The head is left to `check_scores`: its scale belongs to the loss.
    """
    for name, value in spreads.items():
        if name != "head" and not value >= guard.stage_spread_min:
            before = "the features are constant at the decision session (a zero tail?)"
            remedy = before if name == "input" else f"look at what stands before {name!r}"
            raise verdict(
                f"{where}, layer {name!r}",
                "spread over symbols",
                value,
                f"at least {guard.stage_spread_min:.3g}",
                remedy,
            )


def verdict(where: str, statistic: str, value: float, limit: str, remedy: str) -> DegenerateModel:
    """Return the error that stops a month: place, statistic, value, limit, what to try."""
    return DegenerateModel(f"{where}: {statistic} = {value:.4g}, want {limit}; try: {remedy}")


def _rank_autocorrelation(known_DN: Array) -> float:
    """Return the mean correlation of the ranks of consecutive sessions, over names in both."""
    values = []
    for before_N, after_N in pairwise(known_DN):
        both_N = np.isfinite(before_N) & np.isfinite(after_N)
        if both_N.sum() < 2:
            continue
        a_N = average_rank(before_N[both_N])
        b_N = average_rank(after_N[both_N])
        scale = float(a_N.std() * b_N.std())
        if scale > 0:
            values.append(float(((a_N - a_N.mean()) * (b_N - b_N.mean())).mean()) / scale)
    return float(np.mean(values)) if values else float("nan")
