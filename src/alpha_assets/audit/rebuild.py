"""One world's road, built from its raw rows alone, and its tables beside another world's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from alpha_assets.audit.compare import Comparison, compare_tables, compare_weights
from alpha_assets.audit.perturb import World
from alpha_assets.calendar import month_of, month_range, next_month
from alpha_assets.errors import RangeError
from alpha_assets.road import deciding, learning, run, stages
from alpha_assets.road.road import KEYS, Road, manifest_of, silent
from alpha_assets.store.store import Store
from alpha_assets.store.table import MonthTable
from alpha_assets.training import model_month, parent_month

STAGES = ("panel", "features", "cross_section", "checkpoint", "predictions", "targets")


@dataclass(frozen=True)
class Rebuilt:
    """A road in a store of its own, whose outputs were made here and now."""

    road: Road
    _read: dict[tuple[str, str], pl.DataFrame] = field(default_factory=dict)

    def table(self, stage: str, month: str) -> pl.DataFrame | None:
        """Return a stage's rows up to a month; None if that month was not made.

        Scores and targets are those of the month alone: others are other models' business.
        """
        tables: dict[str, MonthTable] = {
            "panel": self.road.panel,
            "features": self.road.features,
            "cross_section": self.road.section,
            "predictions": self.road.predictions,
            "targets": self.road.targets,
        }
        of_model = stage in ("predictions", "targets")
        if month not in tables[stage].months():
            return None
        if (stage, month) not in self._read:
            rows = tables[stage].read(month if of_model else None, month)
            self._read[stage, month] = rows.collect()
        return self._read[stage, month]

    def weights(self, month: str) -> dict[str, Any] | None:
        """Return the arrays of the model that decides a month, by seed and tensor."""
        if not self.road.checkpoint(month).exists():
            return None
        checkpoint = deciding.month_model(self.road, month).checkpoint
        assert checkpoint is not None, "a skipped month stops the rebuilding"
        return {
            f"seed={seed}/{name}": tensor.cpu().numpy()
            for seed, tensors in checkpoint.weights().items()
            for name, tensor in tensors.items()
        }


def in_store(road: Road, place: Path) -> Rebuilt:
    """Return a road with a store of its own, in which nothing has been made."""
    return Rebuilt(replace(road, store=Store(str(place)), progress=silent))


def rebuild(world: Rebuilt, raw: Mapping[str, pl.DataFrame], months: Sequence[str]) -> None:
    """Make everything that the decisions of `months` are made from, and the decisions.

    Panel, features and cross-section are made a month further than decided, as far as there
    are rows: a formula that looks ahead finds something there.

    Args:
        world: with an empty store.
        raw: stored rows of every feed.
        months: to decide, sorted.

    Raises:
        RangeError: a month has too little history for a model.
    """
    road = world.road
    for name, rows in raw.items():
        if rows.height:
            road.raw[name].append(rows, manifest_of(road.market.data_digest, {}))
    known = month_of(stages.frontier(road))
    last = max(months[-1], min(next_month(months[-1]), known))
    run.make_market_stages(road, month_range(run.months_of_data(road)[0], last))
    for month in months:
        learning.make_checkpoints(road, _chain(road, month))
        model = deciding.month_model(road, month)
        if model.checkpoint is None:
            raise RangeError(
                f"month {month} has too little history for a model; the first with enough is "
                f"{model.manifest.extra.get('first_month')}: audit that one or a later one"
            )
        deciding.make_predictions(road, [month])
        deciding.make_targets(road, [month])


def _chain(road: Road, month: str) -> list[str]:
    """Return the months whose models that of `month` is made from, itself included, sorted."""
    usable = learning.first_usable(road)
    chain = {month}
    if learning.split_of(road, month, usable).is_ready:
        spec = road.the_recipe.spec.training
        first = learning.first_trained_month(road, usable)
        earlier: str | None = model_month(month, first, spec.retrain_every)
        while earlier is not None:
            chain.add(earlier)
            earlier = parent_month(earlier, first, spec)
    return sorted(chain)


def compared(here: Rebuilt, there: Rebuilt, cut: date, world: World) -> list[Comparison]:
    """Return how each stage differs at or before the cut; of those that both sides have made."""
    month = month_of(cut)
    found = []
    for stage in STAGES:
        if stage == "checkpoint":
            weights = [side.weights(month) for side in (here, there)]
            if weights[0] is not None and weights[1] is not None:
                found.append(compare_weights(month, weights[0], weights[1]))
            continue
        sides = [side.table(stage, month) for side in (here, there)]
        if sides[0] is None or sides[1] is None:
            continue
        if stage == "panel":
            sides[1] = world.undone(sides[1])
        upto = [side.filter(pl.col("session") <= cut) for side in sides if side is not None]
        key = (*KEYS, "horizon") if stage == "predictions" else KEYS
        needed = stage != "targets" or _rebalances_by(here.road, cut)
        found.append(compare_tables(stage, upto[0], upto[1], key, needed=needed))
    return found


def _rebalances_by(road: Road, cut: date) -> bool:
    """Return whether a session of the cut's month, up to it, is one to rebalance on."""
    calendar = road.market.calendar
    sessions = calendar.between(calendar.month_sessions(month_of(cut))[0], cut)
    return bool(calendar.rebalances(sessions, road.the_recipe.spec.portfolio.rebalance).any())
