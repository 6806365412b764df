"""Everything that the simulator reads of the market, as dense arrays of sessions and symbols.

Shape letters: D sessions, N symbols.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from alpha_assets.arrays.rates import UNKNOWN_RATE, interest, paid_rate
from alpha_assets.arrays.types import Array, Dates, Index, Mask
from alpha_assets.backtest.corporate_actions import (
    Exits,
    cash_rates,
    dividends,
    either,
    exits,
    loans,
    stops,
)
from alpha_assets.backtest.costs import SpreadModel
from alpha_assets.backtest.prices import Basis, Prices, Trailing
from alpha_assets.calendar import Calendar
from alpha_assets.errors import RangeError


@dataclass(frozen=True, eq=False)
class Marks:
    """One market over the sessions of a backtest.

    Attributes:
        sessions: [D].
        symbols: [N], sorted.
        open: [D, N] price of the opening auction; NaN without a bar.
        close: [D, N] last price; NaN without a bar.
        mark: [D, N] the close, else the last one restated for splits; NaN before the first bar.
        share_ratio: [D, N] shares after the session's split for each share before.
        can_buy: [D, N] at the fill: there is a bar that traded, not at the upper limit.
        can_sell: [D, N] the same at the lower limit.
        has_volume: [D, N] the volume of the bar is known.
        known_close: [D, N] last close known at D, per share of before D's split.
        known_raw_close: the same as the vendor states it, where the basis is total_return.
        traded: money traded in the sessions before D, as known at D: its mean is the ADV.
        changes: daily log returns before D, as known at D.
        half_spread: [D, N] a fraction of the price, as known at D; NaN where only the cost's
            own holds.
        fee_bps_annual: [D, N] quoted borrow fee as known at D; NaN without one.
        lendable: [D, N] shares that can be short in all, as lenders quoted by D, counted after
            D's split; NaN without a quote.
        dividend: [D, N] money per share, after D's split, to holders of D-1's close.
        exits: who leaves, as listings say or because bars have stopped, by the place of the
            session.
        cash_rate_annual: [D] fraction a year; NaN where it is not known.
        has_rates: whether there is a feed of cash rates.
        nights: [D] calendar nights to the next session.
    """

    sessions: Dates
    symbols: tuple[str, ...]
    open: Array
    close: Array
    mark: Array
    share_ratio: Array
    can_buy: Mask
    can_sell: Mask
    has_volume: Mask
    known_close: Array
    known_raw_close: Array
    traded: Trailing
    changes: Trailing
    half_spread: Array
    fee_bps_annual: Array
    lendable: Array
    dividend: Array
    exits: Mapping[int, Exits]
    cash_rate_annual: Array
    has_rates: bool
    nights: Index

    @cached_property
    def has_lendable(self) -> bool:
        """Whether lenders quote a number of shares for any name at all."""
        return not bool(np.isnan(self.lendable).all())

    @cached_property
    def has_fees(self) -> bool:
        """Whether lenders quote a fee for any name at all."""
        return not bool(np.isnan(self.fee_bps_annual).all())

    @cached_property
    def has_split_D(self) -> Mask:
        """[D] whether shares of any name are split."""
        return np.asarray((self.share_ratio != 1.0).any(axis=1))

    @cached_property
    def has_dividend_D(self) -> Mask:
        """[D] whether any name pays a dividend."""
        return np.asarray((self.dividend != 0.0).any(axis=1))

    @cached_property
    def cash_rate_paid(self) -> Array:
        """[D] what cash is paid, a fraction a year; `UNKNOWN_RATE` where it is not known."""
        return paid_rate(self.cash_rate_annual, where_unknown=UNKNOWN_RATE)

    @cached_property
    def cash_return(self) -> Array:
        """[D] what cash earns from each session to the next, a fraction."""
        return interest(self.cash_rate_paid, self.nights)


def marks_of(
    raw: Mapping[str, pl.DataFrame],
    symbols: tuple[str, ...],
    calendar: Calendar,
    first: date,
    last: date,
    *,
    basis: Basis,
    fill: Literal["open", "close"] = "open",
    spread: SpreadModel = "fixed",
    max_stale: int,
) -> Marks:
    """Return the market over the sessions `first` to `last`, for the symbols that are traded.

    Args:
        raw: raw rows by feed, revisions and clock included; `daily_bars` at least.
        symbols: sorted.
        calendar: of the market.
        first: first session of the books.
        last: last session.
        basis: `price`: as traded, splits in shares, dividends in cash. `total_return`: prices
            chained by close / previous close / factor from each symbol's first stored close,
            share ratio 1, dividends 0.
        fill: the auction whose locked limits count.
        spread: whether half-spreads are estimated from ranges.
        max_stale: sessions without a bar after which what is held of a symbol leaves.

    Raises:
        RangeError: no session lies between the dates.
    """
    sessions = calendar.between(first, last)
    if not len(sessions):
        raise RangeError(f"no session of {calendar.exchange} lies between {first} and {last}")
    prices = Prices.of(raw["daily_bars"], symbols, calendar, sessions[0], sessions[-1], basis)
    books = slice(prices.shape[0] - len(sessions), None)
    paid = None if basis == "total_return" else raw.get("dividends")
    changes_DN, known_DN = prices.changes(), prices.known_close()[books]
    rates = raw.get("rates")
    lent = loans(raw.get("borrow"), symbols, sessions, calendar)
    unknown_DN = np.broadcast_to(np.nan, (len(sessions), len(symbols)))
    return Marks(
        sessions=sessions,
        symbols=symbols,
        open=prices.open[books],
        close=prices.close[books],
        mark=prices.mark[books],
        share_ratio=prices.share_ratio[books],
        can_buy=prices.fillable(fill, "buy")[books],
        can_sell=prices.fillable(fill, "sell")[books],
        has_volume=prices.has_volume()[books],
        known_close=known_DN,
        known_raw_close=prices.known_raw_close()[books] if basis == "total_return" else known_DN,
        traded=Trailing.of(prices.traded(), books.start),
        changes=Trailing.of(changes_DN, books.start, prices.later_changes(changes_DN)),
        half_spread=prices.half_spread()[books] if spread == "corwin_schultz" else unknown_DN,
        fee_bps_annual=lent.fee_bps_annual,
        lendable=prices.as_of_session(lent.available, lent.quoted),
        dividend=dividends(paid, symbols, sessions, calendar),
        exits=either(
            exits(raw.get("listings"), symbols, sessions, calendar),
            stops(prices.close, books.start, max_stale),
        ),
        cash_rate_annual=cash_rates(rates, sessions, calendar),
        has_rates=rates is not None and bool(rates.height),
        nights=calendar.nights()[calendar.index_of(sessions)],
    )
