"""Rebuild the road in another world and compare, bit for bit, what was decided before the cut.

Both sides are rebuilt here and now, from the same raw copy, into storages of their own; what
the user's storage holds beyond raw rows is neither read nor written.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.audit.compare import (
    Comparison,
    compare_tables,
    compare_weights,
    merged,
    until,
)
from alpha_assets.audit.perturb import Perturbation, deletion, noise, restatement
from alpha_assets.calendar import as_date, month_of, month_range
from alpha_assets.errors import MissingOutput, SpecError
from alpha_assets.road import deciding, learning, run
from alpha_assets.road.market import Market
from alpha_assets.road.road import Road, manifest_of
from alpha_assets.store.store import Store

NOISE, DELETED, RESTATED = "noise after the cut", "nothing after the cut", "the past restated"
COPIED = "audit"  # digest of raw rows that were copied or changed for a trial

# Levels of the panel that a restatement is allowed to move: they are what was restated.
RESTATED_COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Trial:
    """One cut in one other world."""

    cut: str
    world: str
    comparisons: tuple[Comparison, ...]

    @property
    def changed(self) -> int:
        """Cells that should have been the same and are not."""
        return sum(one.changed for one in self.comparisons)


@dataclass(frozen=True)
class Certificate:
    """What was rebuilt, compared, and found."""

    market: str
    recipe: str
    digest: str
    trials: tuple[Trial, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing had changed, and every stage of every world was compared somewhere.

        A cut before a month's first rebalance has no targets to compare; another one has.
        """
        compared: dict[tuple[str, str], int] = {}
        for trial in self.trials:
            for one in trial.comparisons:
                place = (trial.world, one.stage)
                compared[place] = compared.get(place, 0) + one.cells
        nothing_changed = all(trial.changed == 0 for trial in self.trials)
        return bool(compared) and nothing_changed and all(compared.values())

    def as_json(self) -> dict[str, Any]:
        """Return the certificate as plain values."""
        return {"passed": self.passed, "text": self.text(), **asdict(self)}

    def text(self) -> str:
        """Return the certificate as a person reads it."""
        lines = [f"causality of {self.recipe} on {self.market}, digest {self.digest}", ""]
        for trial in self.trials:
            lines.append(f"cut {trial.cut}, {trial.world}")
            for one in trial.comparisons:
                said = "same" if not one.changed else f"{one.changed:,} CHANGED"
                said = said if one.cells else "(nothing yet)"
                lines.append(f"  {one.stage:<16}{one.cells:>14,} cells  {said}")
                if one.first is not None:
                    lines.append(f"    first: {one.first}")
        verdict = "passed" if self.passed else "FAILED"
        return "\n".join([*lines, "", f"certificate: {verdict}"])


def choose_cuts(road: Road, months: Sequence[str], n_random: int, seed: int) -> list[date]:
    """Return the cut sessions: the first and last of each month, and random ones between.

    The first session of a month shows what its training may not know; the last one what its
    whole month of decisions may not.
    """
    calendar = road.market.calendar
    ends = [calendar.month_sessions(month)[[0, -1]] for month in months]
    inner = np.concatenate([calendar.month_sessions(month)[1:-1] for month in months])
    generator = np.random.default_rng(seed)
    picked = generator.choice(inner, min(n_random, len(inner)), replace=False)
    return [as_date(session) for session in np.unique(np.concatenate([*ends, picked]))]


