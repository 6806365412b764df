"""The certificate covers every door: silent on its smallest recipe, loud on a leak through it.

Those marked slow rebuild the stages of a market with a model in four worlds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.audit.conftest import certifying
from tests.audit.leaks import unbounded
from tests.audit.test_planted_leaks import assert_caught, unpurged
from tests.doors import DOORS, written

from alpha_assets.audit.perturb import Deletion, Mixed, World
from alpha_assets.audit.rebuild import in_store
from alpha_assets.config.recipe import load_recipe
from alpha_assets.dataset import Fold, Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.panel.universe import UniverseSpec
from alpha_assets.panel.vectors import VectorStates
from alpha_assets.pipeline import inputs, neighbours, predictions, train
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.freshness import manifest_of
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.inputs import FittedInput
from alpha_assets.pipeline.transforms import member_rows, panel_rows
from alpha_assets.pipeline.windows import split_of
from alpha_assets.store.compare import compare_weights
from alpha_assets.training import network
from alpha_assets.training.pca import fit_pca
from alpha_assets.training.settings import Plan

FIRST, MIDDLE = date(2021, 7, 1), date(2021, 7, 14)

Patch = pytest.MonkeyPatch
Opened = Callable[[str], RecipeContext]


@pytest.fixture(scope="module")
def opened(doors_road: RecipeContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Return the road of a door's recipe by name."""
    folder = written(tmp_path_factory.mktemp("doors") / "pipelines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(folder))
        yield lambda name: replace(doors_road, recipe=load_recipe(name, doors_road.market))


def fitted_on_all(
    context: RecipeContext, name: str, spec: Any, keys: pl.DataFrame, states: Any, split: Any
) -> FittedInput:
    """Fit an input on every vector that is stored, whenever it was published."""
    found = honest_fit(context, name, spec, keys, states, split)
    rows = context.raw[spec.feed].read().collect()
    vector_RV = np.ascontiguousarray(rows[found.card.column].to_numpy())
    counts = np.ones(len(vector_RV), dtype=np.int64)
    return replace(found, pca=fit_pca(vector_RV, counts, spec.components, name))


honest_fit = inputs.fitted_on


@pytest.mark.slow
def test_components_of_vectors_that_are_not_out_yet(opened: Opened, monkeypatch: Patch) -> None:
    certify = certifying(opened("news_pca"))
    monkeypatch.setattr(inputs, "fitted_on", fitted_on_all)
    certificate = certify([FIRST])

    assert_caught(certificate, "checkpoint", "inputs/news/")
    assert not any(trial.passed for trial in certificate.trials)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DOORS, "tiny_graph"])
def test_a_door_without_a_leak_is_silent(opened: Opened, name: str) -> None:
    certificate = certifying(opened(name))([MIDDLE], sessions=1)

    assert certificate.passed, certificate.text()
    cells = {one.stage: one.cells for one in certificate.trials[0].comparisons}
    wanted = {"checkpoint", "card", "predictions", "targets", "predict"}
    assert wanted | ({"graph"} if name == "tiny_graph" else set()) <= {s for s in cells if cells[s]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weeks", "stage", "cut"),
    [
        pytest.param(1, "predictions", MIDDLE, id="of next week"),
        pytest.param(4, "card", FIRST, id="of next month"),
    ],
)
def test_edges_of_a_later_graph_that_reach_the_model(
    opened: Opened, monkeypatch: Patch, weeks: int, stage: str, cut: date
) -> None:
    # The stored graphs are right; the model is given those of later weeks.
    certify = certifying(opened("tiny_graph"))
    honest = neighbours.graph_sessions
    later = np.timedelta64(7 * weeks, "D")
    for room in (neighbours, train, predictions):
        monkeypatch.setattr(
            room, "graph_sessions", lambda calendar, days: honest(calendar, days + later)
        )
    assert_caught(certify([cut]), stage)


