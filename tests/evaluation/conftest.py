"""A small made-up market with a signal of known size, and books kept by hand."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

N_SESSIONS, N_SYMBOLS = 130, 60


def weekdays(n: int, first: date = date(2021, 1, 4)) -> list[date]:
    days = (first + timedelta(days=k) for k in range(2 * n))
    return [day for day in days if day.weekday() < 5][:n]


def long_form(x_DN: np.ndarray, horizon: int, value: str) -> pl.DataFrame:
    d, n = x_DN.shape
    return pl.DataFrame(
        {
            "session": np.repeat(np.array(weekdays(d), dtype="datetime64[D]"), n),
            "symbol": [f"s{k:03d}" for k in range(n)] * d,
            "horizon": np.full(d * n, horizon, dtype=np.int16),
            value: x_DN.ravel(),
        }
    )


@dataclass(frozen=True)
class World:
    score_DN: np.ndarray
    label_DN: np.ndarray
    predictions: pl.DataFrame
    labels: pl.DataFrame
    names: pl.DataFrame


@pytest.fixture(scope="session")
def world() -> World:
    """Horizon 1, independent sessions, correlation 0.2; labels also for horizon 5, unrelated."""
    rng = np.random.default_rng(0)
    score_DN = rng.standard_normal((N_SESSIONS, N_SYMBOLS))
    noise_DN = rng.standard_normal((N_SESSIONS, N_SYMBOLS))
    label_DN = 0.01 * (0.2 * score_DN + np.sqrt(1 - 0.04) * noise_DN)
    unrelated_DN = 0.02 * rng.standard_normal((N_SESSIONS, N_SYMBOLS))
    predictions = long_form(score_DN, 1, "score").with_columns(pl.col("score").cast(pl.Float32))
    labels = pl.concat([long_form(label_DN, 1, "label"), long_form(unrelated_DN, 5, "label")])
    number = pl.col("symbol").str.slice(1).cast(pl.Int32)
    names = predictions.select(
        "session",
        "symbol",
        sector=pl.when(number % 2 == 0).then(pl.lit("even")).otherwise(pl.lit("odd")),
        size=number.cast(pl.Float64),
    )
    return World(score_DN, label_DN, predictions, labels, names)


def books(net: list[float], cost: list[float] | None = None) -> pl.DataFrame:
    """A daily table that starts with 1,000 of equity; `cost` is commission money."""
    cost = cost or [0.0] * len(net)
    equity = 1_000 * np.cumprod(1 + np.array(net))
    before = np.concatenate([[1_000.0], equity[:-1]]) if net else equity
    paid = np.array(cost)
    return pl.DataFrame(
        {
            "session": pl.Series(weekdays(len(net)), dtype=pl.Date),
            "gross_return": np.array(net) + paid / before,
            "net_return": np.array(net, dtype=np.float64),
            "turnover": np.full(len(net), 0.1),
            "gross_exposure": np.full(len(net), 2.0),
            "net_exposure": np.zeros(len(net)),
            "commission": paid,
            "spread_cost": np.zeros(len(net)),
            "impact_cost": np.zeros(len(net)),
            "borrow_cost": np.zeros(len(net)),
            "dividends": np.zeros(len(net)),
            "cash_interest": np.zeros(len(net)),
            "cash": equity,
            "equity": equity,
        }
    )


TRADES = {
    "session": pl.Date,
    "symbol": pl.String,
    "shares": pl.Float64,
    "price": pl.Float64,
    "notional": pl.Float64,
    "commission": pl.Float64,
    "spread_cost": pl.Float64,
    "impact_cost": pl.Float64,
    "reason": pl.String,
}
POSITIONS = {
    "session": pl.Date,
    "symbol": pl.String,
    "shares": pl.Float64,
    "mark_price": pl.Float64,
    "market_value": pl.Float64,
    "weight": pl.Float64,
    "target_weight": pl.Float64,
}


def trades(notionals: list[float], reasons: list[str] | None = None) -> pl.DataFrame:
    n = len(notionals)
    return pl.DataFrame(
        {
            "session": weekdays(n),
            "symbol": ["s000"] * n,
            "shares": notionals,
            "price": [1.0] * n,
            "notional": notionals,
            "commission": [0.0] * n,
            "spread_cost": [0.0] * n,
            "impact_cost": [0.0] * n,
            "reason": reasons or ["rebalance"] * n,
        },
        schema=TRADES,
    )


@pytest.fixture(scope="session")
def make_books() -> object:
    return books


@pytest.fixture(scope="session")
def make_trades() -> object:
    return trades


@pytest.fixture(scope="session")
def no_positions() -> pl.DataFrame:
    return pl.DataFrame(schema=POSITIONS)
