"""The assets of one market: raw feeds, panel, features, and a cross-section per universe."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from alpha_assets.calendar import month_range
from alpha_assets.config.folders import PACKAGE
from alpha_assets.config.market import ALL, Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.defs.attributes import DAILY, attributes, references, versioned
from alpha_assets.defs.columns import (
    Columns,
    columns_of_features,
    columns_of_feed,
    columns_of_graph,
    columns_of_panel,
    columns_of_section,
)
from alpha_assets.defs.dependencies import dependencies
from alpha_assets.defs.metadata import delivery_metadata, months_made
from alpha_assets.defs.partitions import month_keys, months
from alpha_assets.defs.resources import Storage
from alpha_assets.errors import SpecError
from alpha_assets.features import TRAILING
from alpha_assets.feeds import Feed
from alpha_assets.feeds.describe import publication_words
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.families import families_read, sections_read
from alpha_assets.pipeline.market_stages import (
    cross_section_stage,
    features_stage,
    graph_stage,
    panel_stage,
)
from alpha_assets.pipeline.raw import ingest_feed, stored_months
from alpha_assets.pipeline.stage import Stage
from alpha_assets.pipeline.status import cost_of
from alpha_assets.pipeline.transforms import scale_lookback

FIRST_PUBLISHED = "1900-01"  # before any row of any feed

Months = Iterator[dg.MaterializeResult[None]]


def market_assets(
    market: Market, recipes: Sequence[Recipe] = ()
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return every asset of a market that no recipe is needed for.

    Args:
        market: whose assets they are.
        recipes: on the market; the families of features are made that any of them reads, of a
            market without recipes all.
    """
    return [
        *[raw_asset(market, feed) for feed in market.feeds],
        *[feed_off(market, feed) for feed in market.feeds_off],
        panel_asset(market),
        features_asset(market, families_read(market, recipes)),
        *[universe_asset(market, name, recipes) for name in market.spec.universes],
        graph_asset(market, ALL),
    ]


def feed_off(market: Market, feed: str) -> dg.AssetSpec:
    """Return a feed that is off: an asset that nothing makes, and that nothing depends on."""
    return dg.AssetSpec(
        key=[market.name, "raw", feed],
        description=feed_description(market, feed),
        kinds={"off"},
        metadata={**_of_feed(market, feed), "off": market.feeds_off[feed]},
        **attributes(market, "raw", off=True),
    )


def universe_asset(
    market: Market, name: str, recipes: Sequence[Recipe]
) -> dg.AssetsDefinition | dg.AssetSpec:
    """Return the cross-section of a universe; one that the market cannot answer is off.

    Such a universe, that asks for a feed which a folder does not have, takes no other asset with
    it; a recipe that names it is refused by name.
    """
    try:
        market.universe(name)
    except SpecError as error:
        return dg.AssetSpec(
            key=[market.name, "cross_section", name],
            description=f"**Off on market {market.name}:** {error}.",
            kinds={"off"},
            metadata={"off": str(error)},
            **attributes(market, "cross_section", off=True),
        )
    return cross_section_asset(market, name, sections_read(market, name, recipes))


def _of_feed(market: Market, feed: str) -> dict[str, Any]:
    declared = market.declared[feed]
    code = [] if feed in market.own_feeds else [declaration(declared)]
    return {**columns_of_feed(declared).metadata, **references(*code, market=market)}


def declaration(feed: Feed) -> str:
    """Return the constant that declares a known feed, as `feeds.module:NAME`."""
    for path in sorted((PACKAGE / "feeds").glob("*.py")):
        if re.search(rf"^{feed.name.upper()} = ", path.read_text(encoding="utf-8"), re.MULTILINE):
            return f"feeds.{path.stem}:{feed.name.upper()}"
    return "feeds:FEEDS"


