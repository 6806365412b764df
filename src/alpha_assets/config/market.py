"""A market: where its rows come from, when they are public, who may be held, what it costs.

Composes the specs that the rooms below declare; `pipelines/markets/<name>.toml` holds one.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.backtest import CostsSpec
from alpha_assets.calendar import Calendar, CalendarSpec, month_start
from alpha_assets.config.folders import named_file
from alpha_assets.errors import SpecError
from alpha_assets.features import (
    CATALOG,
    INTERACTIONS,
    Feature,
    catalog_at,
    interactions_at,
    missing_features,
    own_features,
)
from alpha_assets.feeds import FEEDS, Feed, PriceLevel, Source
from alpha_assets.feeds.custom import OwnFeedSpec, check_name
from alpha_assets.panel.joins import JOINS, Join, joins_of
from alpha_assets.panel.schema import PANEL_SCHEMA
from alpha_assets.panel.universe import UniverseSpec, check_universe
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.sources.jquants import JQuantsSpec
from alpha_assets.sources.sim import SimSourceSpec, SimSpec
from alpha_assets.spec import PickledByFields, Spec, digest, override, parse_spec, read_toml
from alpha_assets.store.location import (
    DEFAULT_STORAGE,
    STORAGE_VARIABLE,
    is_object_store,
    shown,
    storage_root,
)

BARS = "daily_bars"
OF_MARKET = "market."  # in front of an override of the market, where a recipe's stand too
ALL = "all"  # the universe that every market declares

# Folders that stand beside recipes in `storage/<market>/`.
RESERVED_NAMES = ("raw", "panel", "features", "cross_section", "graph")

OWNER = r"^(team:\w[\w-]*|[^@\s]+@[^@\s]+\.[^@\s]+)$"
LANDING_VARIABLE = "ALPHA_LANDING"  # where rows of an API are kept as they came
LANDING = "_landing"  # below the storage root, unless the variable names another folder


class KnownFeedSpec(Spec):
    """Declared under `[feeds.<name>]` in a market; what is left out is the feed's own."""

    on: bool = True
    """Whether the feed is read."""
    publication_time: time | None = None
    """Wall time of publication, instead of the feed's own."""


def _kind_of_feed(value: object) -> str:
    """Return whether `[feeds.<name>]` declares a feed, or sets one that is known."""
    if isinstance(value, dict):
        return "own" if {"scope", "columns"} & set(value) else "known"
    return "own" if isinstance(value, OwnFeedSpec) else "known"


FeedDeclaration = Annotated[
    Annotated[KnownFeedSpec, Tag("known")] | Annotated[OwnFeedSpec, Tag("own")],
    Discriminator(_kind_of_feed),
]


