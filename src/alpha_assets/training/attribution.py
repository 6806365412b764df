"""How much each input of a score contributes to it.

    score = base + own columns + market-wide series + raw vectors + other names + gap

A month's score is the plain mean of its models' scores (seeds and folds), so every part is the
plain mean of theirs.  Each kind of model has its method; what a method leaves of the score is the
gap, which is returned with what it may be.  Nothing that trains or scores reaches this module: an
edit of it makes no output stale.
Shape letters: N symbols, T steps, F features, M market-wide series, H horizons.

Source: Sundararajan, Taly & Yan (2017), Axiomatic Attribution for Deep Networks, arXiv 1703.01365;
Lundberg, Erion & Lee (2018), Consistent Individualized Feature Attribution for Tree Ensembles,
arXiv 1802.03888; occlusion: Zeiler & Fergus (2014), arXiv 1311.2901.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alpha_assets.arrays.types import Array, Mask
from alpha_assets.dataset.batch import Batch
from alpha_assets.models.base import Ranker, known
from alpha_assets.training.checkpoint import Checkpoint
from alpha_assets.training.fit import reproducible
from alpha_assets.training.predict import batch_output
from alpha_assets.training.ridge import RidgeModel
from alpha_assets.training.trees import TreesModel, inputs

STEPS = (8, 16, 32, 64, 128, 256)  # of the integral; more where fewer do not add up
QUADRATURE = 1e-3  # gap of an integral, as a share of the sum of absolute contributions
# Error of a score, as a share of |base| + |score|, by the precision that it is computed in.
ROUNDING: Mapping[str, float] = {"float32": 1e-6, "bf16": 2e-2}


@dataclass(frozen=True, eq=False)
class Parts:
    """What the inputs of one symbol's score add to the base, in score units, Float64.

    Attributes:
        base_H: the score where no input says anything.
        own_HF: of the symbol's own columns, each summed over the window.
        market_HM: of market-wide series, each summed over the window.
        vectors_H: of the symbol's own raw vectors by name, each summed over its components.
        others_H: of all columns and vectors of all other names; exactly 0 where none of them enters
            the score.
    """

    base_H: Array
    own_HF: Array
    market_HM: Array
    vectors_H: Mapping[str, Array]
    others_H: Array

    @property
    def total_H(self) -> Array:
        """The base and all contributions."""
        parts = (self.own_HF.sum(1), self.market_HM.sum(1), self.others_H, *self.vectors_H.values())
        return np.asarray(self.base_H + sum(parts))

    @property
    def moved_H(self) -> Array:
        """The sum of absolute contributions."""
        single = (self.others_H, *self.vectors_H.values())
        columns_H = np.abs(self.own_HF).sum(1) + np.abs(self.market_HM).sum(1)
        return np.asarray(columns_H + sum(np.abs(one_H) for one_H in single))


@dataclass(frozen=True, eq=False)
class Attribution:
    """A score and what it is made of.

    Attributes:
        method: by name, with its settings.
        n_models: seeds and folds whose parts are averaged.
        score_H: as predicted.
        parts: mean over the models.
        allowed_H: what the absolute gap may be.
    """

    method: str
    n_models: int
    score_H: Array
    parts: Parts
    allowed_H: Array

    @property
    def gap_H(self) -> Array:
        """Score less base and contributions: what the method gives to no input."""
        return np.asarray(self.score_H - self.parts.total_H)

    @property
    def adds_up_H(self) -> Mask:
        """Whether the gap is no more than it may be."""
        return np.asarray(np.abs(self.gap_H) <= self.allowed_H)


@dataclass(frozen=True, eq=False)
class Found:
    """Parts by model, and how they were computed.

    Attributes:
        method: by name, with its settings.
        parts: by model.
        share: what the gap may be, of the sum of absolute contributions.
    """

    method: str
    parts: tuple[Parts, ...]
    share: float = 0.0


def attribute(checkpoint: Checkpoint, batch: Batch, place: int) -> Attribution:
    """Return what one symbol's score is made of.

    Args:
        checkpoint: of the session's month.
        batch: of that one session, on the checkpoint's device.
        place: of the symbol, which is not masked.
    """
    card = checkpoint.card
    score_H = batch_output(checkpoint, batch).score_NH[place].astype(np.float64)
    method = METHODS[card.learner.model.estimator]
    with reproducible(card.learner.training.threads, batch.x_BNTF.device):
        found = method(checkpoint.models, batch, place)
    parts = _mean(found.parts)
    rounding_H = ROUNDING[card.precision] * (np.abs(parts.base_H) + np.abs(score_H) + parts.moved_H)
    allowed_H = rounding_H + found.share * parts.moved_H
    return Attribution(found.method, len(found.parts), score_H, parts, allowed_H)


def _mean(parts: Sequence[Parts]) -> Parts:
    def mean(values: Iterable[Array]) -> Array:
        return np.asarray(np.mean(list(values), axis=0))

    return Parts(
        mean(one.base_H for one in parts),
        mean(one.own_HF for one in parts),
        mean(one.market_HM for one in parts),
        {name: mean(one.vectors_H[name] for one in parts) for name in parts[0].vectors_H},
        mean(one.others_H for one in parts),
    )


def of_ridge(models: Sequence[RidgeModel], batch: Batch, place: int) -> Found:
    """Return x β, column by column; the base is 0."""
    x_F = known(batch.x_BNTF[0, place, -1], batch.valid_BNT[0, place, -1])
    n_market = batch.market_BTM.shape[-1]
    parts = []
    for model in models:
        beta_HF = model.beta_HF.cpu().numpy()
        n_horizons = len(beta_HF)
        own_HF = x_F.double().cpu().numpy() * beta_HF
        zero_H = np.zeros(n_horizons)
        vectors_H = dict.fromkeys(batch.vectors_BNV, zero_H)
        parts.append(Parts(zero_H, own_HF, np.zeros((n_horizons, n_market)), vectors_H, zero_H))
    return Found("exact: coefficient times value", tuple(parts))


def of_trees(models: Sequence[TreesModel], batch: Batch, place: int) -> Found:
    """Return LightGBM's own SHAP values; the base is the trees' mean over what they grew on."""
    x_1C = inputs(batch)[0, place][None]
    n_features = batch.x_BNTF.shape[-1]
    parts = []
    for model in models:
        contributions = [
            one.predict(x_1C, pred_contrib=True, num_threads=1)[0] for one in model.boosters
        ]
        all_HC = np.asarray(contributions, dtype=np.float64)
        zero_H = np.zeros(len(all_HC))
        vectors_H = dict.fromkeys(batch.vectors_BNV, zero_H)
        own_HF, market_HM = all_HC[:, :n_features], all_HC[:, n_features:-1]
        parts.append(Parts(all_HC[:, -1], own_HF, market_HM, vectors_H, zero_H))
    return Found("exact: SHAP values of trees (LightGBM, pred_contrib)", tuple(parts))


def of_networks(models: Sequence[Ranker], batch: Batch, place: int) -> Found:
    """Return integrated gradients; occlusion where they do not add up to the score."""
    full = _filled(batch)
    ends = [
        (_score(model, full.at(0.0), place), _score(model, full.at(1.0), place)) for model in models
    ]
    for steps in STEPS:
        parts = tuple(
            _integrated(model, full, place, steps, base_H)
            for model, (base_H, _) in zip(models, ends, strict=True)
        )
        if all(_is_complete(one, end_H) for one, (_, end_H) in zip(parts, ends, strict=True)):
            method = f"integrated gradients, {steps} steps (Gauss-Legendre) from all inputs at 0"
            return Found(method, parts, QUADRATURE)
    parts = tuple(
        _occluded(model, full, place, base_H, end_H)
        for model, (base_H, end_H) in zip(models, ends, strict=True)
    )
    why = f"integrated gradients of {STEPS[-1]} steps do not add up"
    return Found(f"occlusion: the score less that with one input at 0 ({why})", parts)


# By the `estimator` of a model's declaration; each takes a month's models.
METHODS: Mapping[str, Callable[[Any, Batch, int], Found]] = {
    "network": of_networks,
    "ridge": of_ridge,
    "trees": of_trees,
    "weighted_sum": of_ridge,
}


def _is_complete(parts: Parts, end_H: Array) -> bool:
    rounding_H = ROUNDING["float32"] * (np.abs(parts.base_H) + np.abs(end_H))
    return bool((np.abs(end_H - parts.total_H) <= QUADRATURE * parts.moved_H + rounding_H).all())


@dataclass(frozen=True, eq=False)
class _Filled:
    """A session's inputs that can be scaled or set to 0; everything else of the batch stays.

    Which steps and names are there, ids, masks and edges are no inputs here: they are in the base.

    Attributes:
        batch: with 0 for features that are not known.
        values: features, market-wide series, then raw vectors in the order of `names`.
        names: of the raw vectors.
    """

    batch: Batch
    values: tuple[Tensor, ...]
    names: tuple[str, ...] = field(default=())

    def having(self, values: Sequence[Tensor]) -> Batch:
        """Return the batch with other values."""
        x_BNTF, market_BTM, *vectors = values
        by_name = dict(zip(self.names, vectors, strict=True))
        return replace(self.batch, x_BNTF=x_BNTF, market_BTM=market_BTM, vectors_BNV=by_name)

    def at(self, share: float) -> Batch:
        """Return the batch with all values times `share`."""
        return self.having([share * value for value in self.values])


def _filled(batch: Batch) -> _Filled:
    names = tuple(batch.vectors_BNV)
    x_BNTF = known(batch.x_BNTF.transpose(1, 2), batch.valid_BNT.transpose(1, 2)).transpose(1, 2)
    vectors = [batch.vectors_BNV[name].float() for name in names]
    return _Filled(batch, (x_BNTF, batch.market_BTM.float(), *vectors), names)


@torch.no_grad()
def _score(model: Ranker, batch: Batch, place: int) -> Array:
    return np.asarray(model.infer(batch).score_BNH[0, place].double().cpu().numpy())


def _integrated(model: Ranker, full: _Filled, place: int, steps: int, base_H: Array) -> Parts:
    """Return value times the mean gradient along the straight line from 0 to the value.

    The whole cross-section moves along the line, so that what other names add comes out of their
    gradients; it is exactly 0 where no other name enters the score.
    """
    n_horizons, n_features = len(base_H), full.values[0].shape[-1]
    own_HF = np.zeros((n_horizons, n_features))
    market_HM = np.zeros((n_horizons, full.values[1].shape[-1]))
    others_H = np.zeros(n_horizons)
    vectors_HV = np.zeros((n_horizons, len(full.names)))
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    for share, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        with torch.enable_grad():
            values = [(float(share) * value).requires_grad_() for value in full.values]
            score_H = model.infer(full.having(values)).score_BNH[0, place]
            for h in range(n_horizons):
                if not score_H.requires_grad:
                    break  # the model passes no gradient at all
                gradients = torch.autograd.grad(
                    score_H[h], values, retain_graph=h < n_horizons - 1, materialize_grads=True
                )
                moved = [
                    (gradient.double() * value.double()).detach()
                    for gradient, value in zip(gradients, full.values, strict=True)
                ]
                x_NTF, market_TM, *vectors = (one[0] for one in moved)
                own_HF[h] += weight * x_NTF[place].sum(0).cpu().numpy()
                market_HM[h] += weight * market_TM.sum(0).cpu().numpy()
                for v, vector_NV in enumerate(vectors):
                    vectors_HV[h, v] += weight * float(vector_NV[place].sum())
                for of_names in (x_NTF, *vectors):
                    of_names[place] = 0.0
                    others_H[h] += weight * float(of_names.sum())
    vectors_H = {name: vectors_HV[:, v] for v, name in enumerate(full.names)}
    return Parts(base_H, own_HF, market_HM, vectors_H, others_H)


def _occluded(model: Ranker, full: _Filled, place: int, base_H: Array, end_H: Array) -> Parts:
    """Return the score less that with one input at 0; what inputs do together is in no part."""

    def lost(*cells: tuple[int, Any]) -> Array:
        values = list(full.values)
        for which, at in cells:
            values[which] = values[which].clone()
            values[which][at] = 0.0
        return end_H - _score(model, full.having(values), place)

    x_BNTF, market_BTM, *vectors = full.values
    others = [n for n in range(x_BNTF.shape[1]) if n != place]
    of_names = [0, *range(2, 2 + len(vectors))]
    none_HM = np.zeros((len(base_H), 0))
    own = [lost((0, (0, place, slice(None), f)))[:, None] for f in range(x_BNTF.shape[-1])]
    market = [lost((1, (0, slice(None), m)))[:, None] for m in range(market_BTM.shape[-1])]
    return Parts(
        base_H,
        np.concatenate([none_HM, *own], axis=1),
        np.concatenate([none_HM, *market], axis=1),
        {name: lost((2 + v, (0, place))) for v, name in enumerate(full.names)},
        lost(*[(which, (0, others)) for which in of_names]),
    )
