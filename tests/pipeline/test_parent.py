"""A second stage: a recipe whose months start from the weights of another recipe's."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from tests.conftest import PIPELINES, linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.defs.recipe import recipe_assets
from alpha_assets.defs.resources import Storage
from alpha_assets.errors import MissingOutput, SpecError, StaleOutput
from alpha_assets.pipeline.checkpoint import stored_checkpoint
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.store.hashing import combined_hash

MONTHS = {"first_month": "2021-07", "last_month": "2021-08"}
RATE = "learning_rate = 1e-9"  # so small that the weights stay where they start
ALONE = "patience = 1"
SECOND = 'patience = 1\nparent = "tiny"\nwarm_shrink = 1.0\nsampler = "blocks"'


def second_stage(folder: Path) -> None:
    """Write the recipe `second`: `tiny` with a turnover term, from the weights of `tiny`."""
    text = (folder / "recipes" / "tiny.toml").read_text()
    for before, after in (
        (ALONE, SECOND),
        ("[window]", '[[loss]]\nkind = "turnover"\nweight = 0.1\n\n[window]'),
        ("[training]", f"[optimiser]\n{RATE}\n\n[training]"),
    ):
        assert before in text
        text = text.replace(before, after)
    (folder / "recipes" / "second.toml").write_text(text)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The market `tiny` with two recipes, the second one starting from the first."""
    folder = tmp_path_factory.mktemp("pipelines")
    for part in ("markets/tiny.toml", "recipes/tiny.toml"):
        (folder / part).parent.mkdir(exist_ok=True)
        shutil.copy(PIPELINES / part, folder / part)
    second_stage(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(folder))
        yield folder


@pytest.fixture(scope="module")
def ran(pipelines: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage in which both recipes decided two months."""
    storage = linked(tiny_run, tmp_path_factory.mktemp("ran"))
    aa.run("second", storage=str(storage), **MONTHS)
    return storage


def context_in(storage: Path, recipe: str = "second") -> RecipeContext:
    return project.open_context(recipe, storage=str(storage))


def loaded(*overrides: str, name: str = "second") -> None:
    load_recipe(name, load_market("tiny"), overrides=overrides).check_features()


def test_training_starts_from_the_weights_of_the_same_month_of_the_parent(ran: Path) -> None:
    first, second = context_in(ran, "tiny"), context_in(ran)
    for month in ("2021-07", "2021-08"):
        before, after = (
            stored_checkpoint(there.checkpoint(month)).by_seed()[0] for there in (first, second)
        )
        for name, tensor in before.items():
            np.testing.assert_allclose(after[name], tensor, atol=1e-6, err_msg=name)
        stored = second.checkpoint(month).manifest()
        parent = first.checkpoint(month).manifest()
        assert stored is not None
        assert parent is not None
        of_parent = combined_hash({month: parent.content_hash})
        assert stored.inputs[f"tiny/checkpoint/{month}"] == of_parent
    assert stored_checkpoint(second.checkpoint("2021-07")).card.parent == "tiny"


def test_predict_equals_the_predictions_of_a_second_stage(ran: Path) -> None:
    context = context_in(ran)
    session = context.market.calendar.month_sessions("2021-08")[3].astype(str)
    rows = pl.DataFrame(aa.predict("second", asof=session, storage=str(ran))["rows"])
    stored = context.predictions.read("2021-08", "2021-08").collect()
    stored = stored.filter(pl.col("session").cast(pl.String) == session)
    key = ["symbol", "horizon"]
    assert rows.sort(key)["score"].to_list() == stored.sort(key)["score"].to_list()


def test_the_asset_of_a_second_stage_depends_on_that_of_its_parent(ran: Path) -> None:
    market = load_market("tiny")
    recipe = load_recipe("second", market)
    asset = next(a for a in recipe_assets(recipe, market) if a.key.path[-1] == "checkpoint")
    needed = {dep.asset_key for dep in asset.specs_by_key[asset.key].deps}
    assert dg.AssetKey(["tiny", "tiny", "checkpoint"]) in needed
    before = context_in(ran).checkpoint("2021-07").manifest()
    made = dg.materialize(
        [asset], partition_key="2021-07-01", resources={"storage": Storage(url=str(ran))}
    )
    assert made.success
    assert context_in(ran).checkpoint("2021-07").manifest() == before


def test_a_parent_that_is_missing_or_stale_is_refused_with_the_command(
    ran: Path, pipelines: Path, tmp_path: Path
) -> None:
    storage = linked(ran, tmp_path / "storage")
    shutil.rmtree(storage / "tiny" / "tiny" / "checkpoint" / "month=2021-07", ignore_errors=True)
    shutil.rmtree(storage / "tiny" / "tiny" / "checkpoint" / "2021-07", ignore_errors=True)
    with pytest.raises(MissingOutput) as missing:
        aa.run("second", storage=str(storage), **MONTHS)
    assert "tiny/tiny/checkpoint/2021-07 has not been made" in str(missing.value)
    assert "--recipe tiny" in str(missing.value)
    assert "the training of 2021-07 starts from it" in str(missing.value)
    rows = {row["stage"]: row for row in aa.status("second", storage=str(storage))}
    assert rows["second/checkpoint"]["to do"] == 1
    assert "tiny/checkpoint/2021-07" in rows["second/checkpoint"]["why"]
    file = pipelines / "recipes" / "tiny.toml"
    text = file.read_text()
    file.write_text(text.replace("max_epochs = 2", "max_epochs = 1"))
    try:
        with pytest.raises(StaleOutput, match=r"checkpoint/2021-07 was made by digest .*, this is"):
            aa.run("second", storage=str(ran), **MONTHS)
    finally:
        file.write_text(text)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.parent=tinny", "tiny"),
        ("universe.name=all", "universe.name = 'all', and that of training.parent = 'tiny' is"),
        ('model={kind="linear"}', "model.kind = 'linear', and that of training.parent"),
        ("label.horizons=[5]", "label.horizons = [5], and that of training.parent"),
        ("training.seeds=[0,3]", "seed 3 has nothing to start from"),
        ('features.names=["ret_1","ret_5"]', "reads 2 features and training.parent = 'tiny' 12"),
    ],
)
def test_what_cannot_be_a_parent_is_refused(pipelines: Path, override: str, words: str) -> None:
    del pipelines
    with pytest.raises(SpecError) as refused:
        loaded(override)
    assert words in str(refused.value)


def test_recipes_that_start_from_each_other_are_refused(pipelines: Path) -> None:
    file = pipelines / "recipes" / "tiny.toml"
    text = file.read_text()
    file.write_text(text.replace(ALONE, f'{ALONE}\nparent = "second"'))
    try:
        with pytest.raises(SpecError, match="second from tiny from second"):
            loaded()
    finally:
        file.write_text(text)
