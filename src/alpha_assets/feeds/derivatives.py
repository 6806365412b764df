"""Options on the index, and levels of sector indices."""

from datetime import time

import polars as pl

from alpha_assets.feeds.base import Column, Feed, Publication
from alpha_assets.feeds.prices import BAR_TOLERANCE

NORMAL, EMERGENCY = "002", "001"  # what a row's prices are for: settlement, emergency margin
PUT, CALL = "1", "2"

INDEX_OPTIONS = Feed(
    name="index_options",
    key=("event_date", "contract", "division"),
    scope="market",
    columns=(
        Column("contract", pl.String, "code", "nine characters", required=True),
        Column("division", pl.String, "code", "002 normal, 001 emergency margin", required=True),
        Column("put_call", pl.String, "code", "1 put, 2 call", required=True),
        Column("contract_month", pl.String, "YYYY-MM", "month of expiry", required=True),
        Column("strike", pl.Float64, "points", "exercise price", required=True),
        Column("expiry", pl.Date, "date", "day of the special quotation", required=True),
        Column("close", pl.Float64, "points", "last price of the whole day; null untraded"),
        Column("settlement", pl.Float64, "points", "settlement price"),
        Column("volume", pl.Float64, "contracts", "traded"),
        Column("open_interest", pl.Float64, "contracts", "open at the end of the day"),
        Column("implied_volatility", pl.Float64, "percent a year", "of the contract"),
        Column("base_volatility", pl.Float64, "percent a year", "at the money, official"),
        Column("underlying", pl.Float64, "points", "level of the index"),
        Column("interest_rate", pl.Float64, "percent a year", "used for theoretical prices"),
    ),
    publication=Publication(days=1, at=time(3, 0)),  # "27:00"
    max_stale=5,
    about="The surface of options on the Nikkei 225, contract by contract.",
)

SECTOR_INDICES = Feed(
    name="sector_indices",
    key=("event_date", "sector"),
    scope="sector",
    columns=(
        Column("code", pl.String, "code", "of the index"),
        Column("open", pl.Float64, "points", "first level"),
        Column("high", pl.Float64, "points", "highest level"),
        Column("low", pl.Float64, "points", "lowest level"),
        Column("close", pl.Float64, "points", "last level", required=True),
    ),
    publication=Publication(at=time(16, 30)),
    max_stale=0,
    about="Levels of the exchange's sector indices.",
    tolerance=BAR_TOLERANCE,
)
