"""Who buys and sells: the week's trades of each type of investor, and a day's trades by kind."""

from datetime import time

import polars as pl

from alpha_assets.feeds.base import Column, Feed, Publication

# Name here -> what it is.  `brokerage` is the sum of all that follow it, `total` of the first two.
INVESTORS = {
    "proprietary": "members for their own account",
    "brokerage": "members for customers, all",
    "total": "everybody",
    "individuals": "individuals",
    "foreigners": "non-residents",
    "securities": "securities companies as customers",
    "investment_trusts": "investment trusts",
    "businesses": "business corporations",
    "other_corporations": "other corporations",
    "insurers": "insurance companies",
    "banks": "city and regional banks",
    "trust_banks": "trust banks",
    "other_financials": "other financial institutions",
}
# Sections before and after the change of 2022-04-04, spliced into one series each.
SPLICED = {
    "First Section": "Prime",
    "Second Section": "Standard",
    "JASDAQ": "Standard",
    "JASDAQ Standard": "Standard",
    "JASDAQ Growth": "Standard",
    "Mothers": "Growth",
    "Prime": "Prime",
    "Standard": "Standard",
    "Growth": "Growth",
}
ALL_SECTIONS = "All"

INVESTOR_TYPES = Feed(
    name="investor_types",
    key=("event_date", "section"),
    scope="section",
    columns=(
        Column("start", pl.Date, "date", "first day of the week", required=True),
        Column("published", pl.Date, "date", "day of publication", required=True),
        *(
            Column(f"{name}_{side}", pl.Float64, "thousand yen", f"{side} by {who}", required=True)
            for name, who in INVESTORS.items()
            for side in ("sell", "buy")
        ),
    ),
    publication=Publication(anchor="published", at=time(18, 0)),
    max_stale=20,
    about="Trades of a week by type of investor and section; the event date is its last day.",
    version="published",
    # The exchange announces a correction on its day; the table holds it a session later.
    corrected=Publication(anchor="published", sessions=1, at=time(18, 0)),
)

BREAKDOWN = Feed(
    name="breakdown",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=tuple(
        Column(f"{name}_{of}", pl.Float64, unit, about, required=True)
        for of, unit in (("value", "money"), ("volume", "shares"))
        for name, about in (
            ("long_sell", "sold by owners"),
            ("short_sell", "sold short outside of margin trading"),
            ("margin_sell_new", "sold short on margin"),
            ("margin_sell_close", "sold to close a margin long"),
            ("long_buy", "bought for cash"),
            ("margin_buy_new", "bought on margin"),
            ("margin_buy_close", "bought to close a margin short"),
        )
    ),
    publication=Publication(at=time(18, 0)),
    max_stale=5,
    about="A session's trades by kind of order.",
    joined=False,
)
