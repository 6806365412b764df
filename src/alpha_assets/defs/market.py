"""The assets of one market: raw feeds, panel, features, and a cross-section per universe."""

import re
from collections.abc import Iterator
from typing import Any

import dagster as dg

from alpha_assets.calendar import month_range
from alpha_assets.config.folders import PACKAGE
from alpha_assets.config.market import ALL, Market
from alpha_assets.defs.attributes import attributes, references, versioned
from alpha_assets.defs.columns import (
    columns_of_features,
    columns_of_feed,
    columns_of_graph,
    columns_of_panel,
    columns_of_section,
)
from alpha_assets.defs.dependencies import market_dependencies
from alpha_assets.defs.metadata import delivery_metadata, months_made
from alpha_assets.defs.partitions import month_keys, months
from alpha_assets.defs.resources import Storage
from alpha_assets.feeds import Feed
from alpha_assets.feeds.describe import publication_words
from alpha_assets.pipeline import identity, market_stages
from alpha_assets.pipeline.graph import RULES, make_graph

FIRST_PUBLISHED = "1900-01"  # before any row of any feed

Months = Iterator[dg.MaterializeResult[None]]


def market_assets(market: Market) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return every asset of a market that no recipe is needed for."""
    return [
        *[raw_asset(market, feed) for feed in market.feeds],
        *[feed_off(market, feed) for feed in market.feeds_off],
        panel_asset(market),
        features_asset(market),
        *[cross_section_asset(market, name) for name in market.spec.universes],
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
            found = market_stages.ingest_feed(opened, feed, month_range(FIRST_PUBLISHED, asked[-1]))
            counted = f"{found.new} new rows, {found.revised} corrections"
            context.log.info(f"{feed}: {counted}, {found.unchanged} known")
            why = opened.without_refused().market.feeds_off.get(feed)
            if why is not None:  # refused just now; when the code is loaded again it shows as off
                context.log.warning(f"{feed} is off: {why}")
                context.add_asset_metadata({"off": why})
            made = market_stages.stored_months(opened, feed, asked)
            yield from months_made(context, made, last=delivery_metadata(found))

    return raw


def feed_description(market: Market, feed: str) -> str:
    """Return what a feed is, when its rows are public, and, if it is off, why and at what cost."""
    declared = market.feeds.get(feed, market.declared[feed])
    told = [declared.about, f"Public: {publication_words(declared)}."]
    if feed in market.feeds_off:
        lost = [feature for feature in market.choice if feed in feature.feeds]
        families = ", ".join(dict.fromkeys(f"`{feature.family}`" for feature in lost))
        cost = f"; costs {len(lost)} features of {families}" if lost else ""
        off = f"**Off on market {market.name}:** {market.feeds_off[feed]}{cost}."
        return "\n\n".join([off, *told])
    return "\n\n".join(told)


def panel_asset(market: Market) -> dg.AssetsDefinition:
    """Return the asset of what was known at each decision."""

    @dg.asset(
        key=[market.name, "panel"],
        kinds={"polars", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=market_dependencies("panel", market),
        metadata={
            **columns_of_panel(market).metadata,
            **references(*identity.PANEL, market=market),
        },
        **versioned(market, "panel", identity.panel(market)),
    )
    def panel(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        """What was known at each decision: one row per (session, symbol)."""
        with storage.of_market(market, context) as opened:
            yield from months_made(context, market_stages.make_panel(opened, month_keys(context)))

    return panel


def features_asset(market: Market) -> dg.AssetsDefinition:
    """Return the asset of the catalogue on the panel."""

    @dg.asset(
        key=[market.name, "features"],
        kinds={"numpy", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=market_dependencies("features", market),
        metadata={
            **columns_of_features(market).metadata,
            **references(*identity.FEATURES, "features:CATALOG", market=market),
        },
        **versioned(market, "features", identity.features(market)),
    )
    def features(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        """Every catalogued feature, raw values, one row per (session, symbol)."""
        with storage.of_market(market, context) as opened:
            made = market_stages.make_features(opened, month_keys(context))
            yield from months_made(context, made)

    return features


def cross_section_asset(market: Market, universe: str) -> dg.AssetsDefinition:
    """Return the asset of z-scored features inside one universe."""

    @dg.asset(
        key=[market.name, "cross_section", universe],
        kinds={"numpy", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=market_dependencies("cross_section", market, universe),
        metadata={
            **columns_of_section(market).metadata,
            **references(*identity.CROSS_SECTION, market=market),
        },
        **versioned(market, "cross_section", identity.cross_section(market, universe)),
    )
    def cross_section(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        """Winsorised z-scores of every feature, session by session, inside a universe."""
        with storage.of_market(market, context) as opened:
            made = market_stages.make_cross_section(opened, universe, month_keys(context))
            yield from months_made(context, made)

    return cross_section


def graph_asset(market: Market, universe: str) -> dg.AssetsDefinition:
    """Return the asset of who moves with whom inside one universe."""

    @dg.asset(
        key=[market.name, "graph", universe],
        kinds={"numpy", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=market_dependencies("graph", market, universe),
        metadata={
            **columns_of_graph(market).metadata,
            **references(*identity.GRAPH, market=market),
        },
        **versioned(market, "graph", identity.graph(market, universe, RULES), cadence=None),
    )
    def graph(context: dg.AssetExecutionContext, storage: Storage) -> Months:
        """The strongest neighbours by correlation of residual returns, on each week's start."""
        with storage.of_market(market, context) as opened:
            yield from months_made(context, make_graph(opened, universe, month_keys(context)))

    return graph
