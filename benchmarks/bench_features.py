"""The price catalogue and its z-scores, beside the same features in pandas and polars.

    python benchmarks/bench_features.py --symbols 2000 --sessions 2520 --pairs 5

Every run is a process of its own, from start to exit, that reads one Parquet file; engines
run in turn.  Ours writes values and z-scores, two years at a time, as stages do year by year; the
others hold theirs.  First a small panel shows that all of them give the same numbers.  The goals
stand in the table that is printed; with more than a tenth of the machine taken by others there is
no verdict.
"""

# ruff: noqa: ANN401, D102 - a series is whatever the engine at hand calls one

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import polars as pl

EVER = (date(1990, 1, 1), date(2100, 1, 1))
ANCHOR_FEATURES = 32  # the goals were set on this many
FOREIGN_LIMIT = 0.10  # share of the machine that others may take
YEAR = 245  # sessions, as in the catalogue
BLOCK = 504  # sessions that ours computes, standardises and writes in one go
ZSTD_LEVEL = 1  # as stages write; read from there it would be imported with all of the store


def make_panel(n_symbols: int, n_sessions: int, seed: int) -> pl.DataFrame:
    """Return a seeded random walk with splits, late listings, delistings and halts."""
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_symbols)
    start_N = np.where(rng.random(n_symbols) < 0.25, rng.integers(0, n_sessions // 4, n_symbols), 0)
    end_N = np.where(
        rng.random(n_symbols) < 0.05,
        rng.integers(n_sessions // 2, n_sessions, n_symbols),
        n_sessions,
    )
    d_D1 = np.arange(n_sessions)[:, None]
    listed_DN = (d_D1 >= start_N) & (d_D1 < end_N)
    halted_DN = (rng.random(shape) < 0.002) & (d_D1 > start_N)
    halted_DN[1:] &= ~halted_DN[:-1]
    cum_DN = np.cumprod(np.where(rng.random(shape) < 2e-4, 0.5, 1.0), axis=0)
    close_DN = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, shape), axis=0)) * cum_DN
    open_DN = close_DN * np.exp(rng.normal(0, 0.005, shape))
    high_DN = np.maximum(open_DN, close_DN) * np.exp(np.abs(rng.normal(0, 0.005, shape)))
    low_DN = np.minimum(open_DN, close_DN) * np.exp(-np.abs(rng.normal(0, 0.005, shape)))
    volume_DN = np.round(np.exp(rng.normal(12, 1, shape)))
    bars = {"open": open_DN, "high": high_DN, "low": low_DN, "close": close_DN, "volume": volume_DN}
    days = np.arange("2014-01-01", "2064-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)][:n_sessions]
    n_DN = np.broadcast_to(np.arange(n_symbols, dtype=np.int32), shape)
    symbols = pl.Series([f"S{n:05d}" for n in range(n_symbols)])
    return pl.DataFrame(
        {
            "session": np.broadcast_to(days[:, None], shape)[listed_DN],
            "symbol": symbols.gather(n_DN[listed_DN]),
            **{
                name: np.where(halted_DN, np.nan, value_DN)[listed_DN]
                for name, value_DN in bars.items()
            },
            "cum_factor": cum_DN[listed_DN],
            "stale": halted_DN[listed_DN].astype(np.int16),
            "sector": pl.repeat("1050", int(listed_DN.sum()), eager=True),
        }
    ).with_columns(pl.col(bars.keys()).fill_nan(None))


class Engine(Protocol):
    """The words in which `formulas` are written; series of one symbol after the other."""

    def __getitem__(self, name: str) -> Any: ...
    def shift(self, x: Any, n: int) -> Any: ...
    def roll(self, x: Any, n: int, how: str) -> Any: ...
    def log(self, x: Any) -> Any: ...


def formulas(e: Engine) -> Mapping[str, Any]:
    """Return the features that every engine has: those that are plain rolling windows."""
    o, h, low, c = e["open"], e["high"], e["low"], e["close"]
    last = e["last_close"]
    volume, value = e["volume"], e["value"]
    before = e.shift(last, 1)
    r, rho = c / before - 1, e.log(c / before)
    gap, day, span = e.log(o / before), e.log(c / o), e.log(h / low)
    gk = 0.5 * span**2 - (2 * np.log(2) - 1) * day**2
    rs = e.log(h / c) * e.log(h / o) + e.log(low / c) * e.log(low / o)
    lv = e.log(1 + value)

    def z(x: Any, n: int) -> Any:
        return (x - e.roll(x, n, "mean")) / e.roll(x, n, "std")

    out = {f"ret_{n}": c / e.shift(last, n) - 1 for n in (1, 2, 3, 5, 10, 20, 60, 120)}
    out["rev_5"] = 1 - c / e.shift(last, 5)
    out["mom_12_1"] = e.shift(last, 21) / e.shift(last, 252) - 1
    out["mom_6_1"] = e.shift(last, 21) / e.shift(last, 126) - 1
    out |= {"gap_on": gap, "intraday": day, "range_1": span}
    out |= {"gap_on_20": e.roll(gap, 20, "sum"), "intraday_20": e.roll(day, 20, "sum")}
    for n in (5, 7, 14, 20, 50, 60, 200):
        out[f"sma_ratio_{n}"] = c / e.roll(c, n, "mean") - 1
    out["sma_cross_5_20"] = e.roll(c, 5, "mean") / e.roll(c, 20, "mean") - 1
    for n in (5, 20, 252):
        out[f"dist_high_{n}"] = c / e.roll(h, n, "max") - 1
        out[f"dist_low_{n}"] = c / e.roll(low, n, "min") - 1
    for n in (20, 60):
        out[f"vol_c2c_{n}"] = YEAR**0.5 * e.roll(rho, n, "std")
        out[f"vol_park_{n}"] = (YEAR * e.roll(span**2, n, "mean") / (4 * np.log(2))) ** 0.5
        out[f"vol_gk_{n}"] = (YEAR * e.roll(gk, n, "mean")) ** 0.5
        out[f"vol_rs_{n}"] = (YEAR * e.roll(rs, n, "mean")) ** 0.5
        out[f"amihud_{n}"] = e.log(1 + 1e9 * e.roll(abs(r) / value, n, "mean"))
        out[f"volume_z_{n}"] = z(volume, n)
    out["range_20"] = e.roll(span, 20, "mean")
    out |= {"max_ret_20": e.roll(r, 20, "max"), "min_ret_20": e.roll(r, 20, "min")}
    out |= {"turn_z": z(lv, 60), "dollar_volume_z_20": z(value, 20)}
    out["volume_ratio_5_60"] = e.log(e.roll(volume, 5, "mean") / e.roll(volume, 60, "mean"))
    return out


def needed(n: int) -> int:
    return -(-4 * n // 5)


class Polars:
    """Expressions inside one group_by(symbol).agg, the best polars form of several tried."""

    def __getitem__(self, name: str) -> pl.Expr:
        price = (
            pl.col(name) / pl.col("cum_factor")
            if name in ("open", "high", "low", "close")
            else None
        )
        if price is not None:
            return price
        if name == "last_close":
            return self["close"].forward_fill(20)
        if name == "volume":
            return pl.col("volume") * pl.col("cum_factor")
        return pl.col("close") * pl.col("volume")

    def shift(self, x: pl.Expr, n: int) -> pl.Expr:
        return x.shift(n)

    def roll(self, x: pl.Expr, n: int, how: str) -> pl.Expr:
        rolled: pl.Expr = getattr(x, f"rolling_{how}")(n, min_samples=needed(n))
        return rolled

    def log(self, x: pl.Expr) -> pl.Expr:
        return x.log()


def polars_features(panel: pl.DataFrame) -> pl.DataFrame:
    wanted = [value.cast(pl.Float32).alias(name) for name, value in formulas(Polars()).items()]
    return (
        panel.lazy()
        .sort("symbol", "session")
        .group_by("symbol", maintain_order=True)
        .agg("session", *wanted)
        .explode(pl.exclude("symbol"))
        .collect(engine="streaming")
    )


def polars_z(values: pl.DataFrame) -> pl.DataFrame:
    names = values.columns[2:]

    def z(name: str) -> pl.Expr:
        x = pl.col(name)
        w = x.clip(x.quantile(0.01, "linear"), x.quantile(0.99, "linear"))
        return ((w - w.mean()) / w.std(ddof=0)).clip(-5, 5).fill_null(0.0)

    return (
        values.lazy()
        .group_by("session", maintain_order=True)
        .agg("symbol", *[z(name) for name in names])
        .explode(pl.exclude("session"))
        .collect(engine="streaming")
    )


def pandas_features(panel: pl.DataFrame) -> Any:
    import pandas as pd

    b = pd.DataFrame(panel.drop("sector").to_dict(as_series=True)).sort_values(
        ["symbol", "session"], ignore_index=True
    )
    code = pd.factorize(b["symbol"])[0]

    class Pandas:
        def __getitem__(self, name: str) -> Any:
            if name in ("open", "high", "low", "close"):
                return b[name] / b["cum_factor"]
            if name == "last_close":
                return self["close"].groupby(code).ffill(limit=20)
            if name == "volume":
                return b["volume"] * b["cum_factor"]
            return b["close"] * b["volume"]

        def shift(self, x: Any, n: int) -> Any:
            return x.groupby(code).shift(n)

        def roll(self, x: Any, n: int, how: str) -> Any:
            rolling = x.groupby(code).rolling(n, min_periods=needed(n))
            return pd.Series(getattr(rolling, how)().to_numpy(), index=x.index)

        def log(self, x: Any) -> Any:
            return np.log(x)

    values = {name: x.astype(np.float32) for name, x in formulas(Pandas()).items()}
    return pd.DataFrame({"session": b["session"], "symbol": b["symbol"], **values})


def pandas_z(values: Any) -> Any:
    names = list(values.columns[2:])
    day = values["session"]
    x = values[names]
    by_day = x.groupby(day)
    low, high = by_day.quantile(0.01).loc[day].to_numpy(), by_day.quantile(0.99).loc[day].to_numpy()
    w = x.clip(low, high)
    by_day = w.groupby(day)
    mean, sd = by_day.transform("mean"), by_day.std(ddof=0).loc[day].to_numpy()
    z = ((w - mean) / sd).clip(-5, 5).fillna(0.0)
    z.insert(0, "symbol", values["symbol"])
    z.insert(0, "session", day)
    return z


@dataclass(frozen=True)
class Rules:
    """The default universe rules."""

    min_names: int = 10
    winsorise: float = 0.01
    clip: float = 5.0
    scale: str = "session"


def of_bars(catalog: Sequence[Any]) -> list[Any]:
    """Return the features that a panel of bars alone can have: no side feed, no series."""
    return [item for item in catalog if not item.feeds and item.scope == "symbol"]


def ours(
    panel: pl.DataFrame, names: frozenset[str] | None, threads: int, folder: Path
) -> tuple[int, float, float]:
    """Write values and z-scores as the stages do, a block of sessions at a time.

    Returns:
        How many features, and the seconds of values and of z-scores, each with their writing.
    """
    from alpha_assets.features import CATALOG, compute_features, cross_section, max_lookback

    catalog = [item for item in of_bars(CATALOG) if names is None or item.name in names]
    sessions = panel["session"].unique().sort()
    seconds = [0.0, 0.0]
    for start in range(0, len(sessions), BLOCK):
        first, last = sessions[start], sessions[min(start + BLOCK, len(sessions)) - 1]
        seen_from = sessions[max(0, start - max_lookback(catalog))]
        begun = time.perf_counter()
        seen = panel.filter(pl.col("session").is_between(seen_from, last))
        values = compute_features(seen, catalog, first, last, threads=threads)
        values.write_parquet(folder / f"values.{start:06d}", compression_level=ZSTD_LEVEL)
        between = time.perf_counter()
        here = seen.filter(pl.col("session") >= first)
        z = cross_section(values, here, here, catalog, Rules(), threads=threads).frame
        z.write_parquet(folder / f"z.{start:06d}", compression_level=ZSTD_LEVEL)
        seconds[0] += between - begun
        seconds[1] += time.perf_counter() - between
    return sum(name.endswith("_cs_z") for name in z.columns), *seconds


def run_engine(engine: str, path: Path, threads: int, out: Path | None) -> dict[str, float]:
    """Do the job once in this process and return what it took."""
    start = time.perf_counter()
    panel = pl.read_parquet(path)
    read = time.perf_counter()
    # What stands in memory before the work: packages imported so far, and the panel.
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    before_mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    if engine.startswith("ours"):
        subset = frozenset(formulas(Polars())) if engine == "ours, same features" else None
        with tempfile.TemporaryDirectory(dir=out or path.parent) as name:
            n_features, *seconds = ours(panel, subset, threads, Path(name))
            end = time.perf_counter()
            if out is not None:
                for kind in ("values", "z"):
                    blocks = sorted(Path(name).glob(f"{kind}.*"))
                    pl.concat(map(pl.read_parquet, blocks)).write_parquet(out / f"{engine}.{kind}")
    else:
        make, standardise = {
            "pandas": (pandas_features, pandas_z),
            "polars": (polars_features, polars_z),
        }[engine]
        values = make(panel)
        between = time.perf_counter()
        z = standardise(values)
        end = time.perf_counter()
        n_features, seconds = len(z.columns) - 2, [between - read, end - between]
        for kind, table in (("values", values), ("z", z)) if out is not None else ():
            frame = table if isinstance(table, pl.DataFrame) else pl.from_pandas(table)
            frame.write_parquet(out / f"{engine}.{kind}")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "read": read - start,
        "features": seconds[0],
        "z": seconds[1],
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "above_panel_mib": usage.ru_maxrss / 1024 - before_mib,
        "n_features": n_features,
        "values": float(n_features * len(panel)),
    }


def busy_seconds() -> float:
    """Return the CPU seconds that the whole machine has spent on anything."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    ticks = [int(field) for field in fields]
    return (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def measured(engine: str, path: Path, threads: int, out: Path | None = None) -> dict[str, float]:
    """Return what one engine took as a whole process, and the share of the machine others took."""
    busy, start = busy_seconds(), time.perf_counter()
    command = [sys.executable, __file__, "--engine", engine, "--panel", str(path)]
    command += ["--threads", str(threads)] + (["--out", str(out)] if out else [])
    # What a child has to say of its failure goes where ours goes.
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"the process of {engine!r} failed with {done.returncode}; see above")
    wall = time.perf_counter() - start
    result: dict[str, float] = json.loads(done.stdout)
    others = max(busy_seconds() - busy - result["cpu"], 0.0)
    return {**result, "wall": wall, "foreign": others / (wall * (os.cpu_count() or 1))}


def check_agreement(folder: Path, engines: list[str]) -> None:
    """Stop unless every engine gives the same values and z-scores on a small panel."""
    path = folder / "small.parquet"
    make_panel(40, BLOCK + 120, seed=1).write_parquet(path)  # two blocks of ours
    tables = {}
    for engine in engines:
        measured(engine, path, 1, folder)
        tables[engine] = [
            pl.read_parquet(folder / f"{engine}.{kind}")
            .rename(lambda column: column.removesuffix("_cs_z"))
            .with_columns(pl.col("session").cast(pl.Date))
            .sort("session", "symbol")
            for kind in ("values", "z")
        ]
    for engine in engines[2:]:
        worst: dict[str, float] = {}
        for kind, mine, theirs in zip(("", " z"), tables[engines[1]], tables[engine], strict=True):
            for name in (set(mine.columns) & set(theirs.columns)) - {"session", "symbol", "sector"}:
                a, b = mine[name].to_numpy(), theirs[name].to_numpy()
                if kind:  # ours is 0 where a section has too few names
                    b = np.where(a == 0, 0, b)
                assert (np.isnan(a) == np.isnan(b)).all(), f"{engine} {name}: other nulls"
                worst[name + kind] = float(np.nanmax(np.abs(a - b) / np.maximum(1, np.abs(b))))
        name = max(worst, key=lambda key: worst[key])
        print(f"  {engine}: {len(worst)} columns agree; widest gap {worst[name]:.1e} ({name})")
        assert worst[name] < 1e-3, f"{engine} disagrees on {name} by {worst[name]}"


def new_day(path: Path) -> tuple[float, float]:
    """Return the seconds of a full build of the features, and of one more session."""
    from alpha_assets.features import CATALOG, compute_features, max_lookback

    panel = pl.read_parquet(path)
    sessions = panel["session"].unique().sort()
    catalog = of_bars(CATALOG)
    start = time.perf_counter()
    compute_features(panel, catalog, *EVER)
    full = time.perf_counter() - start
    recent = panel.filter(pl.col("session") >= sessions[-max_lookback(catalog)])
    start = time.perf_counter()
    compute_features(recent, catalog, sessions[-1], sessions[-1])
    return full, time.perf_counter() - start


def goal(label: str, value: float, limit: float, *, at_least: bool, quiet: bool) -> None:
    held = value >= limit if at_least else value <= limit
    verdict = ("pass" if held else "MISS") if quiet else "no verdict: the machine was shared"
    print(f"  {label}: {value:.2f}, want {'>=' if at_least else '<='} {limit:g}: {verdict}")


def report(runs: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n{'engine':<22}{'features':>9}{'wall s':>8}{'read':>7}{'make':>7}{'z':>7}"
          f"{'cpu s':>8}{'peak MiB':>10}{'ns/value':>10}{'others':>8}")  # fmt: skip
    middle = {
        engine: {key: median(run[key] for run in of_engine) for key in of_engine[0]}
        for engine, of_engine in runs.items()
    }
    for engine, m in middle.items():
        print(f"{engine:<22}{m['n_features']:>9.0f}{m['wall']:>8.2f}{m['read']:>7.2f}"
              f"{m['features']:>7.2f}{m['z']:>7.2f}{m['cpu']:>8.2f}{m['peak_mib']:>10.0f}"
              f"{1e9 * m['wall'] / m['values']:>10.1f}{m['foreign']:>8.0%}")  # fmt: skip
    quiet = all(run["foreign"] <= FOREIGN_LIMIT for of_engine in runs.values() for run in of_engine)
    print("\ngoals, whole process, same features, median ratio of the pairs")
    same = runs["ours, same features"]
    for engine, limit in (("pandas", 8.0), ("polars", 2.5)):
        if engine in runs:
            ratio = median(t["wall"] / o["wall"] for o, t in zip(same, runs[engine], strict=True))
            goal(f"{engine} / ours", ratio, limit, at_least=True, quiet=quiet)
    full = middle["ours, catalogue"]
    scale = ANCHOR_FEATURES / full["n_features"]
    goal(f"seconds per {ANCHOR_FEATURES} features, catalogue", full["wall"] * scale, 3.0,
         at_least=False, quiet=quiet)  # fmt: skip
    above = middle["ours, same features"]["above_panel_mib"] / 1024
    goal("peak GiB above the panel, same features", above, 1.2,
         at_least=False, quiet=quiet)  # fmt: skip
    if importlib.util.find_spec("qlib") is None:
        print("  qlib / ours, want >= 12: qlib is not installed")
    else:
        print("  qlib / ours, want >= 12: not run; this benchmark has no qlib form")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=2520)
    parser.add_argument("--pairs", type=int, default=1, help="runs of every engine, in turn")
    parser.add_argument("--threads", type=int, default=1, help="of ours; polars takes all cores")
    parser.add_argument("--without", nargs="*", default=[], choices=["pandas", "polars"])
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--panel", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        print(json.dumps(run_engine(args.engine, args.panel, args.threads, args.out)))
        return
    engines = ["ours, catalogue", "ours, same features"]
    engines += [name for name in ("polars", "pandas") if name not in args.without]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"same answers? 40 symbols x {BLOCK + 120} sessions")
        check_agreement(folder, engines)
        path = folder / "panel.parquet"
        panel = make_panel(args.symbols, args.sessions, seed=0)
        panel.write_parquet(path)
        print(f"\n{args.symbols} symbols x {args.sessions} sessions: {len(panel):,} rows")
        del panel
        runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
        for _ in range(args.pairs):
            for engine in engines:
                runs[engine].append(measured(engine, path, args.threads))
        report(runs)
        full, day = new_day(path)
        print(f"\none more session: {day:.2f} s, {day / full:.1%} of the {full:.2f} s of a build")


if __name__ == "__main__":
    main()
