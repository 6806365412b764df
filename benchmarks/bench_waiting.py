"""What a newcomer waits for: the demo, and verbs that make nothing, beside their goals.

    python benchmarks/bench_waiting.py [--storage FOLDER] [--calls 3]

Files are compiled as Python keeps them, whatever the environment says, in a folder of its own.
Without `--storage` the demo is made first, in a folder of its own, and timed; with it the verbs
are timed on the demo that lies there.  Of each verb the call that took least CPU time is shown,
its imports included; `run` is shown beside a process that only imports.  The goals of the verbs
are CPU seconds, that of the demo is wall time on two cores that are free: mind the load.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

RECIPE, FIRST, LAST = "rolling_transformer", "2023-07", "2023-12"
ALPHA = (sys.executable, "-W", "ignore", "-m", "alpha_assets")


class Took(NamedTuple):
    """Seconds of a process and of the processes that it started."""

    cpu: float
    wall: float


def took(command: Sequence[str]) -> Took:
    """Run a command and return what it took; it must succeed."""
    before, start = os.times(), time.perf_counter()
    ran = subprocess.run(
        command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    after, wall = os.times(), time.perf_counter() - start
    if ran.returncode:
        sys.stderr.write(ran.stderr)
        raise SystemExit(f"{' '.join(command)} failed with {ran.returncode}; its words are above")
    cpu = after.children_user - before.children_user
    return Took(cpu + after.children_system - before.children_system, wall)


class Wait(NamedTuple):
    """What somebody waits for: its name, what it took, the figure that is judged, and its goal."""

    name: str
    found: Took
    measured: float
    goal: float


def waits(storage: str | None, calls: int) -> Iterator[Wait]:
    """Yield each wait as it is measured: the demo, where no storage holds it, then the verbs."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as room, tempfile.TemporaryDirectory() as compiled:
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        stored = ("--storage", storage or room)
        if storage is None:
            demo = took((*ALPHA, "demo", *stored))
            yield Wait("demo", demo, demo.wall, 45.0)

        def least(*arguments: str, of: Sequence[str] = ALPHA) -> Took:
            return min(took((*of, *arguments)) for _ in range(calls))

        for name, arguments in {
            "--help": ("--help",),
            "recipes": ("recipes",),
            "markets": ("markets",),
            "status": ("status", *stored),
            "sql": ("sql", "select count(*) as n from panel", *stored),
        }.items():
            found = least(*arguments)
            yield Wait(name, found, found.cpu, 0.6)
        imports = least("-W", "ignore", "-c", "import alpha_assets.project", of=(sys.executable,))
        yield Wait("imports of run", imports, imports.cpu, 0.6)
        span = ("--first-month", FIRST, "--last-month", LAST)
        found = least("run", "--recipe", RECIPE, *span, *stored)
        yield Wait("run, nothing stale", found, found.cpu - imports.cpu, 1.0)


def row(wait: Wait) -> str:
    """Return a line: what was measured, the goal, whether it is met, and the load."""
    met = "met" if wait.measured <= wait.goal else "missed"
    seconds = f"{wait.found.cpu:>8.2f}{wait.found.wall:>8.2f}{wait.goal:>8.1f}"
    return f"{wait.name:<28}{seconds}  {met:<8}{os.getloadavg()[0]:>6.1f}"


def main() -> None:
    """Print every wait beside its goal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--storage")
    parser.add_argument("--calls", type=int, default=3)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores\n")
    print(f"{'':<28}{'CPU s':>8}{'wall s':>8}{'goal':>8}  {'':<8}{'load':>6}")
    for wait in waits(asked.storage, asked.calls):
        print(row(wait), flush=True)


if __name__ == "__main__":
    main()
