"""Training: windows gathered by index from one resident tensor, beside a classic DataLoader.

Same model, same batch, same loop; only where the windows come from differs.  The ways run in
turn, several rounds, and the medians are printed.  CPU seconds are those of this process and,
for workers, of its children: they are steadier than wall time on a shared machine.

    python benchmarks/bench_training.py [--symbols 300] [--sessions 252] [--features 70]
        [--steps 5] [--batch 4] [--rounds 5]
"""

import argparse
import resource
from collections.abc import Iterator
from dataclasses import dataclass, fields
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from alpha_assets.dataset import Axes
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.models import TransformerSpec
from alpha_assets.models.losses import ICSpec
from alpha_assets.training import GuardSpec, TrainingSpec, WindowSpec
from alpha_assets.training.fit import Fitting, fit
from alpha_assets.training.settings import Plan

VALID = 8  # sessions scored at the end of an epoch; left out of the times


@dataclass(frozen=True)
class Shape:
    """Of one benchmark."""

    symbols: int
    sessions: int
    features: int
    steps: int
    batch: int


def market(shape: Shape, device: str) -> Dataset:
    """Return noise with one weak signal, resident on the device."""
    draw = torch.Generator().manual_seed(0)
    n_sessions = shape.sessions + shape.steps - 1 + VALID
    size = (n_sessions, shape.symbols)
    x_DNF = torch.randn(*size, shape.features, generator=draw)
    y_DN1 = 0.1 * x_DNF[..., :1] + torch.randn(*size, 1, generator=draw)
    symbols = tuple(f"S{n:05d}" for n in range(shape.symbols))
    names = tuple(f"f{f}" for f in range(shape.features))
    first = np.datetime64("2020-01-01")
    axes = Axes(first + np.arange(n_sessions), symbols, names, (), (1,), symbols, ("bank",))
    return Dataset(
        axes=axes,
        x_DNF=x_DNF.to(device),
        valid_DN=torch.ones(size, dtype=torch.bool, device=device),
        mask_DN=torch.ones(size, dtype=torch.bool, device=device),
        target_DNH=y_DN1.to(device),
        return_DNH=y_DN1.double().numpy(),
        symbol_id_N=torch.arange(1, shape.symbols + 1, device=device),
        sector_id_DN=torch.ones(size, dtype=torch.long, device=device),
        market_DM=torch.zeros(n_sessions, 0, device=device),
    )


class Windows(TorchDataset[tuple[Tensor, Tensor]]):
    """One window at a time, as loaders want it."""

    def __init__(self, data: Dataset, shape: Shape) -> None:
        self.x_NDF = data.x_DNF.cpu().transpose(0, 1).contiguous()
        self.y_DN = data.target_DNH[..., 0].cpu()
        self.shape = shape

    def __len__(self) -> int:
        return self.shape.sessions * self.shape.symbols

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        d, n = divmod(i, self.shape.symbols)
        return self.x_NDF[n, d : d + self.shape.steps], self.y_DN[d + self.shape.steps - 1, n]


class WholeSessions:
    """Shuffled batches of the windows of a few sessions: what a ranking loss needs."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def __iter__(self) -> Iterator[list[int]]:
        n = self.shape.symbols
        for some in torch.randperm(self.shape.sessions).split(self.shape.batch):
            yield (some[:, None] * n + torch.arange(n)).ravel().tolist()

    def __len__(self) -> int:
        return -(-self.shape.sessions // self.shape.batch)


def loader(data: Dataset, shape: Shape, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(
        Windows(data, shape),
        batch_sampler=WholeSessions(shape),
        num_workers=workers,
        pin_memory=data.device.type == "cuda",
    )


@dataclass(frozen=True, eq=False)
class Loaded(Dataset):
    """The same dataset, with training windows taken from a loader in the loader's order."""

    batches: Iterator[tuple[Tensor, Tensor]] | None = None

    def windows(self, place_B: Tensor, steps: int) -> Batch:
        """Return the loader's next batch, whatever was asked for."""
        found = super().windows(place_B[:0], steps)
        assert self.batches is not None
        x_RTF, _ = next(self.batches)
        n_sessions = len(x_RTF) // len(self.axes.symbols)
        shape = (n_sessions, len(self.axes.symbols), steps)
        ones = torch.ones(shape, dtype=torch.bool, device=self.device)
        return Batch(
            x_BNTF=x_RTF.to(self.device, non_blocking=True).view(*shape, -1),
            valid_BNT=ones,
            mask_BN=ones[..., 0],
            symbol_id_N=found.symbol_id_N,
            sector_id_BN=ones[..., 0].long(),
            market_BTM=self.market_DM.new_zeros(n_sessions, steps, 0),
        )


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def feed(data: Dataset, shape: Shape, workers: int | None) -> tuple[float, float]:
    """Return wall and CPU seconds of one epoch of batches that nobody reads."""
    wall, cpu = perf_counter(), cpu_seconds()
    if workers is None:
        order_D = torch.randperm(shape.sessions).to(data.device) + shape.steps - 1
        for place_B in order_D.split(shape.batch):
            data.windows(place_B, shape.steps)
    else:
        for x_RTF, _ in loader(data, shape, workers):
            x_RTF.to(data.device, non_blocking=True)
    if data.device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - wall, cpu_seconds() - cpu


