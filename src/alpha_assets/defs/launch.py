"""Dagster's command line, as this project starts it: `python -m alpha_assets.defs.launch dev …`.

Five things come first: the environment is made to win over `.env` (which Dagster loads over it
from the folder it starts in), telemetry is switched off, Dagster's databases are made once and
alone, runs whose process is gone are ended, so that nothing waits for them, and signals are heard.
"""

import fcntl
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dagster import DagsterInstance

from alpha_assets.defs.reaper import reap
from alpha_assets.errors import AlphaAssetsError

HOME = "DAGSTER_HOME"
PATHS = (HOME, "ALPHA_DAGSTER_DIR", "ALPHA_PIPELINES", "ALPHA_DATA", "ALPHA_LANDING")
STORAGE = "ALPHA_STORAGE"  # a path or a URL
RUNS = "ALPHA_DAGSTER_DIR"
BAD_INPUT = 2  # exit code
PATH_OPTIONS = (
    "-w",
    "--workspace",
    "-f",
    "--python-file",
    "-d",
    "--working-directory",
)  # of Dagster's command line
NO_UPLOAD = "DAGSTER_DISABLE_TELEMETRY"
NO_TELEMETRY = "telemetry:\n  enabled: false\n"


def prepare() -> list[str]:
    """Make paths absolute, switch telemetry off, leave the folder of `.env`, end dead runs.

    A `DAGSTER_HOME` without a configuration gets one that holds nothing but `telemetry: enabled:
    false`: the variable alone stops the upload, but Dagster would still write its log of usage.

    Returns:
        What was done to runs, a line each.
    """
    for name in (*PATHS, STORAGE):
        value = os.environ.get(name)
        if value and "://" not in value:
            os.environ[name] = str(Path(value).expanduser().absolute())
    os.environ[NO_UPLOAD] = "yes"
    home = Path(os.environ.get(HOME, ""))
    configured = any((home / name).exists() for name in ("dagster.yaml", "dagster.yml"))
    if os.environ.get(HOME) and home.is_dir() and not configured:
        (home / "dagster.yaml").write_text(NO_TELEMETRY)
    folder = Path(os.environ.get(RUNS) or os.environ[HOME])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    # A first use by two processes at once would spoil Dagster's databases for good.
    with (folder / "first_use.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with DagsterInstance.get() as instance:
            return reap(instance)


def with_absolute_paths(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with every path as of this folder, which is left later."""
    made, is_path = [], False
    for word in words:
        option, equals, value = word.partition("=")
        if is_path:
            made.append(str(Path(word).absolute()))
        elif equals and option in PATH_OPTIONS:
            made.append(f"{option}={Path(value).absolute()}")
        else:
            made.append(word)
        is_path = not is_path and word in PATH_OPTIONS
    return made


def hear_signals() -> None:
    """Hear SIGINT, and so SIGTERM, where a shell started this in the background.

    A shell without job control starts what it puts in the background with SIGINT ignored, and
    Dagster lets SIGTERM do what SIGINT does: nothing but SIGKILL would end it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Prepare, and hand over to Dagster's own command line."""
    hear_signals()
    sys.argv[1:] = with_absolute_paths(sys.argv[1:])
    try:
        done = prepare()
    except AlphaAssetsError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(BAD_INPUT)
    for line in done:
        sys.stderr.write(f"{line}\n")
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
