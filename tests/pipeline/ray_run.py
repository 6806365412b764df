"""Runs months on a Ray cluster of two nodes; see `test_cluster.py`, which gives it a network.

Prints what happened as JSON, as its last line.  The processes of Ray end with the process
namespace that this program is the first process of.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from alpha_assets import project
from alpha_assets.errors import AlphaAssetsError
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.executor import executor_named
from alpha_assets.pipeline.executors import cluster
from alpha_assets.pipeline.stages import month_stages

PORT = 6390
MONTHS = ("2021-07", "2021-08")
RAY = [sys.executable, "-W", "ignore", "-m", "ray.scripts.scripts"]
START = [*RAY, "start", "--num-cpus=1"]
START += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]


def start(folder: Path) -> None:
    """Start a head and a second node."""
    head = ["--head", f"--port={PORT}", "--include-dashboard=false", "--disable-usage-stats"]
    head.append(f"--temp-dir={folder}/ray")
    for options in (head, [f"--address=127.0.0.1:{PORT}"]):
        subprocess.run([*START, *options], check=True, stdout=sys.stderr)


def contents(storage: Path) -> dict[str, str]:
    """Return the content hashes of the months."""
    opened = project.open_context("tiny", storage=str(storage))
    return {
        f"{stage.name} {month}": stage.made(opened, month).content_hash
        for stage in month_stages(opened.recipe)
        for month in MONTHS
    }


def main(folder: Path) -> None:
    """Start a cluster, run, and print."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    start(folder)
    os.environ["RAY_ADDRESS"] = f"127.0.0.1:{PORT}"
    expected = contents(folder / "storage")
    lines: list[str] = []
    killed: list[int] = []

    def progress(stage: str, what: str) -> None:
        lines.append(what)
        if stage == "worker" and not killed:
            killed.append(int(what.split()[1]))
            os.kill(killed[0], signal.SIGKILL)

    shutil.rmtree(folder / "storage" / "tiny" / "tiny")
    opened = project.open_context("tiny", storage=str(folder / "storage"), progress=progress)

    def run(context: RecipeContext) -> str:
        try:
            runner.run(context, *MONTHS, executor=executor_named("ray", context))
        except AlphaAssetsError as error:
            return str(error)
        return "nothing was refused"

    def patched(name: str, value: Callable[..., object]) -> str:
        before = getattr(cluster, name)
        setattr(cluster, name, value)
        try:
            return run(replace(opened, progress=lambda *_: None))
        finally:
            setattr(cluster, name, before)

    def unseen(context: RecipeContext, tasks: object) -> RecipeContext:
        shutil.rmtree(folder / "storage" / "_tmp" / "ray")
        return context

    here = cluster.versions()
    refused = {
        "versions": patched("versions", lambda: {**here, "torch": "1.0"}),
        "storage": patched("with_shared_market", unseen),
        "gpu": run(replace(opened, device="cuda:0", progress=lambda *_: None)),
    }
    run(opened)
    made = contents(folder / "storage")

    shutil.rmtree(folder / "storage" / "tiny" / "tiny")
    of_restart: list[str] = []

    def restart(stage: str, what: str) -> None:
        of_restart.append(what)
        if stage == "worker" and len([line for line in of_restart if "process" in line]) == 1:
            subprocess.run([*RAY, "stop", "--force"], check=True, stdout=sys.stderr)
            start(folder)

    run(replace(opened, progress=restart))
    shown = {
        "expected": expected,
        "contents": made,
        "lines": lines,
        "killed": killed[0],
        "restarted": contents(folder / "storage"),
        "of_restart": of_restart,
    }
    sys.stdout.write(json.dumps({**shown, "refused": refused}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
