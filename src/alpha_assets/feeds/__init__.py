"""Raw rows as published, with their clock: schemas, publication rules, sources, ingestion."""

from alpha_assets.feeds.base import (
    Basis,
    Column,
    Feed,
    PriceLevel,
    Publication,
    Source,
)
from alpha_assets.feeds.listings import LISTINGS, MEMBERSHIP
from alpha_assets.feeds.market import BORROW, RATES, TRADING_CALENDAR
from alpha_assets.feeds.prices import BENCHMARK, DAILY_BARS, DIVIDENDS

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
    )
}

__all__ = [
    "FEEDS",
    "Basis",
    "Column",
    "Feed",
    "PriceLevel",
    "Publication",
    "Source",
]
