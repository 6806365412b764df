"""Each door's smallest recipe that needs it, through Dagster, `run`, `predict` and `why`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from tests.conftest import linked
from tests.doors import DOORS, written

import alpha_assets as aa
from alpha_assets.audit.recompute import disagreements
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.defs.recipe import recipe_assets
from alpha_assets.defs.resources import Storage
from alpha_assets.store.store import Store

MONTH = "2021-07"

# By name of the recipe: how its scores are attributed, and to how many models.
ATTRIBUTED: Mapping[str, tuple[str, int]] = {
    "folds": ("exact: coefficient times value", 5),
    "tiny_ridge": ("exact: coefficient times value", 1),
    "tiny_trees": ("exact: SHAP values of trees (LightGBM, pred_contrib)", 1),
}


@pytest.fixture(scope="module", autouse=True)
def _pipelines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of markets and recipes with one recipe for each door."""
    folder = written(tmp_path_factory.mktemp("doors") / "pipelines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(folder))
        yield


# One of each kind through all of it: a head and two losses, several models, vectors, no validation,
# trees.  The others are a slow proof: `test_resident.py` trains the turnover term on blocks,
# `test_recipes.py` decides months by the net Sharpe ratio, `test_inputs.py` decides and explains
# one of ridge on components of vectors.
QUICK = ("quantiles", "folds", "news_branch", "no_validation", "tiny_trees")


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in [*DOORS, "tiny_ridge", "tiny_trees"]
    ],
)
def test_a_door_is_open_from_dagster_to_the_books(
    name: str, tiny_market: Path, tmp_path: Path
) -> None:
    storage = str(linked(tiny_market, tmp_path / "storage"))
    market = load_market("tiny")
    recipe = load_recipe(name, market)
    assets = {asset.key.path[-1]: asset for asset in recipe_assets(recipe, market)}
    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.materialize(
            [assets[stage] for stage in ("checkpoint", "predictions", "targets")],
            instance=instance,
            partition_key=f"{MONTH}-01",
            resources={"storage": Storage(url=storage)},
        )
    assert made.success

    folder = Store(storage).folder("tiny", name, "checkpoint", MONTH)
    before = folder.manifest()
    aa.run(name, storage=storage, first_month=MONTH, last_month=MONTH)
    assert before is not None
    assert folder.manifest() == before, "`run` found fresh what Dagster had made"
    assert Store(storage).folder("tiny", name, "report").manifest() is not None

    stored = aa.open(name, storage=storage).predictions(MONTH, MONTH).collect()
    assert stored.height
    session = stored["session"].unique().sort()[7]
    decided = aa.predict(name, storage=storage, asof=session.isoformat())
    rows = pl.DataFrame(decided["rows"], schema_overrides=stored.schema)
    keys = ["session", "symbol", "horizon"]
    mine = stored.filter(pl.col("session") == session).sort(keys)
    assert rows.select(stored.columns).sort(keys).equals(mine)

    explained = aa.why(mine["symbol"][0], session.isoformat(), name, storage=storage)
    assert disagreements(explained) == []
    attribution = explained["attribution"]
    method, n_models = ATTRIBUTED.get(name, ("integrated gradients, ", 1))
    assert attribution["method"].startswith(method)
    assert attribution["n_models"] == n_models
    assert all(item["adds_up"] for item in attribution["horizons"])
    if name == "folds":
        card = json.loads(folder.contents()["card.json"])
        files = [file for file in folder.contents() if file.endswith(".safetensors")]
        assert files == [f"fold={k}/seed=0/model.safetensors" for k in range(1, 6)]
        held_out = [day for fold in card["folds"] for day in fold["valid_sessions"]]
        first, last = card["train_sessions"][0], card["valid_sessions"][-1]
        between = market.calendar.between(first, last).astype(str).tolist()
        assert held_out == between, "every session of the span is held out once"
        for fold in card["folds"]:
            assert not set(fold["train_sessions"]) & set(fold["valid_sessions"])
    if name == "quantiles":
        assert stored.columns[-3:] == ["q10", "q50", "q90"]
        assert stored.select((pl.col("q10") < pl.col("q50")) & (pl.col("q50") < pl.col("q90")))[
            "q10"
        ].all()
        assert stored["q50"].equals(stored["score"])
        assert set(explained["scores"][0]) == {"horizon", "score", "q10", "q50", "q90"}
