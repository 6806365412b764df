"""What the files of `pipelines/` define as Dagster assets, checks, jobs, schedules and sensors.

A file that cannot be used takes no other down: it is an asset of the group `broken`, with its error
as the description, and stands in the location's metadata and in the log.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import dagster as dg
from dagster_shared.check import CheckError

from alpha_assets.config.folders import names
from alpha_assets.config.market import ALL, Market, load_market
from alpha_assets.config.recipe import Recipe, load_recipe, markets_of
from alpha_assets.defs.automation import Automation, automation, run_failed
from alpha_assets.defs.checks import market_checks, recipe_checks
from alpha_assets.defs.market import graph_asset, market_assets
from alpha_assets.defs.reaper import reaper
from alpha_assets.defs.recipe import recipe_assets
from alpha_assets.defs.resources import Storage
from alpha_assets.errors import AlphaAssetsError, SpecError

BROKEN = "broken"  # the group of what cannot be used


@dataclass
class Location:
    """What is defined, and which files could not be used."""

    assets: list[dg.AssetsDefinition | dg.AssetSpec] = field(default_factory=list)
    checks: list[dg.AssetChecksDefinition] = field(default_factory=list)
    automated: list[Automation] = field(default_factory=list)
    broken: dict[tuple[str, ...], str] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)  # names in Dagster, and whose they are
    graphs: set[tuple[str, str]] = field(default_factory=set)  # markets and universes with one

    @contextmanager
    def guarded(self, *parts: str) -> Iterator[None]:
        """Note what stops one file from being used, and go on."""
        try:
            yield
        except (AlphaAssetsError, dg.DagsterError, CheckError) as error:
            self.broken[parts] = str(error)
            dg.get_dagster_logger().warning(f"{'/'.join(parts)} is broken: {error}")

    def take(self, owner: str, *taken: str) -> None:
        """Give names to one market, or to a recipe on one.

        Raises:
            SpecError: another has one of them; Dagster would refuse both.
        """
        for name in taken:
            if self.taken.get(name, owner) != owner:
                raise SpecError(
                    f"{owner} would share the name {name!r} with {self.taken[name]} in Dagster; "
                    "rename one of the two files"
                )
        self.taken.update(dict.fromkeys(taken, owner))

    def add_market(self, market: Market) -> None:
        """Define what a market has for all of its recipes."""
        recipes = recipes_on(market)
        assets, checks = market_assets(market, recipes), market_checks(market, recipes)
        self.take(
            f"market {market.name}",
            *(f"{market.name}_{group}" for group in ("raw", "off", "market", "coverage")),
        )
        self.assets += assets
        self.checks += checks
        self.graphs.add((market.name, ALL))

    def add_recipe(self, name: str, market: Market) -> None:
        """Define a recipe on a market."""
        recipe = load_recipe(name, market)
        recipe.check_features()
        made = recipe_assets(recipe, market), recipe_checks(recipe, market)
        universe = recipe.spec.universe.name
        if recipe.spec.inputs.graph is not None and (market.name, universe) not in self.graphs:
            made[0].append(graph_asset(market, universe))
        automated = automation(recipe, market)
        owner = f"recipe {name} on market {market.name}"
        self.take(owner, f"{market.name}_{name}", f"{market.name}__{name}")
        self.assets += made[0]
        self.checks += made[1]
        self.automated.append(automated)
        if recipe.spec.inputs.graph is not None:
            self.graphs.add((market.name, universe))


def recipes_on(market: Market) -> list[Recipe]:
    """Return the recipes of a market; those that cannot be used are left out: see `broken`."""
    found = []
    for name in names("recipes"):
        with suppress(AlphaAssetsError):
            if market.name in markets_of(name):
                recipe = load_recipe(name, market)
                recipe.check_features()
                found.append(recipe)
    return found


def located(recipe: str = "") -> Location:
    """Return what the files define.

    Args:
        recipe: the name of one: only its first market and itself are defined, each asset as it is
            beside all others; default: every market and recipe.
    """
    location = Location()
    only = markets_of(recipe)[:1] if recipe else None
    markets: dict[str, Market] = {}
    for name in only or names("markets"):
        with location.guarded("markets", name):
            market = load_market(name)
            location.add_market(market)
            markets[name] = market
    for name in (recipe,) if recipe else names("recipes"):
        homes: tuple[str, ...] = ()
        with location.guarded("recipes", name):
            homes = only or markets_of(name)
        for home in dict.fromkeys(homes):
            with location.guarded("recipes", name, home):
                if ("markets", home) in location.broken:
                    raise SpecError(f"its market {home} is broken, see markets/{home}")
                location.add_recipe(name, markets.get(home) or load_market(home))
    return location


def storage_named() -> Storage:
    """Return what only changes the running, as the environment names it."""
    return Storage(
        url=os.environ.get("ALPHA_STORAGE", "storage"),
        device=os.environ.get("ALPHA_DEVICE", "auto"),
        workers=os.environ.get("ALPHA_WORKERS", "1"),
    )


def definitions_of(location: Location) -> dg.Definitions:
    """Return assets, checks, jobs, schedules, sensors and resources."""
    broken = [
        dg.AssetSpec(key=[BROKEN, *parts], group_name=BROKEN, description=error)
        for parts, error in location.broken.items()
    ]
    return dg.Definitions(
        assets=[*location.assets, *broken],
        asset_checks=location.checks,
        jobs=[job for one in location.automated for job in one.jobs],
        schedules=[schedule for one in location.automated for schedule in one.schedules],
        sensors=[run_failed, reaper],
        resources={"storage": storage_named()},
        executor=dg.in_process_executor,
        metadata={f"{BROKEN}/{'/'.join(parts)}": e for parts, e in location.broken.items()},
    )
