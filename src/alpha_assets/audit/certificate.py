"""Rebuild the pipeline in other worlds and compare, bit for bit, what was decided before the cut.

Both sides are rebuilt here and now, from the same raw copy, into storages of their own.  What
the user's storage holds beyond raw rows is compared with what was rebuilt, and never written.
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

from alpha_assets.audit.coverage import Covered, choose_sessions, covered, decidable, sessions_of
from alpha_assets.audit.lawful import Early, early_rows, unknown_feeds
from alpha_assets.audit.orders import orders_compared
from alpha_assets.audit.perturb import (
    RESTATED,
    Deletion,
    Insertion,
    Mixed,
    Noise,
    Restatement,
    World,
    altered,
)
from alpha_assets.audit.rebuild import (
    STAGES,
    Rebuilt,
    compared,
    elsewhere,
    in_store,
    make_edges,
    predicted,
    rebuild,
    remake,
    seeded,
)
from alpha_assets.audit.stored import Stored, compare_stored
from alpha_assets.backtest.rebalances import rebalance_sessions
from alpha_assets.calendar import as_date, month_of
from alpha_assets.config.keywords import AUDIT_SESSIONS
from alpha_assets.config.market import Market
from alpha_assets.errors import AlphaAssetsError, MissingOutput, RangeError, SpecError
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.frontier import last_bar
from alpha_assets.progress import Pace
from alpha_assets.store.compare import Comparison, Difference

BARS_OF_CUTS = ("event_date", "available_at", "close")


@dataclass(frozen=True)
class Trial:
    """One cut in one other world.

    Attributes:
        cut: decision session; what became readable after its decision is of the other world.
        world: what was done to the raw rows.
        altered: raw rows that were changed or taken away.
        comparisons: of every stage that could be rebuilt, in the order of the pipeline.
        stopped: what stopped the other world's pipeline, where this one's went on.
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
            outcome = "same" if not one.changed else f"{one.changed:,} CHANGED"
            if not one.cells:
                outcome = "NOTHING TO COMPARE" if one.needed else "none due by the cut"
            found.append(f"  {one.stage:<16}{one.cells:>14,} cells  {outcome}")
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
    early: tuple[Early, ...] = ()
    stored: Stored | None = None
    covered: tuple[Covered, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there were trials, all of them passed, and no row or table is out of order."""
        return (
            bool(self.trials)
            and all(trial.passed for trial in self.trials)
            and not self.early
            and (self.stored is None or self.stored.passed)
        )

    @property
    def first(self) -> Difference | None:
        """The differing cell that lies earliest in the pipeline, in any trial."""
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
        lines += [f"covered by {one.line()}" for one in self.covered]
        lines += ["stamps: no row is stamped before it can have been public"] * (not self.early)
        lines += [f"STAMPED TOO EARLY: {one}" for one in self.early]
        if self.stored is not None:
            lines += ["", *self.stored.lines()]
        for trial in self.trials:
            lines += ["", *trial.lines()]
        verdict = "passed" if self.passed else "FAILED"
        return "\n".join([*lines, "", f"certificate: {verdict}"])


def choose_cuts(
    context: RecipeContext, months: Sequence[str], n_random: int, seed: int
) -> list[date]:
    """Return the cut sessions: the first and last of each month, and random ones between.

    The first session of a month shows what its training may not know; the last one what its
    whole month of decisions may not.  Sessions after the last stored bar's are left out: there
    is nothing later that could be changed.

    Raises:
        RangeError: no session of the months has bars.
    """
    bars = context.raw["daily_bars"]
    if not bars.months():
        raise MissingOutput(f"market {context.market.name!r} has no bars stored; run it first")
    newest = last_bar(context)
    rows = bars.read(columns=BARS_OF_CUTS).collect()
    generator = np.random.default_rng(seed)
    ends, inner = [], []
    for month in months:
        sessions = context.market.calendar.month_sessions(month)
        sessions = sessions[sessions <= np.datetime64(newest)]
        sessions = decidable(context.market.calendar, sessions, rows)
        ends += [sessions[:1], sessions[-1:]]
        inner += [sessions[1:-1]]
    known = np.concatenate(inner)
    picked = generator.choice(known, min(n_random, len(known)), replace=False)
    cuts = [as_date(session) for session in np.unique(np.concatenate([*ends, picked]))]
    if not cuts:
        raise RangeError(
            f"no session of {', '.join(months)} has a bar of market {context.market.name!r}; "
            f"the last one is of {newest}"
        )
    return cuts


def audit(
    context: RecipeContext,
    cuts: Sequence[date],
    *,
    seed: int = 0,
    vintage: bool = False,
    sessions: int = AUDIT_SESSIONS,
    months: Sequence[str] | None = None,
) -> Certificate:
    """Return the causality certificate of a recipe on a market.

    For every cut the whole pipeline is rebuilt in a world where all that became readable after
    the cut's decision is noise, in one where it does not exist, and in one where rows were added
    to it: panel, features and cross-section of all months up to the cut, and the model with its
    card, scores and targets of its month, and what `predict` decides at it.  Models of other
    months have cuts of their own.

    What is cheap has more cuts: panel, features and cross-section at sessions spread over the
    calendar, and scores, targets, `predict` and order sizes at every session of the cuts'
    months at which targets are written.  Only the cut's month is made again there, in one
    world that has noise, gaps and added rows at once.

    The stamps of all stored rows are held against a table of the earliest lawful ones, and what
    is stored of the cuts' months against what was rebuilt.

    Args:
        context: whose raw rows are copied; it needs a recipe.
        cuts: decision sessions; nothing decided at or before one may change with what became
            readable after its decision instant.
        seed: of the noise, the restatement, and the choice of cheap cuts.
        vintage: also restate the past.  A price level that carries later splits is what a
            restatement imitates, so both sides are then built as if the market's level did:
            features that declare that they need prices as traded are left out, and named.
        sessions: how many cheap cuts; 0: none, and none for the targets either.
        months: where the cheap cuts are chosen; default: those of `cuts`.

    Raises:
        MissingOutput: no raw rows are stored.
        RangeError: a cut is no session or one that nothing decided, or its month has no model.
        SpecError: a restatement was asked for, and the recipe goes by a price level.
    """
    calendar = context.market.calendar
    calendar.index_of(sorted(cuts))
    raw = {name: table.read().collect() for name, table in context.raw.items() if table.months()}
    if "daily_bars" not in raw:
        raise MissingOutput(f"market {context.market.name!r} has no bars stored; run it first")
    _refuse_undecided(context, cuts, raw["daily_bars"])
    notes: list[str] = []
    unknown = unknown_feeds(raw)
    if unknown:
        notes.append(f"stamps of {', '.join(unknown)}: no earliest lawful instant is known")
    restated = _with_vendor_level(context, notes) if vintage else context
    decided = sorted({month_of(cut) for cut in cuts})
    # The last session of the data has nothing later that could be changed.
    last = raw["daily_bars"]["event_date"].max()
    others = [
        (cut, world)
        for cut in sorted(set(cuts))
        for world in _worlds(_instant(context, cut), seed, vintage=vintage)
    ]
    n_own = 1 if restated is context else 2
    n_rebuilds = n_own + len(others)
    rule = context.recipe.spec.portfolio.rebalance
    in_months = np.array(sessions_of(calendar, decided, last), dtype="datetime64[D]")
    n_rebalances = len(rebalance_sessions(in_months, in_months[:0], calendar, rule))
    context.progress(
        "audit",
        f"{n_rebuilds} rebuilds: {n_own} of this world, {len(others)} of other worlds at "
        f"{len(set(cuts))} cuts; then one month at each of at most "
        f"{sessions + n_rebalances if sessions else 0} cheap cuts",
    )
    pace = Pace(context.progress, "audit")
    with tempfile.TemporaryDirectory(prefix="audit-") as room:
        place = Path(room)
        pace("rebuilds", 0, n_rebuilds)
        context.progress("audit", "this world")
        here = vendor = in_store(context, place / "here")
        rebuild(here, raw, decided, given=context)
        pace("rebuilds", 1, n_rebuilds)
        if restated is not context:
            context.progress("audit", "this world, on a vendor's price level")
            vendor = in_store(restated, place / "vendor")
            rebuild(vendor, raw, decided, given=context)
            pace("rebuilds", 2, n_rebuilds)
        stored = compare_stored(context, here, decided)
        trials = []
        for cut, world in others:
            context.progress("audit", f"cut {cut}: {world.name}")
            side = vendor if isinstance(world, Restatement) else here
            trials.append(_trial(side, raw, cut, world, place / "there"))
            pace("rebuilds", n_own + len(trials), n_rebuilds)
        candidates = sessions_of(calendar, months or decided, last)
        axis = np.array(candidates, dtype="datetime64[D]")
        candidates = [as_date(day) for day in decidable(calendar, axis, raw["daily_bars"])]
        first = _first_section(here)
        candidates = [day for day in candidates if day > first]
        spread = choose_sessions(calendar, candidates, sessions, seed) if sessions else []
        rebalance_days = [day for day in _rebalances(here, decided) if str(day) <= str(last)]
        rebalances = rebalance_days if sessions else []
        light = sorted({*spread, *rebalances} - {*cuts})
        pace("cheap cuts", 0, len(light))
        for number, cut in enumerate(light):
            world = Mixed(_instant(context, cut), seed, first_gone=number % 2 == 1)
            trials.append(_light_trial(here, raw, cut, world, place / "there"))
            pace("cheap cuts", number + 1, len(light))
    market_cuts = sorted({*light, *cuts})
    at_targets = sorted({*rebalances, *(set(cuts) & set(rebalance_days))})
    return Certificate(
        market=context.market.name,
        recipe=context.recipe.folder,
        digest=context.recipe.digest,
        trials=tuple(trials),
        notes=tuple(notes),
        early=tuple(early_rows(raw, calendar)),
        stored=stored,
        covered=(
            covered("panel, features, cross_section", calendar, market_cuts, candidates),
            covered("predictions, targets, predict, orders", calendar, at_targets, rebalance_days),
            covered("models", calendar, sorted(set(cuts)), sessions_of(calendar, decided, last)),
        ),
    )


def _worlds(instant: np.datetime64, seed: int, *, vintage: bool) -> list[World]:
    """Return the other worlds of one cut."""
    worlds: list[World] = [Noise(instant, seed), Deletion(instant), Insertion(instant, seed)]
    return [*worlds, Restatement(instant, seed)] if vintage else worlds


def _refuse_undecided(context: RecipeContext, cuts: Sequence[date], bars: pl.DataFrame) -> None:
    calendar = context.market.calendar
    wanted = np.unique(np.array(cuts, dtype="datetime64[D]"))
    beyond = wanted > np.datetime64(last_bar(context))
    odd = np.setdiff1d(wanted[~beyond], decidable(calendar, wanted, bars))
    if len(odd):
        raise RangeError(
            f"cut {odd[0]}: no bar of {calendar.before(odd[0])}, the session before, was known at "
            "its decision, so nothing was decided and nothing can be compared; name another session"
        )


def _instant(context: RecipeContext, cut: date) -> np.datetime64:
    return np.datetime64(context.market.calendar.decision(cut).item(), "us")


def _first_section(here: Rebuilt) -> date:
    """Return the first session with names to rank; before it there is nothing to compare."""
    rows = here.context.section.read(columns=["session"]).collect()
    first = rows["session"].min()
    if not isinstance(first, date):
        raise MissingOutput(f"{here.context.section.name} has no rows: nothing can be audited")
    return first


def _rebalances(here: Rebuilt, months: Sequence[str]) -> list[date]:
    """Return the sessions at which targets were written."""
    found: set[date] = set()
    for month in months:
        targets = here.table("targets", month)
        if targets is not None:
            found |= set(targets["session"].to_list())
    return sorted(found)


def _trial(
    here: Rebuilt, raw: dict[str, pl.DataFrame], cut: date, world: World, place: Path
) -> Trial:
    other = {name: world.rows(here.context.market.feeds[name], rows) for name, rows in raw.items()}
    there = in_store(elsewhere(here.context), place)
    return _tried(here, there, raw, other, cut, world, seed=False)


def _light_trial(
    here: Rebuilt, raw: dict[str, pl.DataFrame], cut: date, world: World, place: Path
) -> Trial:
    other = {name: world.rows(here.context.market.feeds[name], rows) for name, rows in raw.items()}
    make_edges(here, month_of(cut))
    return _tried(here, seeded(here, place, cut), raw, other, cut, world, seed=True)


def _tried(
    here: Rebuilt,
    there: Rebuilt,
    raw: dict[str, pl.DataFrame],
    other: dict[str, pl.DataFrame],
    cut: date,
    world: World,
    *,
    seed: bool,
) -> Trial:
    stopped = None
    forward: list[Comparison] = []
    try:
        if seed:
            remake(there, other, cut)
        else:
            rebuild(there, other, [month_of(cut)], given=here.context)
        if world.name != RESTATED:
            forward = predicted(here, there, cut)
            forward += orders_compared(here, raw, other, cut)
    except AlphaAssetsError as error:
        # Where this world's pipeline went on and the other one's stops, something later is needed.
        stopped = str(error)
    comparisons = [*compared(here, there, cut, world, alone=seed), *forward]
    shutil.rmtree(there.context.store.address, ignore_errors=True)
    return Trial(cut.isoformat(), world.name, altered(raw, other), tuple(comparisons), stopped)


def _with_vendor_level(context: RecipeContext, notes: list[str]) -> RecipeContext:
    """Return the context as it would be on prices that carry later splits.

    Raises:
        SpecError: the recipe's universe or features need prices as traded.
    """
    market, recipe = context.market, context.recipe
    rules = market.universe(recipe.spec.universe.name)
    if rules.min_price is not None:
        raise SpecError(
            f"universe {recipe.spec.universe.name!r} has min_price = {rules.min_price:g}: a "
            "restated level would rightly change who is in it; audit --vintage with another "
            "universe, or leave --vintage out"
        )
    if market.price_level == "split_adjusted":
        return context
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
    return replace(context, market=vendor, recipe=replace(recipe, market=vendor))
