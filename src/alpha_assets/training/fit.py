"""The loop, once for every model: a generator of epochs.

The caller decides what an epoch is for: log it, keep its weights, stop asking.  Everything
random comes from one seed, is drawn inside the epoch and put away between epochs, so that a
fit that is taken up again goes on with the same bits.
Shape letters: D sessions, N symbols, T steps, H horizons, B sessions of a batch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, pi
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.arrays.types import Array
from alpha_assets.dataset import Dataset
from alpha_assets.errors import TooFewNames
from alpha_assets.models import Ranker
from alpha_assets.models.losses import Loss
from alpha_assets.spec import Spec
from alpha_assets.training.degeneracy import (
    GatesSpec,
    check_rank_ic,
    check_scores,
    check_stages,
    score_statistics,
    stage_spreads,
)
from alpha_assets.training.gradient_monitor import GradientWatch

VALID_BATCH = 8  # sessions scored at a time


class TrainingSpec(Spec):
    """Declared under `[training]` in a recipe."""

    sequence: int = Field(default=5, gt=0)
    """T: decision sessions of an input window."""
    min_span: float = Field(default=0.0, ge=0, le=1)
    """Share of the training sessions that a column must span, or the month goes without it."""
    batch_sessions: int = Field(default=4, gt=0)
    """Sessions in one step of the optimiser."""
    max_epochs: int = Field(default=8, gt=0)
    """Passes over the training sessions, at most."""
    patience: int = Field(default=2, gt=0)
    """Epochs without a better validation rank IC after which training stops."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak learning rate of AdamW."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps over which the learning rate rises to its peak."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of AdamW."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of all gradients together."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """Seeds of the models whose scores are averaged."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of the forward pass; `auto`: bf16 on CUDA, else float32."""
    resident: Literal["float32", "float16"] = "float32"
    """Of the tensor that holds the panel; float16 on CUDA only."""
    threads: int = Field(default=1, gt=0)
    """CPU threads of the training process."""
    warm_start: bool = False
    """Whether a month starts from the weights of the month before; cold each January."""
    warm_shrink: float = Field(default=0.5, ge=0, le=1)
    """Share of the parent's weights that a warm start keeps."""
    retrain_every: int = Field(default=1, gt=0)
    """Months from one training to the next; those between use the last model."""

    @property
    def sessions_before(self) -> int:
        """Sessions of an input window before the one that is scored."""
        return self.sequence - 1

    @model_validator(mode="after")
    def _columns_stay(self) -> "TrainingSpec":
        if self.warm_start and self.min_span > 0:
            raise ValueError(
                f"warm_start takes up the weights of another month, and min_span = "
                f"{self.min_span:g} may give it other columns; leave one of them out"
            )
        return self

    def autocasts(self, device: torch.device) -> bool:
        """Return whether the forward pass runs in bf16 on a device."""
        return self.precision == "bf16" or (self.precision == "auto" and device.type == "cuda")

    @property
    def resident_dtype(self) -> torch.dtype:
        """Return what features are held in: what `Dataset.build` takes."""
        return torch.float16 if self.resident == "float16" else torch.float32


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training sessions came to.

    Attributes:
        number: from 1.
        loss: mean over batches.
        parts: the loss's parts, means over batches.
        valid_rank_ic: mean over validation sessions and horizons, on returns.
        rank_ic: per horizon.
        spreads: how far apart each stage puts symbols; see `stage_spreads`.
        warnings: what the guard found odd.
        windows: windows trained on, masked names left out.
        seconds: of training and of validation; never part of what is stored as a result.
    """

    number: int
    loss: float
    parts: Mapping[str, float]
    valid_rank_ic: float
    rank_ic: tuple[float, ...]
    spreads: Mapping[str, float]
    warnings: tuple[str, ...]
    windows: int
    seconds: tuple[float, float]


@dataclass(eq=False)
class Fitting:
    """A model between two epochs, with all that its next epoch depends on.

    Attributes:
        model: on its device.
        optimizer: of the model.
        watch: of its gradients.
        shuffle: draws the order of sessions, on the host.
        randomness: torch's generators as the last epoch left them, host first, then CUDA.
        epochs: done so far.
        steps: done so far; the learning rate is a function of it.
    """

    model: Ranker
    optimizer: torch.optim.Optimizer
    watch: GradientWatch
    shuffle: torch.Generator
    randomness: list[Tensor]
    epochs: int = 0
    steps: int = 0

    @classmethod
    def start(
        cls, model: Ranker, data: Dataset, spec: TrainingSpec, gates: GatesSpec, seed: int
    ) -> "Fitting":
        """Return a fit of a fresh model that has not begun."""
        with _forked(data.device):
            torch.manual_seed(seed)
            randomness = _randomness(data.device)
        return cls(
            model=model,
            optimizer=_optimizer(model, spec),
            watch=GradientWatch(model, gates, data.axes.sessions),
            shuffle=torch.Generator().manual_seed(seed),
            randomness=randomness,
        )

    @contextmanager
    def own_randomness(self, device: torch.device) -> Iterator[None]:
        """Draw from this fit's generators inside, and put torch's own back after."""
        with _forked(device):
            torch.set_rng_state(self.randomness[0])
            if device.type == "cuda":
                torch.cuda.set_rng_state(self.randomness[1], device)
            yield
            self.randomness = _randomness(device)


def fit(
    fitting: Fitting,
    data: Dataset,
    train_D: Tensor,
    valid_D: Tensor,
    loss: Loss,
    spec: TrainingSpec,
) -> Iterator[Epoch]:
    """Train in place, one optimiser step per batch of sessions, yielding after each epoch.

    Args:
        fitting: fresh, or as an earlier run left it.
        data: the resident tensors.
        train_D: places of the training sessions on the dataset's axis.
        valid_D: places of the validation sessions, consecutive.
        loss: of a batch.
        spec: lengths, rates, precision.

    Raises:
        DegenerateModel: the guard stopped it.
        TooFewNames: no validation session has enough names with a label.
    """
    gates = fitting.watch.gates
    while fitting.epochs < spec.max_epochs:
        with reproducible(spec.threads, data.device), fitting.own_randomness(data.device):
            start = perf_counter()
            parts = _train_epoch(fitting, data, train_D, loss, spec)
            trained = perf_counter()
            fitting.epochs += 1
            where = f"epoch {fitting.epochs}"
            spreads = _spreads(fitting.model, data, valid_D, spec)
            check_stages(spreads, gates, where)
            score_DNH = score_places(fitting.model, data, valid_D, spec)
            rank_ics, warnings = _judge(score_DNH, data, valid_D, gates, where)
        yield Epoch(
            number=fitting.epochs,
            loss=parts.pop("total"),
            parts=parts,
            valid_rank_ic=float(np.mean(rank_ics)),
            rank_ic=rank_ics,
            spreads=spreads,
            warnings=warnings,
            windows=int(data.mask_DN[train_D].sum()),
            seconds=(trained - start, perf_counter() - trained),
        )


def _train_epoch(
    fitting: Fitting, data: Dataset, train_D: Tensor, loss: Loss, spec: TrainingSpec
) -> dict[str, float]:
    """Take one step per batch; return the mean of the loss and of its parts."""
    model, optimizer, device = fitting.model, fitting.optimizer, data.device
    order_D = train_D[torch.randperm(len(train_D), generator=fitting.shuffle).to(device)]
    places = order_D.split(spec.batch_sessions)
    seen: list[Tensor] = []
    names: tuple[str, ...] = ()
    model.train()
    for place_B in places:
        batch = data.windows(place_B, spec.sequence)
        with torch.autocast(device.type, torch.bfloat16, enabled=spec.autocasts(device)):
            score_BNH = model(batch)
        value = loss(score_BNH, data.target_DNH[place_B], batch.mask_BN)
        optimizer.zero_grad(set_to_none=True)
        value.total.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), spec.clip)
        fitting.watch.step(value.total, norm, place_B)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(fitting.steps, len(places) * spec.max_epochs, spec)
        optimizer.step()
        fitting.steps += 1
        names = ("total", *value.parts)
        seen.append(torch.stack([value.total.detach(), *value.parts.values()]))
    fitting.watch.look()
    return dict(zip(names, torch.stack(seen).mean(0).tolist(), strict=True))


def learning_rate(step: int, n_steps: int, spec: TrainingSpec) -> float:
    """Return the rate of a step: linear warm-up to `learning_rate`, then half a cosine to 0."""
    warm = max(1, round(spec.warmup_share * n_steps))
    if step < warm:
        return spec.learning_rate * (step + 1) / warm
    return spec.learning_rate * 0.5 * (1 + cos(pi * (step - warm) / max(1, n_steps - warm)))


@torch.no_grad()
def score_places(model: Ranker, data: Dataset, place_D: Tensor, spec: TrainingSpec) -> Array:
    """Return the scores of sessions over the dataset's symbols, NaN where masked; on the host."""
    model.eval()
    found = []
    for place_B in place_D.split(VALID_BATCH):
        batch = data.windows(place_B, spec.sequence)
        with torch.autocast(data.device.type, torch.bfloat16, enabled=spec.autocasts(data.device)):
            score_BNH = model(batch)
        found.append(torch.where(batch.mask_BN[..., None], score_BNH, torch.nan))
    return torch.cat(found).double().cpu().numpy()


