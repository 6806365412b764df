"""What the goals of `benchmarks.goals` are judged by: one comparison, measured and written.

    python -m benchmarks.comparisons NAME SIZES FILE

SIZES is the JSON that `benchmarks.goals` makes of its options.  Ours and a peer have the same data,
are compared in what they return where both define it alike, and run in turn; who goes first
alternates.  Each figure is a line of JSON in FILE: the goal's name, `ours`, `peer`, their `ratio`
(the median of the pairs), CPU seconds, `size` in words, and whether it is that of the goal, `full`;
or `missing` and why.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

import numpy as np

FULL_SYMBOLS, FULL_SESSIONS = 2000, 2520
FULL_MONTHS, FULL_NAMES = 120, 500
SPARE_MONTHS = 36  # before the first model: its training and validation sessions, and look-back


class Sizes(NamedTuple):
    """How much is measured."""

    symbols: int
    sessions: int
    pairs: int
    months: int
    names: int
    storage: str | None

    @property
    def panel(self) -> dict[str, Any]:
        """Return the size of a panel in words, and whether it is the goals'."""
        is_full = self.symbols >= FULL_SYMBOLS and self.sessions >= FULL_SESSIONS
        return {"size": f"{self.symbols:,} × {self.sessions:,}", "full": is_full}


class Took(NamedTuple):
    """Seconds of one call."""

    wall: float
    cpu: float


class Write(Protocol):
    """Keeps one figure."""

    def __call__(self, goal: str, **found: Any) -> None:  # noqa: ANN401 - what JSON has
        """Write the figures of a goal, by their names."""


def timed(work: Callable[[], object]) -> Took:
    """Return what one call takes, its threads included."""
    used, start = time.process_time(), time.perf_counter()
    work()
    return Took(time.perf_counter() - start, time.process_time() - used)


@dataclass(frozen=True)
class Pairs:
    """Calls of two, run in turn."""

    ours: list[Took]
    peer: list[Took]

    @classmethod
    def of(cls, ours: Callable[[], object], peer: Callable[[], object], pairs: int) -> "Pairs":
        """Run both in turn; who goes first alternates, and the first pair is not counted."""
        found: tuple[list[Took], list[Took]] = ([], [])
        for pair in range(pairs + 1):
            for side in (0, 1) if pair % 2 else (1, 0):
                found[side].append(timed((ours, peer)[side]))
        return cls(found[0][1:], found[1][1:])

    def figures(self) -> dict[str, float]:
        """Return medians of wall and CPU seconds, and of the ratios of wall."""
        ratios = [p.wall / o.wall for o, p in zip(self.ours, self.peer, strict=True)]
        return {
            "ours": median(took.wall for took in self.ours),
            "peer": median(took.wall for took in self.peer),
            "ratio": median(ratios),
            "cpu": median(took.cpu for took in self.ours),
            "cpu_peer": median(took.cpu for took in self.peer),
        }


def features(sizes: Sizes, write: Write) -> None:
    """Whole processes, from a file to z-scores; ours has two threads, polars all cores."""
    from benchmarks.bench_features import check_agreement, make_panel, measured

    mine = "ours, same features"
    peers = [name for name in ("polars", "pandas") if find_spec(name)]
    with tempfile.TemporaryDirectory() as room:
        check_agreement(Path(room), ["ours, catalogue", mine, *peers])
        path = Path(room) / "panel.parquet"
        make_panel(sizes.symbols, sizes.sessions, seed=0).write_parquet(path)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in (mine, *peers)}
        for _ in range(sizes.pairs):
            for name in runs:
                runs[name].append(measured(name, path, 2))
    own = {key: median(run[key] for run in runs[mine]) for key in runs[mine][0]}
    write("features_peak", ours=own["above_panel_mib"] / 1024, cpu=own["cpu"], **sizes.panel)
    for name in ("polars", "pandas"):
        if name not in peers:
            write(f"features_{name}", missing=f"{name} is not installed")
            continue
        pairs = zip(runs[mine], runs[name], strict=True)
        write(
            f"features_{name}",
            ours=own["wall"],
            peer=median(run["wall"] for run in runs[name]),
            ratio=median(peer["wall"] / ours["wall"] for ours, peer in pairs),
            cpu=own["cpu"],
            cpu_peer=median(run["cpu"] for run in runs[name]),
            **sizes.panel,
        )