@pytest.mark.slow
def test_a_line_that_starts_at_labels_of_the_month(opened: Opened, monkeypatch: Patch) -> None:
    # The network learns from what it may know; its line starts where a ridge regression ends that
    # is fitted up to the eve of the month, whose labels end within it.
    certify, honest, labels = certifying(opened("line")), network.unit_line, train.labels_between
    made = train.training_data
    asked: list[tuple[RecipeContext, Split]] = []

    def noted(context: RecipeContext, split: Split) -> Dataset:
        asked.append((context, split))
        return made(context, split)

    def ahead(view: Dataset, fold: Fold, plan: Plan) -> torch.Tensor:
        context, split = asked[-1]
        later = unpurged(split, context, train_last=True)
        with monkeypatch.context() as patch:
            patch.setattr(train, "labels_between", unbounded(labels))
            seen = made(context, later)
        assert seen.axes.features == view.axes.features
        return honest(seen, later.folds[0], plan)

    monkeypatch.setattr(train, "training_data", noted)
    monkeypatch.setattr(network, "unit_line", ahead)
    assert_caught(certify([FIRST]), "checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["news_pca", "news_branch"])
def test_vectors_seen_before_they_are_out(opened: Opened, monkeypatch: Patch, name: str) -> None:
    # Fitted and trained as they should be; a session is scored with the vectors of five later.
    certify = certifying(opened(name))
    honest = inputs.states_of

    def ahead(context: RecipeContext, spec: Any, keys: pl.DataFrame) -> VectorStates:
        calendar = context.market.calendar
        if keys["session"].n_unique() > 40:  # of a training window
            return honest(context, spec, keys)
        days = keys["session"].to_numpy().astype("datetime64[D]")
        places = np.searchsorted(calendar.sessions, days) + 5
        return honest(context, spec, keys.with_columns(session=calendar.sessions[places]))

    monkeypatch.setattr(inputs, "states_of", ahead)
    assert_caught(certify([MIDDLE]), "predictions")


def test_a_universe_by_news_that_is_not_out_yet(doors_road: RecipeContext) -> None:
    """Who is in it up to the cut: of an article that counts a session early another world tells."""
    market, rules = doors_road.market, UniverseSpec(news_within=1)
    raw = {name: t.read().collect() for name, t in doors_road.raw.items() if t.months()}
    cut = market.calendar.decision(MIDDLE).astype("datetime64[us]")[()]

    def members(rows: Mapping[str, pl.DataFrame], early: timedelta) -> pl.DataFrame:
        out = pl.col("available_at") - early
        known = {name: frame.lazy() for name, frame in rows.items()}
        known["news"] = known["news"].with_columns(out)
        panel = panel_rows(market, known, FIRST, MIDDLE)
        return member_rows(market, rules, panel, FIRST, MIDDLE)

    for world in (Deletion(cut), Mixed(cut, 3)):
        other = {name: world.rows(market.feeds[name], rows) for name, rows in raw.items()}
        honest = [members(rows, timedelta(0)) for rows in (raw, other)]
        leaky = [members(rows, timedelta(days=1)) for rows in (raw, other)]
        assert honest[0].height, world.name
        assert honest[0].equals(honest[1]), world.name
        assert not leaky[0].equals(leaky[1]), world.name


def test_what_is_fitted_on_later_vectors_differs_between_the_worlds(
    opened: Opened, tmp_path: Path
) -> None:
    """Two months of training sessions, a vector for every symbol: the fit alone, no model."""
    here = opened("news_pca")
    calendar, rows = here.market.calendar, here.raw["news"].read().collect()
    cut = calendar.decision(FIRST).astype("datetime64[us]")[()]
    split = split_of(here, "2021-07", date(2021, 1, 4))
    sessions = pl.DataFrame({"session": split.train}, schema={"session": pl.Date})
    keys = sessions.join(rows.select("symbol").unique().sort("symbol"), how="cross")
    spec = here.recipe.spec.inputs.fitted["news"]

    def fitted(world: World | None, fit: Any) -> dict[str, Any]:
        there = here
        if world is not None:
            there = in_store(here, tmp_path / world.name).context
            for feed in ("news", "listings"):
                other = world.rows(here.market.feeds[feed], here.raw[feed].read().collect())
                there.raw[feed].append(other, manifest_of(Identity("planted"), {}))
        states = inputs.states_of(there, spec, keys)
        found = fit(there, "news", spec, keys, states, split)
        return {f"inputs/news/{n}": tensor.numpy() for n, tensor in found.pca.tensors.items()}

    this = {fit: fitted(None, fit) for fit in (honest_fit, fitted_on_all)}
    for world in (Deletion(cut), Mixed(cut, 3)):
        same, other = (compare_weights("2021-07", this[f], fitted(world, f)) for f in this)
        assert (same.changed, same.cells) == (0, 4 * 768), world.name
        assert other.first is not None, world.name
        assert other.first.column == "inputs/news/component_KV[0]"
