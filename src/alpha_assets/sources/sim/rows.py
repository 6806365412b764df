"""The simulated market as raw rows: what each feed delivers, revisions included.

`available_at` is left null where the feed's own publication rule holds.
Shape letters: D sessions, N symbols, K rows.
"""

from collections.abc import Callable
from datetime import time

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Dates, Index
from alpha_assets.calendar import Calendar
from alpha_assets.sources.sim import draws, tokyo
from alpha_assets.sources.sim.market import BAR_COLUMNS, SimMarket
from alpha_assets.sources.sim.roster import SEGMENTS_AFTER, SEGMENTS_BEFORE
from alpha_assets.sources.sim.side import SIDE_ROWS
from alpha_assets.sources.sim.side.common import codes

CORRECTION_TIME = time(16, 30)
BENCHMARK = "SIM EW"
BENCHMARK_BASE = 1_000.0
# Cash rate by year; the last one stays.
CASH_RATES = {2020: 0.001, 2022: 0.002, 2024: 0.003}
CALENDAR_PUBLISHED = (3, 31)  # month and day of the year before
HOLIDAY_TRADING_FROM = np.datetime64("2022-09-23", "D")
INSTANT = pl.Datetime("us", "UTC")


def daily_bars(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return every bar as first delivered, and the corrections that came by the last session."""
    order_N = _by_code(market)
    has_bar_DN = ~np.isnan(market.bar["close"][:, order_N])
    session_K, place_K = np.nonzero(has_bar_DN)
    symbol_K = order_N[place_K]
    values = {name: market.bar[name][session_K, symbol_K] for name in BAR_COLUMNS}
    wrong = market.corrections
    # Where in the K rows each wrong bar stands: rows are in the order (session, code).
    rank_N = np.empty_like(order_N)
    rank_N[order_N] = np.arange(len(order_N))
    row_DN = np.cumsum(has_bar_DN.ravel()).reshape(has_bar_DN.shape) - 1
    wrong_K = row_DN[wrong.session, rank_N[wrong.symbol]]
    values["close"][wrong_K] = wrong.wrong_close
    values["volume"][wrong_K] = wrong.wrong_volume
    values["turnover_value"][wrong_K] = wrong.wrong_turnover_value

    published = wrong.session + wrong.lag < len(market.sessions)
    late_session_K, late_symbol_K = wrong.session[published], wrong.symbol[published]
    stamp_K = calendar.instant(
        market.sessions[late_session_K + wrong.lag[published]], CORRECTION_TIME
    )
    late_values = {name: market.bar[name][late_session_K, late_symbol_K] for name in BAR_COLUMNS}
    first = _bar_frame(market, session_K, symbol_K, values, np.full(len(session_K), "NaT"), 0)
    late = _bar_frame(market, late_session_K, late_symbol_K, late_values, stamp_K, 1)
    return pl.concat([first, late]).sort("event_date", "symbol", "revision")


def listings(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return when each symbol was listed, changed its segment, and left."""
    roster, sessions = market.roster, market.sessions
    change = np.datetime64(tokyo.SEGMENT_CHANGE, "D")
    known_N = roster.start < len(sessions)
    start_N = np.full(len(roster), np.datetime64("NaT"), dtype="datetime64[D]")
    start_N[known_N] = sessions[roster.start[known_N]]
    exits_N = known_N & (roster.end < len(sessions))
    end_N = np.full(len(roster), np.datetime64("NaT"), dtype="datetime64[D]")
    end_N[exits_N] = sessions[roster.end[exits_N]]

    starts = np.flatnonzero(known_N)
    ends = np.flatnonzero(exits_N)
    switched_N = known_N & (start_N < change) & (~exits_N | (end_N > change))
    switches = np.flatnonzero(switched_N) if sessions[-1] >= change else ends[:0]
    symbol_K = np.concatenate([starts, switches, ends])
    leaves_K = np.arange(len(symbol_K)) >= len(starts) + len(switches)
    event_K = np.concatenate([start_N[starts], np.full(len(switches), change), end_N[ends]]).astype(
        "datetime64[D]"
    )
    segment_K = np.where(
        event_K < change,
        np.array(SEGMENTS_BEFORE)[roster.segment[symbol_K]],
        np.array(SEGMENTS_AFTER)[roster.segment[symbol_K]],
    )
    code = np.array(roster.code)[symbol_K]
    sector = np.array([s.name for s in tokyo.SECTORS])[roster.sector[symbol_K]]
    word_K = np.where(roster.acquired[symbol_K], "acquired", "delisted")
    return pl.DataFrame(
        {
            "event_date": event_K,
            "symbol": code,
            "ticker": [text[:4] for text in code.tolist()],
            "name": [f"Sim {s} {c[:4]}" for s, c in zip(sector, code, strict=True)],
            "sector": sector,
            "market_segment": segment_K,
            "shortable": roster.shortable[symbol_K],
            "start": start_N[symbol_K],
            "end": np.where(leaves_K, end_N[symbol_K], np.datetime64("NaT")),
            "exit": np.where(leaves_K, word_K, "active"),
            "exit_return": pl.Series(roster.exit_return[symbol_K]).set(pl.Series(~leaves_K), None),
            "sector_is_static": np.zeros(len(symbol_K), dtype=bool),
        }
    ).sort("event_date", "symbol")


def trading_calendar(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return every day of the market's years, and of the next once it has been announced.

    Division 0 closed, 1 session, 3 closed for shares while derivatives trade.  The halt of
    2020-10-01 was announced as a session.
    """
    first = market.sessions[0].astype("datetime64[Y]")
    last = market.sessions[-1].astype("datetime64[Y]")
    month, day = CALENDAR_PUBLISHED
    announced = np.datetime64(f"{last}-{month:02d}-{day:02d}", "D")
    covered = calendar.sessions[-1] >= np.datetime64(f"{last + 1}-12-25", "D")
    years = 2 if market.sessions[-1] >= announced and covered else 1
    stop = np.datetime64(last + years, "D")
    day_K = np.arange(np.datetime64(first, "D"), stop)
    trades_K = calendar.is_session(day_K) | (day_K == np.datetime64(tokyo.FULL_DAY_HALT, "D"))
    text_K = np.datetime_as_string(day_K)
    new_year_K = np.array([text[5:] in ("12-31", "01-01", "01-02", "01-03") for text in text_K])
    weekday_K = np.is_busday(day_K)
    derivatives_K = ~trades_K & weekday_K & ~new_year_K & (day_K >= HOLIDAY_TRADING_FROM)
    return pl.DataFrame(
        {
            "event_date": day_K,
            "division": np.where(trades_K, "1", np.where(derivatives_K, "3", "0")),
        }
    )


def dividends(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return cash dividends on their ex-dates, JPY per raw share."""
    order_N = _by_code(market)
    session_K, place_K = np.nonzero(market.dividend[:, order_N])
    symbol_K = order_N[place_K]
    return pl.DataFrame(
        {
            "event_date": market.sessions[session_K],
            "symbol": codes(market, symbol_K),
            "amount": market.dividend[session_K, symbol_K],
        }
    )


def borrow(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the lender's fee and stock of each loanable symbol, weekly and at its listing."""
    roster = market.roster
    rates = draws.stream(market.spec.seed, draws.Purpose.BORROW, 0)
    usual_N = np.where(rates.random(len(roster)) < 0.1, 600.0, 60.0)
    weekly_D = calendar.rebalances(market.sessions, "weekly")
    number_D1 = np.arange(len(market.sessions))[:, None]
    lent_DN = (weekly_D[:, None] | (number_D1 == roster.start)) & market.listed()
    lent_DN &= roster.shortable
    shares_DN = roster.shares / np.cumprod(market.factor, axis=0)
    order_N = _by_code(market)
    session_K, place_K = np.nonzero(lent_DN[:, order_N])
    symbol_K = order_N[place_K]
    days = market.sessions.astype(np.int64)
    mood = {
        number: draws.stream(
            market.spec.seed, draws.Purpose.BORROW, int(days[number])
        ).standard_normal(len(roster))
        for number in np.unique(session_K).tolist()
    }
    mood_K = np.array([mood[d][i] for d, i in zip(session_K.tolist(), symbol_K, strict=True)])
    return pl.DataFrame(
        {
            "event_date": market.sessions[session_K],
            "symbol": codes(market, symbol_K),
            "fee_bps_annual": np.round(usual_N[symbol_K] * np.exp(0.3 * mood_K), 1),
            "available_shares": np.floor(0.02 * shares_DN[session_K, symbol_K] / tokyo.LOT)
            * tokyo.LOT,
        }
    )


def rates(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the cash rate of each session, a fraction a year."""
    year_D = market.sessions.astype("datetime64[Y]").astype(np.int64) + 1970
    step_D = np.searchsorted(list(CASH_RATES), year_D, side="right") - 1
    rate_D = np.array(list(CASH_RATES.values()))[step_D.clip(0)]
    return pl.DataFrame({"event_date": market.sessions, "cash_rate_annual": rate_D})


def benchmark(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the equal-weighted index of all bars, dividends not reinvested."""
    level_D = market.index_level(BENCHMARK_BASE)
    return pl.DataFrame(
        {
            "event_date": market.sessions,
            "name": np.full(len(level_D), BENCHMARK),
            "close": level_D,
        }
    )


ROWS: dict[str, Callable[[SimMarket, Calendar], pl.DataFrame]] = {
    "daily_bars": daily_bars,
    "listings": listings,
    "trading_calendar": trading_calendar,
    "dividends": dividends,
    "borrow": borrow,
    "rates": rates,
    "benchmark": benchmark,
    **SIDE_ROWS,
}


def _bar_frame(
    market: SimMarket,
    session_K: Index,
    symbol_K: Index,
    values: dict[str, Array],
    stamp_K: Dates,
    revision: int,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "event_date": market.sessions[session_K],
            "symbol": codes(market, symbol_K),
            **values,
            "adjustment_factor": market.factor[session_K, symbol_K],
            "share_factor": pl.Series([None], dtype=pl.Float64).new_from_index(0, len(session_K)),
            "upper_limit": market.upper_limit[session_K, symbol_K],
            "lower_limit": market.lower_limit[session_K, symbol_K],
            "available_at": _instants(stamp_K),
            "revision": np.full(len(session_K), revision, dtype=np.int16),
        }
    )


def _by_code(market: SimMarket) -> Index:
    """Return the symbols' numbers in the order of their codes, the order of all rows."""
    return np.argsort(np.array(market.roster.code), kind="stable")


def _instants(stamp_K: Dates) -> pl.Series:
    return pl.Series(stamp_K.astype("datetime64[us]")).dt.replace_time_zone("UTC").cast(INSTANT)
