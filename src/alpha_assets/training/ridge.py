"""Closed-form ridge regression on the decision session's features: what every model must beat.

    minimise over β:  mean over sessions of (1/n) Σ (y - xβ)² + λ |β|²

with y and x centred within each session, since only a session's order means anything.  The
solution (A + λ I)⁻¹ b of the normal equations is exact; λ is a penalty times the mean of A's
diagonal, so that it has no unit, and the penalty is chosen on the validation sessions.
Shape letters: D sessions, N symbols, F features, H horizons.

Source: Hoerl & Kennard (1970), Technometrics 12(1).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from alpha_assets.arrays.types import Array
from alpha_assets.dataset import Fold
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import TooFewNames
from alpha_assets.models.base import Output, known
from alpha_assets.models.specs.base import BaseModelSpec
from alpha_assets.training.estimator import Aids, Epoch, Trained, Weights, best_of
from alpha_assets.training.fit import GUARDED, reproducible
from alpha_assets.training.judge import guard_best, judge, session_scores
from alpha_assets.training.settings import Plan
from alpha_assets.training.specs.ridge import RidgeSpec

BETA = "beta_HF"


class Ridge:
    """The estimator."""

    def __init__(self, spec: RidgeSpec, plan: Plan) -> None:
        """Take what is fitted, and how it is judged."""
        self._spec = spec
        self._plan = plan

    def fit(self, view: Dataset, fold: Fold, seed: int, aids: Aids) -> Trained:
        """Solve the normal equations for every penalty; keep the one that validation selects."""
        train_D, valid_D = (
            torch.from_numpy(view.places(sessions, 1)) for sessions in (fold.train, fold.valid)
        )
        looked_at_D = valid_D if len(valid_D) else train_D[-GUARDED:]
        penalties = self._spec.penalties if len(valid_D) else self._spec.penalties[:1]
        horizons = range(len(view.axes.horizons))
        tried: list[tuple[Epoch, Tensor, Array]] = []
        with reproducible(self._plan.training.threads, torch.device("cpu")):
            begun = perf_counter()
            sums = [normal_equations(view, train_D, h, self._spec.min_names) for h in horizons]
            summed = perf_counter()
            for number, penalty in enumerate(penalties, start=1):
                beta_HF = torch.stack([solve(one, penalty) for one in sums])
                errors = [one.error(beta_F) for one, beta_F in zip(sums, beta_HF, strict=True)]
                score_DNH = session_scores(RidgeModel(beta_HF), view, looked_at_D)
                epoch = Epoch(
                    number=number,
                    loss=float(np.mean(errors)),
                    parts={},
                    valid_rank_ic=None,
                    rank_ic=(),
                    spreads={},
                    warnings=(),
                    windows=int(view.mask_DN[train_D].sum()),
                    seconds=(summed - begun, perf_counter() - summed),
                    setting=f"penalty {penalty:g}",
                )
                if len(valid_D):
                    judged = judge(score_DNH, view, valid_D, self._plan, epoch.setting, None)
                    epoch = judged.added_to(epoch)
                tried.append((epoch, beta_HF, score_DNH))
                if aids.on_epoch:
                    aids.on_epoch(seed, epoch)
        epochs = [epoch for epoch, _, _ in tried]
        best = best_of(epochs)
        epoch, beta_HF, score_DNH = tried[best - 1]
        warnings = guard_best(score_DNH, view, valid_D, looked_at_D, self._plan, epoch.setting)
        epochs[best - 1] = replace(epoch, warnings=warnings)
        weights = {BETA: beta_HF}
        return Trained(seed, weights, tuple(epochs), best, may_be_unfinished=False)


def unit_line(view: Dataset, fold: Fold, plan: Plan) -> Tensor:
    """Return the coefficients of a fold's ridge regression, [H, F], for scores of spread 1.

    The penalty is the one of `RidgeSpec` with the best rank IC on the validation sessions; without
    them the first.  The spread is the root of the mean variance of a training session's scores.

    Raises:
        TooFewNames: no training session, or no validation session, has enough names with a label.
    """
    train_D, valid_D = (
        torch.from_numpy(view.places(sessions, 1)) for sessions in (fold.train, fold.valid)
    )
    spec, horizons = RidgeSpec(), range(len(view.axes.horizons))
    by_rank_ic = plan.training.model_copy(update={"selection": "rank_ic"})
    plan = plan.model_copy(update={"training": by_rank_ic})
    with reproducible(plan.training.threads, torch.device("cpu")):
        sums = [normal_equations(view, train_D, h, spec.min_names) for h in horizons]
        best, kept_HF = -np.inf, torch.zeros(len(sums), len(sums[0].xy_F), dtype=torch.float64)
        if not any(one.xx_FF.any() for one in sums):
            return kept_HF  # features that say nothing; the network's guard names them
        for penalty in spec.penalties if len(valid_D) else spec.penalties[:1]:
            beta_HF, value = torch.stack([solve(one, penalty) for one in sums]), 0.0
            if len(valid_D):
                score_DNH = session_scores(RidgeModel(beta_HF), view, valid_D)
                value = judge(score_DNH, view, valid_D, plan, f"penalty {penalty:g}", None).selected
            if value > best:
                best, kept_HF = value, beta_HF
        variance_H = [
            float(beta_F @ one.xx_FF @ beta_F) for one, beta_F in zip(sums, kept_HF, strict=True)
        ]
    spread_H1 = torch.tensor(variance_H, dtype=torch.float64).sqrt()[:, None]
    return torch.where(spread_H1 > 0, kept_HF / spread_H1, 0.0)


class RidgeModel:
    """A ready model: coefficients of the decision session's features."""

    def __init__(self, beta_HF: Tensor) -> None:
        """Take the coefficients, Float64."""
        self.beta_HF = beta_HF

    def infer(self, batch: Batch) -> Output:
        """Return x β of the decision session, summed in Float64; masked: 0."""
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1]).double()
        score_BNH = (x_BNF @ self.beta_HF.to(x_BNF.device).T).float()
        return Output(torch.where(batch.mask_BN[..., None], score_BNH, 0.0))


