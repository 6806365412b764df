"""One month's models: every seed trained, stopped early, its best weights kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from alpha_assets.calendar import month_range, next_month
from alpha_assets.dataset import Dataset, Split
from alpha_assets.errors import BadInput, DegenerateModel, RangeError
from alpha_assets.models import LossSpec, ModelSpec, Ranker, Sizes, build_loss, build_model
from alpha_assets.spec import Spec, digest
from alpha_assets.store.scratch import Document, Scratch
from alpha_assets.training.degeneracy import GatesSpec
from alpha_assets.training.fit import Epoch, Fitting, TrainingSpec, fit, reproducible
from alpha_assets.training.preflight import check_labels, check_model
from alpha_assets.training.resume import Weights, host_copy, load_state, save_state

OnEpoch = Callable[[int, Epoch], None]  # seed and epoch


class Learner(Spec):
    """What is trained and how: the sections of a recipe that meet in this room."""

    model: ModelSpec
    loss: LossSpec
    training: TrainingSpec = TrainingSpec()
    gates: GatesSpec = GatesSpec()


@dataclass(frozen=True, eq=False)
class Trained:
    """One seed's best weights.

    Attributes:
        seed: of everything random.
        weights: of the epoch with the highest validation rank IC, on the host.
        epochs: all that were run, resumed ones included.
        best: the number of that epoch, from 1.
    """

    seed: int
    weights: Weights
    epochs: tuple[Epoch, ...]
    best: int

    @property
    def valid_rank_ic(self) -> float:
        """Of the weights kept."""
        return self.epochs[self.best - 1].valid_rank_ic

    @property
    def unfinished(self) -> str:
        """A warning where the best epoch is the last one, so that more could do better; or ""."""
        if self.best < len(self.epochs):
            return ""
        return (
            f"the best epoch is the last one ({self.best}): the validation rank IC may rise "
            "further; raise training.max_epochs or training.learning_rate"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the guard found odd in any epoch, and whether the last one was the best."""
        found = tuple(line for epoch in self.epochs for line in epoch.warnings)
        return (*found, self.unfinished) if self.unfinished else found


@dataclass(frozen=True, eq=False)
class TrainedMonth:
    """All seeds of one month; their scores are averaged at prediction."""

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
    """Return every seed's best weights for a month.

    Args:
        data: must hold the training and validation sessions, with labels, and the
            `sequence` - 1 sessions before them.
        split: which of them are which.
        learner: model, loss, training and gates.
        state: a place to put the fit down in after every epoch, and to take it up from; the
            caller removes it once the month is stored.
        identity: names the data and the recipe (hash, digest); a state of another is not used.
        parent: for a warm start, the earlier month's weights by seed.
        on_epoch: called with every epoch, for a progress bar or a log.

    Raises:
        RangeError: the month has too little history.
        DegenerateModel: the guard stopped it; the message names layer, statistic, value, limit.
        BadInput: a warm start without the parent's weights of a seed.
    """
    if not split.is_ready:
        raise RangeError(
            f"{split.month} has {len(split.train)} training sessions, too few to train; "
            f"the first month with enough is {split.first_month}"
        )
    spec = learner.training
    train_D = torch.from_numpy(data.places(split.train, spec.sequence)).to(data.device)
    valid_D = torch.from_numpy(data.places(split.valid, spec.sequence)).to(data.device)
    sizes = Sizes(
        n_features=len(data.axes.features),
        n_market=len(data.axes.market_features),
        steps=spec.sequence,
        n_horizons=len(data.axes.horizons),
        n_symbols=len(data.axes.known_symbols),
    )
    identity = digest(identity, learner, split.month, _axes(data, split), str(data.device.type))
    check_labels(data, train_D, learner.gates)
    seeds = []
    for seed in spec.seeds:
        model = _fresh_model(learner, sizes, seed, data.device, parent)
        check_model(model, data.windows(valid_D[:1], spec.sequence))
        fitting = Fitting.start(model, data, spec, learner.gates, seed)
        kept = state.document(f"seed={seed}.safetensors") if state else None
        seeds.append(
            _train_seed(
                fitting,
                data,
                (train_D, valid_D),
                learner,
                seed,
                kept,
                digest(identity, seed),
                on_epoch,
            )
        )
    _refuse_twins(seeds)
    return TrainedMonth(split.month, learner, sizes, data.device, tuple(seeds))


