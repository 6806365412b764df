"""What every kind of model is trained and read through, and what is kept of one training.

Shape letters: B sessions of a batch, N symbols, H horizons.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

from torch import Tensor

from alpha_assets.dataset import Fold
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.models.base import Output
from alpha_assets.store.scratch import Document

Weights = dict[str, Tensor]
NO_VALIDATION = float("-inf")  # where nothing selects among epochs: the last one is kept


@dataclass(frozen=True)
class Epoch:
    """What validation judges: one pass over the training sessions, a penalty, a number of trees.

    Attributes:
        number: from 1.
        loss: on the training sessions; of a network, mean over batches.
        parts: the loss's parts.
        valid_rank_ic: mean over validation sessions and horizons, on returns; None without
            validation sessions.
        rank_ic: per horizon; empty without validation sessions.
        spreads: how far apart each stage puts symbols; see `stage_spreads`.
        warnings: what the guard found odd.
        windows: windows trained on, masked names left out.
        seconds: of training and of validation; never part of what is stored as a result.
        selected: what selection goes by, higher is better.
        setting: what was tried, in words; of a penalty its value.
        rank_ic_error: standard error of `valid_rank_ic`; None without one.
    """

    number: int
    loss: float
    parts: Mapping[str, float]
    valid_rank_ic: float | None
    rank_ic: tuple[float, ...]
    spreads: Mapping[str, float]
    warnings: tuple[str, ...]
    windows: int
    seconds: tuple[float, float]
    selected: float = NO_VALIDATION
    setting: str = ""
    rank_ic_error: float | None = None


OnEpoch = Callable[[int, Epoch], None]  # seed and epoch


@dataclass(frozen=True, eq=False)
class Trained:
    """One seed's best model.

    Attributes:
        seed: of everything random.
        weights: of the epoch that was selected, on the host.
        epochs: all that were run, resumed ones included.
        best: the number of that epoch, from 1.
        texts: of models that are no tensors, by file name.
        may_be_unfinished: whether a best epoch that is the last one asks for more epochs.
        way_on: the settings that would then give more.
        fold: its key, where a month has several; empty for the one.
    """

    seed: int
    weights: Weights
    epochs: tuple[Epoch, ...]
    best: int
    texts: Mapping[str, bytes] = field(default_factory=dict)
    may_be_unfinished: bool = True
    way_on: str = "training.max_epochs or optimiser.learning_rate"
    fold: str = ""

    @property
    def valid_rank_ic(self) -> float | None:
        """Of the weights kept; None without validation sessions."""
        return self.epochs[self.best - 1].valid_rank_ic

    @property
    def unfinished(self) -> str:
        """A warning where the best epoch is the last one, so that more could do better; or ""."""
        if self.best < len(self.epochs) or not self.may_be_unfinished:
            return ""
        last = self.epochs[-1]
        return (
            f"the best epoch is the last one ({last.setting or self.best}): the validation rank "
            f"IC may rise further; raise {self.way_on}"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the guard found odd in any epoch, and whether the last one was the best."""
        found = tuple(line for epoch in self.epochs for line in epoch.warnings)
        return (*found, self.unfinished) if self.unfinished else found


@dataclass(frozen=True, eq=False)
class Aids:
    """What a training may be helped by; none of it changes what an undisturbed one gives.

    Attributes:
        state: where a fit is put down after every epoch, and taken up from.
        identity: names the data and the recipe; a state of another is not used.
        start: weights to start from, of another month or recipe.
        on_epoch: called with every epoch.
    """

    state: Document | None = None
    identity: str = ""
    start: Mapping[str, Tensor] | None = None
    on_epoch: OnEpoch | None = None


class Scorer(Protocol):
    """A trained model, ready to score."""

    def infer(self, batch: Batch) -> Output:
        """Return scores [B, N, H] in Float32, and quantiles where it has them; masked: 0."""


class Estimator(Protocol):
    """How a kind of model is fitted on a fold; what is stored of it is read by `loaders`."""

    def fit(self, view: Dataset, fold: Fold, seed: int, aids: Aids) -> Trained:
        """Return a seed's best model.

        Args:
            view: holds the fold's sessions, with labels, and the windows before them.
            fold: training and validation sessions.
            seed: of everything random.
            aids: what it may be helped by.

        Raises:
            DegenerateModel: the guard stopped it; the message names layer, statistic, limit.
        """


def best_of(epochs: Sequence[Epoch], smoothing: int = 1) -> int:
    """Return the number of the first epoch with the highest selection; the last without one.

    Args:
        epochs: all so far.
        smoothing: epochs, each with those right before it, over which selection is averaged; the
            last epoch while there are fewer.
    """
    if epochs[-1].selected == NO_VALIDATION or len(epochs) < smoothing:
        return epochs[-1].number
    values = {
        epochs[k - 1].number: fmean(one.selected for one in epochs[k - smoothing : k])
        for k in range(smoothing, len(epochs) + 1)
    }
    return max(values, key=lambda number: (values[number], -number))
