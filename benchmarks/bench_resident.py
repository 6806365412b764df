"""Tensors of a training window, month after month: with and without the resident market.

Cross-sections of made-up months lie in Parquet.  One way reads every month of the window again for
each month that is trained; the other holds what it has read and takes a view.  Each way runs in a
process of its own; CPU seconds and greatest resident size are the process's, without its imports.

    python benchmarks/bench_resident.py [--symbols 800] [--features 80] [--months 6]
"""

import argparse
import hashlib
import json
import mmap
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import month_range
from alpha_assets.dataset import Axes, sector_list, symbol_axis
from alpha_assets.dataset.cells import Cells
from alpha_assets.dataset.resident import Part, Resident

WINDOW = 15  # months: 252 training and 42 validation sessions, and two purges
SESSIONS = 21  # of a month
FIRST = "2020-01"
STAYS = 0.95  # share of the symbols that a month has
WAYS = ("each month alone", "resident")


class File:
    """Memory in a file without a name."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the array

    def mapped(self, n_bytes: int) -> mmap.mmap:
        """Return the first so many bytes."""
        self.file.truncate(n_bytes)
        return mmap.mmap(self.file.fileno(), n_bytes)


def days_of(month: str) -> Dates:
    return np.datetime64(month, "D") + np.arange(SESSIONS)


def columns(n_features: int) -> tuple[str, ...]:
    return tuple(f"x{f}_cs_z" for f in range(n_features))


def write(folder: Path, months: list[str], n_symbols: int, n_features: int) -> None:
    """Write the cross-section of each month."""
    rng = np.random.default_rng(0)
    for month in months:
        symbols = np.flatnonzero(rng.random(n_symbols) < STAYS)
        keys = pl.DataFrame({"session": days_of(month)}).join(
            pl.DataFrame({"symbol": [f"S{n:05d}" for n in symbols]}), how="cross"
        )
        x = rng.normal(size=(keys.height, n_features)).astype(np.float32)
        section = keys.with_columns(pl.lit("bank").alias("sector")).hstack(
            pl.DataFrame(x, schema=list(columns(n_features)))
        )
        section.write_parquet(folder / f"{month}.parquet")


def part_of(folder: Path, month: str) -> Part:
    rows = pl.read_parquet(folder / f"{month}.parquet")
    lives = pl.DataFrame(schema={"session": pl.Date, "symbol": pl.String, "life": pl.Int16})
    keys = rows.select("session", "symbol")
    return Part(month, "stored", days_of(month), rows, keys, lives)


def build(way: str, folder: Path, n_features: int) -> dict[str, Any]:
    """Build the tensors of each window in turn; return what it took and a hash of them."""
    months, features = sorted(path.stem for path in folder.iterdir()), columns(n_features)
    seen, seconds = hashlib.sha256(), []
    resident = Resident(features, (), File, 10**12)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for end in range(WINDOW, len(months) + 1):
        window, start = months[end - WINDOW : end], process_time()
        sessions = np.concatenate([days_of(month) for month in window])
        if way == WAYS[1]:
            lacking = resident.lacking(dict.fromkeys(window, "stored"))
            resident.add([part_of(folder, month) for month in lacking], keep_from=window[0])
            symbols, sectors = resident.symbols_on(sessions), resident.sectors_on(sessions)
            cells = resident.view(Axes(sessions, symbols, features, (), (1,), symbols, sectors))
        else:
            rows = pl.concat([part_of(folder, month).section for month in window])
            symbols, sectors = symbol_axis(rows, sessions), sector_list(rows, sessions)
            axes = Axes(sessions, symbols, features, (), (1,), symbols, sectors)
            cells = Cells.of(rows, axes, rows.select("session", "symbol"))
        seconds.append(process_time() - start)
        seen.update(cells.x_DNF.tobytes())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak": (peak - before) / 1024, "hash": seen.hexdigest()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("symbols", 800), ("features", 80), ("months", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(build(given.way, given.folder, given.features)))
        return
    months = list(month_range(FIRST, "2030-12"))[: WINDOW + given.months - 1]
    print(
        f"{given.symbols} symbols x {given.features} features, windows of {WINDOW} months of "
        f"{SESSIONS} sessions, {given.months} months in turn"
    )
    print(f"{'':20s}{'first, CPU s':>14s}{'each later one':>16s}{'all':>8s}{'peak, MiB':>12s}")
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), months, given.symbols, given.features)
        found = []
        for way in WAYS:
            asked = [sys.executable, "-W", "ignore", __file__, "--way", way, "--folder", name]
            asked += ["--features", str(given.features)]
            done = subprocess.run(asked, check=True, capture_output=True, text=True)
            one = json.loads(done.stdout)
            later = float(np.median(one["seconds"][1:])) if given.months > 1 else np.nan
            print(
                f"{way:20s}{one['seconds'][0]:14.2f}{later:16.2f}{sum(one['seconds']):8.2f}"
                f"{one['peak']:12,.0f}"
            )
            found.append(one["hash"])
    print("the tensors are equal to the bit" if len(set(found)) == 1 else "THE TENSORS DIFFER")


if __name__ == "__main__":
    main()
