"""Recipes whose models read more than columns: from the market's stages to the decision."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from tests.conftest import PIPELINES, linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.audit.recompute import disagreements
from alpha_assets.audit.why import explain
from alpha_assets.calendar import as_date
from alpha_assets.definitions import defs
from alpha_assets.defs.partitions import RANGE_END, RANGE_START
from alpha_assets.errors import BadInput, RangeError, SpecError, StaleOutput
from alpha_assets.features import correlation
from alpha_assets.pipeline import decide, inputs, market_stages
from alpha_assets.pipeline.checkpoint import checkpoint_stage, stored_checkpoint
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.inputs import states_of, universe_rows
from alpha_assets.pipeline.market_stages import graph_table
from alpha_assets.pipeline.neighbours import stored_edges
from alpha_assets.pipeline.stages import make, stage_of
from alpha_assets.pipeline.windows import first_usable, split_of

MONTH = "2021-08"
# Features that look back less far than the graph does.
SHORT = ("features.names=['val_book_to_price','val_ln_market_value']",)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, tiny_market: Path) -> Iterator[str]:
    """A storage in which each recipe of this module decided a month."""
    folder = str(linked(tiny_market, tmp_path_factory.mktemp("inputs")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        aa.run("tiny_graph", storage=folder, first_month=MONTH, last_month=MONTH)
        yield folder


NEWS = ('inputs.news={kind="pca",feed="news",components=2}',)


def opened(recipe: str, storage: str, **changes: Any) -> RecipeContext:
    return project.open_context(recipe, storage=storage, **changes)


def test_a_graph_that_looks_back_further_than_the_features_is_decided_today(
    stored: str, tmp_path: Path
) -> None:
    storage = str(linked(Path(stored), tmp_path))
    aa.run("tiny_graph", storage=storage, first_month=MONTH, last_month=MONTH, overrides=SHORT)
    context = opened("tiny_graph", storage, overrides=SHORT)
    scores = context.predictions.read(MONTH, MONTH).collect()
    day = decided_days(context)[2]

    found = decide.decide(context, day.isoformat()).scores
    assert found.height
    assert found.equals(scores.filter(pl.col("session") == day))


@pytest.mark.parametrize("recipe", ["tiny_ridge", "tiny_trees"])
def test_baselines_read_components_of_vectors(
    tiny_market: Path, tmp_path: Path, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    storage = str(linked(tiny_market, tmp_path))
    context = opened(recipe, storage, overrides=NEWS)
    for stage in ("checkpoint", "predictions", "targets"):
        make(context, stage, [MONTH])
    card = stored_checkpoint(context.checkpoint(MONTH)).card
    assert card.inputs["news"].columns == ("news_01", "news_02", "news_present")
    assert card.features[-3:] == card.inputs["news"].columns
    scores = context.predictions.read(MONTH, MONTH).collect()
    day = decided_days(context)[2]
    there = scores.filter(pl.col("session") == day)
    assert decide.decide(context, day.isoformat()).scores.equals(there)

    explained = explain(context, there["symbol"][0], day.isoformat())
    assert disagreements(explained) == []
    assert explained["attribution"]["method"].startswith("exact")
    assert all(item["adds_up"] for item in explained["attribution"]["horizons"])
    # What is promised above would be empty if the components changed nothing.
    without = opened(recipe, storage)
    for stage in ("checkpoint", "predictions"):
        make(without, stage, [MONTH])
    plain = without.predictions.read(MONTH, MONTH).collect()
    assert plain.drop("score").equals(scores.drop("score"))
    assert not plain["score"].equals(scores["score"])


def test_components_want_as_many_sessions_with_a_vector(
    tiny_market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    storage = str(linked(tiny_market, tmp_path))
    context = opened("tiny_ridge", storage, overrides=NEWS)
    split = split_of(context, MONTH, first_usable(context))
    first = split.train[0].item()
    keys = universe_rows(context, first, split.last.item())
    states = states_of(context, context.recipe.spec.inputs.fitted["news"], keys)
    alone = keys["session"].to_numpy() == split.train[-1]
    late = replace(states, row_L=np.where(alone, states.row_L, -1))
    monkeypatch.setattr(inputs, "states_of", lambda *_: late)
    with pytest.raises(BadInput) as refused:
        make(context, "checkpoint", [MONTH])
    words = f"[inputs.news] components = 2: 1 of the 60 training sessions {first} to "
    assert words in str(refused.value)
    assert "have a vector of news; want fewer components, a longer split" in str(refused.value)
    assert not context.checkpoints.months()


def test_a_universe_without_an_edge_trains_no_model_of_the_graph(
    tiny_market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    monkeypatch.setattr(correlation, "LEAST_CORRELATION", 0.999)
    context = opened("tiny_graph", str(linked(tiny_market, tmp_path)))
    with pytest.raises(BadInput) as refused:
        aa.run("tiny_graph", storage=str(tmp_path), first_month=MONTH, last_month=MONTH)
    assert graph_table(context, "traded").read(MONTH, MONTH).collect().is_empty()
    words = "[inputs.graph]: universe 'traded' has no edge at any of the training sessions"
    assert words in str(refused.value)
    assert "choose a universe of more names, decide later months, or take [inputs.graph] out" in (
        str(refused.value)
    )
    assert not context.checkpoints.months()


def test_trees_without_their_library_are_refused_before_anything_is_made(
    tiny_market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    storage = linked(tiny_market, tmp_path, only=("raw",))
    with pytest.raises(BadInput, match=r"needs LightGBM.*pip install 'alpha-assets\[trees\]'"):
        aa.run("tiny_trees", storage=str(storage), first_month=MONTH, last_month=MONTH)
    assert [path.name for path in (storage / "tiny").iterdir()] == ["raw"]


def test_folds_whose_purge_leaves_nothing_are_refused_by_the_month(
    tiny_market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    storage = str(linked(tiny_market, tmp_path))
    # 20 + 30 + 10 sessions from the first to the last; 5 + 25 on both sides of a block of 30.
    asked = ["split.folds=2", "split.embargo_sessions=25", "split.lookback_sessions=20"]
    asked.append("split.valid_sessions=10")
    words = r"split.folds = 2 of month 2021-08: fold 1 of 2 blocks has nothing to train on"
    with pytest.raises(RangeError, match=words):
        aa.run("tiny_ridge", storage=storage, first_month=MONTH, last_month=MONTH, overrides=asked)


def decided_days(context: RecipeContext) -> list[date]:
    """The first and last session of the month, its first of a week, and one within a week."""
    sessions = context.market.calendar.month_sessions(MONTH)
    return [as_date(sessions[place]) for place in (0, 5, 7, -1)]


@pytest.mark.parametrize("recipe", ["tiny_graph"])
def test_what_is_decided_today_has_the_bits_of_what_is_stored(stored: str, recipe: str) -> None:
    context = opened(recipe, stored)
    scores = context.predictions.read(MONTH, MONTH).collect()
    assert scores.height

    for day in decided_days(context):
        found = decide.decide(context, day.isoformat())
        assert found.scores.height
        assert found.scores.equals(scores.filter(pl.col("session") == day)), day


@pytest.mark.parametrize("recipe", ["tiny_graph"])
def test_dagster_makes_what_run_makes(
    stored: str, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = ("raw", "panel", "features", "cross_section")
    storage = str(linked(Path(stored), tmp_path, only=only))
    monkeypatch.setenv("ALPHA_STORAGE", storage)
    monkeypatch.setenv("ALPHA_DEVICE", "cpu")
    made = defs()
    assert isinstance(made, dg.Definitions)
    job = made.resolve_job_def(f"tiny_{recipe}_month")
    reads = checkpoint_stage(opened(recipe, storage).recipe).reads
    graphs = [["tiny", *read.of.key] for read in reads if read.of and read.of.key[0] == "graph"]
    of_recipe = [["tiny", recipe, stage] for stage in ("checkpoint", "predictions")]
    with dg.DagsterInstance.ephemeral() as instance:
        for keys, first in ((graphs, "2021-01-01"), (of_recipe, f"{MONTH}-01")):
            if keys:
                done = job.execute_in_process(
                    instance=instance,
                    asset_selection=[dg.AssetKey(key) for key in keys],
                    tags={RANGE_START: first, RANGE_END: f"{MONTH}-01"},
                )
                assert done.success

    mine, theirs = opened(recipe, storage), opened(recipe, stored)
    for place in ("checkpoints", "predictions"):
        hashes = [getattr(context, place).hashes(MONTH, MONTH) for context in (mine, theirs)]
        assert hashes[0] == hashes[1] != {}, place


def test_why_gives_to_other_names_what_the_neighbours_add(stored: str) -> None:
    context = opened("tiny_graph", stored)
    day = decided_days(context)[-1]
    scores = context.predictions.read(MONTH, MONTH).collect()
    symbols = scores.filter(pl.col("session") == day)["symbol"].unique().sort()
    explained = [explain(context, symbols[place], day.isoformat()) for place in (0, -1)]

    assert disagreements(explained[0]) == []
    horizons = [item for one in explained for item in one["attribution"]["horizons"]]
    assert all(item["adds_up"] for item in horizons)
    assert any(item["other_names"] for item in horizons)


def test_a_model_and_its_scores_are_made_from_the_stored_graph(stored: str) -> None:
    context = opened("tiny_graph", stored)
    for stage in ("checkpoint", "predictions"):
        manifest = stage_of(context, stage).folder(context, MONTH).manifest()
        assert manifest is not None
        assert "graph/traded" in manifest.inputs, stage
    card = stored_checkpoint(context.checkpoint(MONTH)).card
    assert card.n_neighbours == card.sizes.n_neighbours == 3
    read = next(
        read
        for read in stage_of(context, "checkpoint").reads
        if read.of is not None and read.of.name == "graph/traded"
    )
    assert read.until == -1  # of the month itself nothing


def test_a_graph_that_was_made_otherwise_is_refused_and_made_again(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = str(linked(Path(stored), tmp_path))
    monkeypatch.setattr(
        market_stages, "GRAPH_RULES", {**market_stages.GRAPH_RULES, "neighbours": 30}
    )
    found = {row["stage"]: row["to do"] for row in aa.status("tiny_graph", storage=storage)}
    assert found["graph/traded"] == 8
    assert found["tiny_graph/checkpoint"] == found["tiny_graph/predictions"] == 1
    with pytest.raises(StaleOutput, match="graph/traded"):
        stage_of(opened("tiny_graph", storage), "predictions").ensure(
            opened("tiny_graph", storage), [MONTH], again=True
        )


def test_scores_of_a_graph_of_another_week_differ(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is promised above would be empty if edges changed nothing.
    context = opened("tiny_graph", stored)
    day = decided_days(context)[2]
    edges = stored_edges(context, context.market.calendar.between(day, day))
    assert edges is not None
    assert edges["session"].unique().to_list() == [date(2021, 8, 10)]
    scores = context.predictions.read(MONTH, MONTH).filter(pl.col("session") == day).collect()
    monkeypatch.setattr(decide, "edges_of_session", lambda *_: edges.clear())
    assert not decide.decide(context, day.isoformat()).scores.equals(scores)


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("tiny", ["model={kind='neighbour_mean'}"], r"add a section \[inputs\.graph\]"),
        ("tiny", ["inputs.graph.neighbours=3"], r"reads no graph: take \[inputs\.graph\] out"),
        ("tiny_graph", ["inputs.graph.neighbours=21"], "less than or equal to 20"),
        ("tiny_graph", ["inputs.graph.neighbors=2"], "neighbors"),
    ],
)
def test_inputs_that_do_not_fit_the_model_are_refused(
    stored: str, recipe: str, changes: list[str], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        opened(recipe, stored, overrides=changes)
