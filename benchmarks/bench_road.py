"""Seconds per stage of the whole road on the simulated market, and what lies outside the library.

The road is walked as `make demo` does, through Dagster, in a storage of its own: once stage by
stage in this process (the library alone), once as the demo's processes (start-up and Dagster
included).  Six months are decided.
"""

import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from alpha_assets.calendar import month_range
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.store import Store


def library(folder: Path) -> dict[str, float]:
    """Return seconds by stage of a run in this process."""
    market = load_market("sim")
    recipe = load_recipe("rolling_transformer", market)
    marks: list[tuple[str, float]] = []

    def mark(stage: str, what: str) -> None:
        marks.append((stage.partition("/")[0], time.perf_counter()))

    context = RecipeContext(market, Store(str(folder)), recipe=recipe, progress=mark)
    months = month_range("2023-07", "2023-12")
    runner.run(context, months[0], months[-1])
    marks.append(("end", time.perf_counter()))
    seconds: dict[str, float] = {}
    for (stage, start), (_, stop) in pairwise(marks):
        seconds[stage] = seconds.get(stage, 0.0) + stop - start
    return seconds


def through_dagster(folder: Path) -> float:
    """Return the seconds of the demo, from a cold start of its processes."""
    command = [str(Path(sys.executable).parent / "alpha-assets"), "demo", "--storage", str(folder)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as room:
        seconds = library(Path(room) / "library")
        whole = through_dagster(Path(room) / "demo")
    inside = sum(seconds.values())
    for stage, value in seconds.items():
        print(f"{stage:<16}{value:>8.1f} s")
    print(f"{'library':<16}{inside:>8.1f} s")
    print(
        f"{'demo':<16}{whole:>8.1f} s   {100 * (whole - inside) / whole:.0f} % outside the library"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    below = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory: {peak:,.0f} MiB in one process, {below:,.0f} MiB in the demo's largest")


if __name__ == "__main__":
    main()
