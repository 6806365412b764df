"""Loss terms: milliseconds of CPU time, forward and backward, one thread.

A few large cross-sections of many sessions (4 x 500 names) and one of a whole market (1 x 4,000).
The terms run in turn, several rounds, and the least is shown; `mse` is the scale.

Run: python benchmarks/bench_losses.py [rounds]
"""

import sys
import time
from typing import Any, get_args

import torch

from alpha_assets.models.losses import LossSpec, TermSpec
from alpha_assets.models.losses.base import Extras, build_loss

SHAPES = ((4, 500), (1, 4_000))
LEVELS = (0.1, 0.5, 0.9)
NEEDED: dict[str, dict[str, Any]] = {"decorrelation": {"column": "factor"}}
VARIANTS: dict[str, dict[str, Any]] = {
    "pairwise_logistic": {"shifts": 0},
    "sharpe": {"cost_bps": 10.0},
}
REPEATS = 10  # of a term in a round


def terms() -> dict[str, TermSpec]:
    """Return every kind by name, and variants that compute something else."""
    found = {}
    for kind in get_args(get_args(LossSpec)[0]):
        name = kind.model_fields["kind"].default
        found[name] = kind(**NEEDED.get(name, {}))
        if name in VARIANTS:
            words = ", ".join(f"{key} = {value}" for key, value in VARIANTS[name].items())
            found[f"{name}, {words}"] = kind(**NEEDED.get(name, {}), **VARIANTS[name])
    return found


def milliseconds(spec: TermSpec, n_sessions: int, n_symbols: int) -> float:
    """Return the CPU time of one forward and backward pass."""
    draw = torch.Generator().manual_seed(0)
    shape = (n_sessions, n_symbols, 1)
    score_BNH = torch.randn(shape, generator=draw, requires_grad=True)
    target_BNH = torch.randn(shape, generator=draw)
    extras = Extras(
        levels=LEVELS,
        quantile_BNHQ=score_BNH[..., None] + torch.tensor([-1.0, 0.0, 1.0]),
        return_BNH=0.02 * target_BNH,
        follows_B=torch.arange(n_sessions) > 0,
        horizons=(1,),
        draw_BN=torch.rand(n_sessions, n_symbols, generator=draw, dtype=torch.float64),
        column_BN={"factor": torch.randn(n_sessions, n_symbols, generator=draw)},
    )
    mask_BN = torch.rand(n_sessions, n_symbols, generator=draw) > 0.1
    loss = build_loss(spec)
    start = time.process_time()
    for _ in range(REPEATS):
        value = loss(score_BNH, target_BNH, mask_BN, extras).total
        torch.autograd.grad(value, score_BNH, retain_graph=True)
    return 1e3 * (time.process_time() - start) / REPEATS


def main(rounds: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    timed = terms()
    best = {(name, shape): float("inf") for name in timed for shape in SHAPES}
    for _ in range(rounds + 1):  # the first warms up
        for (name, shape), least in best.items():
            best[name, shape] = min(least, milliseconds(timed[name], *shape))
    print(f"forward and backward, CPU ms, 1 thread, torch {torch.__version__}, best of {rounds}")
    print(f"{'term':36s}" + "".join(f"{f'[{b}, {n}]':>14s}{'x mse':>8s}" for b, n in SHAPES))
    for name in timed:
        cells = (f"{best[name, s]:14.2f}{best[name, s] / best['mse', s]:8.1f}" for s in SHAPES)
        print(f"{name:36s}" + "".join(cells))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
