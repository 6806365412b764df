"""The assets of one market: raw feeds, panel, features, and a cross-section per universe."""

import dagster as dg
import polars as pl

from alpha_assets.calendar import month_range
from alpha_assets.config.market import Market
from alpha_assets.defs.metadata import (
    add_months,
    columns_of_features,
    columns_of_feed,
    delivery_metadata,
    table,
)
from alpha_assets.defs.partitions import all_before, month_keys, months, months_spanned, since
from alpha_assets.defs.resources import Storage
from alpha_assets.features import TRAILING, max_lookback
from alpha_assets.features.edges import EDGE_SCHEMA
from alpha_assets.feeds.describe import publication_words
from alpha_assets.panel.schema import PANEL_SCHEMA
from alpha_assets.pipeline import market_stages
from alpha_assets.pipeline.graph import graph_lookback, make_graph
from alpha_assets.pipeline.transforms import market_wide

FIRST_PUBLISHED = "1900-01"  # before any row of any feed


def market_assets(market: Market) -> list[dg.AssetsDefinition]:
    """Return every asset of a market that no recipe is needed for."""
    return [
        *[raw_asset(market, feed) for feed in market.declared],
        panel_asset(market),
        features_asset(market),
        *[cross_section_asset(market, name) for name in market.spec.universes],
        graph_asset(market, "all"),
    ]


def raw_asset(market: Market, feed: str) -> dg.AssetsDefinition:
    """Return the asset of one feed's raw rows."""

    @dg.asset(
        key=[market.name, "raw", feed],
        description=told_of_feed(market, feed),
        group_name=f"{market.name}_raw",
        kinds={"parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata=columns_of_feed(market.declared[feed]),
    )
    def raw(context: dg.AssetExecutionContext, storage: Storage) -> None:
        if feed in market.feeds_off:
            context.add_asset_metadata({"off": market.feeds_off[feed]})
            context.log.warning(f"{feed} is off: {market.feeds_off[feed]}")
            return
        with storage.of_market(market, context) as opened:
            asked = month_keys(context)
            # Earlier months too: the bars of a month's last session are public only after that
            # day's run, and calendars and listings long before the market's first month.
            found = market_stages.ingest_feed(opened, feed, month_range(FIRST_PUBLISHED, asked[-1]))
            counted = f"{found.new} new rows, {found.revised} corrections"
            context.log.info(f"{feed}: {counted}, {found.unchanged} known")
            context.add_asset_metadata(
                delivery_metadata(found),
                partition_key=context.partition_keys[-1],
            )
            add_months(context, market_stages.stored_months(opened, feed, asked))

    return raw


def told_of_feed(market: Market, feed: str) -> str:
    """Return what a feed is, when its rows are public, and, if it is off, why and at what cost."""
    declared = market.feeds.get(feed, market.declared[feed])
    told = [declared.about, f"Public: {publication_words(declared)}."]
    if feed in market.feeds_off:
        lost = [feature for feature in market.choice if feed in feature.feeds]
        families = ", ".join(dict.fromkeys(f"`{feature.family}`" for feature in lost))
        cost = f"; costs {len(lost)} features of {families}" if lost else ""
        told.append(f"**Off on market {market.name}:** {market.feeds_off[feed]}{cost}.")
    return "\n\n".join(told)


def panel_asset(market: Market) -> dg.AssetsDefinition:
    """Return the asset of what was known at each decision."""

    @dg.asset(
        key=[market.name, "panel"],
        group_name=f"{market.name}_market",
        kinds={"polars", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[all_before(dg.AssetKey([market.name, "raw", feed])) for feed in market.declared],
        metadata=table({**PANEL_SCHEMA, **_side_schema(market)}),
    )
    def panel(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """What was known at each decision: one row per (session, symbol)."""
        with storage.of_market(market, context) as opened:
            add_months(context, market_stages.make_panel(opened, month_keys(context)))

    return panel


def _side_schema(market: Market) -> dict[str, object]:
    """Return the panel columns of the side feeds that are on."""
    return {
        name: pl.Int16() if name.endswith("_age") else pl.Float64()
        for join in market.joins
        for name in join.panel_columns
    }


def features_asset(market: Market) -> dg.AssetsDefinition:
    """Return the asset of the catalogue on the panel."""
    lookback = max_lookback(market.catalog) - 1

    @dg.asset(
        key=[market.name, "features"],
        group_name=f"{market.name}_market",
        kinds={"numpy", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            since(dg.AssetKey([market.name, "panel"]), months_spanned(market.calendar, lookback))
        ],
        metadata=columns_of_features(market.catalog),
    )
    def features(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """Every catalogued feature, raw values, one row per (session, symbol)."""
        with storage.of_market(market, context) as opened:
            add_months(context, market_stages.make_features(opened, month_keys(context)))

    return features


def cross_section_asset(market: Market, universe: str) -> dg.AssetsDefinition:
    """Return the asset of z-scored features inside one universe."""
    lookback = market.spec.universes[universe].lookback(market.spec.max_stale)

    @dg.asset(
        key=[market.name, "cross_section", universe],
        group_name=f"{market.name}_market",
        kinds={"numpy", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            since(
                dg.AssetKey([market.name, "features"]),
                months_spanned(market.calendar, TRAILING - 1 if market_wide(market) else 0),
            ),
            since(dg.AssetKey([market.name, "panel"]), months_spanned(market.calendar, lookback)),
        ],
    )
    def cross_section(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """Winsorised z-scores of every feature, session by session, inside a universe."""
        with storage.of_market(market, context) as opened:
            add_months(
                context, market_stages.make_cross_section(opened, universe, month_keys(context))
            )

    return cross_section


def graph_asset(market: Market, universe: str) -> dg.AssetsDefinition:
    """Return the asset of who moves with whom inside one universe."""
    lookback = graph_lookback(market, market.spec.universes[universe])

    @dg.asset(
        key=[market.name, "graph", universe],
        group_name=f"{market.name}_market",
        kinds={"numpy", "parquet"},
        partitions_def=months(market),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            since(dg.AssetKey([market.name, "panel"]), months_spanned(market.calendar, lookback))
        ],
        metadata=table(EDGE_SCHEMA),
    )
    def graph(context: dg.AssetExecutionContext, storage: Storage) -> None:
        """The strongest neighbours by correlation of residual returns, on each week's start."""
        with storage.of_market(market, context) as opened:
            add_months(context, make_graph(opened, universe, month_keys(context)))

    return graph
