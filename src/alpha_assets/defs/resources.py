"""What only changes the running: where outputs lie, and which device trains."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.defs.reaper import reap, sign
from alpha_assets.errors import AlphaAssetsError, Unreachable
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.store.store import Store
from alpha_assets.training.device import device_named

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

RETRIES = 3
FIRST_WAIT_SECONDS = 30  # doubled from one try to the next


class Storage(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Root of all outputs, the device to train on and how many processes; from the environment."""

    url: str
    device: str = "auto"
    workers: str = "1"  # of a run; several runs may train at a time

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Write into the run which process walks it, and end runs whose process is gone."""
        if context.instance is None or context.run is None:
            return
        if sign(context.instance, context.run.run_id):
            for line in reap(context.instance):
                (context.log or dg.get_dagster_logger()).warning(line)

    @contextmanager
    def of_market(
        self, market: Market, context: dg.AssetExecutionContext
    ) -> Iterator[MarketContext]:
        """Give the context of a market's stages, its progress going to the run's log."""
        with in_one_line(context):
            device = device_named(self.device)
            yield MarketContext(market, Store(self.url), device=device, progress=log_progress)

    @contextmanager
    def of_recipe(
        self, recipe: Recipe, context: dg.AssetExecutionContext
    ) -> Iterator[RecipeContext]:
        """Give the context of a recipe's stages, its progress going to the run's log."""
        with self.of_market(recipe.market, context) as market:
            yield RecipeContext(
                market.market,
                market.store,
                recipe=recipe,
                device=market.device,
                progress=market.progress,
            )


def log_progress(stage: str, what: str) -> None:
    """Write a line of progress to the log of the run whose step calls it.

    A function of the module, so that contexts that hold it can be pickled; Dagster captures its
    own logger while a step runs.
    """
    dg.get_dagster_logger().info(f"{stage}: {what}")


@contextmanager
def in_one_line(context: Context) -> Iterator[None]:
    """Fail a step at once, in one line, where something is refused by name.

    A second try would find the same.  Only a server that gave no usable answer is asked again,
    after a while.
    """
    try:
        yield
    except Unreachable as error:
        tries = context.op_execution_context.retry_number
        context.log.warning(f"{error}; tries left: {RETRIES - tries}")
        wait = FIRST_WAIT_SECONDS * 2**tries
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=wait) from error
    except AlphaAssetsError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
