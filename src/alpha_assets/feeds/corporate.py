"""Disclosures of companies (statements, forecasts, report dates, news) and their valuation."""

from datetime import time

import polars as pl

from alpha_assets.feeds.base import Column, Feed, Publication

PERIODS = ("1Q", "2Q", "3Q", "4Q", "5Q", "FY")
EMBEDDING = 768  # numbers of a news embedding

# Of a period: name -> unit, meaning.  Flows add up from the start of the fiscal year.
ACTUALS = {
    "sales": ("money", "net sales"),
    "operating_profit": ("money", "operating profit"),
    "ordinary_profit": ("money", "ordinary profit; IFRS and US filers have none"),
    "profit": ("money", "profit of the owners"),
    "eps": ("money a share", "earnings a share"),
    "diluted_eps": ("money a share", "earnings a share, diluted"),
    "total_assets": ("money", "total assets"),
    "equity": ("money", "equity"),
    "equity_ratio": ("fraction", "equity over assets"),
    "bps": ("money a share", "book value a share"),
    "operating_cash_flow": ("money", "cash flow from operations"),
    "investing_cash_flow": ("money", "cash flow from investments"),
    "financing_cash_flow": ("money", "cash flow from financing"),
    "cash": ("money", "cash and equivalents"),
    "dividend": ("money a share", "dividend of the year, paid or due"),
    "payout_ratio": ("fraction", "dividends over profit"),
    "shares_outstanding": ("shares", "issued, treasury shares included"),
    "treasury_shares": ("shares", "held by the company"),
    "average_shares": ("shares", "mean of the period"),
}
FORECASTS = {
    "sales": ("money", "net sales"),
    "operating_profit": ("money", "operating profit"),
    "ordinary_profit": ("money", "ordinary profit"),
    "profit": ("money", "profit of the owners"),
    "eps": ("money a share", "earnings a share"),
    "dividend": ("money a share", "dividend of the year"),
}

STATEMENTS = Feed(
    name="statements",
    key=("event_date", "symbol", "document"),
    scope="symbol",
    columns=(
        Column("document", pl.String, "code", "number of the document", required=True),
        Column("disclosed_at", pl.String, "HH:MM:SS", "time of day of the disclosure"),
        Column("kind", pl.String, "words", "type of the document", required=True),
        Column("period", pl.String, "words", "1Q, 2Q, 3Q, 4Q, 5Q or FY", required=True),
        Column("period_start", pl.Date, "date", "first day of the period"),
        Column("period_end", pl.Date, "date", "last day of the period", required=True),
        Column("fiscal_year_start", pl.Date, "date", "first day of the fiscal year"),
        Column("fiscal_year_end", pl.Date, "date", "last day of the fiscal year", required=True),
        Column("is_consolidated", pl.Boolean, "flag", "of the group, not the parent alone"),
        *(Column(name, pl.Float64, unit, about) for name, (unit, about) in ACTUALS.items()),
        *(
            Column(f"forecast_{name}", pl.Float64, unit, f"{about}: this fiscal year's forecast")
            for name, (unit, about) in FORECASTS.items()
        ),
        *(
            Column(f"next_{name}", pl.Float64, unit, f"{about}: next fiscal year's forecast")
            for name, (unit, about) in FORECASTS.items()
        ),
    ),
    # The last load of a day ends half an hour after midnight.
    publication=Publication(days=1, at=time(0, 30)),
    max_stale=300,  # without a disclosure for more than a year, nothing is known
    about="Summaries of statements and revisions of forecasts, document by document, as "
    "reported: never restated for splits.",
)

EARNINGS_DATES = Feed(
    name="earnings_dates",
    key=("event_date", "symbol", "period", "fiscal_year_end"),
    scope="symbol",
    columns=(
        Column("period", pl.String, "words", "1Q, 2Q, 3Q or FY", required=True),
        Column("fiscal_year_end", pl.String, "MMDD", "end of the fiscal year", required=True),
        Column("scheduled", pl.Date, "date", "day of the report; null = undecided"),
    ),
    publication=Publication(at=time(10, 5)),
    max_stale=None,
    about="When a company will report, as announced on the event date.",
)

VALUATION = Feed(
    name="valuation",
    key=("event_date", "symbol"),
    scope="symbol",
    columns=(
        Column("eps", pl.Float64, "money a share", "earnings a share of the last twelve months"),
        Column("forward_eps", pl.Float64, "money a share", "this fiscal year's, as forecast"),
        Column("bps", pl.Float64, "money a share", "book value a share, last reported"),
        Column("roe", pl.Float64, "fraction", "profit of the last twelve months over equity"),
        Column("forward_roe", pl.Float64, "fraction", "this fiscal year's forecast over equity"),
        Column("per", pl.Float64, "times", "price over `eps`"),
        Column("forward_per", pl.Float64, "times", "price over `forward_eps`"),
        Column("pbr", pl.Float64, "times", "price over `bps`"),
        Column("market_value", pl.Float64, "money", "price times shares outstanding"),
    ),
    # What was disclosed on the day itself, at whatever hour, is in the row of the session after.
    publication=Publication(at=time(16, 30)),
    max_stale=5,
    about="What the exchange makes of statements and the day's close; all null for funds.",
)

NEWS = Feed(
    name="news",
    key=("event_date", "symbol", "article"),
    scope="symbol",
    columns=(
        Column("article", pl.String, "code", "distinguishes articles of a day", required=True),
        Column(
            "embedding",
            pl.Array(pl.Float32, EMBEDDING),
            "numbers",
            "of the text, by an encoder that saw nothing later",
            required=True,
        ),
    ),
    publication=Publication(days=1, at=time(0, 0)),
    max_stale=60,
    about="Articles about a company as embeddings; most days have none.",
)
