"""One world's outputs, built from its raw rows alone, and its tables beside another world's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.arrays.types import Dates
from alpha_assets.audit.perturb import World
from alpha_assets.backtest.rebalances import rebalance_sessions
from alpha_assets.calendar import month_of, month_range, next_month
from alpha_assets.config.recipe import Recipe
from alpha_assets.errors import RangeError
from alpha_assets.features.edges import EDGE_KEYS
from alpha_assets.pipeline import decide, held, predictions, runner, targets
from alpha_assets.pipeline.checkpoint import ensure_models
from alpha_assets.pipeline.context import RecipeContext, silent
from alpha_assets.pipeline.epochs import RATE
from alpha_assets.pipeline.families import MEMBERS
from alpha_assets.pipeline.freshness import COUNTS, NOT_FACTS, manifest_of
from alpha_assets.pipeline.frontier import frontier, months_of_data
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.market_stages import graph_stage, graph_table
from alpha_assets.pipeline.stages import make
from alpha_assets.pipeline.transforms import decided_among
from alpha_assets.spec import KEPT
from alpha_assets.store.compare import (
    Comparison,
    compare_facts,
    compare_tables,
    compare_weights,
)
from alpha_assets.store.store import Store
from alpha_assets.store.table import FamilyTable, MonthFolders, MonthTable
from alpha_assets.training.card import RECORDS

MARKET_STAGES = ("panel", "features", "cross_section")
GRAPH = "graph"
MODEL_STAGES = ("checkpoint", "card")
PREDICT = ("predict", "predict_targets")  # what the verb `predict` decides, against the tables
ORDERS = ("first_orders", "orders")
STAGES = (*MARKET_STAGES, GRAPH, *MODEL_STAGES, "predictions", "targets", *PREDICT, *ORDERS)

# What names a row, where it is not session and symbol.
KEY_OF = {GRAPH: EDGE_KEYS, "predictions": (*KEYS, "horizon")}

# What a card records of the machine, of settings that training does not read (a variant shares
# the model of its recipe, which is named there), and of what was read: no choice of the model's.
NOT_COMPARED = (*RECORDS, "data_hash")


@dataclass(frozen=True)
class Rebuilt:
    """A context with a store of its own, whose outputs were made here and now."""

    context: RecipeContext
    _read: dict[tuple[str, str], pl.DataFrame] = field(default_factory=dict)

    def table(self, stage: str, month: str, *, alone: bool = False) -> pl.DataFrame | None:
        """Return a stage's rows up to a month; None if that month was not made.

        Scores and targets are those of the month alone: others are other models' business.
        So are the graph's edges, which are made for the months of cuts only.

        Args:
            stage: one that is a table.
            month: the last one.
            alone: without the months before, of every stage.
        """
        tables: dict[str, MonthTable | FamilyTable] = {
            "panel": self.context.panel,
            "features": self.context.features,
            "cross_section": self.context.section,
            GRAPH: graph_of(self.context),
            "predictions": self.context.predictions,
            "targets": self.context.targets,
        }
        alone = alone or stage in (GRAPH, "predictions", "targets")
        name = (stage, f"{month} alone" if alone else month)
        if name not in self._read:
            if month not in tables[stage].months():
                return None
            self._read[name] = tables[stage].read(month if alone else None, month).collect()
        return self._read[name]

    def card(self, month: str) -> dict[str, Any] | None:
        """Return what the card of the month's model holds, and what its manifest says of it."""
        if not self.context.checkpoint(month).exists():
            return None
        model = predictions.month_model(self.context, month)
        assert model.checkpoint is not None, "a skipped month stops the rebuilding"
        card = model.checkpoint.card.model_dump(mode="json")
        kept = {name: value for name, value in card.items() if name not in NOT_COMPARED}
        uncompared = (*NOT_FACTS, RATE)
        facts = {n: value for n, value in model.manifest.extra.items() if n not in uncompared}
        return {"card": kept, "facts": facts}

    def counts(self, month: str) -> dict[str, Any]:
        """Return, by family, the counts that a month of features keeps, and what counted."""
        table = self.context.features
        found = {}
        for family in table.families:
            manifest = table.of(family).folder(month).manifest()
            kept = manifest.extra.get(COUNTS) if manifest is not None else None
            if kept:
                found[family] = {**kept, "cells": json.loads(kept["cells"])}
        return found

    def weights(self, month: str) -> dict[str, Any] | None:
        """Return a month's model by seed: arrays by tensor, texts by file as bytes."""
        if not self.context.checkpoint(month).exists():
            return None
        checkpoint = predictions.month_model(self.context, month).checkpoint
        assert checkpoint is not None, "a skipped month stops the rebuilding"
        arrays = {
            f"{folder}/{name}": tensor.cpu().numpy()
            for folder, tensors in checkpoint.weights.items()
            for name, tensor in tensors.items()
        }
        texts = {
            f"{folder}/{name}": np.frombuffer(content, dtype=np.uint8)
            for folder, files in checkpoint.texts.items()
            for name, content in files.items()
        }
        fitted = {
            f"inputs/{name}/{part}": tensor.numpy()
            for name, one in checkpoint.fitted.items()
            for part, tensor in one.tensors.items()
        }
        return {**arrays, **texts, **fitted}