def raw_asset(market: Market, feed: str) -> dg.AssetsDefinition:
    """Return the asset of one feed's raw rows."""

    @dg.asset(
        key=[market.name, "raw", feed],
        description=feed_description(market, feed),
        kinds={"parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata=_of_feed(market, feed),
        **versioned(market, "raw"),
    )
    def raw(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        with storage.of_market(market, context) as opened:
            asked = month_keys(context)
            # Earlier months too: the bars of a month's last session are public only after that
            # day's run, and calendars and listings long before the market's first month.
            found = ingest_feed(opened, feed, month_range(FIRST_PUBLISHED, asked[-1]))
            counted = f"{found.new} new rows, {found.revised} corrections"
            context.log.info(f"{feed}: {counted}, {found.unchanged} known")
            why = opened.without_refused().market.feeds_off.get(feed)
            if why is not None:  # refused just now; when the code is loaded again it shows as off
                context.log.warning(f"{feed} is off: {why}")
                context.add_asset_metadata({"off": why})
            made = stored_months(opened, feed, asked)
            yield from months_made(context, made, last=delivery_metadata(found))

    return raw


def feed_description(market: Market, feed: str) -> str:
    """Return what a feed is, when its rows are public, and, if it is off, why and at what cost."""
    declared = market.feeds.get(feed, market.declared[feed])
    parts = [declared.about, f"Public: {publication_words(declared)}."]
    if feed in market.feeds_off:
        why = f"{market.feeds_off[feed]}{cost_of(market, feed, mark='`')}"
        off = f"**Off on market {market.name}:** {why}."
        return "\n\n".join([off, *parts])
    return "\n\n".join(parts)


def stage_asset(
    stage: Stage[MarketContext],
    market: Market,
    columns: Columns,
    *roots: str,
    kinds: set[str],
    description: str,
    cadence: str | None = DAILY,
) -> dg.AssetsDefinition:
    """Return the asset of a stage of the market: the months asked for that are not fresh are made.

    Args:
        stage: whose dependencies and version the asset has.
        market: of the stage.
        columns: of its table.
        roots: where its code is, as `room.module:name`.
        kinds: shown beside its name.
        description: of its rows.
        cadence: how often it is made where the schedules are on; None: by none of them.
    """

    @dg.asset(
        key=[market.name, *stage.key],
        description=description,
        kinds=kinds,
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=dependencies(stage, market),
        metadata={**columns.metadata, **references(*roots, market=market)},
        **versioned(market, stage.key[0], stage.identity, cadence=cadence),
    )
    def asset(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        with storage.of_market(market, context) as opened:
            yield from months_made(context, stage.ensure(opened, month_keys(context)))

    return asset


def panel_asset(market: Market) -> dg.AssetsDefinition:
    """Return the asset of what was known at each decision."""
    return stage_asset(
        panel_stage(market),
        market,
        columns_of_panel(market),
        *identity.PANEL,
        kinds={"polars", "parquet"},
        description="What was known at each decision: one row per (session, symbol).",
    )


def features_asset(market: Market, families: Sequence[str]) -> dg.AssetsDefinition:
    """Return the asset of families of the catalogue on the panel."""
    return stage_asset(
        features_stage(market, families),
        market,
        columns_of_features(market, families),
        *identity.FEATURES,
        "features:CATALOG",
        kinds={"numpy", "parquet"},
        description=(
            "Catalogued features, raw values, one row per (session, symbol): a file for each "
            f"family that a recipe reads.\n\nFamilies: {', '.join(families)}."
        ),
    )


def cross_section_asset(
    market: Market, universe: str, families: Sequence[str]
) -> dg.AssetsDefinition:
    """Return the asset of families of z-scored features inside one universe."""
    return stage_asset(
        cross_section_stage(market, universe, families),
        market,
        columns_of_section(market, universe, families),
        *identity.CROSS_SECTION,
        kinds={"numpy", "parquet"},
        description=(
            f"Winsorised z-scores of features, {_scale_words(market, universe)}, inside a "
            "universe: a file for each family that a recipe reads.\n\n"
            f"Families: {', '.join(families)}."
        ),
    )


def _scale_words(market: Market, universe: str) -> str:
    """Return what the z-scores of a universe are taken over, for people."""
    if scale_lookback(market.universe(universe)):
        return f"over {TRAILING} sessions"
    return "session by session"


def graph_asset(market: Market, universe: str) -> dg.AssetsDefinition:
    """Return the asset of who moves with whom inside one universe."""
    return stage_asset(
        graph_stage(market, universe),
        market,
        columns_of_graph(market),
        *identity.GRAPH,
        kinds={"numpy", "parquet"},
        description=(
            "The strongest neighbours by correlation of residual returns, on each week's start."
        ),
        cadence=None,
    )
