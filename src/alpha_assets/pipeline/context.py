"""One market, one store, perhaps one recipe: where outputs lie and what each was made from.

A manifest names the digest of what may change its folder and the hashes of its inputs.  An
output whose digest or inputs differ from today's is stale, one whose files are not what its
manifest names is damaged: both are rebuilt by `run`, listed by `status` with all that follows,
and refused by name by whatever would read them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Self

import numpy as np

from alpha_assets import __version__
from alpha_assets.arrays.keys import KEYS
from alpha_assets.calendar import month_range
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.errors import MissingOutput, StaleOutput, StorageError
from alpha_assets.pipeline.identity import Identity
from alpha_assets.progress import Progress
from alpha_assets.store.folder import Folder
from alpha_assets.store.manifest import Manifest, ManifestInput
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store
from alpha_assets.store.table import AGAIN, DAMAGED, KnownHashes, MonthTable

CODE_PARTS = "code"  # of a manifest's extra: digests of code by name


def silent(stage: str, what: str) -> None:
    """Report no progress."""


def now() -> datetime:
    """Return the present instant, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Made:
    """One output that a stage wrote, or found fresh."""

    stage: str
    month: str | None
    path: str
    status: str
    rows: int
    content_hash: str
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, stage: str, month: str | None, folder: Folder, manifest: Manifest) -> "Made":
        """Return what a manifest says of an output."""
        return cls(
            stage=stage,
            month=month,
            path=folder.address,
            status=manifest.status,
            rows=manifest.rows,
            content_hash=manifest.content_hash,
            digest=manifest.digest,
            facts={k: v for k, v in manifest.extra.items() if k != CODE_PARTS},
        )

    @classmethod
    def found(cls, stage: str, month: str | None, folder: Folder) -> "Made":
        """Return what is said of an output that was found fresh."""
        manifest = folder.manifest()
        assert manifest is not None, f"{folder.name} was found fresh, so it is there"
        return cls.of(stage, month, folder, manifest)


@dataclass(frozen=True)
class MarketContext:
    """What every stage of a market needs to know; frozen, and picklable if `progress` is.

    Attributes:
        market: whose stages they are.
        store: where outputs lie.
        device: `cpu`, `cuda` or another by name.
        progress: called with a stage and a line.
        clock: the present instant, UTC.
        planned: outputs by name below the root, of a table with its months, that a status found
            not fresh: what is made from them is not fresh either.  Empty where stages are made in
            their order.
    """

    market: Market
    store: Store
    device: str = "cpu"
    progress: Progress = silent
    clock: Callable[[], datetime] = now
    planned: dict[str, set[str]] = field(default_factory=dict, compare=False)

    def without_refused(self) -> Self:
        """Return the context of the feeds that the source has now: it may have refused some."""
        return replace(self, market=self.market.without_refused())

    def plan(self, output: MonthTable | Folder, months: Iterable[str] = ("",)) -> None:
        """Note that months of an output are to be made again, and all that follows with them."""
        self.planned.setdefault(output.name, set()).update(months)

    def hashes(self, table: MonthTable) -> KnownHashes:
        """Return the content hashes of a table's months, less what is to be made again."""
        return KnownHashes(table.hashes(), frozenset(self.planned.get(table.name, ())))

    def hash_of(self, folder: Folder) -> str:
        """Return the content hash of an output, or a word where it has none."""
        if self.planned.get(folder.name):
            return AGAIN
        try:
            manifest = folder.manifest()
        except StorageError:
            return DAMAGED
        return manifest.content_hash if manifest else "missing"

    def instant_of(self, session: np.datetime64 | date) -> datetime:
        """Return the decision instant of a session, with a zone."""
        instant = self.market.calendar.decision(session)[()].astype("datetime64[us]").item()
        assert isinstance(instant, datetime), "microseconds are those of a datetime"
        return instant.replace(tzinfo=UTC)

    @cached_property
    def raw(self) -> dict[str, RawTable]:
        """The stored rows of every feed that is on."""
        return {
            name: RawTable(self.store, self.market.name, feed, self.market.calendar.zone)
            for name, feed in self.market.feeds.items()
        }

    @cached_property
    def panel(self) -> MonthTable:
        """What was known at each decision."""
        return MonthTable(self.store, (self.market.name, "panel"), KEYS)

    @cached_property
    def features(self) -> MonthTable:
        """The catalogue on the panel."""
        return MonthTable(self.store, (self.market.name, "features"), KEYS)

    def cross_section(self, universe: str) -> MonthTable:
        """Return the z-scored features inside a universe."""
        return MonthTable(self.store, (self.market.name, "cross_section", universe), KEYS)