def in_store(context: RecipeContext, place: Path) -> Rebuilt:
    """Return a context with a store of its own, in which nothing has been made."""
    return Rebuilt(replace(context, store=Store(str(place)), progress=silent))


def elsewhere(context: RecipeContext) -> RecipeContext:
    """Return the context as it is, over a source that would deliver something else.

    Another world changes raw rows.  What is read past them, from the simulated exchange itself,
    would be the same in every world; this one draws another market.  Digests stay as they are,
    so that what was made over the one can be read over the other.
    """
    market, spec = context.market, context.market.spec
    if not market.is_simulated:
        return context
    # Names of what is made, and what there is to make, are asked for before the source moves.
    _ = (market.data_digest, market.feeds, market.missing_features, context.recipe.digest)
    sim = spec.sim.model_copy(update={"seed": spec.sim.seed + 1})
    # `copy.copy` leaves out what has been asked for, as pickling does.
    other = object.__new__(type(market))
    vars(other).update({**vars(market), "spec": spec.model_copy(update={"sim": sim})})
    for made in ("source", KEPT):
        vars(other).pop(made, None)
    return replace(context, market=other)


def graph_of(context: RecipeContext) -> MonthTable:
    """Return the edges inside the recipe's universe."""
    return graph_table(context, context.recipe.spec.universe.name)


def make_edges(world: Rebuilt, month: str) -> None:
    """Make a month of the graph from the panel that the world has."""
    context = world.context
    graph_stage(context.market, context.recipe.spec.universe.name).ensure(context, [month])


def seeded(here: Rebuilt, place: Path, cut: date) -> Rebuilt:
    """Return a context that has from this world all that was finished before the cut's month.

    Raw rows published in earlier months and what was made of them, and the models of all months.
    Nothing of it can differ in a world whose rows differ only after the cut; files are linked,
    not copied, and never written again in place.
    """
    there, month = in_store(elsewhere(here.context), place), month_of(cut)
    tables: list[MonthFolders] = [table.table for table in here.context.raw.values()]
    tables += [here.context.panel, here.context.features, here.context.section]
    if here.context.recipe.spec.universe.held:
        other = here.context.recipe.held_universe
        tables.append(here.context.cross_section(other).only([MEMBERS]))
    if here.context.recipe.spec.inputs.graph is not None:
        tables.append(graph_of(here.context))
    for table in tables:
        for earlier in table.months(None, next_month(month, -1)):
            there.context.store.copy_from(here.context.store, *table.folder(earlier).parts)
    recipe: Recipe | None = here.context.recipe
    while recipe is not None:
        models = replace(here.context, recipe=recipe).checkpoint(month)
        there.context.store.copy_from(here.context.store, *models.parts[:-1])
        recipe = recipe.parent
    give_memory(here.context, there, month)
    return there


def remake(world: Rebuilt, raw: Mapping[str, pl.DataFrame], cut: date) -> None:
    """Make the month of a cut again in a world that has all before it; see `seeded`.

    Panel, features, cross-section and graph, and where the month has a model, scores and
    targets.
    """
    context, month = world.context, month_of(cut)
    zone = context.market.calendar.zone.key
    published = pl.col("available_at").dt.convert_time_zone(zone).dt.strftime("%Y-%m")
    for name, rows in raw.items():
        newer = rows.filter(published >= month)
        if newer.height:
            context.raw[name].append(newer, manifest_of(Identity(context.market.data_digest), {}))
    runner.make_market_stages(context, [month])
    make_edges(world, month)
    if context.checkpoint(month).exists():
        make_decisions(context, month)


def rebuild(
    world: Rebuilt,
    raw: Mapping[str, pl.DataFrame],
    months: Sequence[str],
    given: RecipeContext | None = None,
) -> None:
    """Make everything that the decisions of `months` are made from, and the decisions.

    Panel, features and cross-section are made a month further than decided, as far as there
    are rows: a formula that looks ahead finds something there.

    Args:
        world: with an empty store.
        raw: stored rows of every feed.
        months: to decide, sorted.
        given: where the months before have been decided: what a rule remembers of them is taken
            from there.

    Raises:
        RangeError: a month has too little history for a model.
    """
    context = world.context
    for name, rows in raw.items():
        if rows.height:
            context.raw[name].append(rows, manifest_of(Identity(context.market.data_digest), {}))
    known = month_of(frontier(context))
    last = max(months[-1], min(next_month(months[-1]), known))
    runner.make_market_stages(context, month_range(months_of_data(context)[0], last))
    if given is not None:
        give_memory(given, world, months[0])
    for month in months:
        make_edges(world, month)
        ensure_models(context, month)
        model = predictions.month_model(context, month)
        if model.checkpoint is None:
            raise RangeError(
                f"month {month} has too little history for a model; the first with enough is "
                f"{model.manifest.extra.get('first_month')}: audit that one or a later one"
            )
        make_decisions(context, month)


