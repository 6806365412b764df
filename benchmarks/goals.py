"""What `make bench` prints: ours, a peer, their ratio, the goal, and whether it is met.

    python -m benchmarks.goals [--only NAME ...] [--symbols 2000] [--sessions 2520] [--pairs 3]

Each comparison is a process of its own in the peers' environment, one after the other.  The exit
status is 1 when something could not be measured, and 0 when all was, met or missed: on a machine
that others share, a miss may be theirs, so mind the load beside it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.peers import ROOT, install, python_of

PEERS, VENV = ROOT / "benchmarks" / "peers.txt", ROOT / ".venv-bench"
GRACE_S = 10  # between asking a process to end and ending it
SMALLER = "*"  # behind a verdict on less data than the goal is about


@dataclass(frozen=True)
class Goal:
    """One row of the table.

    Attributes:
        name: what a comparison calls it.
        what: is measured, in words.
        comparison: the function of `comparisons` that measures it.
        limit: to be reached; None where there is a figure and no goal.
        judged: `ratio`, or `ours`, the figure itself.
        at_least: the limit is a floor, else a ceiling.
        peer: the package that it needs, if any.
    """

    name: str
    what: str
    comparison: str
    limit: float | None
    judged: Literal["ratio", "ours"] = "ratio"
    at_least: bool = True
    peer: str | None = None


def _ceiling(name: str, what: str, comparison: str, limit: float) -> Goal:
    return Goal(name, what, comparison, limit, judged="ours", at_least=False)


GOALS = (
    Goal("features_polars", "price features + z, polars", "features", 4.0, peer="polars"),
    Goal("features_pandas", "price features + z, pandas", "features", 12.0, peer="pandas"),
    _ceiling("features_peak", "the same: GiB above the panel", "features", 1.2),
    _ceiling("kernel", "backtest kernel, one fee", "backtest", 0.08),
    Goal("kernel_vectorbt", "the same, vectorbt", "backtest", 20.0, peer="vectorbt"),
    Goal("frictions_vectorbt", "all frictions, marks to books; vectorbt without", "backtest", 6.0,
         peer="vectorbt"),
    _ceiling("raw_to_books", "all frictions, raw rows to books, CPU s", "backtest", 0.8),
    Goal("asof_polars", "as-of join, polars join_asof", "asof", 3.0, peer="polars"),
    Goal("rank_ic_polars", "rank IC, polars", "rank_ic", 1.0, peer="polars"),
    Goal("rank_ic_alphalens", "rank IC, alphalens", "rank_ic", 10.0, peer="alphalens-reloaded"),
    Goal("rank_ic_qlib", "rank IC, qlib (computes IC as well)", "rank_ic", None, peer="pyqlib"),
    Goal("training", "months on two workers; one worker", "training", 0.55, at_least=False),
    *(
        _ceiling(f"waiting {verb}", f"{verb}, CPU s", "waiting", limit)
        for verb, limit in {
            "--help": 0.6, "recipes": 0.6, "status": 0.6, "sql": 0.6,
            "run, nothing stale": 1.0,
        }.items()
    ),
    _ceiling("waiting demo", "demo, wall s", "waiting", 45.0),
)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """A comparison's process.

    Attributes:
        measured: what it wrote, by the names of goals.
        trouble: why it ended early; empty where it did not.
        cpu: its seconds, those of its children included.
        wall: seconds.
        loads: of the last minute, before and after.
    """

    measured: Mapping[str, Mapping[str, Any]]
    trouble: str
    cpu: float = 0.0
    wall: float = 0.0
    loads: tuple[float, float] = (0.0, 0.0)


def stopped(child: subprocess.Popen[bytes]) -> int:
    """End a process and its group, with time for what it started to end too; return its status."""
    os.killpg(child.pid, signal.SIGTERM)
    try:
        return child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.wait()


def run(command: Sequence[str], into: Path, limit_s: float) -> Ran:
    """Run a comparison, which writes a line of JSON to `into` for each figure that it has.

    Its error stream is printed where it fails, and its last line becomes the reason in the table.
    """
    before, load, start = os.times(), os.getloadavg()[0], time.perf_counter()
    # A file, not a pipe: whatever a child leaves running could hold a pipe open.
    said = into.with_suffix(".stderr")
    with said.open("w", encoding="utf-8") as stream:
        child = subprocess.Popen(
            [*command, str(into)], stderr=stream, cwd=ROOT, start_new_session=True
        )
    try:
        status, trouble = child.wait(limit_s), ""
    except subprocess.TimeoutExpired:
        status, trouble = stopped(child), f"stopped after {limit_s:g} s"
    errors = said.read_text("utf-8")
    if status and not trouble:
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        trouble = f"its process failed with {status}: {last}"
    after, wall = os.times(), time.perf_counter() - start
    if trouble:
        print(errors, file=sys.stderr, flush=True)
    lines = into.read_text("utf-8").splitlines() if into.exists() else []
    measured = {found.pop("goal"): found for found in map(json.loads, lines)}
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return Ran(measured, trouble, cpu, wall, (load, os.getloadavg()[0]))


@dataclass(frozen=True)
class Row:
    """A goal judged: `met` is `yes`, `MISSED`, `no goal` or `not measured: ...`.

    A figure below its ceiling on less data than the goal is about shows nothing: not measured.
    """

    goal: Goal
    met: str
    found: Mapping[str, Any] = field(default_factory=dict)


def judged(goal: Goal, ran: Ran, left_out: Mapping[str, str]) -> Row:
    """Return whether a goal is met by what its comparison measured."""
    found = ran.measured.get(goal.name)
    if found is None or "missing" in found:
        reason = ran.trouble or "its comparison wrote no figure of it"
        if goal.peer in left_out:
            reason = f"{goal.peer} does not install: {left_out[goal.peer]}"
        elif found is not None:
            reason = found["missing"]
        return Row(goal, f"not measured: {reason}")
    if goal.limit is None:
        return Row(goal, "no goal", found)
    value = found[goal.judged]
    is_met = value >= goal.limit if goal.at_least else value <= goal.limit
    if is_met and goal.judged == "ours" and not found["full"]:
        return Row(goal, "not measured: less data than the goal is about", found)
    verdict = "yes" if is_met else "MISSED"
    return Row(goal, verdict if found["full"] else verdict + SMALLER, found)


def number(value: float | None) -> str:
    """Return a figure in three digits; a dash for none."""
    return "–" if value is None else f"{value:.3g}"


def table(rows: Sequence[Row], runs: Mapping[str, Ran]) -> str:
    """Return the rows, and what each comparison took, as Markdown."""
    lines = [
        "| what | ours | peer | ratio | goal | met | CPU s, ours | CPU s, peer | size |",
        "|---|--:|--:|--:|--:|---|--:|--:|---|",
    ]
    for row in rows:
        goal, found = row.goal, row.found
        sign = "≥" if goal.at_least else "≤"
        wanted = "–" if goal.limit is None else f"{sign} {goal.limit:g}"
        wanted += " ×" if goal.limit is not None and goal.judged == "ratio" else ""
        cells = [number(found.get(key)) for key in ("ours", "peer", "ratio")]
        cpus = [number(found.get(key)) for key in ("cpu", "cpu_peer")]
        met = row.met.replace("|", "/")
        lines.append(
            "| "
            + " | ".join([goal.what, *cells, wanted, met, *cpus, found.get("size", "–")])
            + " |"
        )
    lines += ["", "| comparison | CPU s | wall s | load before | after |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| {name} | {ran.cpu:.0f} | {ran.wall:.0f} | {ran.loads[0]:.1f} | {ran.loads[1]:.1f} |"
        for name, ran in runs.items()
    ]
    if any(row.met.endswith(SMALLER) for row in rows):
        lines += ["", f"{SMALLER} on less data than the goal is about"]
    return "\n".join(lines)


def report(
    goals: Sequence[Goal],
    commands: Mapping[str, Sequence[str]],
    left_out: Mapping[str, str],
    limit_s: float,
) -> int:
    """Run the comparisons in turn and print the table; return 1 if something is not measured.

    Args:
        goals: rows wanted.
        commands: of each comparison; a file to write to is added at the end.
        left_out: peers that did not install, and why.
        limit_s: seconds after which a comparison is stopped.
    """
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, command in commands.items():
            print(f"measuring {name}", flush=True)
            runs[name] = run(command, Path(folder) / name, limit_s)
    rows = [judged(goal, runs[goal.comparison], left_out) for goal in goals]
    print(f"\n{table(rows, runs)}\n")
    missed = [row for row in rows if row.met.startswith("MISSED")]
    unknown = [row for row in rows if row.met.startswith("not measured")]
    n_met = sum(row.met.startswith("yes") for row in rows)
    print(f"{n_met} met, {len(missed)} missed, {len(unknown)} not measured", flush=True)
    return int(bool(unknown))


def main() -> int:
    """Install the peers, measure, print."""
    names = list(dict.fromkeys(goal.comparison for goal in GOALS))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--symbols", type=int, default=2000, help="of features, as-of, backtest")
    parser.add_argument("--sessions", type=int, default=2520)
    parser.add_argument("--pairs", type=int, default=3, help="runs of ours and a peer, in turn")
    parser.add_argument("--months", type=int, default=120, help="of training")
    parser.add_argument("--names", type=int, default=500, help="symbols of training")
    parser.add_argument("--storage", help="a stored demo for the verbs; none: made, and timed")
    parser.add_argument("--limit", type=float, default=7200, help="seconds of one comparison")
    asked = parser.parse_args()
    left_out = install(PEERS, VENV)
    sizes = {
        key: getattr(asked, key) for key in ("symbols", "sessions", "pairs", "months", "names")
    }
    sizes["storage"] = asked.storage
    command = [str(python_of(VENV)), "-W", "ignore", "-m", "benchmarks.comparisons"]
    commands = {name: [*command, name, json.dumps(sizes)] for name in asked.only}
    goals = [goal for goal in GOALS if goal.comparison in commands]
    return report(goals, commands, left_out, asked.limit)


if __name__ == "__main__":
    sys.exit(main())
