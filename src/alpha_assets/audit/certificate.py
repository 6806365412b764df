"""Rebuild the road in other worlds and compare, bit for bit, what was decided before the cut.

Both sides are rebuilt here and now, from the same raw copy, into storages of their own; what
the user's storage holds beyond raw rows is neither read nor written.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.audit.compare import Comparison, Difference
from alpha_assets.audit.perturb import Deletion, Noise, Restatement, World, altered
from alpha_assets.audit.rebuild import STAGES, Rebuilt, compared, in_store, rebuild
from alpha_assets.calendar import as_date, month_of
from alpha_assets.errors import AlphaAssetsError, MissingOutput, RangeError, SpecError
from alpha_assets.road.market import Market
from alpha_assets.road.recipe import Recipe
from alpha_assets.road.road import Road


@dataclass(frozen=True)
class Trial:
    """One cut in one other world.

    Attributes:
        cut: decision session; what became readable after its decision is of the other world.
        world: what was done to the raw rows.
        altered: raw rows that were changed or taken away.
        comparisons: of every stage that could be rebuilt, in the order of the road.
        stopped: what stopped the other world's road, where this one's went on.
    """

    cut: str
    world: str
    altered: int
    comparisons: tuple[Comparison, ...]
    stopped: str | None = None

    @property
    def changed(self) -> int:
        """Cells that should have been the same and are not."""
        return sum(one.changed for one in self.comparisons)

    @property
    def first(self) -> Difference | None:
        """The first differing cell of the first stage that shows one."""
        return next((one.first for one in self.comparisons if one.first is not None), None)

    @property
    def passed(self) -> bool:
        """Whether something was altered, every stage had cells, and not one of them moved."""
        return (
            self.altered > 0
            and self.stopped is None
            and self.changed == 0
            and all(one.cells or not one.needed for one in self.comparisons)
        )

    def lines(self) -> list[str]:
        """Return the trial as a person reads it."""
        found = [f"cut {self.cut}, {self.world}: {self.altered:,} raw rows altered"]
        if not self.altered:
            found.append("  NOTHING ALTERED: no raw row is later than this cut")
        for one in self.comparisons:
            said = "same" if not one.changed else f"{one.changed:,} CHANGED"
            if not one.cells:
                said = "NOTHING TO COMPARE" if one.needed else "none due by the cut"
            found.append(f"  {one.stage:<16}{one.cells:>14,} cells  {said}")
            if one.first is not None:
                found.append(f"    first: {one.first}")
        if self.stopped is not None:
            found.append(f"  STOPPED without what came later: {self.stopped}")
        return found


@dataclass(frozen=True)
class Certificate:
    """What was rebuilt, compared, and found."""

    market: str
    recipe: str
    digest: str
    trials: tuple[Trial, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there were trials and all of them passed."""
        return bool(self.trials) and all(trial.passed for trial in self.trials)

    @property
    def first(self) -> Difference | None:
        """The differing cell that lies earliest on the road, in any trial."""
        found = [trial.first for trial in self.trials if trial.first is not None]
        return min(found, key=lambda one: STAGES.index(one.stage), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the certificate as plain values."""
        return {
            "passed": self.passed,
            "first": str(self.first) if self.first is not None else None,
            "text": self.text(),
            **asdict(self),
        }

    def text(self) -> str:
        """Return the certificate as a person reads it."""
        lines = [f"causality of {self.recipe} on {self.market}, digest {self.digest}", *self.notes]
        for trial in self.trials:
            lines += ["", *trial.lines()]
        verdict = "passed" if self.passed else "FAILED"
        return "\n".join([*lines, "", f"certificate: {verdict}"])


def choose_cuts(road: Road, months: Sequence[str], n_random: int, seed: int) -> list[date]:
    """Return the cut sessions: the first and last of each month, and random ones between.

    The first session of a month shows what its training may not know; the last one what its
    whole month of decisions may not.  Sessions after the last stored bar's are left out: there
    is nothing later that could be changed.

    Raises:
        RangeError: no session of the months has bars.
    """
    bars = road.raw["daily_bars"]
    if not bars.months():
        raise MissingOutput(f"market {road.market.name!r} has no bars stored; run it first")
    last_bar = bars.read(columns=["event_date"]).max().collect().item()
    generator = np.random.default_rng(seed)
    ends, inner = [], []
    for month in months:
        sessions = road.market.calendar.month_sessions(month)
        sessions = sessions[sessions <= np.datetime64(last_bar)]
        ends += [sessions[:1], sessions[-1:]]
        inner += [sessions[1:-1]]
    known = np.concatenate(inner)
    picked = generator.choice(known, min(n_random, len(known)), replace=False)
    cuts = [as_date(session) for session in np.unique(np.concatenate([*ends, picked]))]
    if not cuts:
        raise RangeError(
            f"no session of {', '.join(months)} has a bar of market {road.market.name!r}; "
            f"the last one is of {last_bar}"
        )
    return cuts


def audit(
    road: Road,
    cuts: Sequence[date],
    *,
    seed: int = 0,
    vintage: bool = False,
) -> Certificate:
    """Return the causality certificate of a recipe on a market.

    For every cut the whole road is rebuilt in a world where all that became readable after
    the cut's decision is noise, and in one where it does not exist: panel, features and
    cross-section of all months up to the cut, and the model, scores and targets of its month.
    Models of other months have cuts of their own.

    Args:
        road: whose raw rows are copied; it needs a recipe.
        cuts: decision sessions; nothing decided at or before one may change with what became
            readable after its decision instant.
        seed: of the noise and the restatement.
        vintage: also restate the past.  A price level that carries later splits is what a
            restatement imitates, so both sides are then built as if the market's level did:
            features that declare that they need prices as traded are left out, and said.

    Raises:
        MissingOutput: no raw rows are stored.
        RangeError: a cut is no session, or its month has no model.
        SpecError: a restatement was asked for, and the recipe goes by a price level.
    """
    calendar = road.market.calendar
    calendar.index_of(sorted(cuts))
    raw = {name: table.read().collect() for name, table in road.raw.items() if table.months()}
    if "daily_bars" not in raw:
        raise MissingOutput(f"market {road.market.name!r} has no bars stored; run it first")
    notes: list[str] = []
    restated = _with_vendor_level(road, notes) if vintage else road
    months = sorted({month_of(cut) for cut in cuts})
    with tempfile.TemporaryDirectory(prefix="audit-") as room:
        place = Path(room)
        road.progress("audit", "this world")
        here = vendor = in_store(road, place / "here")
        rebuild(here, raw, months)
        if restated is not road:
            road.progress("audit", "this world, on a vendor's price level")
            vendor = in_store(restated, place / "vendor")
            rebuild(vendor, raw, months)
        trials = []
        for cut in sorted(set(cuts)):
            instant = np.datetime64(calendar.decision(cut).item(), "us")
            worlds: list[tuple[Rebuilt, World]] = [
                (here, Noise(instant, seed)),
                (here, Deletion(instant)),
            ]
            if vintage:
                worlds.append((vendor, Restatement(instant, seed)))
            for side, world in worlds:
                road.progress("audit", f"cut {cut}: {world.name}")
                trials.append(_trial(side, raw, cut, world, place / "there"))
    return Certificate(
        market=road.market.name,
        recipe=road.the_recipe.name,
        digest=road.the_recipe.digest,
        trials=tuple(trials),
        notes=tuple(notes),
    )


def _trial(
    here: Rebuilt, raw: dict[str, pl.DataFrame], cut: date, world: World, place: Path
) -> Trial:
    other = {name: world.rows(here.road.market.feeds[name], rows) for name, rows in raw.items()}
    there = in_store(here.road, place)
    stopped = None
    try:
        rebuild(there, other, [month_of(cut)])
    except AlphaAssetsError as error:
        # Where this world's road went on and the other one's stops, something later is needed.
        stopped = str(error)
    comparisons = compared(here, there, cut, world)
    shutil.rmtree(place, ignore_errors=True)
    return Trial(cut.isoformat(), world.name, altered(raw, other), tuple(comparisons), stopped)


def _with_vendor_level(road: Road, notes: list[str]) -> Road:
    """Return the road as it would be on prices that carry later splits.

    Raises:
        SpecError: the recipe's universe or features need prices as traded.
    """
    market, recipe = road.market, road.the_recipe
    rules = market.universe(recipe.spec.universe.name)
    if rules.min_price is not None:
        raise SpecError(
            f"universe {recipe.spec.universe.name!r} has min_price = {rules.min_price:g}: a "
            "restated level would rightly change who is in it; audit --vintage with another "
            "universe, or leave --vintage out"
        )
    if market.price_level == "split_adjusted":
        return road
    spec = market.spec.model_copy(update={"price_level": "split_adjusted"})
    vendor = Market(market.name, spec, market.storage)
    left_out = [name for name in vendor.missing_features if name not in market.missing_features]
    named = sorted(set(left_out) & set(recipe.spec.features.names))
    if named:
        raise SpecError(
            f"features.names of recipe {recipe.name!r} has {', '.join(named)}: it reads the level "
            "of prices as traded, which a restatement rightly changes; leave --vintage out"
        )
    notes.append(
        "the past restated: compared without "
        f"{', '.join(left_out)}, which declare that they read prices as traded"
    )
    return replace(road, market=vendor, recipe=Recipe(recipe.name, recipe.spec, vendor))
