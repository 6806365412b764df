"""What the exchange makes of its companies' statements and of the day's close; nothing is drawn.

A document counts from the session after its day, whatever its hour.  With all figures as the
documents before that day left them:

shares     issued less treasury shares, restated for the splits since their document
eps        profit of twelve months / shares: last year + this year so far - the same part of it
roe        profit of twelve months / mean of equity now and a year before
forward_*  the forecast profit of the first fiscal year not reported yet, / shares, / equity
bps        equity / shares;  per, pbr  price / eps, / bps, none where those are not above zero

The price is the day's close, without one the last close: the base price of a day without trades.
Shape letters: D sessions, N symbols, K documents of one symbol.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from alpha_assets.arrays.asof import last_row
from alpha_assets.arrays.types import Array
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.corporate import PERIODS
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.side import corporate
from alpha_assets.sources.sim.side.common import codes, dates_of

MILLION = 1e6
CENT, BASIS_POINT = 2, 4  # decimals of amounts and multiples, and of returns
UNKNOWN = float("nan")


class Figures(NamedTuple):
    """What is known of a company; NaN where it is unknown."""

    profit: float  # of the last twelve months
    forecast: float  # profit of the first fiscal year that is not reported
    equity: float
    equity_before: float  # a year before
    shares: float  # of the day of the document that states them


class Filings:
    """Figures that a company has filed so far, by the year of its fiscal year's end and period."""

    def __init__(self) -> None:
        self.profit: dict[tuple[int, str], float | None] = {}
        self.equity: dict[tuple[int, str], float | None] = {}
        self.forecast: dict[int, float] = {}
        self.shares = UNKNOWN

    def add(self, document: Mapping[str, Any]) -> bool:
        """Take in a document; return whether it states a number of shares."""
        year, period = document["fiscal_year_end"].year, document["period"]
        for ahead, name in ((0, "forecast_profit"), (1, "next_profit")):
            if document[name] is not None:
                self.forecast[year + ahead] = document[name]
        if document["equity"] is None:  # a forecast alone
            return False
        self.profit[year, period] = document["profit"]
        self.equity[year, period] = document["equity"]
        self.shares = document["shares_outstanding"] - document["treasury_shares"]
        return True

    def figures(self) -> Figures:
        """Return the sums and stocks that follow from all filings."""
        if not self.equity:
            return Figures(*[UNKNOWN] * len(Figures._fields))
        year, period = max(self.equity, key=lambda of: (of[0], PERIODS.index(of[1])))
        last, same = self.profit.get((year - 1, "FY")), self.profit.get((year - 1, period))
        profit = self.profit[year, period]
        if period != "FY":
            parts = (last, profit, same)
            profit = None if None in parts else last + profit - same  # type: ignore[operator]
        ahead = year + 1 if period == "FY" else year
        found = (
            profit,
            self.forecast.get(ahead),
            self.equity[year, period],
            self.equity.get((year - 1, period)),
            self.shares,
        )
        return Figures(*(UNKNOWN if value is None else float(value) for value in found))


def filed_at(documents: Iterable[Mapping[str, Any]], known_K: list[int], n: int) -> Array:
    """Return the figures of one company at each session, [D, figures and day of the shares].

    Args:
        documents: in the order in which they count; `session` is the number of their day.
        known_K: number of the session from which each counts.
        n: how many sessions there are.
    """
    filings, day = Filings(), UNKNOWN
    known_D = np.full((n, len(Figures._fields) + 1), UNKNOWN)
    for document, known in zip(documents, known_K, strict=True):
        if filings.add(document):
            day = document["session"]
        known_D[known:] = (*filings.figures(), day)
    return known_D


def valued(figures: Figures | Array, price: Array, shares: Array) -> dict[str, Array]:
    """Return the feed's values from figures, a price, and shares of the same day as the price."""
    profit, forecast, equity, before = (np.asarray(one, dtype=float) for one in figures[:4])
    mean = np.where(np.isnan(before), equity, (equity + before) / 2)
    eps, forward_eps, bps = profit / shares, forecast / shares, equity / shares
    made = {
        "eps": np.round(eps, CENT),
        "forward_eps": np.round(forward_eps, CENT),
        "bps": np.round(bps, CENT),
        "roe": np.round(_over(profit, mean), BASIS_POINT),
        "forward_roe": np.round(_over(forecast, equity), BASIS_POINT),
        "per": np.round(_over(price, eps), CENT),
        "forward_per": np.round(_over(price, forward_eps), CENT),
        "pbr": np.round(_over(price, bps), CENT),
        "market_value": np.round(price * shares / MILLION) * MILLION,
    }
    return {name: value + 0.0 for name, value in made.items()}  # no -0.0


def valuation(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return one row per listed symbol and session."""
    n_sessions, n_symbols = market.factor.shape
    documents = corporate.statements(market, calendar)
    # A correction counts from the session after its own stamp's day.
    zone = calendar.zone.key
    day = (
        pl.col("available_at").dt.convert_time_zone(zone).dt.date().fill_null(pl.col("event_date"))
    )
    days = documents.select(day).to_series().to_numpy().astype("datetime64[D]")
    documents = documents.with_columns(
        pl.Series("known", np.searchsorted(market.sessions, days, side="right")),
        pl.Series("session", np.searchsorted(market.sessions, documents["event_date"].to_numpy())),
    ).sort("known", "event_date", "document", "revision")
    known_NDF = np.full((n_symbols, n_sessions, len(Figures._fields) + 1), UNKNOWN)
    number = {code: place for place, code in enumerate(market.roster.code)}
    for (code,), own in documents.group_by("symbol", maintain_order=True):
        known_DF = filed_at(own.iter_rows(named=True), own["known"].to_list(), n_sessions)
        known_NDF[number[str(code)]] = known_DF
    *figures, shares_then, day_DN = np.moveaxis(known_NDF, (2, 1), (0, 1))
    factor_DN = np.cumprod(market.factor, axis=0)
    # Where no document is known any row will do: `shares_then` is unknown there, too.
    row_DN = np.where(np.isnan(day_DN), 0, day_DN).astype(np.int64)
    shares_DN = shares_then * np.take_along_axis(factor_DN, row_DN, axis=0) / factor_DN
    made = valued(np.stack(figures), _last_known(market.bar["close"]), shares_DN)
    session_K, symbol_K = np.nonzero(market.listed())
    return pl.DataFrame(
        {
            "event_date": dates_of(market, session_K),
            "symbol": codes(market, symbol_K),
            **{
                n: pl.Series(value[session_K, symbol_K]).fill_nan(None) for n, value in made.items()
            },
        }
    ).sort("event_date", "symbol")


def _over(x: Array, base: Array) -> Array:
    """Return x / base; NaN where the base is not above zero."""
    return np.asarray(x / np.where(base > 0, base, np.nan))


def _last_known(x_DN: Array) -> Array:
    row_DN = np.maximum(last_row(~np.isnan(x_DN)), 0)
    return np.asarray(np.take_along_axis(x_DN, row_DN, axis=0))