def audit(
    road: Road,
    cuts: Sequence[date],
    *,
    seed: int = 0,
    vintage: bool = False,
) -> Certificate:
    """Return the causality certificate of a recipe on a market.

    Args:
        road: whose raw rows are copied; it needs a recipe.
        cuts: decision sessions; nothing decided at or before one may change with what became
            readable after its decision instant.
        seed: of the noise and the restatement.
        vintage: also restate the past.

    Raises:
        MissingOutput: no raw rows are stored.
        SpecError: a restatement was asked for, and the universe goes by a price level.
    """
    rules = road.market.universe(road.the_recipe.spec.universe.name)
    if vintage and rules.min_price is not None:
        raise SpecError(
            f"universe {road.the_recipe.spec.universe.name!r} has min_price = {rules.min_price}: "
            "a restated level would rightly change who is in it; audit --vintage another universe"
        )
    raw = {name: table.read().collect() for name, table in road.raw.items() if table.months()}
    if "daily_bars" not in raw:
        raise MissingOutput(f"market {road.market.name!r} has no bars stored; run it first")
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="audit-") as room:
        months = sorted({month_of(cut) for cut in cuts})
        here = _rebuilt(road, raw, None, months, Path(room) / "here")
        # A restated level is no longer the traded one: both sides then do without what needs it.
        level_free = _without_levels(road) if vintage else road
        past = _rebuilt(level_free, raw, None, months, Path(room) / "past") if vintage else here
        for number, cut in enumerate(sorted(cuts)):
            instant = np.datetime64(road.market.calendar.decision(cut).item(), "us")
            worlds: dict[str, Perturbation] = {
                NOISE: noise(instant, seed),
                DELETED: deletion(instant),
            }
            if vintage:
                worlds[RESTATED] = restatement(instant, seed)
            for world, perturbation in worlds.items():
                road.progress("audit", f"cut {cut}: {world}")
                decided = [month_of(cut)]
                place = Path(room) / f"there-{number}-{len(trials)}"
                if world == RESTATED:
                    there = _rebuilt(level_free, raw, perturbation, decided, place)
                    found = _compared(past, there, cut, RESTATED_COLUMNS)
                else:
                    there = _rebuilt(road, raw, perturbation, decided, place)
                    found = _compared(here, there, cut, ())
                trials.append(Trial(cut.isoformat(), world, tuple(found)))
                shutil.rmtree(place)
    return Certificate(
        market=road.market.name,
        recipe=road.the_recipe.name,
        digest=road.the_recipe.digest,
        trials=tuple(trials),
    )


def _without_levels(road: Road) -> Road:
    """Return the road of a market whose prices carry later splits."""
    spec = road.market.spec.model_copy(update={"price_level": "split_adjusted"})
    market = Market(road.market.name, spec)
    return replace(road, market=market, recipe=replace(road.the_recipe, market=market))


def _rebuilt(
    road: Road,
    raw: dict[str, pl.DataFrame],
    perturbation: Perturbation | None,
    decided: Sequence[str],
    place: Path,
) -> Road:
    """Return a road of its own, built from the raw rows of one world up to the last month."""
    world = replace(road, store=Store(str(place)), progress=lambda stage, what: None)
    for name, rows in raw.items():
        feed = road.market.feeds[name]
        changed = perturbation(feed, rows) if perturbation else rows
        if changed.height:
            world.raw[name].append(changed, manifest_of(COPIED, {}))
    stored = run.months_of_data(road)
    run.make_market_stages(world, month_range(stored[0], decided[-1]))
    for month in decided:
        learning.make_checkpoints(world, [month])
        deciding.make_predictions(world, [month])
        deciding.make_targets(world, [month])
    return world


def _compared(here: Road, there: Road, cut: date, skip: Sequence[str]) -> list[Comparison]:
    """Return the comparison of every stage, at or before the cut."""
    key = ("session", "symbol")
    month = month_of(cut)

    def tables(stage: str, read: Callable[[Road], pl.LazyFrame], key: Sequence[str]) -> Comparison:
        one, other = (until(read(side).collect(), cut) for side in (here, there))
        return compare_tables(stage, one, other, key, skip if stage == "panel" else ())

    return merged(
        [
            tables("panel", lambda side: side.panel.read(last=month), key),
            tables("features", lambda side: side.features.read(last=month), key),
            tables("cross_section", lambda side: side.section.read(last=month), key),
            compare_weights(month, _weights(here, month), _weights(there, month)),
            tables(
                "predictions",
                lambda side: side.predictions.read(month, month),
                (*key, "horizon"),
            ),
            tables("targets", lambda side: side.targets.read(month, month), key),
        ]
    )


def _weights(road: Road, month: str) -> dict[str, Any]:
    """Return the arrays of a month's model by seed and tensor."""
    model = deciding.month_model(road, month).checkpoint
    if model is None:
        return {}
    return {
        f"seed={seed}/{name}": tensor.cpu().numpy()
        for seed, tensors in model.weights().items()
        for name, tensor in tensors.items()
    }
