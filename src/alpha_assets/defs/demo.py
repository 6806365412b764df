"""The demo: every stage of the simulated market through Dagster, to a tear sheet, in one process.

Of the code location only what is materialised is defined: loading the others would take longer
than most stages.  Dagster's log goes to stderr, the figures go to stdout as JSON.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

import alpha_assets as aa
from alpha_assets.calendar import month_of, month_range
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe, markets_of
from alpha_assets.defs.launch import BAD_INPUT, prepare
from alpha_assets.defs.location import definitions_of, located
from alpha_assets.defs.partitions import RANGE_END, RANGE_START
from alpha_assets.errors import AlphaAssetsError
from alpha_assets.pipeline.stages import recipe_stages

RECIPE = "rolling_transformer"
DECIDED = 6  # months
FAILED = 1  # exit code


@dataclass(frozen=True)
class Launch:
    """One Dagster run: of which assets, for which months."""

    selection: str
    months: tuple[str, ...]
    assets: int

    @property
    def tags(self) -> dict[str, str]:
        """What Dagster knows a range of partitions by."""
        return {RANGE_START: f"{self.months[0]}-01", RANGE_END: f"{self.months[-1]}-01"}


def launches() -> Iterator[Launch]:
    """Return the Dagster runs that make the demo, in order."""
    market = load_market(markets_of(RECIPE)[0])
    recipe = load_recipe(RECIPE, market)
    months = month_range(market.spec.first_month, month_of(market.spec.sim.last))
    history = [
        f"group:{market.name}_raw",
        *[f'key:"{market.name}/{stage}"' for stage in ("panel", "features")],
        f'key:"{market.name}/cross_section/{recipe.spec.universe.name}"',
    ]
    yield Launch(" or ".join(history), months, len(market.feeds) + 3)
    yield Launch(
        f"group:{market.name}_{recipe.name}", months[-DECIDED:], len(recipe_stages(recipe))
    )


def main() -> int:
    """Materialise everything, print the figures, and return the exit code."""
    try:
        for line in prepare():
            sys.stderr.write(f"{line}\n")
        planned = list(launches())
    except AlphaAssetsError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    repository = definitions_of(located(RECIPE)).get_repository_def()
    with dg.DagsterInstance.get() as instance:
        for number, launch in enumerate(planned, 1):
            sys.stderr.write(f"run {number} of {len(planned)} starts: {launch.assets} assets\n")
            keys = dg.AssetSelection.from_string(launch.selection).resolve(repository.asset_graph)
            job = repository.get_implicit_job_def_for_assets(keys)
            assert job is not None, "all assets of a run share their partitions"
            done = job.execute_in_process(
                instance=instance,
                tags=launch.tags,
                asset_selection=list(keys),
                raise_on_error=False,
            )
            if not done.success:
                return FAILED
    shown = aa.results(RECIPE)
    json.dump({name: shown[name] for name in ("title", "figures", "report")}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
