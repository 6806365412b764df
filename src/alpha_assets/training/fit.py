"""The loop, once for every model: a generator of epochs.

The caller decides what an epoch is for: log it, keep its weights, stop asking.  Everything
random comes from one seed, is drawn inside the epoch and put away between epochs, so that a
fit that is taken up again goes on with the same bits.
Shape letters: D sessions, N symbols, T steps, H horizons, B sessions of a batch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import cos, pi
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from alpha_assets.arrays.types import Array
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.models.base import Output, Ranker
from alpha_assets.models.losses.base import Extras, Loss, build_loss
from alpha_assets.training.degeneracy import check_stages, stage_spreads
from alpha_assets.training.estimator import Epoch
from alpha_assets.training.gradient_monitor import GradientWatch
from alpha_assets.training.judge import guard_rank_ic, guard_scores, judge
from alpha_assets.training.memory import (
    SMALLER,
    halves,
    largest_that_fits,
    smaller_session,
    within_memory,
)
from alpha_assets.training.samplers import Places, batches, n_batches
from alpha_assets.training.settings import OptimiserSpec, Plan, TrainingSpec

VALID_BATCH = 8  # sessions scored at a time
GUARDED = 42  # training sessions that the guard looks at where there is no validation


@dataclass(eq=False)
class Fitting:
    """A model between two epochs, with all that its next epoch depends on.

    Attributes:
        model: on its device.
        optimizer: of the model.
        watch: of its gradients.
        shuffle: draws the order of sessions and what terms of the loss draw, on the host.
        randomness: torch's generators as the last epoch left them, host first, then CUDA.
        average: of weights, with its model; None where they are not averaged.
        epochs: done so far.
        steps: done so far; the learning rate is a function of it.
    """

    model: Ranker
    optimizer: torch.optim.Optimizer
    watch: GradientWatch
    shuffle: torch.Generator
    randomness: list[Tensor]
    average: AveragedModel | None = None
    epochs: int = 0
    steps: int = 0

    @classmethod
    def start(cls, model: Ranker, data: Dataset, plan: Plan, seed: int) -> "Fitting":
        """Return a fit of a fresh model that has not begun."""
        with _forked(data.device):
            torch.manual_seed(seed)
            randomness = _randomness(data.device)
        return cls(
            model=model,
            optimizer=_optimizer(model, plan.optimiser),
            watch=GradientWatch(model, plan.guard, data.axes.sessions),
            shuffle=torch.Generator().manual_seed(seed),
            randomness=randomness,
            average=_average(model, plan.training),
        )

    @property
    def judged(self) -> Ranker:
        """The model that validation judges: the averaged one, once there is an average."""
        if self.average is None or not int(self.average.n_averaged):
            return self.model
        averaged = self.average.module
        assert isinstance(averaged, Ranker)
        return averaged

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
    fitting: Fitting, data: Dataset, train_D: Tensor, valid_D: Tensor, plan: Plan
) -> Iterator[Epoch]:
    """Train in place, one optimiser step per batch of sessions, yielding after each epoch.

    Args:
        fitting: fresh, or as an earlier run left it.
        data: the resident tensors.
        train_D: places of the training sessions on the dataset's axis.
        valid_D: places of the validation sessions, rising; empty: nothing selects.
        plan: loss, lengths, rates, precision, guard.

    Raises:
        DegenerateModel: the guard stopped it.
        TooFewNames: no validation session has enough names with a label.
        OutOfMemory: a step or the validation does not fit; the message says what does.
    """
    loss, spec = build_loss(*plan.loss), plan.training
    looked_at_D = valid_D if len(valid_D) else train_D[-GUARDED:]
    while fitting.epochs < spec.max_epochs:
        with reproducible(spec.threads, data.device), fitting.own_randomness(data.device):
            start = perf_counter()
            with within_memory(
                f"a step over {min(spec.batch_sessions, len(train_D))} sessions",
                data.device,
                partial(_smaller_step, fitting, data, train_D, loss, plan),
            ):
                parts = _train_epoch(fitting, data, train_D, loss, plan)
            trained = perf_counter()
            fitting.epochs += 1
            where = f"epoch {fitting.epochs}"
            with within_memory(f"scores of {VALID_BATCH} sessions", data.device, lambda: SMALLER):
                spreads = _spreads(fitting.judged, data, looked_at_D, plan)
                score_DNH = score_places(fitting.judged, data, looked_at_D, plan)
            check_stages(spreads, plan.guard, where)
            warnings = guard_scores(score_DNH, data, looked_at_D, plan.guard, where)
            epoch = Epoch(
                number=fitting.epochs,
                loss=parts.pop("total"),
                parts=parts,
                valid_rank_ic=None,
                rank_ic=(),
                spreads=spreads,
                warnings=warnings,
                windows=int(data.mask_DN[train_D].sum()),
                seconds=(trained - start, 0.0),
            )
            if len(valid_D):
                valid_loss = None
                if spec.selection == "loss":
                    valid_loss = _valid_loss(fitting.judged, data, valid_D, loss, plan)
                judged = judge(score_DNH, data, valid_D, plan, where, valid_loss)
                high = guard_rank_ic(judged, data.axes.horizons, plan.guard, where)
                epoch = replace(judged.added_to(epoch), warnings=(*warnings, *high))
            epoch = replace(epoch, seconds=(trained - start, perf_counter() - trained))
        yield epoch


def _smaller_step(fitting: Fitting, data: Dataset, train_D: Tensor, loss: Loss, plan: Plan) -> str:
    """Return what to lower where a step does not fit: how many sessions do, tried on the data."""
    model, spec = fitting.model, plan.training

    def attempt(n: int) -> None:
        model.zero_grad(set_to_none=True)
        draws = torch.Generator().manual_seed(0)
        fewer = spec.model_copy(update={"batch_sessions": n})
        # Blocks differ in length by what is left of a run: the longest batch must fit, too.
        places = max(batches(train_D, fewer, draws), key=lambda one: len(one.place_B))
        batch = data.windows(places.place_B, plan.window.sequence)
        loss(*_judged_by(model, data, batch, places, plan, draws)).total.backward()

    unit = spec.block_sessions if spec.sampler == "blocks" else 1
    tried = halves(min(spec.batch_sessions, len(train_D)), unit)
    fits = largest_that_fits(attempt, tried, data.device)
    if fits is not None:
        return (
            f"training.batch_sessions = {spec.batch_sessions} asks for it, and {fits} fit, tried "
            f"on the same sessions: set training.batch_sessions = {fits}"
        )
    return smaller_session(model, data.windows(train_D[:1], plan.window.sequence))


def _train_epoch(
    fitting: Fitting, data: Dataset, train_D: Tensor, loss: Loss, plan: Plan
) -> dict[str, float]:
    """Take one step per batch; return the mean of the loss and of its parts."""
    model, optimizer, spec = fitting.model, fitting.optimizer, plan.training
    n_steps = n_batches(train_D, spec) * spec.max_epochs
    seen: list[Tensor] = []
    names: tuple[str, ...] = ()
    model.train()
    for places in batches(train_D, spec, fitting.shuffle):
        batch = data.windows(places.place_B, plan.window.sequence)
        value = loss(*_judged_by(model, data, batch, places, plan, fitting.shuffle))
        optimizer.zero_grad(set_to_none=True)
        value.total.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), plan.optimiser.clip)
        fitting.watch.step(value.total, norm, places.place_B)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(fitting.steps, n_steps, plan.optimiser)
        optimizer.step()
        fitting.steps += 1
        if spec.average == "ema":
            _add_to_average(fitting, spec)
        names = ("total", *value.parts)
        seen.append(torch.stack([value.total.detach(), *value.parts.values()]))
    if spec.average == "swa":
        _add_to_average(fitting, spec)
    fitting.watch.look()
    return dict(zip(names, torch.stack(seen).mean(0).tolist(), strict=True))


def _average(model: Ranker, spec: TrainingSpec) -> AveragedModel | None:
    """Return an average of a model's weights that nothing has entered yet."""
    if spec.average == "none":
        return None
    if spec.average == "ema":
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(spec.average_decay))
    return AveragedModel(model, multi_avg_fn=get_swa_multi_avg_fn())