def load_ridge(
    spec: BaseModelSpec, weights: Weights, texts: Mapping[str, bytes], sizes: Sizes, threads: int
) -> RidgeModel:
    """Return the model that stored coefficients are of; see `loaders.load_model`."""
    shape = (sizes.n_horizons, sizes.n_features)
    if set(weights) != {BETA} or tuple(weights[BETA].shape) != shape:
        found = {name: tuple(value.shape) for name, value in weights.items()}
        raise RuntimeError(f"want {BETA} of shape {shape}, found {found}")
    return RidgeModel(weights[BETA])


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Sums over the training sessions of one horizon, each session of the same weight.

    Attributes:
        xx_FF: A, mean over sessions of (1/n) Σ x xᵀ, centred within the session.
        xy_F: b, the same of x y.
        yy: the same of y².
    """

    xx_FF: Tensor
    xy_F: Tensor
    yy: float

    def error(self, beta_F: Tensor) -> float:
        """Return the mean squared error of coefficients: yᵀy - 2 βᵀb + βᵀAβ."""
        return self.yy - float(2 * beta_F @ self.xy_F - beta_F @ self.xx_FF @ beta_F)


def normal_equations(view: Dataset, train_D: Tensor, h: int, min_names: int) -> NormalEquations:
    """Return the sums of one horizon over the training sessions, in session order, Float64.

    Raises:
        TooFewNames: no training session has enough names with a label.
    """
    n_features = len(view.axes.features)
    xx_FF = torch.zeros(n_features, n_features, dtype=torch.float64)
    xy_F = torch.zeros(n_features, dtype=torch.float64)
    yy, n_sessions = 0.0, 0
    for place in train_D.tolist():
        y_N = view.target_DNH[place, :, h].cpu()
        in_N = view.mask_DN[place].cpu() & torch.isfinite(y_N)
        n = int(in_N.sum())
        if n < min_names:
            continue
        x_CF = view.x_DNF[place].cpu()[in_N].double()
        y_C = y_N[in_N].double()
        x_CF = x_CF - x_CF.mean(0)
        y_C = y_C - y_C.mean()
        xx_FF += x_CF.T @ x_CF / n
        xy_F += x_CF.T @ y_C / n
        yy += float(y_C @ y_C) / n
        n_sessions += 1
    if not n_sessions:
        raise TooFewNames(
            f"labels of horizon {view.axes.horizons[h]}: no training session has {min_names} names "
            "with one; want a larger universe, or a lower model.min_names"
        )
    return NormalEquations(xx_FF / n_sessions, xy_F / n_sessions, yy / n_sessions)


def solve(sums: NormalEquations, penalty: float) -> Tensor:
    """Return (A + λ I)⁻¹ b with λ = penalty · mean diagonal of A, Float64."""
    diagonal = float(sums.xx_FF.diagonal().mean())
    ridge_FF = torch.eye(len(sums.xy_F), dtype=torch.float64) * (penalty * diagonal)
    beta_F: Tensor = torch.linalg.solve(sums.xx_FF + ridge_FF, sums.xy_F)
    return beta_F
