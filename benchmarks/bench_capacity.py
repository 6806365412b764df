"""A capacity curve in one pass beside one run of the simulator for each capital.

    python benchmarks/bench_capacity.py [--symbols 2000] [--sessions 2520] [--pairs 1]

The market of `bench_backtest` with all frictions, weekly top and bottom tenth, 20 capitals.
Both start from the same arrays of the market; returns are compared to 1e-9 before the clock
starts.  CPU seconds of the process.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from bench_backtest import ALL_COSTS, CAPPED, make_case

from alpha_assets.backtest.capacity import capacity, capitals_around
from alpha_assets.backtest.rebalances import targets_by_session
from alpha_assets.backtest.simulator import walk

SAME = 1e-9


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return how much processor time one call takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=2_000)
    parser.add_argument("--sessions", type=int, default=2_520)
    parser.add_argument("--pairs", type=int, default=1)
    asked = parser.parse_args()
    case = make_case(asked.symbols, asked.sessions, frictions=True)
    marks = case.marks()
    wanted = targets_by_session(case.targets, marks)
    capitals = capitals_around(CAPPED.capital)
    specs = [CAPPED.model_copy(update={"capital": capital}) for capital in capitals.tolist()]
    found = capacity(wanted, marks, CAPPED, ALL_COSTS, capitals)
    worst = 0.0
    for net_D, spec in zip(found.net_return, specs, strict=True):
        alone_D = np.array([day[1] for day in walk(wanted, marks, spec, ALL_COSTS).days])
        worst = max(worst, float(np.abs(net_D - alone_D).max()))
    assert worst < SAME, f"returns differ by {worst}"
    once, alone = [], []
    for _ in range(asked.pairs):
        once.append(cpu_seconds(lambda: capacity(wanted, marks, CAPPED, ALL_COSTS, capitals)))
        alone.append(cpu_seconds(lambda: [walk(wanted, marks, spec, ALL_COSTS) for spec in specs]))
    print(f"{asked.symbols:,} symbols x {asked.sessions:,} sessions, {len(specs)} capitals\n")
    print(f"{'':<34}{'CPU seconds':>12}")
    print(f"{'one pass':<34}{median(once):>12.2f}")
    print(f"{'a run for each capital':<34}{median(alone):>12.2f}")
    print(f"ratio {median(alone) / median(once):.1f}; returns differ by {worst:.0e}")


if __name__ == "__main__":
    main()
