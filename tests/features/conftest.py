"""A small panel with everything that happens to symbols: halts, splits, listings, exits."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

N_SESSIONS = 340
SYMBOLS = ("halted", "late", "plain", "quiet", "returned", "split", "stopped", "vanished")


def make_panel(bars: dict[str, np.ndarray], symbols: tuple[str, ...]) -> pl.DataFrame:
    """Return panel rows of dense [D, N] columns; a NaN `stale` means no row."""
    n_sessions, n_symbols = bars["stale"].shape
    days = np.arange("2019-01-01", "2023-01-01", dtype="datetime64[D]")
    session_DN = np.repeat(days[np.is_busday(days)][:n_sessions, None], n_symbols, axis=1)
    row_DN = ~np.isnan(bars["stale"])
    names_DN = np.repeat(np.arange(n_symbols)[None], n_sessions, axis=0)
    return pl.DataFrame(
        {
            "session": session_DN[row_DN],
            "symbol": [symbols[n] for n in names_DN[row_DN]],
            **{name: value_DN[row_DN] for name, value_DN in bars.items()},
        }
    ).with_columns(
        pl.col("stale").cast(pl.Int16),
        pl.col("upper_limit", "lower_limit").fill_nan(None).cast(pl.Boolean),
        pl.col("open", "high", "low", "close", "volume", "turnover_value").fill_nan(None),
        sector=pl.lit("1050"),
    )


def random_bars(n_sessions: int, n_symbols: int, seed: int) -> dict[str, np.ndarray]:
    """Return a random walk's raw bars without gaps or factors."""
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_symbols)
    close = 500 * np.exp(np.cumsum(rng.normal(0, 0.02, shape), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.01, shape))
    return {
        "open": open_,
        "high": np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.01, shape))),
        "low": np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.01, shape))),
        "close": close,
        "volume": np.exp(rng.normal(11, 1, shape)).round(),
        "turnover_value": np.full(shape, np.nan),
        "cum_factor": np.ones(shape),
        "stale": np.zeros(shape),
        "upper_limit": (rng.random(shape) < 0.1).astype(float),
        "lower_limit": (rng.random(shape) < 0.1).astype(float),
    }


def silence(bars: dict[str, np.ndarray], n: int, first: int, last: int) -> None:
    """Take the bars of rows `first` to `last` away; after 20 the rows themselves end."""
    for name in ("open", "high", "low", "close", "volume", "upper_limit", "lower_limit"):
        bars[name][first : last + 1, n] = np.nan
    age = np.arange(1, last - first + 2, dtype=float)
    bars["stale"][first : last + 1, n] = np.where(age <= 20, age, np.nan)


def apply_factor(bars: dict[str, np.ndarray], n: int, row: int, factor: float) -> None:
    """Restate the raw bars from `row` on, as a split with this factor does."""
    for name in ("open", "high", "low", "close"):
        bars[name][row:, n] *= factor
    bars["volume"][row:, n] /= factor
    bars["cum_factor"][row:, n] *= factor


@pytest.fixture(scope="session")
def panel() -> pl.DataFrame:
    bars = random_bars(N_SESSIONS, len(SYMBOLS), seed=5)
    at = SYMBOLS.index
    for first, last in ((40, 40), (200, 203), (300, 302), (325, 325)):
        silence(bars, at("halted"), first, last)
    silence(bars, at("returned"), 150, 180)
    silence(bars, at("stopped"), N_SESSIONS - 4, N_SESSIONS - 1)
    bars["stale"][:180, at("late")] = np.nan
    bars["stale"][250:, at("vanished")] = np.nan
    apply_factor(bars, at("split"), 100, 0.5)
    apply_factor(bars, at("split"), 320, 1 / 3)
    bars["close"][:, at("quiet")] = bars["open"][:, at("quiet")] = 100.0
    bars["high"][:, at("quiet")] = bars["low"][:, at("quiet")] = 100.0
    bars["volume"][300:303, at("late")] = 0.0
    bars["turnover_value"][:, at("plain")] = bars["volume"][:, at("plain")] * 480
    return make_panel(bars, SYMBOLS)


@pytest.fixture(scope="session")
def edge_panel() -> Callable[[int], pl.DataFrame]:
    """A panel of a given length on whose first row something depends, whatever is computed."""

    def of_length(n_sessions: int) -> pl.DataFrame:
        symbols = ("a_high", "b_low", "c_carried_up", "d_carried_down", "e_seeded", "f_stale")
        bars = random_bars(n_sessions, len(symbols), seed=9)
        bars["upper_limit"][:] = bars["lower_limit"][:] = 0.0
        bars["upper_limit"][0] = bars["lower_limit"][0] = 1.0
        for n, factor in enumerate((3.0, 1 / 3, 3.0, 1 / 3)):
            for name in ("open", "high", "low", "close"):
                bars[name][0, n] *= factor
        for n in (2, 3, 4):
            silence(bars, n, 1, min(20, n_sessions - 2))
        if n_sessions > 60:
            silence(bars, 4, 22, 41)  # the change before is the last that a seed may know of
        silence(bars, 5, 0, 0)
        return make_panel(bars, symbols)

    return of_length
