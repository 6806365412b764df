"""What workers bring: months of models, trained by one process and by several, in turn.

    python benchmarks/bench_workers.py [--months 12] [--workers 2] [--pairs 1] [--storage FOLDER]

Models and scores of the last months of `rolling_transformer` on `sim`; what they are made from is
made first, once.  Each trial is a process of its own, which starts its workers, and is timed from
its start to its end: reading and start-up are in it.  The content of both must be the same.  The
goal is of ten years of months on two free cores, where start-up is nothing: mind the load.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

RECIPE, MARKET = "rolling_transformer", "sim"
GOAL = 0.55  # of one core's wall time, for ten years of months on two cores
TRIAL = """
import json, sys
from alpha_assets import project
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.executor import executor_named, tasks_of
from alpha_assets.pipeline.frontier import months_of_data
from alpha_assets.pipeline.stages import stage_of

storage, workers, n_months = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
context = project.open_context(
    "rolling_transformer", storage=storage, device="cpu", overrides=sys.argv[4:]
)
if not workers:
    context = runner.ingest_all(context)
    runner.make_market_stages(context, months_of_data(context))
    sys.exit()
stages = [stage_of(context, name) for name in ("checkpoint", "predictions")]
months = months_of_data(context)[-n_months:]
tasks = tasks_of(context, stages, months)
executor_named(workers, context).run(tasks, lambda *_: None)
made = {f"{s.name} {m}": s.made(context, m).content_hash for s in stages for m in months}
print(json.dumps(made))
"""


def trial(
    storage: Path, workers: int, n_months: int, overrides: Sequence[str] = ()
) -> tuple[dict[str, str], float, float]:
    """Return the content hashes, wall and CPU seconds of a trial; 0 workers: what is read.

    The overrides are those of the verbs, `market.sim.n_symbols=500` for example, and the same in
    all trials on a storage.
    """
    shutil.rmtree(storage / MARKET / RECIPE, ignore_errors=True)
    command = [sys.executable, "-W", "ignore", "-c", TRIAL, str(storage), str(workers)]
    before, start = os.times(), time.perf_counter()
    ran = subprocess.run(
        [*command, str(n_months), *overrides], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    after, wall = os.times(), time.perf_counter() - start
    cpu = after.children_user - before.children_user + after.children_system
    return json.loads(ran or "{}"), wall, cpu - before.children_system


def main() -> None:
    """Print each trial and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--storage", help="where the market's stages are, or are made and stay")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        storage = Path(asked.storage or room)
        trial(storage, 0, 0)
        print(f"{len(os.sched_getaffinity(0))} cores, {asked.months} months of {RECIPE}\n")
        print(f"{'workers':>8}{'wall s':>9}{'CPU s':>9}{'load':>7}")
        ratios = []
        for _ in range(asked.pairs):
            walls, contents = [], []
            for workers in (1, asked.workers):
                content, wall, cpu = trial(storage, workers, asked.months)
                walls.append(wall)
                contents.append(content)
                print(f"{workers:>8}{wall:>9.1f}{cpu:>9.1f}{os.getloadavg()[0]:>7.1f}", flush=True)
            assert contents[0] == contents[1], "workers change the content"
            ratios.append(walls[1] / walls[0])
        found = median(ratios)
        met = "met" if found <= GOAL else "missed"
        print(f"\nratio of wall time: {found:.2f}, goal {GOAL}, {met}")


if __name__ == "__main__":
    main()
