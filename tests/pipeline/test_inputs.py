"""Recipes whose models read more than columns: from the market's stages to the decision."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
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
from alpha_assets.errors import SpecError, StaleOutput
from alpha_assets.pipeline import decide, market_stages
from alpha_assets.pipeline.checkpoint import checkpoint_stage, stored_checkpoint
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.neighbours import stored_edges
from alpha_assets.pipeline.stages import stage_of

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
