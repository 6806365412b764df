"""A panel of groups that move together, with gaps, listings, exits, splits and sectors."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from alpha_assets.features.compute_cross_symbol import ACROSS, across_features
from alpha_assets.features.cross_symbol import Across

N_SESSIONS, N_SYMBOLS = 330, 30
SYMBOLS = tuple(f"s{n:02}" for n in range(N_SYMBOLS))
LATE, GONE, HALTED, MOVED, STRANGER, QUIET = 3, 8, 11, 14, 20, 25
KEYS = ["session", "symbol"]
PRICES = ("open", "high", "low", "close")
EVER = (np.datetime64("2000-01-01").item(), np.datetime64("2100-01-01").item())


def trading_days() -> np.ndarray:
    """Return weekdays with single holidays and one week without any session."""
    days = np.arange("2019-01-01", "2021-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    golden = (days >= np.datetime64("2020-03-02")) & (days <= np.datetime64("2020-03-06"))
    holidays = np.array(["2020-01-13", "2020-02-11", "2020-02-24"], dtype="datetime64[D]")
    return days[~golden & ~np.isin(days, holidays)][:N_SESSIONS]


def crowd_panel(seed: int = 4) -> pl.DataFrame:
    """Return the panel; row D holds the bar of the session before D."""
    rng = np.random.default_rng(seed)
    shape = (N_SESSIONS, N_SYMBOLS)
    group = np.arange(N_SYMBOLS) % 4
    moves = rng.normal(0, 0.008, (N_SESSIONS, 1)) + rng.normal(0, 0.012, (N_SESSIONS, 4))[:, group]
    close = 500 * np.exp(np.cumsum(moves + rng.normal(0, 0.012, shape), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.006, shape))
    bars = {
        "open": open_,
        "high": np.maximum(open_, close) * 1.004,
        "low": np.minimum(open_, close) * 0.997,
        "close": close,
        "volume": np.exp(rng.normal(11, 1, shape)).round(),
    }
    close[:, QUIET] = bars["open"][:, QUIET] = 100.0
    stale, factor = np.zeros(shape), np.ones(shape)
    factor[150:, 5] = 0.5
    for name in PRICES:
        bars[name][150:, 5] *= 0.5
    missing = (rng.random(shape) < 0.02) & (rng.random(N_SYMBOLS) < 0.4)
    missing[200:215, HALTED] = True
    for name in bars:
        bars[name][missing] = np.nan
    stale[missing] = 1.0
    stale[:240, LATE] = np.nan
    stale[300:, GONE] = np.nan
    sector = np.repeat(np.array([f"{g:04}" for g in group], dtype=object)[None], N_SESSIONS, axis=0)
    sector[260:, MOVED] = "0001"
    sector[:, STRANGER] = None
    row_DN = ~np.isnan(stale)
    day_D, symbol_N = trading_days(), np.array(SYMBOLS, dtype=object)
    return pl.DataFrame(
        {
            "session": np.repeat(day_D[:, None], N_SYMBOLS, axis=1)[row_DN],
            "symbol": pl.Series(np.repeat(symbol_N[None], N_SESSIONS, axis=0)[row_DN].tolist()),
            **{name: value_DN[row_DN] for name, value_DN in bars.items()},
            "cum_factor": factor[row_DN],
            "stale": stale[row_DN].astype(np.int16),
            "sector": pl.Series(sector[row_DN].tolist(), dtype=pl.String),
        }
    ).with_columns(pl.col(*bars).fill_nan(None))


def computed(
    panel: pl.DataFrame,
    catalog: Sequence[Across] = ACROSS,
    span: tuple[object, object] = EVER,
) -> pl.DataFrame:
    """Return the features across symbols in Float64, on the sessions of the panel."""
    sessions = panel["session"].unique().sort().to_numpy()
    first, last = span
    return across_features(panel, sessions, first, last, catalog=catalog, dtype=np.float64)


def bits(column: pl.Series) -> list[int | None]:
    """Return the bits of a column; null stays null."""
    if column.dtype != pl.Float64:
        return column.to_list()
    whole = column.fill_null(0.0).to_numpy().view(np.int64).tolist()
    return [b if known else None for b, known in zip(whole, column.is_not_null(), strict=True)]


def changed_columns(left: pl.DataFrame, right: pl.DataFrame) -> list[str]:
    """Return the columns in which two tables of the same rows differ by a bit."""
    assert left.select(KEYS).equals(right.select(KEYS))
    return [name for name in left.columns if bits(left[name]) != bits(right[name])]
