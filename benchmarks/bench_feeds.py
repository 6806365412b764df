"""Every feed and the whole catalogue at size: as-of join, features, one new day; time and memory.

    python benchmarks/bench_feeds.py [--symbols 1000] [--years 3] [--keep FOLDER]

The simulated exchange publishes every feed; each stage runs in a process of its own, whose
greatest resident size is printed.  `one new day` removes the last month's folders and makes
them again, which is what an update does.  A goal is under 12 GB at 4,000 symbols and ten years.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from alpha_assets.calendar import month_range
from alpha_assets.config.market import load_market
from alpha_assets.pipeline import raw
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.frontier import months_of_data
from alpha_assets.pipeline.stages import make
from alpha_assets.store.store import Store

LAST_YEAR = 2023
NOTES = "bench.jsonl"
DAY_GOAL, PEAK_GOAL = 0.02, 12.0
STAGES = ("ingest", "panel", "features", "cross_section", "day")


def main() -> None:
    """Run the stages one after the other and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1_000)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--keep", help="folder to work in, kept afterwards")
    parser.add_argument("--stage", choices=STAGES)
    asked = parser.parse_args()
    if asked.stage:
        run(asked.stage, asked.symbols, asked.years, Path(asked.keep))
        return
    folder = Path(asked.keep or tempfile.mkdtemp())
    print(f"{asked.symbols} symbols, {asked.years} years; load {os.getloadavg()[0]:.1f}")
    print(f"{'stage':<16}{'wall s':>9}{'CPU s':>9}{'peak GB':>9}  what", flush=True)
    sizes = ["--symbols", str(asked.symbols), "--years", str(asked.years), "--keep", str(folder)]
    for stage in STAGES:
        command = [sys.executable, __file__, *sizes, "--stage", stage]
        subprocess.run(command, check=True)
    judge(folder)
    if not asked.keep:
        shutil.rmtree(folder)


def judge(folder: Path) -> None:
    """Print the goals and whether they were met."""
    lines = (folder / NOTES).read_text(encoding="utf-8").splitlines()[-len(STAGES) :]
    told = {note["stage"]: note for note in map(json.loads, lines)}
    full = sum(told[stage]["cpu"] for stage in ("panel", "features", "cross_section"))
    share = told["day"]["cpu"] / full
    peak = max(note["peak"] for note in told.values())
    print(
        f"one new day, its month made again: {share:.1%} of the full build's CPU time, goal "
        f"{DAY_GOAL:.0%}: {'met' if share < DAY_GOAL else 'MISSED'}"
    )
    print(f"peak {peak:.1f} GB, goal {PEAK_GOAL:.0f}: {'met' if peak < PEAK_GOAL else 'MISSED'}")


def run(stage: str, n_symbols: int, years: int, folder: Path) -> None:
    """Make one stage and print what it took."""
    first = f"{LAST_YEAR - years + 1}-01-06"
    overrides = [f"sim.n_symbols={n_symbols}", f"sim.first={first}"]
    market = load_market("sim", overrides=overrides)
    context = MarketContext(
        market, Store(str(folder)), clock=lambda: datetime(2024, 2, 1, tzinfo=UTC)
    )
    if stage == "ingest":
        market.source.rows("rates")  # the market itself is made outside of the measurement
    wall, cpu = time.perf_counter(), time.process_time()
    what = work(stage, context)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    note = {"stage": stage, "wall": wall, "cpu": cpu, "peak": peak}
    with (folder / NOTES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(note) + "\n")
    print(f"{stage:<16}{wall:>9.1f}{cpu:>9.1f}{peak:>9.2f}  {what}", flush=True)


def work(stage: str, context: RecipeContext) -> str:
    """Make one stage; return what was made."""
    if stage == "ingest":
        made = [raw.ingest_feed(context, feed) for feed in context.market.feeds]
        return f"{sum(one.new + one.revised for one in made):,} rows of {len(made)} feeds"
    stored = months_of_data(context)
    months = month_range(stored[1], stored[-1])  # the first lacks sessions
    if stage == "panel":
        return f"{sum(one.rows for one in make(context, 'panel', months)):,} rows"
    if stage == "features":
        made_rows = sum(one.rows for one in make(context, "features", months))
        return f"{made_rows:,} rows of {len(context.market.catalog)} features"
    if stage == "cross_section":
        made_rows = sum(one.rows for one in make(context, "cross_section/all", months))
        return f"{made_rows:,} rows"
    for table in (context.panel, context.features, context.cross_section("all")):
        shutil.rmtree(table.folder(months[-1]).address)
    make(context, "panel", months[-1:])
    make(context, "features", months[-1:])
    make(context, "cross_section/all", months[-1:])
    return f"panel, features and cross-section of {months[-1]}"


if __name__ == "__main__":
    main()
