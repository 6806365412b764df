"""How a month's training goes: a line after each epoch, and the curves that are kept of it."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from statistics import fmean
from typing import TYPE_CHECKING, Any

from alpha_assets.models import RankerSpec
from alpha_assets.progress import Progress, bar, duration
from alpha_assets.training import Learner

if TYPE_CHECKING:
    from alpha_assets.training.estimator import Epoch, Trained

HEAD = "head"  # the stage whose spread is that of the scores
RATE = "windows_per_second"  # a fact of the machine and its load: it differs from run to run


class EpochLines:
    """Reports each epoch of a month's models: how far, loss, validation, spread, time left."""

    def __init__(
        self, report: Progress, stage: str, what: str, learner: Learner, n_folds: int = 1
    ) -> None:
        """Begin with the first model.

        Args:
            report: where lines go.
            stage: under which they appear.
            what: is trained, such as a month; empty where each epoch names it.
            learner: with seeds and epochs.
            n_folds: models of each seed.
        """
        self._report, self._stage, self._what = report, stage, what
        self._seeds, self._n_folds = learner.training.seeds, n_folds
        # What an estimator without epochs tries has no length that is known beforehand.
        counts = isinstance(learner.model, RankerSpec)
        self._per_model = learner.training.max_epochs if counts else 0
        self._fold, self._last = 0, (-1, 0)  # place of the seed, number of the epoch
        self._seconds: list[float] = []

    def __call__(self, seed: int, epoch: "Epoch") -> None:
        """Report an epoch; folds come one after the other, seeds in turn within each."""
        at = (self._seeds.index(seed), epoch.number)
        self._fold += at <= self._last
        self._last = at
        self._seconds.append(sum(epoch.seconds))
        words = [f"{self._what} seed {seed}".lstrip()]
        model = self._fold * len(self._seeds) + at[0]
        total = self._per_model * len(self._seeds) * self._n_folds
        done = self._per_model * model + epoch.number
        if total:
            words.append(bar(done, total))
        words.append(f"{self._name(epoch)}: {epoch_in_words(epoch)}")
        left = (total - done) * sum(self._seconds) / len(self._seconds)
        end = f", {duration(left)} left at most" if total and done < total else ""
        self._report(self._stage, " ".join(words) + end)

    def _name(self, epoch: "Epoch") -> str:
        of = f" of {self._per_model}" if self._per_model else ""
        return f"{epoch.setting or f'epoch {epoch.number}'}{of}"


def epoch_in_words(epoch: "Epoch") -> str:
    """Return loss and its parts, validation rank IC and its standard error, spread and rate."""
    parts = ", ".join(f"{name} {value:.4f}" for name, value in epoch.parts.items())
    words = [f"loss {epoch.loss:.4f}" + (f" ({parts})" if len(epoch.parts) > 1 else "")]
    if epoch.valid_rank_ic is None:
        words.append("no validation sessions")
    else:
        error = epoch.rank_ic_error
        around = "" if error is None else f" ± {error:.4f}"
        words.append(f"validation rank IC {epoch.valid_rank_ic:.4f}{around}")
    if HEAD in epoch.spreads:
        words.append(f"spread of scores {epoch.spreads[HEAD]:.3g}")
    if epoch.windows and epoch.seconds[0] > 0:
        words.append(f"{epoch.windows / epoch.seconds[0]:,.0f} windows a second")
    return ", ".join(words)


def curves(models: "Sequence[Trained]") -> list[dict[str, Any]]:
    """Return of each model its losses, validation rank ICs with errors, and spreads by epoch."""
    return [
        {
            "seed": one.seed,
            **({"fold": one.fold} if one.fold else {}),
            "best_epoch": one.best,
            "loss": [epoch.loss for epoch in one.epochs],
            "valid_rank_ic": [epoch.valid_rank_ic for epoch in one.epochs],
            "rank_ic_error": [epoch.rank_ic_error for epoch in one.epochs],
            "spread": [epoch.spreads.get(HEAD) for epoch in one.epochs],
        }
        for one in models
    ]


def mean_curve(kept: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the mean validation rank IC over models of each epoch that any of them came to.

    Args:
        kept: `curves` of a checkpoint.
    """
    of_models = [one["valid_rank_ic"] for one in kept]
    known = [[value for value in at if value is not None] for at in zip_longest(*of_models)]
    return [fmean(values) for values in known if values]


def windows_per_second(models: "Sequence[Trained]") -> float | None:
    """Return the windows trained on in a second, over all epochs; None of exact solutions."""
    epochs = [epoch for one in models for epoch in one.epochs]
    seconds = sum(epoch.seconds[0] for epoch in epochs)
    windows = sum(epoch.windows for epoch in epochs)
    return windows / seconds if seconds > 0 and windows else None
