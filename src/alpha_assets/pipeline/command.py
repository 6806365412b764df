"""The command line that repeats something on the market, recipe and storage of a context."""

import shlex
from datetime import date

from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.store.location import DEFAULT_STORAGE


def command(context: MarketContext, verb: str, *options: str) -> str:
    """Return a command that gives the same digests as the context, quoted for a shell.

    Args:
        context: whose market, recipe, folder, storage and overrides it names.
        verb: of the command line.
        options: further words, such as `--first-month`, `2023-01`.
    """
    market = context.market
    recipe = context.recipe if isinstance(context, RecipeContext) else None
    words = ["alpha-assets", verb]
    if recipe is not None:
        words += ["--recipe", recipe.folder if recipe.is_pinned else recipe.name]
    words += ["--market", market.name]
    # A folder may come from `--data` or from the environment; neither is in the market's file.
    folder = market.data_folder
    if folder is not None and (market.data is not None or not market.spec.source.names_folder):
        words += ["--data", str(folder)]
    if market.storage is not None and market.storage != DEFAULT_STORAGE:
        words += ["--storage", market.storage]
    for override in market.overrides:
        words += ["--set", f"market.{override}"]
    for override in recipe.overrides if recipe is not None and not recipe.is_pinned else ():
        words += ["--set", override]
    return shlex.join([*words, *options])


def run_again(context: MarketContext, month: str | None = None, last: str | None = None) -> str:
    """Return the way out of an error about an output: the command that makes it.

    Args:
        context: whose output it is.
        month: to decide; None: every month that can be.
        last: month to decide, if that is another.
    """
    span = () if month is None else ("--first-month", month, "--last-month", last or month)
    return f"{command(context, 'run', *span)} makes it"


def train_and_predict(context: RecipeContext, session: date) -> str:
    """Return the way out of what one session lacks: a month without bars cannot be run."""
    return f"{command(context, 'predict', '--asof', session.isoformat(), '--train')} makes it"