def make_decisions(context: RecipeContext, month: str) -> None:
    """Make scores and targets of a month; what is remembered of months before is taken as given."""
    make(context, "predictions", [month])
    targets.targets_stage(context.recipe).ensure(context, [month], given=True)


def give_memory(given: RecipeContext, world: Rebuilt, month: str) -> None:
    """Copy what a rule remembers of the months before `month`: what is held, and scores.

    Scores of a variant may refer to those of its recipe, which then go with them.
    """
    for folder in held.months_remembered(given, month):
        for one in {folder.parts, folder.holder().parts}:
            world.context.store.copy_from(given.store, *one)


def compared(
    here: Rebuilt, there: Rebuilt, cut: date, world: World, *, alone: bool = False
) -> list[Comparison]:
    """Return how each stage differs at or before the cut; of those that both sides have made.

    Args:
        here: the baseline.
        there: the other world.
        cut: last session that is compared.
        world: the other one.
        alone: compare the cut's month without those before, and no models: those of a seeded
            pipeline are the baseline's.
    """
    month = month_of(cut)
    found = []
    for stage in (*MARKET_STAGES, GRAPH, *MODEL_STAGES, "predictions", "targets"):
        if stage in MODEL_STAGES:
            if not alone:
                found += _models_compared(here, there, month, stage)
            continue
        sides = [side.table(stage, month, alone=alone) for side in (here, there)]
        if sides[0] is None or sides[1] is None:
            continue
        if stage == "panel":
            sides[1] = world.undone(sides[1])
        upto = [side.filter(pl.col("session") <= cut) for side in sides if side is not None]
        key = KEY_OF.get(stage, KEYS)
        needed = stage != GRAPH or upto[0].height > 0  # no edges where no week begins by the cut
        if stage in DUE:
            needed = len(DUE[stage](here, cut)) > 0
        found.append(compare_tables(stage, upto[0], upto[1], key, needed=needed))
    return found


def _models_compared(here: Rebuilt, there: Rebuilt, month: str, stage: str) -> list[Comparison]:
    if stage == "checkpoint":
        weights = [side.weights(month) for side in (here, there)]
        if weights[0] is None or weights[1] is None:
            return []
        return [compare_weights(month, weights[0], weights[1])]
    cards = [side.card(month) for side in (here, there)]
    if cards[0] is None or cards[1] is None:
        return []
    return [compare_facts("card", month, cards[0], cards[1])]


def predicted(here: Rebuilt, there: Rebuilt, cut: date) -> list[Comparison]:
    """Return how what `predict` decides in another world differs from this world's tables.

    The stored scores and targets of a session and those that `predict` makes for it are the
    same by the contract, so one comparison shows both: what reads past its instant, and what
    decides otherwise than the backtest.
    """
    month = month_of(cut)
    scores, targets = (here.table(stage, month) for stage in ("predictions", "targets"))
    if scores is None or targets is None:
        return []
    decision = decide.decide(there.context, cut.isoformat())
    today = pl.col("session") == cut
    return [
        compare_tables(
            "predict",
            scores.filter(today),
            decision.scores,
            (*KEYS, "horizon"),
            needed=np.datetime64(cut) in _decided_by(here, cut),
        ),
        compare_tables(
            "predict_targets",
            targets.filter(today),
            decision.targets,
            KEYS,
            needed=np.datetime64(cut) in _rebalances_by(here, cut),
        ),
    ]


def _decided_by(here: Rebuilt, cut: date) -> Dates:
    """Return the sessions of the cut's month, up to it, that could be decided.

    By the universe and its bars, not by the tables that are compared: nothing is due where no
    name had a bar on the session before.
    """
    calendar, month = here.context.market.calendar, month_of(cut)
    panel = here.table("panel", month, alone=True)
    assert panel is not None, "scores are made from it"
    members = predictions.candidates(here.context, month, month).collect()
    sessions = calendar.between(calendar.month_sessions(month)[0], cut)
    return decided_among(sessions, members, panel)


def _rebalances_by(here: Rebuilt, cut: date) -> Dates:
    """Return the sessions of the cut's month, up to it, that are due to rebalance."""
    _, earlier = targets.before_in_period(here.context, month_of(cut))
    rule = here.context.recipe.spec.portfolio.rebalance
    return rebalance_sessions(_decided_by(here, cut), earlier, here.context.market.calendar, rule)


# Sessions up to a cut for which a stage must have rows.
DUE = {"predictions": _decided_by, "targets": _rebalances_by}
