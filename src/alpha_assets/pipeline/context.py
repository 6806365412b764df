"""One market, one store, perhaps one recipe: what every stage needs to know."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Self

from alpha_assets.arrays.keys import KEYS
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.errors import StorageError
from alpha_assets.pipeline.columns import resident_of
from alpha_assets.pipeline.families import MEMBERS, feature_families, section_families
from alpha_assets.pipeline.memory import memory_named
from alpha_assets.progress import Progress
from alpha_assets.spec import PickledByFields
from alpha_assets.store.folder import Folder
from alpha_assets.store.manifest import Manifest
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store
from alpha_assets.store.table import FamilyMonths, FamilyTable, MonthFolders, MonthTable
from alpha_assets.training.device import AUTO, device_named

if TYPE_CHECKING:
    from alpha_assets.dataset.resident import Resident, SharedMarket

POINTER = "pointer"  # status of a month that an earlier month's model decides


def silent(stage: str, what: str) -> None:
    """Report no progress."""


def now() -> datetime:
    """Return the present instant, UTC."""
    return datetime.now(UTC)


class Checkpoints(MonthFolders):
    """A folder of weights per month; a month may point to the model of an earlier one."""

    def hash_of(self, manifest: Manifest) -> str:
        """Return the hash of the model that decides a month: of a pointer, that of its source."""
        if manifest.status == POINTER:
            return next(iter(manifest.inputs.values()))
        return manifest.content_hash


@dataclass(frozen=True)
class MarketContext(PickledByFields):
    """What every stage of a market needs to know; frozen, and picklable if `progress` is.

    Attributes:
        market: whose stages they are.
        store: where outputs lie.
        device: `cpu`, `cuda` or another by name; `auto` for CUDA where there is one.
        progress: called with a stage and a line.
        memory: bytes that the cross-sections that a process trains on may take.
        clock: the present instant, UTC.
    """

    market: Market
    store: Store
    device: str = "cpu"
    progress: Progress = silent
    memory: int = field(default_factory=memory_named)
    clock: Callable[[], datetime] = now

    @cached_property
    def on_device(self) -> str:
        """The device that trains, by name: chosen when it is needed, since that loads torch."""
        return device_named(AUTO) if self.device == AUTO else self.device

    def without_refused(self) -> Self:
        """Return the context of the feeds that the source has now: it may have refused some."""
        return replace(self, market=self.market.without_refused())

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
    def features(self) -> FamilyTable:
        """The catalogue on the panel, family by family."""
        return FamilyTable(self.store, (self.market.name, "features"), KEYS)

    def cross_section(self, universe: str) -> FamilyTable:
        """Return the members of a universe and their z-scored features, family by family."""
        return FamilyTable(self.store, (self.market.name, "cross_section", universe), KEYS)


@dataclass(frozen=True, kw_only=True)
class RecipeContext(MarketContext):
    """What every stage of a recipe on a market needs to know.

    Attributes:
        recipe: whose stages they are.
        shared: the cross-sections that another process of this host holds, to be trained on.
    """

    recipe: Recipe
    shared: "SharedMarket | None" = field(default=None, repr=False, compare=False)

    def at_home(self) -> Self:
        """Return the context whose folders are the recipe's own, with a variant's settings."""
        return replace(self, recipe=replace(self.recipe, variant=""))

    def of_parent(self) -> Self:
        """Return the context of the recipe whose models training starts from."""
        assert self.recipe.parent is not None, "asked only of a recipe with a parent"
        return replace(self, recipe=self.recipe.parent)

    @cached_property
    def features(self) -> FamilyTable:
        """The families of features that the recipe needs."""
        table = FamilyTable(self.store, (self.market.name, "features"), KEYS)
        return table.only(feature_families(self.recipe))

    @cached_property
    def section(self) -> FamilyTable:
        """The members of the recipe's universe, and the families that its model reads."""
        table = self.cross_section(self.recipe.spec.universe.name)
        return table.only((MEMBERS, *section_families(self.recipe)))

    @cached_property
    def members(self) -> FamilyMonths:
        """Who is in the recipe's universe."""
        return self.section.of(MEMBERS)

    @cached_property
    def held_members(self) -> FamilyMonths:
        """Who is in the universe of those who may be held."""
        return self.cross_section(self.recipe.held_universe).of(MEMBERS)

    @cached_property
    def resident(self) -> "Resident":
        """The cross-sections that this process trains on, month after month."""
        resident = resident_of(self.recipe.features, self.store.unnamed_file, self.memory)
        if self.shared is not None:
            try:
                resident.take_over(self.shared)
            except StorageError as error:
                self.progress("checkpoint", f"cross-sections are read anew: {error}")
        return resident

    @cached_property
    def predictions(self) -> MonthTable:
        """Scores per decision session, symbol and horizon."""
        parts = (self.market.name, self.recipe.folder, "predictions")
        return MonthTable(self.store, parts, (*KEYS, "horizon"))

    @cached_property
    def targets(self) -> MonthTable:
        """What to hold."""
        return MonthTable(self.store, (self.market.name, self.recipe.folder, "targets"), KEYS)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """A model per month."""
        return Checkpoints(self.store, (self.market.name, self.recipe.folder, "checkpoint"))

    def checkpoint(self, month: str) -> Folder:
        """Return the folder of one month's model."""
        return self.checkpoints.folder(month)

    @cached_property
    def backtest(self) -> Folder:
        """The folder of positions, trades, daily books and metrics."""
        return self.store.folder(self.market.name, self.recipe.folder, "backtest")

    @cached_property
    def study(self) -> Folder:
        """The folder of the models, scores and figures of folds that are no months."""
        return self.store.folder(self.market.name, self.recipe.folder, "study")

    @cached_property
    def coverage(self) -> Folder:
        """The folder of what is there of features and feeds."""
        return self.store.folder(self.market.name, self.recipe.folder, "coverage")

    @cached_property
    def report(self) -> Folder:
        """The folder of the tear sheet."""
        return self.store.folder(self.market.name, self.recipe.folder, "report")

    def without_refused(self) -> Self:
        """Return the context of the feeds that the source has now, and of what they make.

        Raises:
            SpecError: the recipe names what is gone.
        """
        market = self.market.without_refused()
        recipe = self.recipe.on(market)
        recipe.check_features()
        return replace(self, market=market, recipe=recipe)
