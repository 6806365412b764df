"""Small made-up markets in the shape of raw rows, and targets to hold on them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.backtest import CostsSpec, PortfolioSpec, QuantileSpec
from alpha_assets.backtest.books import Books
from alpha_assets.backtest.rules import AimPortfolioSpec, CostAwareSpec, OptimisedSpec
from alpha_assets.backtest.rules.dense import Weighing, walk_over
from alpha_assets.backtest.simulator import backtest
from alpha_assets.calendar import Calendar, CalendarSpec, as_date

TOKYO = Calendar.load(
    CalendarSpec(
        exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
    )
)
FIRST = date(2023, 6, 5)  # a Monday
SESSIONS = tuple(as_date(day) for day in TOKYO.between(FIRST, date(2024, 3, 29)))
INSTANT = pl.Datetime("us", "UTC")
FREE = CostsSpec(
    commission_bps=0.0, half_spread_bps=0.0, impact_coefficient=0.0, borrow_fee_bps_annual=0.0
)
PLAIN = QuantileSpec(horizon=1, capital=1_000.0, max_participation=None)

# For random markets.
FRICTIONS = CostsSpec(
    commission_bps=2.0, half_spread_bps=7.0, impact_coefficient=0.7, borrow_fee_bps_annual=300.0
)
SPECS: dict[str, PortfolioSpec] = {
    "fractions at the open": QuantileSpec(horizon=1, capital=10_000.0, max_participation=None),
    "at the close": QuantileSpec(horizon=1, capital=10_000.0, fill="close", max_participation=None),
    "capped": QuantileSpec(horizon=1, capital=500_000.0, max_participation=0.1),
    "in lots": QuantileSpec(horizon=1, capital=300_000.0, lot=10, max_participation=None),
    "in capped lots": QuantileSpec(
        horizon=1, capital=900_000.0, lot=10, max_participation=0.2, fill="close"
    ),
    "a share of the way": AimPortfolioSpec(
        rule="aim_portfolio", horizon=1, drift_bps=80.0, min_side=1, capital=300_000.0
    ),
    "by the solver": CostAwareSpec(
        rule="cost_aware",
        horizon=1,
        drift_bps=80.0,
        min_side=1,
        max_weight=0.4,
        capital=300_000.0,
        lot=10,
        fill="close",
    ),
}
LAST = 69

Row = dict[str, Any]
Raw = dict[str, pl.DataFrame]

BAR = {
    "event_date": pl.Date,
    "symbol": pl.String,
    **dict.fromkeys(("open", "high", "low", "close", "volume", "turnover_value"), pl.Float64),
    **dict.fromkeys(("adjustment_factor", "share_factor", "level"), pl.Float64),
    **dict.fromkeys(("upper_limit", "lower_limit"), pl.Boolean),
    "available_at": INSTANT,
    "revision": pl.Int16,
}
LISTING = {
    "event_date": pl.Date,
    "symbol": pl.String,
    "end": pl.Date,
    "exit": pl.String,
    "exit_return": pl.Float64,
    "available_at": INSTANT,
    "revision": pl.Int16,
}
DIVIDEND = {
    "event_date": pl.Date,
    "symbol": pl.String,
    "amount": pl.Float64,
    "available_at": INSTANT,
    "revision": pl.Int16,
}
BORROW = {
    "event_date": pl.Date,
    "symbol": pl.String,
    "fee_bps_annual": pl.Float64,
    "available_shares": pl.Float64,
    "available_at": INSTANT,
    "revision": pl.Int16,
}
RATE = {
    "event_date": pl.Date,
    "cash_rate_annual": pl.Float64,
    "available_at": INSTANT,
    "revision": pl.Int16,
}
TARGET = {"session": pl.Date, "symbol": pl.String, "target_weight": pl.Float64}


def day(n: int) -> date:
    """Return the session n after Monday 2023-06-05."""
    return SESSIONS[n]


def at(n: int, hour: int, minute: int = 0) -> datetime:
    """Return a local wall time on session n."""
    return datetime.combine(day(n), time(hour, minute), tzinfo=TOKYO.zone)


def bar(symbol: str, n: int, close: float | None, **changes: Any) -> Row:
    """Return the bar of session n; open, high and low are the close unless said otherwise."""
    row = {
        "event_date": day(n),
        "symbol": symbol,
        **dict.fromkeys(("open", "high", "low", "close"), close),
        "volume": None if close is None else 1_000.0,
        "turnover_value": None,
        "adjustment_factor": 1.0,
        "share_factor": None,
        "level": None,
        "upper_limit": False,
        "lower_limit": False,
        "available_at": at(n, 16, 30),
        "revision": 0,
    }
    assert set(changes) <= set(row)
    return row | changes


def path(symbol: str, closes: Sequence[float | None], start: int = 0) -> list[Row]:
    """Return bars that open where they close; a session with None has no bar."""
    return [bar(symbol, start + k, close) for k, close in enumerate(closes) if close is not None]


def leaves(symbol: str, n: int, word: str = "delisted", exit_return: float | None = 0.0) -> Row:
    """Return the listing event of a name whose last bar is that of session n."""
    return {
        "event_date": day(n),
        "symbol": symbol,
        "end": None if word == "active" else day(n),
        "exit": word,
        "exit_return": exit_return,
        "available_at": at(n, 23),
        "revision": 0,
    }


def dividend(symbol: str, n: int, amount: float) -> Row:
    return {
        "event_date": day(n),
        "symbol": symbol,
        "amount": amount,
        "available_at": at(n, 0),
        "revision": 0,
    }


def fee(symbol: str, n: int, bps: float, available: float | None = None) -> Row:
    return {
        "event_date": day(n),
        "symbol": symbol,
        "fee_bps_annual": bps,
        "available_shares": available,
        "available_at": at(n, 18),
        "revision": 0,
    }


def rate(n: int, annual: float) -> Row:
    return {
        "event_date": day(n),
        "cash_rate_annual": annual,
        "available_at": at(n, 18),
        "revision": 0,
    }


SCHEMAS = {
    "daily_bars": BAR,
    "listings": LISTING,
    "dividends": DIVIDEND,
    "borrow": BORROW,
    "rates": RATE,
}


def raw(**feeds: Sequence[Row]) -> Raw:
    """Return rows as frames of raw rows."""
    return {
        name: pl.DataFrame(
            [row | {"available_at": row["available_at"].astimezone(UTC)} for row in rows],
            schema=SCHEMAS[name],
        )
        for name, rows in feeds.items()
    }


def hold(*decisions: tuple[int, Mapping[str, float]]) -> pl.DataFrame:
    """Return targets: from session n on these weights."""
    rows = [
        (day(n), symbol, weight) for n, weights in decisions for symbol, weight in weights.items()
    ]
    return pl.DataFrame(rows, schema=TARGET, orient="row")


def books(
    targets: pl.DataFrame,
    market: Raw,
    last: int,
    portfolio: PortfolioSpec = PLAIN,
    costs: CostsSpec = FREE,
    basis: str = "price",
    max_stale: int = MAX_STALE,
) -> Books:
    """Return the books from session 0 to session `last`."""
    return backtest(
        targets,
        market,
        TOKYO,
        first=day(0),
        last=day(last),
        portfolio=portfolio,
        costs=costs,
        basis=basis,  # type: ignore[arg-type]
        max_stale=max_stale,
    )


def of(frame: pl.DataFrame, n: int, symbol: str | None = None) -> Row:
    """Return the one row of a session (and symbol)."""
    rows = frame.filter(pl.col("session") == day(n))
    return (rows if symbol is None else rows.filter(pl.col("symbol") == symbol)).row(0, named=True)


def random_market(seed: int, n_symbols: int = 8, n_sessions: int = 70) -> Raw:
    """Return a market in which all that can happen happens often.

    Halts, rows without a trade (some with a split), volumes that are 0 or unknown, late bars,
    corrections on the same evening and later (of prices, forgotten splits, restated levels, bars
    withdrawn),
    splits and rights issues, locked limits, dividends, changing fees, nothing to borrow, rates
    with holes, exits with and without a loss, corrections of all of these.
    """
    rng, withdrawals = np.random.default_rng(seed), np.random.default_rng([seed, 2])
    rows: list[Row] = []
    others: dict[str, list[Row]] = {"listings": [], "dividends": [], "borrow": [], "rates": []}
    for i in range(n_symbols):
        symbol, level = f"S{i}", 100.0 * float(np.exp(rng.standard_normal()))
        start = int(rng.choice([0, 0, 0, 12, 30]))
        end = int(rng.choice([n_sessions, n_sessions, rng.integers(35, n_sessions)]))
        halt, length = int(rng.integers(start, n_sessions)), int(rng.choice([0, 3, 9, 25]))
        for n in range(start, end):
            if halt <= n < halt + length or rng.random() < 0.04:
                continue
            factor, shares = 1.0, None
            if rng.random() < 0.04:
                factor = float(rng.choice([0.5, 1 / 3, 7.0, 0.97]))
                shares = 1.0 if factor == 0.97 else None
            level *= factor * float(np.exp(0.03 * rng.standard_normal()))
            open_ = level * float(np.exp(0.01 * rng.standard_normal()))
            high, low = max(open_, level) * 1.004, min(open_, level) * 0.996
            state = rng.choice(["none", "up", "down", "open up"], p=[0.85, 0.05, 0.05, 0.05])
            if state in ("up", "down"):
                open_ = high = low = level
            if state == "open up":
                high = open_ = max(open_, level)
            has_trade = rng.random() > 0.03
            prices = dict.fromkeys(("open", "high", "low", "close", "volume"))
            if has_trade:
                volume = rng.choice([float(rng.integers(1, 5_000)), 0.0, None], p=[0.9, 0.05, 0.05])
                prices = {"open": open_, "high": high, "low": low, "close": level}
                prices |= {"volume": volume}
            late = rng.random() < 0.06
            first = bar(symbol, n, None) | {
                **prices,
                "turnover_value": level * 900.0 if has_trade and rng.random() < 0.5 else None,
                "adjustment_factor": factor,
                "share_factor": shares,
                "upper_limit": state in ("up", "open up"),
                "lower_limit": state == "down",
                "available_at": at(n, 16, 30) + timedelta(days=int(rng.integers(1, 9)) * late),
            }
            rows.append(first)
            if rng.random() < 0.1:
                later = timedelta(hours=float(rng.choice([1.0, 50.0])))
                changed = {"available_at": first["available_at"] + later, "revision": 1}
                if has_trade:
                    changed |= {"high": high * 1.1, "close": level * 1.05}
                if factor != 1.0 and rng.random() < 0.5:
                    rows[-1] = first | {"adjustment_factor": None, "share_factor": None}
                if has_trade and rng.random() < 0.3:  # all prices divided by two, as vendors do
                    changed |= {key: prices[key] and prices[key] / 2 for key in prices}
                    changed |= {"level": 0.5, "volume": volume and volume * 2}
                if has_trade and withdrawals.random() < 0.15:
                    changed |= dict.fromkeys(("open", "high", "low", "close", "volume"))
                rows.append(first | changed)
            if rng.random() < 0.05:
                others["dividends"].append(dividend(symbol, n, level * 0.01))
                if rng.random() < 0.3:
                    corrected = {"available_at": at(n + 3, 9), "revision": 1}
                    others["dividends"].append(dividend(symbol, n, level * 0.02) | corrected)
            if rng.random() < 0.1:
                shares = rng.choice([None, 1_000.0, 0.0], p=[0.4, 0.4, 0.2])
                others["borrow"].append(fee(symbol, n, float(rng.integers(10, 900)), shares))
        if end < n_sessions and rng.random() < 0.8:
            loss = float(rng.choice([0.0, -0.5, 0.3]))
            others["listings"].append(leaves(symbol, end - 1, exit_return=loss))
            if rng.random() < 0.5:
                corrected = {"available_at": at(end + 3, 23), "revision": 1}
                exit_row = leaves(symbol, end - 1, "acquired", loss + 0.1)
                others["listings"].append(exit_row | corrected)
    others["rates"] = [rate(n, 0.01 + 0.001 * n) for n in (3, 7, 14, 44, 51)]
    others["rates"].append(rate(7, 0.05) | {"available_at": at(30, 18), "revision": 1})
    others["rates"].append(rate(46, 0.0) | {"cash_rate_annual": None})
    others["rates"].append(rate(6, 0.5) | {"available_at": at(20, 18)})
    order = rng.permutation(len(rows))
    return raw(daily_bars=[rows[k] for k in order], **others)


def random_targets(seed: int, n_symbols: int = 8, n_sessions: int = 70) -> pl.DataFrame:
    """Return weights, long and short, drawn anew about once a week; some names have no row."""
    rng = np.random.default_rng([seed, 1])
    decisions = []
    for n in sorted(rng.choice(n_sessions - 1, n_sessions // 6, replace=False).tolist()):
        names = [f"S{i}" for i in range(n_symbols) if rng.random() < 0.8]
        weights = rng.standard_normal(len(names))
        weights[rng.random(len(names)) < 0.2] = 0.0
        scale = 1.2 / max(float(np.abs(weights).sum()), 1.0)
        decisions.append((n, dict(zip(names, (weights * scale).tolist(), strict=True))))
    return hold(*decisions)


def targets_for(
    seed: int,
    spec: PortfolioSpec,
    costs: CostsSpec = FRICTIONS,
    n_symbols: int = 8,
    n_sessions: int = 70,
) -> pl.DataFrame:
    """Return the targets to trade by a rule: what it decides where it weighs costs, else any."""
    if isinstance(spec, OptimisedSpec):
        return weighed_targets(seed, spec, costs, n_symbols, n_sessions)
    return random_targets(seed, n_symbols, n_sessions)


@cache
def weighed_targets(
    seed: int, spec: OptimisedSpec, costs: CostsSpec, n_symbols: int, n_sessions: int
) -> pl.DataFrame:
    """Return what a rule with declared drift decides of random scores, about once a week.

    Returns have a history before the first session, so that there is a covariance from the first
    rebalance on.
    """
    rng, history = np.random.default_rng([seed, 3]), 80
    shape = (history + n_sessions, n_symbols)
    return_DN = 0.02 * rng.standard_normal(shape)
    score_DN = np.where(rng.random(shape) < 0.1, np.nan, rng.standard_normal(shape))
    weighing = Weighing(costs, return_DN, adv_DN=rng.lognormal(12.0, 1.0, shape))
    is_barred_DN, is_listed_DN = rng.random(shape) < 0.1, np.ones(shape, dtype=bool)
    due = history + np.sort(rng.choice(n_sessions - 1, n_sessions // 6, replace=False))
    weights = walk_over(
        score_DN, is_barred_DN, is_listed_DN, due.tolist(), spec, weighing=weighing
    ).weights
    assert any(weight_N.any() for weight_N in weights.values())
    names = [f"S{i}" for i in range(n_symbols)]
    return hold(
        *(
            (d - history, dict(zip(names, weight_N.tolist(), strict=True)))
            for d, weight_N in weights.items()
        )
    )