class MarketSpec(Spec):
    """Everything that a market's file declares."""

    about: str
    """One sentence for lists."""
    owners: tuple[Annotated[str, Field(pattern=OWNER)], ...] = ("team:research",)
    """Who answers for its assets, in Dagster: e-mail addresses, or team:<name>."""
    currency: str
    """Of all money."""
    first_month: str
    """First partition, YYYY-MM."""
    source: SimSourceSpec | FilesSourceSpec | JQuantsSpec = Field(discriminator="kind")
    """Where raw rows come from."""
    calendar: CalendarSpec
    """Sessions and decision instants."""
    price_level: PriceLevel | None = None
    """Whether prices are as traded or carry later splits; none: as the source declares."""
    max_stale: int = Field(default=MAX_STALE, ge=1, le=60)
    """Sessions without a bar after which a symbol's rows end until one returns: so long its last
    price is carried, and what is held of it stays."""
    feeds: dict[str, FeedDeclaration] = Field(default_factory=dict)
    """Settings of known feeds, and declarations of the market's own."""
    universes: dict[str, UniverseSpec]
    """Sets of symbols by name, decided as of each session; `all` must be there."""
    costs: CostsSpec = CostsSpec()
    """Of trading, where a recipe does not set its own."""
    coverage: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """Least share of filled cells per family, instead of its own limit."""
    sim: SimSpec = SimSpec()
    """The simulated exchange, where `source.kind` is `sim`."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        month_start(self.first_month)
        if ALL not in self.universes:
            raise ValueError("every market declares [universes.all]")
        for name, declared in self.feeds.items():
            if isinstance(declared, OwnFeedSpec):
                check_name(name, taken=JOINS)
            elif name not in FEEDS:
                raise ValueError(
                    f"[feeds.{name}] is no feed; want one of {', '.join(FEEDS)}, or declare it "
                    "with scope and columns"
                )
            elif name == BARS and not declared.on:
                raise ValueError(f"[feeds.{BARS}] on = false: every stage reads bars; leave it out")
        own = [name for name, feed in self.feeds.items() if isinstance(feed, OwnFeedSpec)]
        families = dict.fromkeys(feature.family for feature in (*CATALOG, *INTERACTIONS))
        for name in self.coverage:
            if name not in (*families, *own):
                raise ValueError(
                    f"[coverage] {name} is no family of features; want some of "
                    f"{', '.join((*families, *own))}"
                )
        return self


@dataclass(frozen=True)
class Market(PickledByFields):
    """A market that is ready to be read."""

    name: str
    spec: MarketSpec
    storage: str | None = None  # where an API's rows land; None: the environment's folder
    overrides: tuple[str, ...] = ()  # `section.key=value` that the file does not hold
    data: Path | None = None  # the folder given instead of the file's source
    built_source: Source | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        """Return what a copy in another process is made from; it builds a source of its own."""
        return {**super().__getstate__(), "built_source": None}

    @cached_property
    def calendar(self) -> Calendar:
        """The sessions of the market's exchange.

        Raises:
            SpecError: see `Calendar.load`; the message names the market's file.
        """
        try:
            return Calendar.load(self.spec.calendar)
        except SpecError as error:
            raise SpecError(f"{self.name}.toml: {error}") from None

    @cached_property
    def source(self) -> Source:
        """Where raw rows come from."""
        return self.built_source or self.spec.source.build(self)

    @property
    def sim(self) -> SimSpec:
        """The section `[sim]`."""
        return self.spec.sim

    @property
    def data_folder(self) -> Path | None:
        """The folder that raw rows are read from; None for another source, or while none is named.

        Raises:
            FeedError: it does not exist.
        """
        return self.source.data_folder

    @property
    def landing(self) -> Path:
        """Where rows of an API land, each market's and server's in a folder of its own.

        Raises:
            SpecError: the storage is an object store, and no folder is named in its stead.
        """
        named = os.environ.get(LANDING_VARIABLE)
        if named:
            return Path(named).expanduser().absolute()
        url = self.storage or os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
        if is_object_store(url):
            raise SpecError(
                f"storage = {shown(url)!r}: answers of an API land in a folder of this machine "
                f"first; export {LANDING_VARIABLE}=FOLDER"
            )
        return storage_root(url) / LANDING

    @cached_property
    def own_feeds(self) -> dict[str, Feed]:
        """The feeds that only this market has, as its file declares them."""
        return {
            name: declared.feed(name)
            for name, declared in self.spec.feeds.items()
            if isinstance(declared, OwnFeedSpec)
        }

    def without_refused(self) -> "Market":
        """Return this market with the feeds that its source offers now.

        A source may have been refused a feed since this market was loaded.
        """
        return replace(self, built_source=self.source)

    @cached_property
    def declared(self) -> dict[str, Feed]:
        """Every feed that there could be, with this market's publication times."""
        return {
            name: _published_at(feed, self._setting(name))
            for name, feed in {**FEEDS, **self.own_feeds}.items()
        }

    @cached_property
    def feeds(self) -> dict[str, Feed]:
        """The feeds that are on and that the source has, with this market's publication times."""
        offered = self.source.feeds()
        return {
            name: feed
            for name, feed in self.declared.items()
            if name in offered and self._setting(name).on
        }

    @cached_property
    def feeds_off(self) -> dict[str, str]:
        """Every other feed, and why it is off."""
        reasons = dict(self.source.off())
        for name in self.declared:
            if name in self.feeds or name in reasons:
                continue
            reasons[name] = (
                "the source does not have it"
                if self._setting(name).on
                else f"switched off in the market's file; [feeds.{name}] on = true switches it on"
            )
        return reasons

    @property
    def price_level(self) -> PriceLevel:
        """Whether stored prices are those that were traded, or carry later splits."""
        return self.spec.price_level or self.source.price_level

    @property
    def is_simulated(self) -> bool:
        """Whether its rows are generated."""
        return self.source.is_simulated

    @cached_property
    def missing_features(self) -> dict[str, str]:
        """Catalogued features that this market cannot have, and why."""
        offered = []
        if self.price_level == "raw":
            offered.append("raw_price_level")
        if self.spec.calendar.exchange == "XTKS":
            offered.append("tse_ticks")
        return missing_features(self.choice, offered, self.feeds_off)

    @cached_property
    def how_to_enable(self) -> dict[str, str]:
        """Features that are missing since a feed is off, and how to switch it on.

        Empty text where the reason names the way: the market's file switches the feed off.
        """
        offered = self.source.feeds()
        ways = {
            feed: "" if feed in offered else self.source.how_to_enable(feed)
            for feed in self.feeds_off
        }
        return {
            feature.name: "; ".join(ways[feed] for feed in feature.feeds if ways.get(feed))
            for feature in self.choice
            if any(feed in ways for feed in feature.feeds)
        }

    @cached_property
    def joins(self) -> tuple[Join, ...]:
        """How the side feeds that are on enter the panel."""
        return joins_of(self.feeds)

    @cached_property
    def own_joins(self) -> tuple[Join, ...]:
        """Those of them that only this market has."""
        return tuple(join for join in self.joins if join.name not in JOINS)

    @cached_property
    def catalog(self) -> tuple[Feature, ...]:
        """Every feature that there is, those of the market's own feeds last."""
        own = own_features(self.own_joins, self.spec.max_stale)
        taken = {feature.name for feature in CATALOG} & {feature.name for feature in own}
        if taken:
            raise SpecError(
                f"market {self.name!r}: a column of its own feed makes a feature {min(taken)!r}, "
                "which the catalogue has; rename the feed or the column"
            )
        return (*catalog_at(self.spec.max_stale), *own)

    @cached_property
    def choice(self) -> tuple[Feature, ...]:
        """What a recipe may name: the catalogue, and the products of its features."""
        return (*self.catalog, *interactions_at(self.spec.max_stale))

    @cached_property
    def data_digest(self) -> str:
        """Name of all settings that can change raw rows and the panel.

        The columns of both are part of it: what another version wrote is made again, not misread.
        """
        spec = self.spec
        return digest(
            self.name,
            dict(self.source.identity),
            spec.calendar,
            {name: setting.model_dump(mode="json") for name, setting in spec.feeds.items()},
            self.price_level,
            spec.max_stale,
            [*PANEL_SCHEMA, *(join.panel_columns for join in self.joins)],
        )

    @property
    def _lacks_members(self) -> bool:
        return self.spec.universes[ALL].membership and "membership" not in self.feeds

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what the market does without, for the run and the report."""
        if not self._lacks_members:
            return ()
        return (
            f"Universe {ALL!r} goes by bars alone, for want of a membership feed: a folder of "
            "survivors makes a universe of survivors.",
        )

    def universe(self, name: str) -> UniverseSpec:
        """Return a universe of this market.

        The universe `all` goes by membership where the market has that feed, else by bars alone.

        Raises:
            SpecError: there is none of that name, or its rules need what the market lacks.
        """
        if name not in self.spec.universes:
            raise SpecError(
                f"market {self.name!r} has no universe {name!r}; "
                f"want one of {', '.join(self.spec.universes)}"
            )
        universe = self.spec.universes[name]
        if name == ALL and self._lacks_members:
            universe = universe.model_copy(update={"membership": False})
        check_universe(universe, self.price_level, tuple(self.feeds))
        return universe

    def _setting(self, feed: str) -> KnownFeedSpec:
        found = self.spec.feeds.get(feed)
        return found if isinstance(found, KnownFeedSpec) else KnownFeedSpec()


def load_market(
    name: str,
    *,
    overrides: Sequence[str] = (),
    data: Path | None = None,
    storage: str | None = None,
) -> Market:
    """Return a market by name.

    Args:
        name: of a file in `pipelines/markets/`.
        overrides: `section.key=value`; `signal=…` is short for `sim.signal=…`.
        data: a folder; the market then reads `files` from there, with its other settings.
        storage: below which an API's rows land; default: `ALPHA_STORAGE`, else `storage`.

    Raises:
        SpecError: unknown name, or a file that lacks a required key or has a wrong one.
    """
    path = named_file("markets", name)
    tables = override(
        read_toml(path), [re.sub(r"^signal(?==)", "sim.signal", o) for o in overrides]
    )
    spec = parse_spec(tables, MarketSpec, origin=str(path.name))
    if data is not None:
        if not data.is_dir():
            from alpha_assets.sources.files.delivery import why_no_folder

            raise SpecError(f"--data {data}: {why_no_folder(data)}")
        folder = FilesSourceSpec(**{**spec.source.folder_settings, "path": str(data)})
        spec = spec.model_copy(update={"source": folder})
    return Market(name, spec, storage, tuple(overrides), data)


def _published_at(feed: Feed, setting: KnownFeedSpec) -> Feed:
    if setting.publication_time is None:
        return feed
    publication = replace(feed.publication, at=setting.publication_time)
    return replace(feed, publication=publication)
