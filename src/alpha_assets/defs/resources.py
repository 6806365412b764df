"""What only changes the running: where outputs lie, and which device trains."""

import dagster as dg

from alpha_assets.road.devices import device_named
from alpha_assets.road.market import Market
from alpha_assets.road.recipe import Recipe
from alpha_assets.road.road import Road
from alpha_assets.store.store import Store


class Storage(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Root of all outputs and the device to train on; both from the environment."""

    url: str
    device: str = "auto"

    def road(
        self, market: Market, recipe: Recipe | None, context: dg.AssetExecutionContext
    ) -> Road:
        """Return the road of one market and recipe, its progress going to the run's log."""

        def log(stage: str, what: str) -> None:
            context.log.info(f"{stage}: {what}")

        return Road(market, Store(self.url), recipe, device=device_named(self.device), progress=log)