@dataclass(frozen=True, kw_only=True)
class RecipeContext(MarketContext):
    """What every stage of a recipe on a market needs to know."""

    recipe: Recipe

    @cached_property
    def section(self) -> MonthTable:
        """The cross-section that the recipe reads."""
        return self.cross_section(self.recipe.spec.universe.name)

    @cached_property
    def predictions(self) -> MonthTable:
        """Scores per decision session, symbol and horizon."""
        parts = (self.market.name, self.recipe.name, "predictions")
        return MonthTable(self.store, parts, (*KEYS, "horizon"))

    @cached_property
    def targets(self) -> MonthTable:
        """What to hold."""
        return MonthTable(self.store, (self.market.name, self.recipe.name, "targets"), KEYS)

    def checkpoint(self, month: str) -> Folder:
        """Return the folder of one month's model."""
        return self.store.folder(self.market.name, self.recipe.name, "checkpoint", month)

    @cached_property
    def backtest(self) -> Folder:
        """The folder of positions, trades, daily books and metrics."""
        return self.store.folder(self.market.name, self.recipe.name, "backtest")

    @cached_property
    def report(self) -> Folder:
        """The folder of the tear sheet."""
        return self.store.folder(self.market.name, self.recipe.name, "report")

    def without_refused(self) -> Self:
        """Return the context of the feeds that the source has now, and of what they make.

        Raises:
            SpecError: the recipe names what is gone.
        """
        market = self.market.without_refused()
        recipe = replace(self.recipe, market=market)
        recipe.check_features()
        return replace(self, market=market, recipe=recipe)


def staleness(folder: Folder, made_by: Identity, inputs: Mapping[str, str]) -> str | None:
    """Return why an output is not fresh, or None if it is.

    The one rule of every stage: its files are what its manifest names, and the digest of its
    settings, its code and the hashes of its inputs are today's.
    """
    damage = folder.damage()
    if damage is not None:
        return f"{DAMAGED}: {damage}"
    manifest = folder.manifest()
    if manifest is None:
        return "missing"
    reason = _made_by_another(manifest, made_by)
    if reason is not None:
        return reason
    changed = sorted(
        name
        for name in {*manifest.inputs, *inputs}
        if manifest.inputs.get(name) != inputs.get(name)
    )
    if not changed:
        return None
    again = [name for name in changed if inputs.get(name) == AGAIN]
    if again == changed:
        return f"its input {again[0]} is {AGAIN}"
    return f"its input {next(n for n in changed if n not in again)} has changed since"


def require_fresh(
    folder: Folder, made_by: Identity, inputs: Mapping[str, str], way_out: str
) -> Manifest:
    """Return the manifest of an output that is about to be read, and is as today's inputs make it.

    Raises:
        MissingOutput: it has not been made.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    reason = staleness(folder, made_by, inputs)
    manifest = require(folder, made_by, way_out)
    if reason is not None:
        kind = StorageError if reason.startswith(DAMAGED) else StaleOutput
        raise kind(f"{folder.address} is not fresh: {reason}; {way_out}")
    return manifest


def require(folder: Folder, made_by: Identity, way_out: str) -> Manifest:
    """Return the manifest of an output that is about to be read.

    Raises:
        MissingOutput: it has not been made.
        StaleOutput: other settings or other code made it.
    """
    manifest = folder.manifest()
    if manifest is None:
        raise MissingOutput(f"{folder.address} has not been made; {way_out}")
    reason = _made_by_another(manifest, made_by)
    if reason is not None:
        raise StaleOutput(f"{folder.address} was {reason}; {way_out}")
    return manifest


def _made_by_another(manifest: Manifest, made_by: Identity) -> str | None:
    """Return how an output's settings or code differ from today's, or None if they do not."""
    if manifest.digest != made_by.digest:
        return f"made by digest {manifest.digest}, this is {made_by.digest}"
    if manifest.code == made_by.code:
        return None
    if not manifest.code:
        return "made by a version that did not record its code"
    before = manifest.extra.get(CODE_PARTS) or {}
    now = made_by.parts or {}
    changed = sorted(name for name in now if before.get(name) not in (None, now[name]))
    named = f" (first: {changed[0]})" if changed else ""
    return f"made by code that has changed since{named}"


def require_months(
    table: MonthTable, first: str, last: str, made_by: Identity, way_out: str
) -> None:
    """Refuse to read months that were not made, or by other settings or code.

    Raises:
        MissingOutput: naming the first month that is not there.
        StaleOutput: naming the first month that is stale.
    """
    for month in month_range(first, last):
        require(table.folder(month), made_by, way_out)


def manifest_of(
    made_by: Identity,
    inputs: Mapping[str, str],
    *,
    status: str = "complete",
    facts: Mapping[str, Any] | None = None,
) -> ManifestInput:
    """Return what a stage knows about the folder that it is about to write."""
    return ManifestInput(
        digest=made_by.digest,
        code=made_by.code,
        code_version=__version__,
        inputs=dict(inputs),
        status=status,
        extra={**(facts or {}), **({CODE_PARTS: dict(made_by.parts)} if made_by.parts else {})},
    )
