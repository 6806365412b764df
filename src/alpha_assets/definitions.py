"""The code location: every market and recipe of `pipelines/` as Dagster assets."""

import os

import dagster as dg

from alpha_assets.defs.automation import Automation, automation, run_failed
from alpha_assets.defs.checks import market_checks, recipe_checks
from alpha_assets.defs.market import market_assets
from alpha_assets.defs.recipe import recipe_assets
from alpha_assets.defs.resources import Storage
from alpha_assets.road.market import load_market
from alpha_assets.road.pipelines import names
from alpha_assets.road.recipe import load_recipe, markets_of


@dg.definitions
def defs() -> dg.Definitions:
    """Return assets, checks, jobs, schedules, sensors and resources."""
    markets = {name: load_market(name) for name in names("markets")}
    assets: list[dg.AssetsDefinition] = []
    checks: list[dg.AssetChecksDefinition] = []
    automated: list[Automation] = []
    for market in markets.values():
        assets += market_assets(market)
        checks += market_checks(market)
    for name in names("recipes"):
        for market_name in markets_of(name):
            market = markets.get(market_name) or load_market(market_name)  # says what there is
            recipe = load_recipe(name, market)
            assets += recipe_assets(recipe, market)
            checks += recipe_checks(recipe, market)
            automated.append(automation(recipe, market))
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=[job for one in automated for job in one.jobs],
        schedules=[schedule for one in automated for schedule in one.schedules],
        sensors=[run_failed],
        resources={
            "storage": Storage(
                url=os.environ.get("ALPHA_STORAGE", "storage"),
                device=os.environ.get("ALPHA_DEVICE", "auto"),
            ),
        },
        executor=dg.in_process_executor,
    )