def model_month(month: str, first_month: str, every: int) -> str:
    """Return the month whose model decides `month`, when one is trained every so many months.

    Args:
        month: to be decided.
        first_month: the market's first month with enough history: trained, and counted from.
        every: `retrain_every`.

    Raises:
        RangeError: `month` is before the first.
    """
    elapsed = len(month_range(first_month, month)) - 1
    return next_month(month, -(elapsed % every))


def parent_month(month: str, first_month: str, spec: TrainingSpec) -> str | None:
    """Return the month whose weights a retrained `month` starts from; None for a cold start.

    The chain starts cold at the first month and again at the first retraining of each year.
    """
    if not spec.warm_start or month == first_month:
        return None
    earlier = model_month(next_month(month, -1), first_month, spec.retrain_every)
    return earlier if earlier[:4] == month[:4] else None


def _train_seed(
    fitting: Fitting,
    data: Dataset,
    places: tuple[Tensor, Tensor],
    learner: Learner,
    seed: int,
    state: Document | None,
    identity: str,
    on_epoch: OnEpoch | None,
) -> Trained:
    """Ask for epochs until the validation rank IC has not risen for `patience` of them."""
    resumed = load_state(state, identity, fitting) if state else None
    best, epochs = resumed or ({}, [])
    loss = build_loss(learner.loss)
    coming = fit(fitting, data, *places, loss, learner.training)
    while not _is_over(epochs, learner.training.patience):
        epoch = next(coming, None)
        if epoch is None:
            break
        epochs.append(epoch)
        if _best(epochs) == epoch.number:
            best = host_copy(fitting.model)
        if state:
            save_state(state, identity, fitting, best, epochs)
        if on_epoch:
            on_epoch(seed, epoch)
    return Trained(seed, best, tuple(epochs), _best(epochs))


def _best(epochs: list[Epoch]) -> int:
    """Return the number of the first epoch with the highest validation rank IC."""
    return max(epochs, key=lambda epoch: (epoch.valid_rank_ic, -epoch.number)).number


def _is_over(epochs: list[Epoch], patience: int) -> bool:
    return bool(epochs) and epochs[-1].number - _best(epochs) >= patience


def _fresh_model(
    learner: Learner,
    sizes: Sizes,
    seed: int,
    device: torch.device,
    parent: Mapping[int, Mapping[str, Tensor]] | None,
) -> Ranker:
    """Return a model with the seed's weights, mixed with the parent's on a warm start.

    Fresh weights are drawn on the host, so that they do not depend on the device.
    """
    with torch.random.fork_rng(devices=[]), reproducible(learner.training.threads, device):
        torch.default_generator.manual_seed(seed)
        model = build_model(learner.model, sizes)
    if parent is not None:
        if seed not in parent:
            raise BadInput(f"the parent's checkpoint has seeds {sorted(parent)}, not {seed}")
        kept = learner.training.warm_shrink
        fresh = model.state_dict()
        model.load_state_dict(
            {name: kept * parent[seed][name] + (1 - kept) * fresh[name] for name in fresh}
        )
    return model.to(device)


def _refuse_twins(seeds: list[Trained]) -> None:
    """Stop if two seeds have the same validation history: the metric does not see the model."""
    for one, other in combinations(seeds, 2):
        if [e.rank_ic for e in one.epochs] == [e.rank_ic for e in other.epochs]:
            raise DegenerateModel(
                f"seeds {one.seed} and {other.seed} have the same validation rank IC in every "
                f"epoch ({one.valid_rank_ic:.6f}); want different ones: the metric does not see "
                "the model, or the seed does not reach it"
            )


def _axes(data: Dataset, split: Split) -> list[object]:
    axes = data.axes
    return [
        [str(session) for session in (*split.train[[0, -1]], *split.valid[[0, -1]])],
        axes.symbols,
        axes.features,
        axes.market_features,
        axes.horizons,
    ]
