"""Small made-up markets in the shape of raw rows, shared by the tests of this folder."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar, CalendarSpec, as_date

TOKYO = Calendar.load(
    CalendarSpec(
        exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
    )
)
FIRST = date(2023, 6, 1)  # a Thursday
SESSIONS = tuple(as_date(day) for day in TOKYO.between(FIRST, date(2023, 12, 29)))
INSTANT = pl.Datetime("us", "UTC")


def day(n: int) -> date:
    """Return the session n after 2023-06-01."""
    return SESSIONS[n]


def evening(n: int, at: time = time(16, 30)) -> datetime:
    """Return a local wall time on session n."""
    return datetime.combine(day(n), at, tzinfo=TOKYO.zone)


def bar(symbol: str, n: int, close: float | None, **changes: Any) -> dict[str, Any]:
    """Return the bar of session n, readable at 16:30 unless `available_at` says otherwise."""
    row = {
        "event_date": day(n),
        "symbol": symbol,
        "open": close,
        "high": close,
        "low": close,
        "close": close,
        "volume": None if close is None else 1_000.0,
        "turnover_value": None,
        "adjustment_factor": 1.0,
        "share_factor": None,
        "upper_limit": None,
        "lower_limit": None,
        "available_at": evening(n),
        "revision": 0,
    }
    assert set(changes) <= set(row)
    return row | changes


BAR_SCHEMA: dict[str, Any] = {
    "event_date": pl.Date,
    "symbol": pl.String,
    **dict.fromkeys(("open", "high", "low", "close", "volume", "turnover_value"), pl.Float64),
    "adjustment_factor": pl.Float64,
    "share_factor": pl.Float64,
    "upper_limit": pl.Boolean,
    "lower_limit": pl.Boolean,
    "available_at": INSTANT,
    "revision": pl.Int16,
}


def bars(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return bars as raw rows."""
    return _utc(rows, BAR_SCHEMA)


def listing(symbol: str, n: int, exit: str = "active", **changes: Any) -> dict[str, Any]:
    """Return a listing event of session n: a start at 00:00, an exit at 23:00."""
    at = time(0) if exit == "active" else time(23)
    row = {
        "event_date": day(n),
        "symbol": symbol,
        "ticker": symbol.lower(),
        "sector": "Tools",
        "market_segment": "Prime",
        "shortable": True,
        "end": None if exit == "active" else day(n),
        "exit": exit,
        "available_at": evening(n, at),
        "revision": 0,
    }
    assert set(changes) <= set(row)
    return row | changes


LISTING_SCHEMA: dict[str, Any] = {
    "event_date": pl.Date,
    **dict.fromkeys(("symbol", "ticker", "sector", "market_segment"), pl.String),
    "shortable": pl.Boolean,
    "end": pl.Date,
    "exit": pl.String,
    "available_at": INSTANT,
    "revision": pl.Int16,
}


def listings(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return listing events as raw rows."""
    return _utc(rows, LISTING_SCHEMA)


def membership(rows: Sequence[tuple[str, int, bool]]) -> pl.DataFrame:
    """Return membership events (symbol, session number, member), readable at 00:00."""
    schema = {
        "event_date": pl.Date,
        "symbol": pl.String,
        "member": pl.Boolean,
        "available_at": INSTANT,
        "revision": pl.Int16,
    }
    return _utc(
        [
            {
                "event_date": day(n),
                "symbol": symbol,
                "member": member,
                "available_at": evening(n, time(0)),
                "revision": 0,
            }
            for symbol, n, member in rows
        ],
        schema,
    )


def random_market(seed: int, n_symbols: int = 5, n_sessions: int = 60) -> dict[str, pl.DataFrame]:
    """Return a market in which all that can happen happens often.

    Halts (some longer than 20 sessions), late bars, corrections on the same evening and
    later, splits, rows without a trade, exits, second lives, sector changes and members.
    """
    rng = np.random.default_rng(seed)
    rows, events, spells = [], [], []
    for i in range(n_symbols):
        symbol = f"S{i}"
        start = int(rng.integers(0, 15))
        gap = int(rng.integers(start, n_sessions))
        length = int(rng.choice([0, 5, 19, 20, 21, 22, 30]))
        for n in range(start, n_sessions):
            if gap <= n < gap + length or rng.random() < 0.1:
                continue
            price = float(np.round(100 * np.exp(0.1 * rng.standard_normal()), 1))
            close = None if rng.random() < 0.05 else price
            factor = float(rng.choice([1.0, 1.0, 1.0, 1 / 3, 3.1, 0.97]))
            late = rng.random() < 0.15
            stamp = evening(n) + timedelta(days=int(rng.integers(1, 12)) if late else 0)
            first = bar(symbol, n, close, adjustment_factor=factor, available_at=stamp)
            rows.append(first)
            for revision in range(1, int(rng.integers(1, 4))):
                hours = float(rng.choice([1.0, 2.0, 30.0, 200.0]))
                stamp += timedelta(hours=hours)
                changed = {"close": price + revision, "adjustment_factor": factor * 1.01}
                rows.append(first | changed | {"available_at": stamp, "revision": revision})
        events.append(listing(symbol, start))
        if rng.random() < 0.5:
            events.append(listing(symbol, start + 5, sector="Toys"))
        if rng.random() < 0.6:
            end = int(rng.integers(start + 6, n_sessions))
            events.append(listing(symbol, end, "delisted"))
            if rng.random() < 0.5 and end + 3 < n_sessions:
                events.append(listing(symbol, end + 3))
        spells += [(symbol, start, True), (symbol, start + int(rng.integers(1, 40)), False)]
    order = rng.permutation(len(rows))
    return {
        "daily_bars": bars([rows[k] for k in order]),
        "listings": listings(events),
        "membership": membership(spells),
    }


def _utc(rows: Sequence[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    stamped = [row | {"available_at": row["available_at"].astimezone(UTC)} for row in rows]
    return pl.DataFrame(stamped, schema=schema)
