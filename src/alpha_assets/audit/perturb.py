"""Other worlds that a decision must not be able to tell from this one.

Noise and deletion change what became readable after a cut; a restatement changes the past,
the way a vendor does when it carries a later split into all earlier prices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.feeds import Feed
from alpha_assets.feeds.base import CLOCK

NOISE_SD = 0.2  # of the log of a row's price factor
RESTATED_FACTORS = (0.5, 2.0, 4.0)  # powers of two: ratios of restated prices keep every bit

PRICES = ("open", "high", "low", "close")

# What the certificate calls the worlds.
NOISE, DELETED, RESTATED = "noise after the cut", "nothing after the cut", "the past restated"


class World(Protocol):
    """Raw rows as they might have been, and how to look at them from this world."""

    @property
    def name(self) -> str:
        """What the certificate calls it."""
        ...

    def rows(self, feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a feed in this world, in the same order."""
        ...

    def undone(self, panel: pl.DataFrame) -> pl.DataFrame:
        """Return a panel of this world with what was changed on purpose changed back."""
        ...


@dataclass(frozen=True)
class Noise:
    """Every row that became readable only after the cut holds other values.

    The prices of a row are multiplied by one log-normal factor, so that high stays above low;
    all other values are taken together from another row of the feed, one with the same fields
    empty.  Keys, clock and dates stay: they say which row it is, and when it was known.
    """

    cut: np.datetime64  # UTC instant
    seed: int
    name: str = NOISE

    def rows(self, feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with noise in the later ones."""
        later_R = _is_later(rows, self.cut)
        generator = np.random.default_rng([self.seed, *feed.name.encode()])
        factor_R = np.ones(rows.height)
        factor_R[later_R] = np.exp(generator.normal(0.0, NOISE_SD, int(later_R.sum())))
        prices = [name for name in PRICES if name in rows.columns]
        fixed = [
            name
            for name, dtype in rows.schema.items()
            if name in feed.key or name in CLOCK or dtype == pl.Date
        ]
        dealt = [name for name in rows.columns if name not in (*fixed, *prices)]
        donor_R = np.arange(rows.height)
        fields = [name for name in (*fixed, *prices) if name not in feed.key]
        donor_R[later_R] = _donors(rows.select(fields), later_R, generator)
        return rows.with_columns(
            *[pl.col(name) * pl.Series(factor_R) for name in prices],
            *[rows[name].gather(donor_R) for name in dealt],
        )

    def undone(self, panel: pl.DataFrame) -> pl.DataFrame:
        """Return the panel: up to the cut nothing was changed on purpose."""
        return panel


@dataclass(frozen=True)
class Deletion:
    """Nothing was published after the cut."""

    cut: np.datetime64  # UTC instant
    name: str = DELETED

    def rows(self, feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that were readable by the cut."""
        return rows.filter(~_is_later(rows, self.cut))

    def undone(self, panel: pl.DataFrame) -> pl.DataFrame:
        """Return the panel: up to the cut nothing was changed on purpose."""
        return panel


@dataclass(frozen=True)
class Restatement:
    """A vendor has carried later splits into all that was readable by the cut.

    Per symbol one power of two: earlier prices and dividends are divided and volumes
    multiplied by it.  Traded value is money and stays; adjustment factors are ratios of
    neighbouring days, both restated, and stay.  What reads ratios cannot tell; what reads a
    level can, and on prices that carry later splits a level knows the future.
    """

    cut: np.datetime64  # UTC instant
    seed: int
    name: str = RESTATED

    def rows(self, feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with earlier prices restated."""
        if feed.name not in ("daily_bars", "dividends"):
            return rows
        factor_R = self._factor(rows["symbol"])
        factor_R[_is_later(rows, self.cut)] = 1.0
        return _scaled(rows, factor_R, (*PRICES, "amount"), ("volume",))

    def undone(self, panel: pl.DataFrame) -> pl.DataFrame:
        """Return the panel with its prices and volumes on the level that they had."""
        return _scaled(panel, 1.0 / self._factor(panel["symbol"]), PRICES, ("volume",))

    def factor_of(self, symbol: str) -> float:
        """Return what the earlier prices of a symbol are divided by; never 1."""
        draw = np.random.default_rng([self.seed, *symbol.encode()])
        return float(draw.choice(RESTATED_FACTORS))

    def _factor(self, symbols: pl.Series) -> NDArray[np.float64]:
        known = symbols.unique().sort()
        factor_N = np.array([self.factor_of(symbol) for symbol in known], dtype=np.float64)
        place_R = symbols.cast(pl.Enum(known)).to_physical().to_numpy()
        return np.asarray(factor_N[place_R])


def altered(before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]) -> int:
    """Return how many raw rows of all feeds are gone or hold another value."""
    count = 0
    for name, rows in before.items():
        other = after[name]
        if other.height != rows.height:
            count += rows.height - other.height
            continue
        changed = [rows[column].ne_missing(other[column]) for column in rows.columns]
        count += int(pl.DataFrame(changed).select(pl.any_horizontal(pl.all()).sum()).item())
    return count


def _is_later(rows: pl.DataFrame, cut: np.datetime64) -> NDArray[np.bool_]:
    """Return which rows became readable after an instant."""
    stamps = rows["available_at"].dt.replace_time_zone(None).to_numpy()
    return np.asarray(stamps.astype("datetime64[us]") > cut.astype("datetime64[us]"))


def _donors(
    fields: pl.DataFrame, later_R: NDArray[np.bool_], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return for each later row some row with the same fields empty."""
    empty = [pl.col(name).is_null().cast(pl.Int64) * 2**k for k, name in enumerate(fields.columns)]
    pattern_R = fields.select(pl.sum_horizontal(empty)).to_series().to_numpy()
    donor_R = np.zeros(len(later_R), dtype=np.int64)
    for pattern in np.unique(pattern_R[later_R]):
        alike = np.flatnonzero(pattern_R == pattern)
        wanting = later_R & (pattern_R == pattern)
        donor_R[wanting] = alike[generator.integers(len(alike), size=int(wanting.sum()))]
    return donor_R[later_R]


def _scaled(
    rows: pl.DataFrame,
    factor_R: NDArray[Any],
    divided: Sequence[str],
    multiplied: Sequence[str],
) -> pl.DataFrame:
    factor = pl.Series(factor_R)
    return rows.with_columns(
        *[pl.col(name) / factor for name in divided if name in rows.columns],
        *[pl.col(name) * factor for name in multiplied if name in rows.columns],
    )