@contextmanager
def reproducible(threads: int, device: torch.device) -> Iterator[None]:
    """Compute with a fixed number of threads and deterministic kernels, then restore both.

    Bit equality is promised on the CPU; on CUDA a kernel without a deterministic form warns.
    """
    n_threads = torch.get_num_threads()
    mode = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # Only of use to find reads of memory never written, and it costs a pass over each tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def _judge(
    score_DNH: Array,
    data: Dataset,
    valid_D: Tensor,
    gates: GatesSpec,
    where: str,
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return the mean rank IC per horizon and what is odd; stop at what cannot be right."""
    place_D = valid_D.cpu().numpy()
    mask_DN = data.mask_DN[valid_D].cpu().numpy()
    rank_ics: list[float] = []
    warnings: list[str] = []
    for h, horizon in enumerate(data.axes.horizons):
        place = f"{where}, horizon {horizon}"
        warnings += check_scores(score_statistics(score_DNH[..., h], mask_DN), gates, place)
        return_DN = np.where(mask_DN, data.return_DNH[place_D, :, h], np.nan)
        ic_D = rank_ic(score_DNH[..., h], return_DN)
        if not np.isfinite(ic_D).any():
            raise TooFewNames(
                f"{place}: no validation session has 10 names with a score and a label; "
                "want a larger universe, or a longer split.valid_sessions"
            )
        n_D = (np.isfinite(score_DNH[..., h]) & np.isfinite(return_DN)).sum(axis=1).astype(float)
        warnings += check_rank_ic(ic_D, n_D, horizon, gates, place)
        rank_ics.append(float(np.nanmean(ic_D)))
    return tuple(rank_ics), tuple(warnings)


@torch.no_grad()
def _spreads(model: Ranker, data: Dataset, valid_D: Tensor, spec: TrainingSpec) -> dict[str, float]:
    """Return how far apart each stage puts symbols on a few validation sessions."""
    model.eval()
    few_B = valid_D[:: max(1, len(valid_D) // VALID_BATCH)][:VALID_BATCH]
    batch = data.windows(few_B, spec.sequence)
    with torch.autocast(data.device.type, torch.bfloat16, enabled=spec.autocasts(data.device)):
        return stage_spreads(model.stages(batch), batch.mask_BN)


def _optimizer(model: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """Return AdamW; only matrices decay: shrinking a norm or a bias is no regularisation."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((matrices, spec.weight_decay), (others, 0.0))
        if parameters
    ]
    return torch.optim.AdamW(groups, lr=spec.learning_rate, fused=True)


def _randomness(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


@contextmanager
def _forked(device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
