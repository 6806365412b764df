"""Every line of the README that a newcomer types is understood; a proof runs them in order."""

import ast
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import click
import numpy as np
import polars as pl
import pytest

import alpha_assets as aa
from alpha_assets.calendar import Calendar, as_date
from alpha_assets.cli import main
from alpha_assets.config.market import load_market
from alpha_assets.project import Where

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
NOT_RUN = ("make", "export", "source")  # by shells, and by hand in a fresh clone


def blocks(language: str = "") -> list[list[str]]:
    """Return the fenced blocks of a language, each as its lines."""
    return [text.splitlines() for kind, text in FENCED.findall(README) if kind == language]


def commands() -> list[list[str]]:
    """Return the words of every line to type in a shell."""
    return [words for block in blocks() for line in block if (words := shlex.split(line, True))]


def test_every_line_for_a_shell_is_one_that_is_tested() -> None:
    first = {words[0] for words in commands()}
    assert first == {"alpha-assets", "dagster", *NOT_RUN}


@pytest.mark.parametrize(
    "words", [w for w in commands() if w[0] == "alpha-assets"], ids=lambda w: " ".join(w[1:4])
)
def test_the_command_line_takes_it(words: list[str]) -> None:
    verb = main.commands[words[1]]
    assert isinstance(verb.make_context(words[1], words[2:]), click.Context)


def test_every_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert {words[1] for words in commands() if words[0] == "make"} <= targets


def test_the_lines_for_a_notebook_call_verbs_by_their_own_keywords() -> None:
    (lines,) = blocks("python")
    inline = re.findall(r"`(aa\.[^`]+)`", README)
    tree = ast.parse("\n".join([*lines, *inline]))
    called = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        assert isinstance(call.func, ast.Attribute)
        owner, verb = ast.unparse(call.func.value), call.func.attr
        if verb == "collect":
            continue  # of polars
        given = {keyword.arg: None for keyword in call.keywords}
        method = {"aa": aa, "project": aa.Project}[owner]
        me = (None,) if owner == "project" else ()
        signature = inspect.signature(getattr(method, verb))
        signature.bind(*me, *call.args, **given)
        if {"where"} & set(signature.parameters):
            assert set(given) <= {*signature.parameters, *Where.__annotations__}
        called.append(f"{owner}.{verb}")
    assert {"aa.open", "project.run", "aa.run"} <= set(called)


def write_folder(folder: Path) -> None:
    """Write bars of thirty made-up names on the calendar of the market that the README names."""
    calendar: Calendar = load_market("us").calendar
    sessions = calendar.between(date(2018, 6, 1), date(2020, 12, 11))
    chance = np.random.default_rng(7)
    shape = (len(sessions), 30)
    close_DN = np.round(50 * np.exp(np.cumsum(chance.normal(0, 0.02, shape), axis=0)), 2)
    open_DN = np.round(close_DN * np.exp(chance.normal(0, 0.005, shape)), 2)
    symbols = [f"N{number:02d}" for number in range(shape[1])]
    frame = pl.DataFrame(
        {
            "date": np.repeat(sessions, shape[1]),
            "symbol": symbols * shape[0],
            "open": open_DN.ravel(),
            "high": np.maximum(open_DN, close_DN).ravel() + 0.5,
            "low": np.minimum(open_DN, close_DN).ravel() - 0.5,
            "close": close_DN.ravel(),
            "volume": np.round(chance.uniform(1e5, 1e6, shape)).ravel(),
        }
    )
    folder.mkdir()
    frame.write_csv(folder / "daily_bars.csv")
    assert as_date(sessions[-1]) == date(2020, 12, 11)


@pytest.mark.slow
def test_the_lines_of_the_readme_run_in_order_as_they_are_printed(tmp_path: Path) -> None:
    for name in ("pipelines", "dagster.yaml", "workspace.yaml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, tmp_path / name)
    write_folder(tmp_path / "DIR")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ALPHA_")
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
        "DAGSTER_HOME": str(tmp_path),
        "ALPHA_DAGSTER_DIR": str(tmp_path / "storage" / "_dagster"),
    }
    # What needs a key of a vendor, or serves until it is interrupted, is not run here; the local
    # server and the road through it have proofs of their own.
    left_out = ("--market jp", "serve-sim-jquants")
    lines = ["alpha-assets demo"]  # what `make demo` runs
    lines += [shlex.join(words) for words in commands() if words[0] not in NOT_RUN]
    (notebook,) = blocks("python")
    lines.append(shlex.join([sys.executable, "-c", "\n".join(notebook)]))
    for line in lines:
        if any(words in line for words in left_out):
            continue
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{line}\n{done.stderr}"
