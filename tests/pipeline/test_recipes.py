"""Every shipped recipe trains on a small market: its own file at its small size, for an epoch.

What a recipe learns is proven on the rig, by slow proofs; here it goes through the stages that
decide a month, with the model, the loss terms, the inputs and the sampler that its file names.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import PIPELINES, linked

from alpha_assets import project
from alpha_assets.config.folders import named_file, names
from alpha_assets.config.recipe import markets_of, recipe_sizes
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.checkpoint import stored_checkpoint
from alpha_assets.pipeline.stages import make

MONTH = "2021-07"
# Forty symbols over seven months, of which forty sessions are trained on.
HERE = {
    r"^markets = .*$": 'markets = ["tiny"]',
    r"^lookback_sessions = .*$": "lookback_sessions = 40",
    r"^valid_sessions = .*$": "valid_sessions = 15",
    r'^name = "(all|semis)"$': 'name = "traded"',
    r'^held = ".*"$': 'held = "priced"',
    r"^(block|batch)_sessions = .*$": r"\1_sessions = 8",
    r"^rank_ic_max = .*$": "rank_ic_max = 1.0",
    r"^count = .*$": "count = 4",
}
LONGER = ("momentum",)  # looks back a year, which the market does not have
RECIPES = [name for name in names("recipes") if markets_of(name) != ("rig",) and name not in LONGER]


@pytest.fixture(scope="module", autouse=True)
def _pipelines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with the shipped recipes, on the market `tiny`."""
    folder = tmp_path_factory.mktemp("recipes") / "pipelines"
    shutil.copytree(PIPELINES, folder)
    for name in names("recipes"):
        text = named_file("recipes", name).read_text(encoding="utf-8")
        for pattern, here in HERE.items():
            text = re.sub(pattern, here, text, flags=re.MULTILINE)
        (folder / "recipes" / f"{name}.toml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(folder))
        yield


@pytest.fixture(scope="module")
def storage(tiny_market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linked(tiny_market, tmp_path_factory.mktemp("storage"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_decides_a_month(name: str, storage: Path) -> None:
    size = "small" if "small" in recipe_sizes(name) else None
    context = project.open_context(
        name, storage=str(storage), size=size, overrides=["training.max_epochs=1"]
    )
    if context.recipe.parent is not None:
        make(context.of_parent(), "checkpoint", [MONTH])
    runner.make_model(context, MONTH)
    manifest = context.checkpoint(MONTH).manifest()
    assert manifest is not None
    assert manifest.status == "complete", manifest.extra
    runner.make_market_stages(context, [MONTH])
    make(context, "predictions", [MONTH])

    checkpoint = stored_checkpoint(context.checkpoint(MONTH))
    scores = context.predictions.read(MONTH, MONTH).collect()
    spec = context.recipe.spec
    assert checkpoint.card.learner.model == spec.model
    assert sorted(scores["horizon"].unique()) == list(spec.label.horizons)
    assert scores["score"].is_finite().all()
    per_session = scores.group_by("session", "horizon").agg(
        n=pl.len(), distinct=pl.col("score").n_unique()
    )
    assert scores["session"].n_unique() == 20
    assert (per_session["distinct"] >= per_session["n"] / 2).all()
