"""Contexts are frozen, and what a stage makes of a pickled one is what it makes of the other."""

import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.conftest import PIPELINES, linked

import alpha_assets as aa
from alpha_assets import cli
from alpha_assets.errors import CheckFailed
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.context import MarketContext, RecipeContext, silent
from alpha_assets.pipeline.executor import Executor
from alpha_assets.pipeline.stages import make

MONTH = "2021-08"


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))


def used(context: RecipeContext) -> RecipeContext:
    """Return a context after everything that it computes once has been asked for."""
    for value in (context, context.market, context.recipe, context.store):
        for name in dir(type(value)):
            getattr(value, name)
    kept = {*vars(context), *vars(context.market), *vars(context.recipe), *vars(context.store)}
    assert {"raw", "panel", "source", "features", "calendar", "digest", "backend"} <= kept
    return context


def from_command(patch: pytest.MonkeyPatch, storage: Path) -> RecipeContext:
    """Return the context with which the command line runs `tiny`."""
    given: list[RecipeContext] = []

    def run(context: RecipeContext, *months: str | None, executor: Executor) -> None:
        given.append(context)
        raise CheckFailed("seen")

    with patch.context() as inner:
        inner.setattr(runner, "run", run)
        asked = ["run", "--recipe", "tiny", "--storage", str(storage), "--device", "cpu"]
        assert CliRunner().invoke(cli.main, asked).output == "error: seen\n"
    return given[0]


def test_contexts_of_the_command_line_and_of_open_survive_pickling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commanded = from_command(monkeypatch, tmp_path)
    opened = aa.open("tiny", storage=str(tmp_path), device="cpu").context
    assert (commanded.progress, opened.progress) == (cli.progress, silent)

    for context in (commanded, opened):
        fresh, asked = pickle.dumps(context), pickle.dumps(used(context))

        assert len(asked) == len(fresh)  # what was computed stays where it was computed
        other = pickle.loads(asked)
        assert other == context
        assert other.progress is context.progress
        assert other.recipe.digest == context.recipe.digest
        assert other.market.data_digest == context.market.data_digest
        assert other.panel.name == context.panel.name


def test_a_market_s_context_survives_pickling(tmp_path: Path) -> None:
    opened = used(aa.open("tiny", storage=str(tmp_path)).context)
    context = MarketContext(opened.market, opened.store, progress=cli.progress)
    assert context.features.name == "tiny/features"

    other = pickle.loads(pickle.dumps(context))

    assert type(other) is MarketContext
    assert other == context
    assert other.features == context.features


def test_an_opened_project_survives_pickling_and_is_frozen(tmp_path: Path) -> None:
    project = aa.open("tiny", storage=str(tmp_path))

    assert pickle.loads(pickle.dumps(project)) == project
    with pytest.raises(FrozenInstanceError):
        project.context = project.context  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        project.context.device = "cuda"  # type: ignore[misc]


@pytest.mark.slow
def test_a_stage_of_a_pickled_context_gives_the_same_content_in_another_process(
    tiny_run: Path, tmp_path: Path
) -> None:
    storage = linked(tiny_run, tmp_path)
    context = used(aa.open("tiny", storage=str(storage)).context)
    (before,) = make(context, "targets", [MONTH])
    shutil.rmtree(storage / "tiny" / "tiny" / "targets" / f"month={MONTH}")

    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as elsewhere:
        (made,) = elsewhere.submit(make, context, "targets", [MONTH]).result()

    assert made == before
    assert made.rows > 0
    assert Path(made.path).is_dir()
