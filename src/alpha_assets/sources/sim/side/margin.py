"""Margin balances in both regimes, and issues under daily watch, revealing one hidden state.

    ln(long / short) = 1.2 - .6 · margin + noise of .05

Balances are of the last session of a week, and of every session from 2026-09-25 on.  Weeks of
one or two sessions have none.
"""

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Index
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import instants_of
from alpha_assets.feeds.margin import DAILY_FROM, MARGIN_ALERTS, REASONS
from alpha_assets.sources.sim import draws, tokyo
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.side.common import (
    codes,
    dates_of,
    hidden,
    out_by_now,
    shares_outstanding,
    week_ends,
    with_corrections,
)

USUAL, PER_STATE, NOISE = 1.2, -0.6, 0.05
LENT = 0.01  # of shares outstanding, geometric mean of long and short
STANDARD = 0.7  # of balances, on the exchange's terms
ENTERS, LEAVES = 0.001, 0.08  # chance of a session to come under watch, and to leave it
CORRECTED = 0.01  # of balances, and of alerts
STAGES = np.array(["001", "002", "003", "004"])


def balances(market: SimMarket, session_K: Index, symbol_K: Index) -> tuple[Array, Array]:
    """Return long and short balances in shares, whole lots."""
    state_DN = hidden(market, "margin")
    noise = {
        number: draws.stream(
            market.spec.seed, draws.Purpose.MARGIN, int(market.sessions[number].astype(np.int64))
        ).standard_normal(len(market.roster))
        for number in np.unique(session_K).tolist()
    }
    noise_K = np.array([noise[d][i] for d, i in zip(session_K.tolist(), symbol_K, strict=True)])
    gap_K = USUAL + PER_STATE * state_DN[session_K, symbol_K] + NOISE * noise_K
    middle_K = LENT * shares_outstanding(market)[session_K, symbol_K]
    long_K, short_K = (
        np.maximum(np.rint(middle_K * np.exp(sign * gap_K / 2) / tokyo.LOT), 0) * tokyo.LOT
        for sign in (1, -1)
    )
    return long_K, short_K


def margin(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return balances of all listed symbols, weekly and then daily."""
    daily = np.flatnonzero(market.sessions >= np.datetime64(DAILY_FROM, "D"))
    weekly = week_ends(market, calendar)
    number = np.union1d(weekly[market.sessions[weekly] < np.datetime64(DAILY_FROM, "D")], daily)
    place, symbol = np.nonzero(market.listed()[number])
    session = number[place]
    long, short = balances(market, session, symbol)
    days = dates_of(market, session)
    is_daily = days >= np.datetime64(DAILY_FROM, "D")
    close = np.where(is_daily, market.bar["close"][session, symbol], np.nan)
    long_standard, short_standard = (
        np.rint(STANDARD * x / tokyo.LOT) * tokyo.LOT for x in (long, short)
    )
    rows = pl.DataFrame(
        {
            "event_date": days,
            "symbol": codes(market, symbol),
            "published": pl.Series(calendar.after(days, 1)).set(pl.Series(~is_daily), None),
            "issue_type": np.where(market.roster.shortable[symbol], "2", "1"),
            "short": short,
            "long": long,
            "short_negotiable": short - short_standard,
            "long_negotiable": long - long_standard,
            "short_standard": short_standard,
            "long_standard": long_standard,
            "short_value": pl.Series(np.rint(short * close)).fill_nan(None),
            "long_value": pl.Series(np.rint(long * close)).fill_nan(None),
        }
    ).sort("event_date", "symbol")
    more = 10 * tokyo.LOT  # a lender's balance counted twice
    wrong = [pl.col("long") + more, pl.col("long_negotiable") + more]
    return with_corrections(rows, "margin", wrong, CORRECTED, market, calendar)


def margin_alerts(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the balances of issues under watch, and corrections of some of them."""
    n = len(market.roster)
    watched_DN = np.zeros((len(market.sessions), n), dtype=bool)
    wrong_DN, kind_DN = watched_DN.copy(), np.zeros((len(market.sessions), n), dtype=np.int64)
    watched_N, kind_N, listed = (
        np.zeros(n, dtype=bool),
        np.zeros(n, dtype=np.int64),
        market.listed(),
    )
    for number, day in enumerate(market.sessions.astype(np.int64).tolist()):
        u = draws.stream(market.spec.seed, draws.Purpose.ALERTS, day).random((3, n))
        comes_N = ~watched_N & (u[0] < ENTERS)
        kind_N = np.where(comes_N, np.floor(u[1] * len(STAGES)).astype(np.int64), kind_N)
        watched_N = (comes_N | (watched_N & (u[0] >= LEAVES))) & listed[number]
        watched_DN[number], kind_DN[number] = watched_N, kind_N
        wrong_DN[number] = watched_N & (u[2] < CORRECTED)
    session, symbol = np.nonzero(watched_DN)
    long, short = balances(market, session, symbol)
    before = np.maximum(session - 1, 0)
    long_before, short_before = balances(market, before, symbol)
    was = watched_DN[before, symbol] & (session > 0)
    outstanding = shares_outstanding(market)[session, symbol]
    days = dates_of(market, session)
    kind = kind_DN[session, symbol]
    first = pl.DataFrame(
        {
            "event_date": days,
            "symbol": codes(market, symbol),
            "published": calendar.after(days, 1),
            **{
                reason: (place == 1) | ((kind >= 2) & (place == 0)) | ((kind == 0) & (place == 4))
                for place, reason in enumerate(REASONS)
            },
            "short": short,
            "short_change": pl.Series(short - short_before).set(pl.Series(~was), None),
            "short_ratio": np.round(100 * short / outstanding, 1),
            "long": long,
            "long_change": pl.Series(long - long_before).set(pl.Series(~was), None),
            "long_ratio": np.round(100 * long / outstanding, 1),
            "short_to_long": pl.Series(np.round(100 * short / np.maximum(long, 1), 1)).set(
                pl.Series(long == 0), None
            ),
            "stage": STAGES[kind],
        },
        strict=False,
    )
    return _with_corrections(first, wrong_DN[session, symbol], market, calendar)


def _with_corrections(
    right: pl.DataFrame, wrong_K: np.ndarray, market: SimMarket, calendar: Calendar
) -> pl.DataFrame:
    """Return the rows, some of them first published with a wrong balance and corrected later."""
    is_wrong = pl.Series(wrong_K)
    first = right.with_columns(
        pl.when(is_wrong).then(pl.col("long") + tokyo.LOT).otherwise(pl.col("long")).alias("long"),
        pl.lit(0, pl.Int16).alias("revision"),
    )
    days = calendar.after(right["published"].to_numpy(), 1)
    late = right.with_columns(
        pl.Series("published", days), pl.lit(1, pl.Int16).alias("revision")
    ).filter(is_wrong)
    stamp = instants_of(calendar, late["published"].to_numpy(), MARGIN_ALERTS.publication.at)
    both = pl.concat(
        [
            first.with_columns(pl.lit(None, stamp.dtype).alias("available_at")),
            late.with_columns(stamp),
        ]
    ).sort("event_date", "symbol", "revision")
    return out_by_now(both, "margin_alerts", market, calendar)
