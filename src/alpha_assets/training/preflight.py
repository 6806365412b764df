"""Before the first step: could these labels be learned honestly, and does the model look?

Shape letters: D sessions, N symbols, F features, H horizons, B sessions of a batch.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput, DegenerateModel, TooFewNames, did_you_mean
from alpha_assets.models import LossSpec
from alpha_assets.models.base import Ranker
from alpha_assets.models.losses import PairwiseLogisticSpec
from alpha_assets.training.degeneracy import verdict
from alpha_assets.training.specs.degeneracy import GuardSpec

TIED_SHARE_MAX = 0.5  # of labels equal to the most frequent one: a constant, or a flag
MEMBERS = 3  # symbols that the zero-tail test moves, one at a time


def check_columns(loss: Sequence[LossSpec], features: Sequence[str]) -> None:
    """Refuse terms of a loss that read a column which the model's inputs lack.

    Raises:
        BadInput: naming the term, the column and the nearest ones.
    """
    for term in loss:
        for name in term.columns:
            if name not in features:
                raise BadInput(
                    f'loss "{term.kind}": column = {name!r} is none of the {len(features)} columns '
                    f"that the model reads; {did_you_mean(name, features)}choose one of "
                    "[features], and window.min_span so that no month goes without it"
                )


def check_terms(loss: Sequence[LossSpec], data: Dataset, place_D: Tensor) -> None:
    """Refuse terms of a loss that no training session counts for: they would be 0, unnoticed.

    Args:
        loss: the terms.
        data: the month's dataset.
        place_D: places of the training sessions.

    Raises:
        TooFewNames: naming the term, its limit, and what the sessions have.
    """
    target_DNH = data.target_DNH[place_D]
    known_DNH = torch.isfinite(target_DNH) & data.mask_DN[place_D][..., None]
    most = int(known_DNH.sum(1).max())
    highest_DH = target_DNH.masked_fill(~known_DNH, -torch.inf).amax(1)
    lowest_DH = target_DNH.masked_fill(~known_DNH, torch.inf).amin(1)
    widest = float((highest_DH - lowest_DH).max())
    for term in loss:
        if term.min_names > most:
            raise TooFewNames(
                f'loss "{term.kind}": min_names = {term.min_names}, and the training sessions have '
                f"{most} names with a label at most, so that the term would never count: set its "
                f"min_names to {max(most, 2)} or less, or choose a universe of more names"
            )
        if isinstance(term, PairwiseLogisticSpec) and term.gap > widest:
            raise TooFewNames(
                f'loss "{term.kind}": gap = {term.gap:g}, and no two targets of a training session '
                f"are more than {widest:.3g} apart, so that no pair would count: set a smaller gap"
            )


def check_labels(data: Dataset, place_D: Tensor, guard: GuardSpec) -> None:
    """Stop if the training labels cannot be forward returns, or a feature already knows them.

    Args:
        data: the month's dataset.
        place_D: places of the training sessions.
        guard: the highest correlation allowed.

    Raises:
        TooFewNames: no label is known.
        DegenerateModel: labels without spread, mostly equal, bounded in [0, 1] (ranks sold as
            returns), or nearly equal to a feature at the same session.
    """
    mask_DN = data.mask_DN[place_D].cpu().numpy()
    x_CF = data.x_DNF[place_D][data.mask_DN[place_D]].float()
    for h, horizon in enumerate(data.axes.horizons):
        where = f"labels of horizon {horizon}"
        return_C = data.return_DNH[place_D.cpu().numpy()][..., h][mask_DN]
        known_C = np.isfinite(return_C)
        label_C = return_C[known_C]
        if not len(label_C):
            raise TooFewNames(
                f"{where}: no name has one on the training sessions, since bars are missing at "
                "their ends: bring the bars, or decide only months whose windows have some"
            )
        if len(label_C) < 2 or np.ptp(label_C) == 0:
            raise DegenerateModel(
                f"{where}: {len(label_C)} labels with no spread on the training sessions; "
                "look at the prices behind them"
            )
        tied = float(np.unique(label_C, return_counts=True)[1].max() / len(label_C))
        if tied > TIED_SHARE_MAX:
            remedy = "look for frozen prices"
            raise verdict(where, "share of one value", tied, f"at most {TIED_SHARE_MAX}", remedy)
        if label_C.min() >= 0 and label_C.max() <= 1:
            raise verdict(
                where,
                "least label",
                float(label_C.min()),
                "a negative return somewhere",
                "these look like ranks in [0, 1]; labels are forward returns",
            )
        target_C = data.target_DNH[place_D][..., h][data.mask_DN[place_D]]
        for kind, y_C in (("return", torch.from_numpy(return_C)), ("target", target_C)):
            _refuse_twin(x_CF, y_C.to(x_CF.device).float(), data.axes.features, guard, where, kind)


def _refuse_twin(
    x_CF: Tensor, y_C: Tensor, features: tuple[str, ...], guard: GuardSpec, where: str, kind: str
) -> None:
    known_C = torch.isfinite(y_C)
    x_CF, y_C = x_CF[known_C], y_C[known_C]
    x_CF = x_CF - x_CF.mean(0)
    y_C = y_C - y_C.mean()
    scale_F = (x_CF.square().sum(0) * y_C.square().sum()).sqrt().clamp(min=1e-30)
    correlation_F = (x_CF.T @ y_C / scale_F).abs()
    highest = int(correlation_F.argmax())
    value = float(correlation_F[highest])
    if value > guard.feature_label_correlation_max:
        raise verdict(
            f"{where}, feature {features[highest]!r}",
            f"correlation with the {kind}",
            value,
            f"at most {guard.feature_label_correlation_max:.3g}",
            "the label is an input: take the feature out, or make the label look forward",
        )


@torch.no_grad()
def check_model(model: Ranker, batch: Batch) -> None:
    """Stop if a fresh model ignores the decision session or the order of symbols matters.

    *Zero tail*: moving only the last step of one symbol must move its score.
    *Permutation*: the same symbols in another order must get the same scores.

    Args:
        model: fresh, on the batch's device.
        batch: any real one; its features are replaced by noise.
    """
    was_training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(batch.x_BNTF.shape, generator=generator).to(batch.x_BNTF.device)
    mask_BN = torch.ones_like(batch.mask_BN)
    valid_BNT = torch.ones_like(batch.valid_BNT)
    plain = replace(batch, x_BNTF=noise, valid_BNT=valid_BNT, mask_BN=mask_BN)
    score_BNH = model(plain)
    for n in range(min(MEMBERS, noise.shape[1])):
        moved = noise.clone()
        moved[:, n, -1] += 1.0
        if torch.equal(model(replace(plain, x_BNTF=moved))[:, n], score_BNH[:, n]):
            raise DegenerateModel(
                "the model's score does not change with the decision session's features "
                "(zero tail): change in score = 0, want more; look for a layer that zeroes the "
                "last step"
            )
    order_N = torch.randperm(noise.shape[1], generator=generator).to(noise.device)
    permuted = plain.permuted(order_N)
    apart = float((model(permuted) - score_BNH[:, order_N]).abs().max())
    if not apart <= 1e-2 * max(1.0, float(score_BNH.abs().max())):
        raise verdict(
            "fresh model", "change under permutation", apart, "0", "look for mixing by place"
        )
    model.train(was_training)