def _add_to_average(fitting: Fitting, spec: TrainingSpec) -> None:
    """Let the weights enter the average, from `average_from` on; the first are the average."""
    assert fitting.average is not None
    if fitting.epochs + 1 >= spec.average_from:  # of the epoch that is being trained
        fitting.average.update_parameters(fitting.model)


def _judged_by(
    model: Ranker, data: Dataset, batch: Batch, places: Places, plan: Plan, shuffle: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Extras]:
    """Return scores, targets, mask and extras of a batch: what the loss compares."""
    made = _output(model, batch, plan)
    extras = _extras(model, data, made.quantile_BNHQ, places, plan, shuffle)
    return made.score_BNH, data.target_DNH[places.place_B], batch.mask_BN, extras


def _extras(
    model: Ranker,
    data: Dataset,
    quantile_BNHQ: Tensor | None,
    places: Places,
    plan: Plan,
    draws: torch.Generator,
) -> Extras:
    """Return what the terms of a plan read beside scores and targets.

    Args:
        model: with its quantiles.
        data: with returns and columns.
        quantile_BNHQ: of the sessions.
        places: of the sessions.
        plan: with the terms.
        draws: on the host; random numbers are taken from it only where a term reads them.
    """
    place_B, axes = places.place_B, data.axes
    return_BNH = draw_BN = None
    if any(term.needs_returns for term in plan.loss):
        return_DNH = data.return_DNH[place_B.cpu().numpy()]
        return_BNH = torch.from_numpy(return_DNH).float().to(data.device)
    if any(term.needs_draws for term in plan.loss):
        shape = (len(place_B), len(axes.symbols))
        # Float64, so that no two names draw the same.
        draw_BN = torch.rand(shape, generator=draws, dtype=torch.float64).to(data.device)
    columns = {name for term in plan.loss for name in term.columns}
    unknown_BN = ~data.valid_DN[place_B]
    return Extras(
        levels=model.quantiles,
        quantile_BNHQ=quantile_BNHQ,
        return_BNH=return_BNH,
        follows_B=places.follows_B,
        horizons=axes.horizons,
        draw_BN=draw_BN,
        column_BN={
            name: data.x_DNF[place_B, :, axes.features.index(name)]
            .float()
            .masked_fill(unknown_BN, torch.nan)
            for name in sorted(columns)
        },
    )