def train(data: Dataset, shape: Shape, workers: int | None) -> tuple[float, float]:
    """Return wall and CPU seconds of one epoch of training; the CPU's include validation."""
    plan = Plan(
        loss=(ICSpec(),),
        window=WindowSpec(sequence=shape.steps),
        training=TrainingSpec(batch_sessions=shape.batch, max_epochs=1),
        guard=GuardSpec(rank_ic_max=1.0),
    )
    sizes = Sizes(shape.features, 0, shape.steps, 1, shape.symbols)
    torch.manual_seed(0)
    model = TransformerSpec().build(sizes).to(data.device)
    train_D = torch.arange(shape.sessions, device=data.device) + shape.steps - 1
    # Validation is the same few sessions either way; the loader's batch stands in for them.
    valid_D = torch.arange(VALID, device=data.device) + shape.sessions + shape.steps - 1
    source = data
    if workers is not None:
        kept = {field.name: getattr(data, field.name) for field in fields(data)}
        source = Loaded(**kept, batches=_with_validation(data, shape, workers, valid_D))
    fitting = Fitting.start(model, source, plan, seed=0)
    cpu = cpu_seconds()
    (epoch,) = fit(fitting, source, train_D, valid_D, plan)
    return epoch.seconds[0], cpu_seconds() - cpu


def _with_validation(
    data: Dataset, shape: Shape, workers: int, valid_D: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    yield from loader(data, shape, workers)
    batch = data.windows(valid_D, shape.steps)
    x_RTF = batch.x_BNTF.reshape(-1, shape.steps, shape.features)
    while True:  # once for the guard's stages, once for the scores
        yield x_RTF, x_RTF


def on_cuda(data: Dataset, shape: Shape) -> str:
    """Return the device's busy share and memory during an epoch from the resident tensor."""
    if data.device.type != "cuda":
        return "busy share and device memory: not measured, there is no CUDA device here"
    from torch.profiler import ProfilerActivity, profile

    train(data, shape, None)
    torch.cuda.reset_peak_memory_stats()
    wall, _ = train(data, shape, None)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        train(data, shape, None)
    busy = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
    peak = torch.cuda.max_memory_allocated() / 2**30
    return (
        f"{torch.cuda.get_device_name()}: kernels take {busy / wall:.0%} of an epoch's {wall:.2f} s"
        f" (validation's included), peak memory {peak:.2f} GiB"
    )


WAYS: tuple[tuple[str, int | None], ...] = (
    ("resident tensor, gathered by index", None),
    ("DataLoader, 0 workers", 0),
    ("DataLoader, 2 workers", 2),
)


def table(title: str, rounds: list[list[tuple[float, float]]], windows: int) -> None:
    """Print the medians of each way and how they compare with the resident tensor."""
    print(f"\n{title}")
    print(f"{'':38s}{'windows/s':>12s}{'CPU us/window':>15s}{'x wall':>9s}{'x CPU':>8s}")
    for way, (name, _) in enumerate(WAYS):
        wall = median(one[way][0] for one in rounds)
        cpu = median(one[way][1] for one in rounds)
        times = [median(one[way][k] / one[0][k] for one in rounds) for k in (0, 1)]
        print(
            f"{name:38s}{windows / wall:12,.0f}{cpu / windows * 1e6:15.2f}"
            f"{times[0]:9.2f}{times[1]:8.2f}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("symbols", 300), ("sessions", 252), ("features", 70), ("steps", 5),
                          ("batch", 4), ("rounds", 5)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    n_rounds = given.pop("rounds")
    shape = Shape(**given)
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = market(shape, device)
    windows = shape.sessions * shape.symbols
    print(
        f"{shape.symbols} symbols x {shape.sessions} sessions x {shape.features} features, windows "
        f"of {shape.steps}, batches of {shape.batch} sessions, on {device}, 1 thread, torch "
        f"{torch.__version__}, median of {n_rounds} rounds in turn"
    )
    for title, measure in (("data path alone", feed), ("end to end: Transformer d 32, IC", train)):
        measure(data, shape, None)  # warm up
        rounds = [[measure(data, shape, workers) for _, workers in WAYS] for _ in range(n_rounds)]
        table(title, rounds, windows)
    print("\n" + on_cuda(data, shape))


if __name__ == "__main__":
    main()
