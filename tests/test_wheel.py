"""A wheel carries all that it needs: it works from an empty folder, outside of any checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds the built wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def run(site: Path, here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of the wheel in a folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ALPHA_", "DAGSTER"))}
    code = "import sys; from alpha_assets.cli import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=here,
        env={**kept, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )


def test_what_ships_is_found_and_a_project_of_ones_own_is_written(
    site: Path, tmp_path: Path
) -> None:
    listed = run(site, tmp_path, "recipes")
    assert listed.returncode == 0, listed.stderr
    assert "rolling_transformer" in listed.stdout

    written = run(site, tmp_path, "init", "mine")
    assert written.returncode == 0, written.stderr
    (tmp_path / "mine" / "pipelines" / "recipes" / "rolling_transformer_feeds.toml").unlink()
    below = tmp_path / "mine" / "notes"
    below.mkdir()
    assert "rolling_transformer_feeds" not in run(site, below, "recipes").stdout


def test_the_wheel_holds_every_file_that_is_read_at_run_time(site: Path) -> None:
    source = ROOT / "src"
    there = {path.relative_to(site) for path in site.rglob("*") if path.is_file()}
    wanted = {
        path.relative_to(source)
        for path in (source / "alpha_assets").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= there
    project = Path("alpha_assets/shipped")
    shipped = [*ROOT.glob("*.yaml"), *(ROOT / "pipelines").rglob("*.*")]
    assert len(list(ROOT.glob("*.yaml"))) == 3
    assert {project / path.relative_to(ROOT) for path in shipped} <= there
