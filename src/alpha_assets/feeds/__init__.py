"""Raw rows as published, with their clock: schemas, publication rules, sources, ingestion."""

from alpha_assets.feeds.american import OPTION_SUMMARY, SHORT_INTEREST, SHORT_VOLUME
from alpha_assets.feeds.base import (
    Basis,
    Column,
    Feed,
    PriceLevel,
    Publication,
    Source,
)
from alpha_assets.feeds.corporate import EARNINGS_DATES, NEWS, STATEMENTS, VALUATION
from alpha_assets.feeds.derivatives import INDEX_OPTIONS, SECTOR_INDICES
from alpha_assets.feeds.flows import BREAKDOWN, INVESTOR_TYPES
from alpha_assets.feeds.listings import LISTINGS, MEMBERSHIP
from alpha_assets.feeds.margin import MARGIN, MARGIN_ALERTS
from alpha_assets.feeds.market import BORROW, RATES, TRADING_CALENDAR
from alpha_assets.feeds.prices import BENCHMARK, DAILY_BARS, DIVIDENDS
from alpha_assets.feeds.shorts import SECTOR_SHORT_SELLING, SHORT_POSITIONS

# Feeds beside the prices: they join backwards in time, with their age.
SIDE_FEEDS: dict[str, Feed] = {
    feed.name: feed
    for feed in (
        SECTOR_SHORT_SELLING,
        SHORT_POSITIONS,
        MARGIN,
        MARGIN_ALERTS,
        INVESTOR_TYPES,
        BREAKDOWN,
        INDEX_OPTIONS,
        SECTOR_INDICES,
        STATEMENTS,
        EARNINGS_DATES,
        VALUATION,
        NEWS,
        SHORT_VOLUME,
        SHORT_INTEREST,
        OPTION_SUMMARY,
    )
}
FEEDS: dict[str, Feed] = {
    feed.name: feed
    for feed in (
        DAILY_BARS,
        LISTINGS,
        MEMBERSHIP,
        TRADING_CALENDAR,
        DIVIDENDS,
        BORROW,
        RATES,
        BENCHMARK,
        *SIDE_FEEDS.values(),
    )
}

__all__ = [
    "FEEDS",
    "SIDE_FEEDS",
    "Basis",
    "Column",
    "Feed",
    "PriceLevel",
    "Publication",
    "Source",
]
