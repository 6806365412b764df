"""What a verb of the command line does not need, it does not import."""

import json
import subprocess
import sys
from pathlib import Path

import alpha_assets as aa

# In one process, each verb after those that need less: what is forbidden after a verb was not
# imported by it.
NEVER = ("dagster", "lightgbm", "scipy.stats")
CHARTS = ("altair", "vl_convert", "jinja2")
ARRAYS = ("numpy", "polars", "pandas", "pydantic", "scipy", "requests", "duckdb", "torch")
LIBRARIES = ("scipy", "requests", "pandas")  # pandas: where the day's sessions are kept
VERBS = (
    (["--help"], (*NEVER, *CHARTS, *ARRAYS)),
    (["audit", "--help"], (*NEVER, *CHARTS, *ARRAYS)),
    (["sql", "SELECT 1 AS one"], (*NEVER, *CHARTS, "scipy", "torch", "pandas", "requests")),
    (["markets"], (*NEVER, *CHARTS, *LIBRARIES, "torch")),
    (["features"], (*NEVER, *CHARTS, *LIBRARIES, "torch")),
    (["recipes"], (*NEVER, *CHARTS, *LIBRARIES)),
    (["status", "--recipe", "momentum"], (*NEVER, *CHARTS, *LIBRARIES)),
)
PROGRAM = """
import json, sys
from click.testing import CliRunner
from alpha_assets.cli import main

for verb, forbidden in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, verb)
    nothing_is_stored = 2 if verb[0] == "sql" else 0
    assert done.exit_code == nothing_is_stored, (verb, done.output, done.exception)
    loaded = [name for name in forbidden if name in sys.modules]
    assert not loaded, f"{verb[0]} imports {loaded}"
"""


def test_verbs_import_no_library_that_they_do_not_need(tmp_path: Path) -> None:
    aa.markets()  # keeps the sessions of every exchange for other processes
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(VERBS)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
