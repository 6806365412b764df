"""One month's models: every seed trained on each of the month's folds, its best model kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from alpha_assets.dataset import Split
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput, DegenerateModel, RangeError
from alpha_assets.spec import digest
from alpha_assets.store.scratch import Scratch
from alpha_assets.training.estimator import Aids, Epoch, OnEpoch, Trained
from alpha_assets.training.estimators import estimator_of
from alpha_assets.training.learner import Learner
from alpha_assets.training.memory import within_memory
from alpha_assets.training.preflight import check_labels


@dataclass(frozen=True, eq=False)
class TrainedMonth:
    """All models of one month, fold by fold; their scores are averaged at prediction."""

    month: str
    learner: Learner
    sizes: Sizes
    device: torch.device
    seeds: tuple[Trained, ...]


def train_month(
    data: Dataset,
    split: Split,
    learner: Learner,
    *,
    state: Scratch | None = None,
    identity: str = "",
    parent: Mapping[int, Mapping[str, Tensor]] | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainedMonth:
    """Return every seed's best model for a month.

    Args:
        data: must hold the training and validation sessions, with labels, and the
            `sequence` - 1 sessions before them.
        split: which of them are which.
        learner: model, loss, training and guard.
        state: a place to put the fit down in after every epoch, and to take it up from; the
            caller removes it once the month is stored.
        identity: names the data and the recipe (hash, digest); a state of another is not used.
        parent: weights to start from by seed: of an earlier month, or of another recipe.
        on_epoch: called with every epoch, for a progress bar or a log.

    Raises:
        RangeError: the month has too little history.
        DegenerateModel: the guard stopped it; the message names layer, statistic, value, limit.
        BadInput: a seed without weights to start from, or with those of another model.
        OutOfMemory: it does not fit; the message says what would.
    """
    if not split.is_ready:
        raise RangeError(
            f"{split.month} has {len(split.train)} training sessions, too few to train; "
            f"the first month with enough is {split.first_month}"
        )
    sequence = learner.window.sequence
    train_D = torch.from_numpy(data.places(split.learned, sequence)).to(data.device)
    identity = digest(identity, learner, split.month, _axes(data, split), str(data.device.type))
    check_labels(data, train_D, learner.guard)
    estimator = estimator_of(learner)
    trained: list[Trained] = []
    for fold in split.folds:
        name = fold.key if split.blocks else ""
        file = f"fold={name}_seed=" if name else "seed="
        seeds = []
        for seed in learner.training.seeds:
            aids = Aids(
                state=state.document(f"{file}{seed}.safetensors") if state else None,
                identity=digest(identity, seed, name) if name else digest(identity, seed),
                start=_start(parent, seed),
                on_epoch=_naming(name, on_epoch) if name and on_epoch else on_epoch,
            )
            with within_memory(f"training of {split.month}", data.device, lambda: _fewer(data)):
                seeds.append(replace(estimator.fit(data, fold, seed, aids), fold=name))
        _refuse_twins(seeds)
        trained += seeds
    return TrainedMonth(split.month, learner, data.sizes(sequence), data.device, tuple(trained))


def _fewer(data: Dataset) -> str:
    n_sessions, n_symbols, n_columns = data.x_DNF.shape
    return (
        f"its data is {n_sessions:,} sessions x {n_symbols:,} symbols x {n_columns} columns: lower "
        "split.lookback_sessions, read fewer [features], or choose a universe of fewer symbols"
    )


def _naming(fold: str, on_epoch: OnEpoch) -> OnEpoch:
    """Return what calls `on_epoch` with the fold in the words of each epoch."""

    def named(seed: int, epoch: Epoch) -> None:
        what = epoch.setting or f"epoch {epoch.number}"
        on_epoch(seed, replace(epoch, setting=f"fold {fold} {what}"))

    return named


def _start(
    parent: Mapping[int, Mapping[str, Tensor]] | None, seed: int
) -> Mapping[str, Tensor] | None:
    if parent is None:
        return None
    if seed not in parent:
        raise BadInput(f"the parent's checkpoint has seeds {sorted(parent)}, not {seed}")
    return parent[seed]


def _refuse_twins(seeds: list[Trained]) -> None:
    """Stop if two seeds have the same validation history: the metric does not see the model."""
    for one, other in combinations(seeds, 2):
        histories = [[epoch.rank_ic or epoch.loss for epoch in t.epochs] for t in (one, other)]
        if histories[0] == histories[1]:
            what = "validation rank IC" if one.epochs[0].rank_ic else "loss"
            raise DegenerateModel(
                f"seeds {one.seed} and {other.seed} have the same {what} in every epoch "
                f"({histories[0]}); want different ones: the metric does not see the model, or the "
                "seed does not reach it"
            )


def _axes(data: Dataset, split: Split) -> list[object]:
    axes = data.axes
    return [
        [[str(s) for s in (*span[:1], *span[-1:])] for span in (split.train, split.valid)],
        axes.symbols,
        axes.features,
        axes.market_features,
        axes.horizons,
    ]
