"""A step of training in float32 and in bf16, at the sizes and sequences of `rolling_transformer`.

A cell is a size, a sequence and a batch of rows (one session of so many symbols).  Both precisions
take warm-up steps, then 30 in turn, over three rounds; the ratio is the time of a float32 step over
that of a bf16 one: above 1, bf16 is faster.  Times are CPU seconds of the process, or the clock's
on CUDA.  A cell that would take longer than its limit takes fewer steps, which the table counts, or
is left out, judged by steps of few rows.  Nothing that trains reads these figures.

    python benchmarks/bench_precision.py [--rows 1000 20000] [--steps 30] [--limit 12]
"""

import argparse
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, process_time

import torch
from bench_training import Shape, market

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import Recipe, load_recipe
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.models.losses.base import build_loss

ROUNDS, WARM_UP, LEAST = 3, 5, 3
PROBED = 200  # rows of the steps by which a cell is left out
FEATURES = 71
SIZES = {"default": (), "medium": ("size=medium",), "full": ("size=full",)}
SEQUENCES = (5, 21)
PRECISIONS = (False, True)  # whether the forward pass is in bf16


def step_of(recipe: Recipe, data: Dataset, sequence: int, *, is_bf16: bool) -> Callable[[], float]:
    """Return a function that takes a step of training and returns its seconds."""
    sizes = Sizes(FEATURES, 0, sequence, 1, len(data.axes.symbols))
    torch.manual_seed(0)
    model = recipe.spec.model.build(sizes).to(data.device)
    loss, on_cuda = build_loss(*recipe.spec.loss), data.device.type == "cuda"
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    place_B = torch.tensor([sequence], device=data.device)
    clock = perf_counter if on_cuda else process_time

    def step() -> float:
        if on_cuda:
            torch.cuda.synchronize()
        start = clock()
        batch = data.windows(place_B, sequence)
        with torch.autocast(data.device.type, torch.bfloat16, enabled=is_bf16):
            score_BNH = model(batch).float()
        value = loss(score_BNH, data.target_DNH[place_B], batch.mask_BN)
        optimiser.zero_grad(set_to_none=True)
        value.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if on_cuda:
            torch.cuda.synchronize()
        return clock() - start

    model.train()
    return step


def cell(recipe: Recipe, rows: int, sequence: int, steps: int, limit: float, device: str) -> str:
    """Measure a cell; return its line after the names."""
    few = min(rows, PROBED)
    probe = market(Shape(few, 2, FEATURES, sequence, 1), device)
    probes = [step_of(recipe, probe, sequence, is_bf16=bf16) for bf16 in PRECISIONS]
    once = _second(probes) * rows / few
    if once * ROUNDS * LEAST > limit:
        return f"  left out: a step of each would take about {once:.1f} s"
    data = market(Shape(rows, 2, FEATURES, sequence, 1), device)
    pair = [step_of(recipe, data, sequence, is_bf16=bf16) for bf16 in PRECISIONS]
    once = _second(pair)
    n_steps = max(min(steps, int(limit / once / ROUNDS)), LEAST)
    for step in pair:
        for _ in range(WARM_UP - 2):
            step()
    rounds = [
        [sum(step() for _ in range(n_steps)) / n_steps for step in pair] for _ in range(ROUNDS)
    ]
    ratios = [plain / half for plain, half in rounds]
    speeds = [rows / median(one[k] for one in rounds) for k in (0, 1)]
    return (
        f"{n_steps:6d}{speeds[0]:14,.0f}{speeds[1]:14,.0f}{median(ratios):8.2f}"
        f"   {min(ratios):.2f} to {max(ratios):.2f}"
    )


def _second(steps: Sequence[Callable[[], float]]) -> float:
    """Return the seconds of the second step of each: a first one does what is done once."""
    return sum([step() for step in steps for _ in range(2)][1::2])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--limit", type=float, default=12.0, help="CPU seconds of a cell")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"on {device} ({torch.backends.cpu.get_cpu_capability()}), 1 thread, torch "
        f"{torch.__version__}, {FEATURES} features, {ROUNDS} rounds in turn"
    )
    print(
        f"{'size':10s}{'sequence':>9s}{'rows':>8s}{'steps':>6s}{'float32 row/s':>14s}"
        f"{'bf16 row/s':>14s}{'ratio':>8s}   least to greatest"
    )
    simulated = load_market("sim")
    for size, overrides in SIZES.items():
        recipe = load_recipe("rolling_transformer", simulated, overrides=overrides)
        for sequence in SEQUENCES:
            for rows in given.rows:
                line = cell(recipe, rows, sequence, given.steps, given.limit, device)
                print(f"{size:10s}{sequence:9d}{rows:8d}{line}", flush=True)


if __name__ == "__main__":
    main()
