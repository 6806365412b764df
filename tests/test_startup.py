"""What a verb of the command line does not need, it does not import."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import linked

import alpha_assets as aa
from alpha_assets.cli import importing

PIPELINES = Path(__file__).parent / "pipelines"
TINY = ["--recipe", "tiny", "--market", "tiny"]
MONTHS = ["--first-month", "2021-07", "--last-month", "2021-08"]

# In one process, each verb after those that need less: what is forbidden after a verb was not
# imported by it.
NEVER = ("dagster", "lightgbm", "cvxpy", "scipy.stats", "torch")
CHARTS = ("altair", "vl_convert", "jinja2")
ARRAYS = ("numpy", "polars", "pandas", "pydantic", "scipy", "requests", "duckdb")
LIBRARIES = ("scipy", "requests", "pandas")  # pandas: where the day's sessions are kept
ENGINES = ("alpha_assets.project", "alpha_assets.audit", "alpha_assets.training.fit")
MODELS = ("alpha_assets.models.base", "alpha_assets.models.losses.base", *ENGINES[2:])
# What delivers and stores raw rows, simulates, judges and makes: a declaration needs none of it.
COMPUTING = tuple(
    f"alpha_assets.{name}"
    for name in (
        "backtest.simulator",
        "backtest.capacity",
        "backtest.attainable",
        "evaluation.metrics",
        "evaluation.signal",
        "feeds.ingest",
        "pipeline.decide",
        "pipeline.executor",
        "pipeline.figures",
        "pipeline.inputs",
        "pipeline.runner",
        "pipeline.simulation",
        "pipeline.study",
        "pipeline.train",
        "quality.coverage",
        "store.copies",
    )
)
# A market's own source says which feeds it has; the list of markets asks none.
SOURCES = tuple(
    f"alpha_assets.sources.{name}" for name in ("sim.market", "jquants.client", "files.source")
)
VERBS = (
    (["--help"], (*NEVER, *CHARTS, *ARRAYS, *ENGINES)),
    (["audit", "--help"], (*NEVER, *CHARTS, *ARRAYS, *ENGINES)),
    (
        ["sql", "SELECT 1 AS one", "--market", "tiny"],
        (*NEVER, *CHARTS, *LIBRARIES, *ENGINES, "alpha_assets.pipeline"),
    ),
    (["markets"], (*NEVER, *CHARTS, *LIBRARIES, *ENGINES, *COMPUTING, *SOURCES)),
    (["features", "--json", "--market", "tiny"], (*NEVER, *CHARTS, *LIBRARIES, *ENGINES)),
    (["recipes"], (*NEVER, *CHARTS, *LIBRARIES, *ENGINES, *MODELS, *COMPUTING)),
    (["status", *TINY], (*NEVER, *CHARTS, *LIBRARIES, "alpha_assets.audit", *MODELS, *COMPUTING)),
    (["run", *TINY, *MONTHS], (*NEVER, *CHARTS, *LIBRARIES, "alpha_assets.audit", *MODELS)),
)
PROGRAM = """
import json, sys
from click.testing import CliRunner
from alpha_assets.cli import main

for verb, forbidden in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, verb)
    assert done.exit_code == 0, (verb, done.output, done.exception)
    loaded = [name for name in forbidden if name in sys.modules]
    assert not loaded, f"{verb[0]} imports {loaded}: {done.output}"
"""


def test_verbs_import_no_library_that_they_do_not_need(tiny_run: Path, tmp_path: Path) -> None:
    """`run` has nothing to make, and so loads no model."""
    aa.markets()  # keeps the sessions of every exchange for other processes
    places = {
        "ALPHA_STORAGE": str(linked(tiny_run, tmp_path / "storage")),
        "ALPHA_PIPELINES": str(PIPELINES),
    }
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(VERBS)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, **places},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_a_verb_leaves_the_garbage_collector_on() -> None:
    """While it imports there is nothing to collect; a run of years would fill the memory."""
    assert gc.isenabled()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_declarations_load_no_arrow() -> None:
    """Computing does, and so do answers of `sql`."""
    names = "alpha_assets.project, alpha_assets.config.listing"
    program = f"import sys, {names}; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_verb_that_asked_duckdb_ends_without_a_complaint() -> None:
    """DuckDB counts, at the very end, what of it was not cleared away."""
    program = (
        "import duckdb; from alpha_assets.cli import importing\n"
        "with importing(): pass\n"
        "duckdb.sql('SELECT 1').fetchall()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert ran.stderr == ""
