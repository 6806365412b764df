"""What each asset depends on, stage by stage: the one place that names inputs in Dagster.

Dependencies on feeds are on those that are switched on and that the source has; a feed that is off
has no rows, and nothing is made from it.
"""

from collections.abc import Iterable

import dagster as dg

from alpha_assets.config.market import ALL, Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.defs.partitions import all_before, every_month, months_spanned, since
from alpha_assets.features import TRAILING, max_lookback
from alpha_assets.pipeline.graph import graph_lookback
from alpha_assets.pipeline.transforms import market_wide

# What the simulator reads of the market: prices, who leaves and when, dividends, loans, cash.
BACKTEST_FEEDS = ("daily_bars", "listings", "dividends", "borrow", "rates")
LIVES = "listings"  # which bars of a symbol are one life; labels read them


def market_dependencies(stage: str, market: Market, universe: str = ALL) -> list[dg.AssetDep]:
    """Return what a stage of a market is made from.

    Args:
        stage: `panel`, `features`, `cross_section` or `graph`.
        market: whose stage it is.
        universe: of a cross-section or a graph.
    """
    panel, features = (dg.AssetKey([market.name, name]) for name in ("panel", "features"))
    calendar = market.calendar
    match stage:
        case "panel":
            return [all_before(key) for key in feed_keys(market, market.feeds)]
        case "features":
            return [since(panel, months_spanned(calendar, max_lookback(market.catalog) - 1))]
        case "cross_section":
            in_time = TRAILING - 1 if market_wide(market) else 0
            members = market.spec.universes[universe].lookback(market.spec.max_stale)
            return [
                since(features, months_spanned(calendar, in_time)),
                since(panel, months_spanned(calendar, members)),
            ]
        case _:
            lookback = graph_lookback(market, market.spec.universes[universe])
            return [since(panel, months_spanned(calendar, lookback))]


def recipe_dependencies(stage: str, recipe: Recipe, market: Market) -> list[dg.AssetDep]:
    """Return what a stage of a recipe is made from.

    Args:
        stage: `checkpoint`, `predictions`, `targets`, `backtest` or `report`.
        recipe: whose stage it is.
        market: that it runs on.
    """
    checkpoint, predictions, targets, backtest = (
        dg.AssetKey([market.name, recipe.name, name])
        for name in ("checkpoint", "predictions", "targets", "backtest")
    )
    panel, features = (dg.AssetKey([market.name, name]) for name in ("panel", "features"))
    section = dg.AssetKey([market.name, "cross_section", recipe.spec.universe.name])
    match stage:
        case "checkpoint":
            return _model_inputs(recipe, market)
        case "predictions":
            steps = months_spanned(market.calendar, recipe.spec.training.sequence - 1)
            return [
                since(checkpoint, recipe.spec.training.retrain_every - 1),
                since(section, steps),
                since(panel, steps),
            ]
        case "targets":
            # Whether the month before could be decided says whether a period began in it.
            return [dg.AssetDep(predictions), since(section, 1, until=-1), since(panel, 1)]
        case "backtest":
            raw = feed_keys(market, backtest_feeds(market))
            return [every_month(key) for key in (targets, predictions, panel, features, *raw)]
        case _:
            # Coverage counts raw rows too; the features depend on them already.
            return [dg.AssetDep(backtest), every_month(checkpoint), every_month(features)]


def backtest_feeds(market: Market) -> tuple[str, ...]:
    """Return the feeds that a backtest reads, of those that are on.

    Prices that include dividends (`total_return`) are held without the feed of dividends.
    """
    left_out = {"dividends"} if market.source.basis == "total_return" else set()
    return tuple(name for name in BACKTEST_FEEDS if name in market.feeds and name not in left_out)


def feed_keys(market: Market, feeds: Iterable[str]) -> list[dg.AssetKey]:
    """Return the assets of a market's feeds."""
    return [dg.AssetKey([market.name, "raw", feed]) for feed in feeds]


def training_sessions(recipe: Recipe) -> int:
    """Return how many sessions before a month its model reads: window, gaps, validation."""
    split, horizon = recipe.spec.split, recipe.horizon
    gaps = 2 * horizon + split.embargo_sessions  # labels end before each span begins
    steps = recipe.spec.training.sequence - 1
    return split.lookback_sessions + split.valid_sessions + gaps + steps


def _model_inputs(recipe: Recipe, market: Market) -> list[dg.AssetDep]:
    """Return what a month's model is made from: nothing of the month itself."""
    keys = [
        dg.AssetKey([market.name, "cross_section", recipe.spec.universe.name]),
        dg.AssetKey([market.name, "panel"]),
        dg.AssetKey([market.name, "raw", "daily_bars"]),
    ]
    if recipe.spec.label.kind == "vol_scaled":
        keys.append(dg.AssetKey([market.name, "features"]))
    if recipe.spec.split.expanding:
        inputs = [all_before(key, until=-1) for key in keys]
    else:
        window = months_spanned(market.calendar, training_sessions(recipe))
        inputs = [since(key, window, until=-1) for key in keys]
    if LIVES in market.feeds:  # every event that was known before the month
        inputs += [all_before(key, until=-1) for key in feed_keys(market, [LIVES])]
    training = recipe.spec.training
    if training.warm_start or training.retrain_every > 1:  # a month leans on an earlier model
        own = dg.AssetKey([market.name, recipe.name, "checkpoint"])
        inputs.append(since(own, training.retrain_every, until=-1))
    return inputs