def _output(model: Ranker, batch: Batch, plan: Plan) -> Output:
    """Return what the model says of a batch, in the training's precision."""
    device = batch.x_BNTF.device
    with torch.autocast(device.type, torch.bfloat16, enabled=plan.training.autocasts(device)):
        return model.infer(batch)


@torch.no_grad()
def _valid_loss(model: Ranker, data: Dataset, valid_D: Tensor, loss: Loss, plan: Plan) -> float:
    """Return the loss of the validation sessions, all in one."""
    model.eval()
    whole: list[Output] = []
    for place_B in valid_D.split(VALID_BATCH):
        whole.append(_output(model, data.windows(place_B, plan.window.sequence), plan))
    follows_B = torch.ones(len(valid_D), dtype=torch.bool, device=data.device)
    follows_B[1:] = valid_D.diff() == 1
    follows_B[0] = False
    quantiles = [made.quantile_BNHQ for made in whole if made.quantile_BNHQ is not None]
    same = torch.Generator().manual_seed(0)  # draws of every epoch, so that losses compare
    quantile_BNHQ = torch.cat(quantiles) if quantiles else None
    extras = _extras(model, data, quantile_BNHQ, Places(valid_D, follows_B), plan, same)
    score_BNH = torch.cat([made.score_BNH for made in whole])
    return float(loss(score_BNH, data.target_DNH[valid_D], data.mask_DN[valid_D], extras).total)


def learning_rate(step: int, n_steps: int, spec: OptimiserSpec) -> float:
    """Return the rate of a step: a linear warm-up to `learning_rate`, then the schedule to 0."""
    warm = max(1, round(spec.warmup_share * n_steps))
    if step < warm:
        return spec.learning_rate * (step + 1) / warm
    share = min(1.0, (step - warm) / max(1, n_steps - warm))
    if spec.schedule == "constant":
        return spec.learning_rate
    if spec.schedule == "linear":
        return spec.learning_rate * (1 - share)
    return spec.learning_rate * 0.5 * (1 + cos(pi * share))


@torch.no_grad()
def score_places(model: Ranker, data: Dataset, place_D: Tensor, plan: Plan) -> Array:
    """Return the scores of sessions over the dataset's symbols, NaN where masked; on the host."""
    model.eval()
    found = []
    for place_B in place_D.split(VALID_BATCH):
        batch = data.windows(place_B, plan.window.sequence)
        score_BNH = _output(model, batch, plan).score_BNH
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
    # As `torch.use_deterministic_algorithms` does, which also loads the compiler, a second or more
    # in each process, to set a flag of it; nothing is compiled here.
    torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
    # Only of use to find reads of memory never written, and it costs a pass over each tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


@torch.no_grad()
def _spreads(model: Ranker, data: Dataset, place_D: Tensor, plan: Plan) -> dict[str, float]:
    """Return how far apart each stage puts symbols on a few sessions."""
    model.eval()
    few_B = place_D[:: max(1, len(place_D) // VALID_BATCH)][:VALID_BATCH]
    batch = data.windows(few_B, plan.window.sequence)
    enabled = plan.training.autocasts(data.device)
    with torch.autocast(data.device.type, torch.bfloat16, enabled=enabled):
        return stage_spreads(model.stages(batch), batch.mask_BN)


def _optimizer(model: nn.Module, spec: OptimiserSpec) -> torch.optim.Optimizer:
    """Return AdamW; only matrices decay: shrinking a norm or a bias is no regularisation."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((matrices, spec.weight_decay), (others, 0.0))
        if parameters
    ]
    return _AdamW(groups, lr=spec.learning_rate, fused=True)


def _bare(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of an optimiser without what keeps the compiler from it."""
    bare: Callable[..., Any] = getattr(method, "__wrapped__", method)
    return bare


class _AdamW(torch.optim.AdamW):
    """AdamW as torch has it, but for what keeps the compiler from its methods.

    That loads the compiler, more than a second in each process; nothing is compiled here.
    """

    add_param_group = _bare(torch.optim.Optimizer.add_param_group)
    load_state_dict = _bare(torch.optim.Optimizer.load_state_dict)
    state_dict = _bare(torch.optim.Optimizer.state_dict)
    zero_grad = _bare(torch.optim.Optimizer.zero_grad)
    step = torch.no_grad()(_bare(torch.optim.Adam.step))


def _randomness(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


@contextmanager
def _forked(device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
