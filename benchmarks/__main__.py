"""Run every benchmark in a process of its own, one after the other.

python -m benchmarks [NAME ...]

The table of ours, peers and goals is `python -m benchmarks.goals`, or `make bench`.

Names: asof, backtest, capacity, components, cross_section, features, feeds, ingest, losses,
object_store, precision, rank_ic, resident, road, rules, training, waiting, workers.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main(wanted: list[str]) -> int:
    """Run the benchmarks named, or all; return how many failed."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(FOLDER.glob("bench_*.py"))}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; want some of {', '.join(known)}")
        return 2
    failed = 0
    for name in wanted or known:
        print(f"\n=== {name} ===", flush=True)
        failed += subprocess.run([sys.executable, str(known[name])], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