def backtest(sizes: Sizes, write: Write) -> None:
    """One fee on arrays beside vectorbt's plain call; all frictions beside the same call."""
    from benchmarks import bench_backtest as bench

    same = bench.make_case(sizes.symbols, sizes.sessions, frictions=False)
    marks = same.marks()
    kernel, vectorbt = bench.ours(same, marks), bench.in_vectorbt(bench.Dense.of(same, marks))
    case = bench.make_case(sizes.symbols, sizes.sessions, frictions=True)
    known = case.marks()
    books = partial(bench.simulate, case.targets, known, bench.CAPPED, bench.ALL_COSTS)
    raw_to_books = partial(
        bench.backtest,
        case.targets,
        case.raw,
        case.calendar,
        first=bench.as_date(case.sessions[0]),
        last=bench.as_date(case.sessions[-1]),
        portfolio=bench.CAPPED,
        costs=bench.ALL_COSTS,
        basis="price",
        max_stale=bench.MAX_STALE,
    )
    if vectorbt is None:
        for goal in ("kernel_vectorbt", "frictions_vectorbt"):
            write(goal, missing="vectorbt is not installed")
        kernel()
        alone = [timed(kernel) for _ in range(sizes.pairs)]
        own = {"ours": median(took.wall for took in alone), "cpu": median(t.cpu for t in alone)}
        write("kernel", **own, **sizes.panel)
    else:
        gap = float(np.max(np.abs(vectorbt() / kernel() - 1)))  # compiles vectorbt too
        if gap >= bench.SAME:
            raise SystemExit(f"vectorbt's equity differs from ours by {gap}: no time is compared")
        found = Pairs.of(kernel, vectorbt, sizes.pairs).figures()
        write("kernel", ours=found["ours"], cpu=found["cpu"], **sizes.panel)
        write("kernel_vectorbt", **found, **sizes.panel)
        write("frictions_vectorbt", **Pairs.of(books, vectorbt, sizes.pairs).figures(),
              **sizes.panel)  # fmt: skip
    raw_to_books()
    whole = median(timed(raw_to_books).cpu for _ in range(sizes.pairs))
    write("raw_to_books", ours=whole, cpu=whole, **sizes.panel)


def asof(sizes: Sizes, write: Write) -> None:
    """The kernel, on resident data; of the two orders of rows that polars takes, the better."""
    from benchmarks import bench_asof as bench

    case = bench.make_case(sizes.symbols, sizes.sessions)
    bench.check(case)
    forms = [
        Pairs.of(bench.ours(case), bench.in_polars(case, by_symbol), sizes.pairs).figures()
        for by_symbol in (True, False)
    ]
    write("asof_polars", **min(forms, key=lambda form: form["ratio"]), **sizes.panel)


def rank_ic(sizes: Sizes, write: Write) -> None:
    """The kernel on resident data, at its own size: 2,514 sessions of 1,944 names."""
    from benchmarks import bench_rank_ic as bench

    timed_engines = bench.engines(*bench.made_up_pairs())
    mine = timed_engines[bench.OURS]
    expected = mine()
    size = {"size": f"{bench.N_SYMBOLS:,} × {bench.N_SESSIONS:,}", "full": True}
    for goal, name in {
        "polars": "polars rank + corr",
        "alphalens": bench.ALPHALENS,
        "qlib": bench.QLIB,
    }.items():
        peer = timed_engines.get(name)
        if peer is None:
            write(f"rank_ic_{goal}", missing=f"{goal} is not installed")
            continue
        np.testing.assert_allclose(peer(), expected, atol=1e-10, err_msg=name)
        write(f"rank_ic_{goal}", **Pairs.of(mine, peer, sizes.pairs).figures(), **size)


def training(sizes: Sizes, write: Write) -> None:
    """Months of `rolling_transformer` on two workers (ours) and on one (the peer), once in turn."""
    from benchmarks.bench_workers import trial

    first = np.datetime64("2024-01") - sizes.months - SPARE_MONTHS
    overrides = [
        f"market.sim.n_symbols={sizes.names}",
        f"market.sim.first={first}-04",
        f"market.first_month={first}",
    ]
    with tempfile.TemporaryDirectory() as room:
        storage = Path(room)
        trial(storage, 0, 0, overrides)
        one = trial(storage, 1, sizes.months, overrides)
        two = trial(storage, 2, sizes.months, overrides)
    if one[0] != two[0] or not one[0]:
        raise SystemExit("two workers make other content than one: no time is compared")
    write(
        "training",
        ours=two[1],
        peer=one[1],
        ratio=two[1] / one[1],
        cpu=two[2],
        cpu_peer=one[2],
        size=f"{sizes.months} months of {sizes.names} names",
        full=sizes.months >= FULL_MONTHS and sizes.names >= FULL_NAMES,
    )


def waiting(sizes: Sizes, write: Write) -> None:
    """Verbs that make nothing; the demo too, where no storage holds it."""
    from benchmarks.bench_waiting import waits

    if sizes.storage is not None:
        write("waiting demo", missing="the storage of a demo was given")
    for wait in waits(sizes.storage, sizes.pairs):
        write(f"waiting {wait.name}", ours=wait.measured, cpu=wait.found.cpu, size="sim", full=True)


COMPARISONS: dict[str, Callable[[Sizes, Write], None]] = {
    found.__name__: found for found in (features, backtest, asof, rank_ic, training, waiting)
}


def main(name: str, sizes: str, into: str) -> None:
    """Run one comparison."""

    def write(goal: str, **found: Any) -> None:  # noqa: ANN401 - what JSON has
        with Path(into).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"goal": goal, **found}) + "\n")

    COMPARISONS[name](Sizes(**json.loads(sizes)), write)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main(*sys.argv[1:])
