"""The command that an error or a page names gives the same digests as the run it came from."""

import shlex
from pathlib import Path

import pytest

from alpha_assets import project
from alpha_assets.cli import main
from alpha_assets.pipeline.command import command, run_again
from alpha_assets.pipeline.context import RecipeContext

PIPELINES = Path(__file__).parents[1] / "pipelines"
BARS = "date,symbol,open,high,low,close,volume\n2021-01-04,A,1,1,1,1,1\n"


@pytest.fixture(autouse=True)
def _pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    monkeypatch.delenv("ALPHA_DATA", raising=False)


def opened(line: str) -> RecipeContext:
    """Return the context that the command line's own parser makes of a command."""
    words = shlex.split(line)
    assert words[:2] == ["alpha-assets", "run"]
    asked = main.commands["run"].make_context("run", words[2:]).params
    assert asked.pop("as_json") is False
    asked.pop("workers")
    first, last = asked.pop("first_month"), asked.pop("last_month")
    assert (first, last) in ((None, None), ("2021-03", "2021-03"))
    return project.open_context(**asked)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "with space & 'quote'"
    place.mkdir()
    (place / "daily_bars.csv").write_text(BARS)
    (place / "membership.csv").write_text("symbol,start,end\nA,2021-01-04,\n")
    return place


SETS = ("portfolio.quantile=0.2", "training.seeds=[3]", "market.universes.all.min_history=3")


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_command_reads_the_same_folder_with_the_same_overrides(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    data = folder if by == "option" else None
    if by == "environment":
        monkeypatch.setenv("ALPHA_DATA", str(folder))
    context = project.open_context(
        "tiny_us", data=data, storage=str(tmp_path / "st"), overrides=SETS
    )
    line = command(context, "run", "--first-month", "2021-03", "--last-month", "2021-03")
    wanted = (context.recipe.digest, context.market.data_digest, context.store.address)
    monkeypatch.delenv("ALPHA_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    again = opened(line)
    assert (again.recipe.digest, again.market.data_digest, again.store.address) == wanted
    plain = project.open_context("tiny_us", data=folder)
    assert plain.recipe.digest != again.recipe.digest


def test_a_command_without_anything_special_is_short() -> None:
    assert run_again(project.open_context("tiny")) == (
        "alpha-assets run --recipe tiny --market tiny makes it"
    )
    assert run_again(project.open_context("tiny"), "2021-03") == (
        "alpha-assets run --recipe tiny --market tiny --first-month 2021-03 "
        "--last-month 2021-03 makes it"
    )
