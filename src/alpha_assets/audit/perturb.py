"""Other worlds that a decision must not be able to tell from this one.

Noise and deletion change what became readable after a cut, an insertion adds to it; a
restatement changes the past, the way a vendor does when it carries a later split into all
earlier prices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.feeds import Feed
from alpha_assets.feeds.base import CLOCK
from alpha_assets.feeds.listings import ACTIVE

NOISE_SD = 0.2  # of the log of a row's price factor
RESTATED_FACTORS = (0.5, 2.0, 4.0)  # powers of two: ratios of restated prices keep every bit

PRICES = ("open", "high", "low", "close")

# What the certificate calls the worlds.
NOISE, DELETED, RESTATED = "noise after the cut", "nothing after the cut", "the past restated"
INSERTED = "rows added after the cut"
MIXED = "noise, gaps and added rows after the cut"

N_ADDED = 40  # rows of each kind that an insertion adds to a feed, as far as there are
N_NEW_SYMBOLS = 2
N_NEW_DAYS = 10  # the last days known at the cut; what is added to them comes out soon
NEW_SYMBOL = "ZZ"  # put before the code of the symbol whose rows are copied
SOON = timedelta(hours=1)  # from the cut to the first added row
MUCH_LATER = timedelta(days=35)  # from the last row to the last added one: a month of its own
LATE_FACTOR = 0.5  # adjustment factor of a bar that is corrected by a forgotten split
MIXED_REACH = timedelta(days=45)  # beyond it a mixed world ends
GONE_REACH = timedelta(days=5)  # after the cut, in which a mixed world may have no row at all
RARE = 0.9  # share of one value from which on a column hardly ever varies
N_LIVES = 6  # symbols that an insertion lets leave and come back
MOST_DAYS = 10  # by which a date that is a value is moved
RATIOS = (0.5, 2.0)  # of a column of numbers that has no other value


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
    empty.  Of a column that hardly ever varies (factors, levels, flags) another row mostly has
    the same value, so half of its cells get another one.  Dates that are values are moved.  Key
    and clock stay: they say which row it is, and when it was known.
    """

    cut: np.datetime64  # UTC instant
    seed: int
    name: str = NOISE

    def rows(self, feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with noise in the later ones."""
        later_R = _is_later(rows, self.cut)
        generator = np.random.default_rng([self.seed, *feed.name.encode()])
        return _noised(feed, rows, later_R, generator)

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
class Insertion:
    """Rows were added, all of them public only after the cut; the others stay as they are.

    Per feed: corrections of rows known at the cut (flags turned, values of other rows, some
    bars with a split that was forgotten or on a vendor's new level), late rows of old days, and
    whole histories of symbols that are not there; some listed symbols have left and come back
    before the cut.  Half of them come out soon after the cut, half after all stored rows,
    in a month of publication that holds nothing else.  Values of side feeds that may be empty
    are empty in the rows that were later already, so that what is counted over the future
    counts something else.
    """

    cut: np.datetime64  # UTC instant
    seed: int
    name: str = INSERTED

    def rows(self, feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with others added."""
        later_R = _is_later(rows, self.cut)
        known = rows.filter(~later_R)
        if not known.height:
            return rows
        generator = np.random.default_rng([self.seed, 1, *feed.name.encode()])
        added = [
            self._corrections(feed, rows, generator),
            self._late(feed, rows, known, generator),
            self._new_symbols(feed, rows, generator),
            self._lives(feed, rows, known, generator),
        ]
        late = pl.concat(
            [part.select(rows.columns) for part in added if part.height] or [known[:0]]
        )
        late = late.unique([*feed.key, "revision"], keep="first", maintain_order=True)
        return pl.concat([_emptied(feed, rows, later_R), late])

    def undone(self, panel: pl.DataFrame) -> pl.DataFrame:
        """Return the panel: up to the cut nothing was changed on purpose."""
        return panel

    def _stamps(self, rows: pl.DataFrame, made: pl.DataFrame) -> pl.Series:
        """Return when added rows came out: every other one of old days after all stored rows.

        So the month of publication that they have for themselves holds old days alone.
        """
        cut = _instant(self.cut)
        last = max(cut, rows["available_at"].max()) + MUCH_LATER  # type: ignore[type-var, operator]
        known = rows.filter(~_is_later(rows, self.cut))["event_date"].unique().sort()
        is_old = made["event_date"] < known[-min(N_NEW_DAYS, len(known))]
        odd = pl.Series(np.arange(made.height) % 2 == 1)
        stamps = made.select(
            pl.when(is_old & odd).then(pl.lit(last)).otherwise(pl.lit(cut + SOON))
        ).to_series()
        return stamps.cast(rows["available_at"].dtype).alias("available_at")

    def _corrections(
        self, feed: Feed, rows: pl.DataFrame, generator: np.random.Generator
    ) -> pl.DataFrame:
        newest = rows.sort("revision").unique(list(feed.key), keep="last", maintain_order=True)
        newest = newest.filter(~_is_later(newest, self.cut)).sort(feed.key)
        # The newest days are those that decisions read; old ones are corrected too.
        place = newest["event_date"].arg_sort(descending=True).to_numpy()
        near, far = place[: 5 * N_ADDED], place[5 * N_ADDED :]
        picked = np.concatenate(
            [generator.permutation(part.copy())[:N_ADDED] for part in (near, far)]
        )
        picked = np.sort(picked)
        every_R = np.zeros(newest.height, dtype=bool)
        every_R[picked] = True
        made = _noised(feed, newest, every_R, generator)[picked]
        flags = [
            name
            for name, dtype in made.schema.items()
            if dtype == pl.Boolean and name not in feed.key
        ]
        if "adjustment_factor" in made.columns and feed.name == "daily_bars":
            split = pl.Series(np.arange(made.height) % 4 == 0)
            factor = pl.when(split).then(LATE_FACTOR).otherwise("adjustment_factor")
            made = made.with_columns(factor.alias("adjustment_factor"))
            if "level" in made.columns:
                restated = pl.Series(np.arange(made.height) % 4 == 1)
                level = pl.when(restated).then(LATE_FACTOR).otherwise("level")
                made = made.with_columns(level.alias("level"))
        return made.with_columns(
            *[~pl.col(name) for name in flags],
            (pl.col("revision") + 1).cast(pl.Int16),
            self._stamps(rows, made),
        )

    def _late(
        self,
        feed: Feed,
        rows: pl.DataFrame,
        known: pl.DataFrame,
        generator: np.random.Generator,
    ) -> pl.DataFrame:
        days = known["event_date"].unique().sort()
        picked = known[generator.integers(known.height, size=N_ADDED)]
        day = days.gather(generator.integers(len(days), size=N_ADDED))
        made = picked.with_columns(event_date=day, revision=pl.lit(0, pl.Int16))
        made = made.join(rows.select(feed.key), on=list(feed.key), how="anti")
        return made.with_columns(self._stamps(rows, made))

    def _new_symbols(
        self, feed: Feed, rows: pl.DataFrame, generator: np.random.Generator
    ) -> pl.DataFrame:
        if "symbol" not in feed.key:
            return rows[:0]
        symbols = rows["symbol"].unique().sort()
        few = symbols.gather(np.arange(min(N_NEW_SYMBOLS, len(symbols))))
        made = rows.filter(pl.col("symbol").is_in(few.implode()))
        soon = pl.lit(_instant(self.cut) + SOON, made["available_at"].dtype)
        return made.with_columns(
            pl.concat_str(pl.lit(NEW_SYMBOL), "symbol").alias("symbol"),
            pl.max_horizontal("available_at", soon).alias("available_at"),
        )

    def _lives(
        self,
        feed: Feed,
        rows: pl.DataFrame,
        known: pl.DataFrame,
        generator: np.random.Generator,
    ) -> pl.DataFrame:
        """Return the exits and second starts, before the cut, of some listed symbols."""
        if feed.name != "listings":
            return rows[:0]
        newest = known.sort("event_date", "available_at", "revision").unique(
            "symbol", keep="last", maintain_order=True
        )
        listed = newest.filter((pl.col("exit") == ACTIVE).fill_null(True)).sort("symbol")
        # The cut decides its own day: the last one that is over is the day before.
        today = _instant(self.cut).date()
        listed = listed.filter(pl.col("event_date") < today - timedelta(days=2 * N_NEW_DAYS))
        places = np.sort(generator.permutation(listed.height)[:N_LIVES])
        left, back = (today - timedelta(days=days) for days in (2 * N_NEW_DAYS, N_NEW_DAYS))
        away = listed[places].with_columns(
            event_date=pl.lit(left), end=pl.lit(left), exit=pl.lit("delisted")
        )
        again = listed[places].with_columns(
            event_date=pl.lit(back),
            start=pl.lit(back),
            end=pl.lit(None, pl.Date),
            exit=pl.lit(ACTIVE),
        )
        soon = pl.lit(_instant(self.cut) + SOON, rows.schema["available_at"])
        return pl.concat([away.select(rows.columns), again.select(rows.columns)]).with_columns(
            soon.alias("available_at"), revision=pl.lit(0, pl.Int16)
        )


@dataclass(frozen=True)
class Mixed:
    """All at once: half of the later rows are gone, the others hold noise, and some are added.

    One rebuilding then shows what reads later values, counts later rows, or asks whether there
    is one.  Nothing is published more than a month and a half after the cut but added rows.

    Attributes:
        cut: UTC instant.
        seed: of what is drawn.
        first_gone: whether nothing at all is published in the first days after the cut but
            added rows: what asks whether the coming session takes place sees none.  What comes
            next then has no other value, so the certificate takes both kinds by turns.
        name: what the certificate calls it.
    """

    cut: np.datetime64
    seed: int
    first_gone: bool = False
    name: str = MIXED

    def rows(self, feed: Feed, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with gaps, noise and additions."""
        near = rows.filter(pl.col("available_at") <= _instant(self.cut) + MIXED_REACH)
        noised = Noise(self.cut, self.seed).rows(feed, near)
        generator = np.random.default_rng([self.seed, 2, *feed.name.encode()])
        gone_R = generator.random(noised.height) < 0.5
        if self.first_gone:
            soon = pl.col("available_at") <= _instant(self.cut) + GONE_REACH
            gone_R |= noised.select(soon).to_series().to_numpy()
        gone_R &= _is_later(noised, self.cut)
        return Insertion(self.cut, self.seed).rows(feed, noised.filter(~gone_R))

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

    def _factor(self, symbols: pl.Series) -> Array:
        known = symbols.unique().sort()
        factor_N = np.array([self.factor_of(symbol) for symbol in known], dtype=np.float64)
        place_R = symbols.cast(pl.Enum(known)).to_physical().to_numpy()
        return np.asarray(factor_N[place_R])


def altered(before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]) -> int:
    """Return how many raw rows of all feeds are gone, added, or hold another value."""
    count = 0
    for name, rows in before.items():
        other = after[name]
        if other.height != rows.height:
            count += abs(rows.height - other.height)
            continue
        changed = [rows[column].ne_missing(other[column]) for column in rows.columns]
        count += int(pl.DataFrame(changed).select(pl.any_horizontal(pl.all()).sum()).item())
    return count


def _is_later(rows: pl.DataFrame, cut: np.datetime64) -> Mask:
    """Return which rows became readable after an instant."""
    stamps = rows["available_at"].dt.replace_time_zone(None).to_numpy()
    return np.asarray(stamps.astype("datetime64[us]") > cut.astype("datetime64[us]"))


def _instant(cut: np.datetime64) -> datetime:
    """Return a UTC instant with its zone."""
    plain = cut.astype("datetime64[us]").item()
    assert isinstance(plain, datetime), "an instant to the microsecond"
    return plain.replace(tzinfo=UTC)


def _noised(
    feed: Feed, rows: pl.DataFrame, changed_R: Mask, generator: np.random.Generator
) -> pl.DataFrame:
    """Return the rows with other values in some of them; see `Noise`."""
    factor_R = np.ones(rows.height)
    factor_R[changed_R] = np.exp(generator.normal(0.0, NOISE_SD, int(changed_R.sum())))
    prices = [name for name in PRICES if name in rows.columns]
    fixed = [
        name
        for name, dtype in rows.schema.items()
        if name in feed.key or name in CLOCK or dtype == pl.Date
    ]
    dealt = [name for name in rows.columns if name not in (*fixed, *prices)]
    moved = [name for name in fixed if name not in (*feed.key, *CLOCK)]
    donor_R = np.arange(rows.height)
    fields = [name for name in (*fixed, *prices) if name not in feed.key]
    donor_R[changed_R] = _donors(rows.select(fields), changed_R, generator)
    days_R = np.zeros(rows.height, dtype=np.int64)
    days_R[changed_R] = generator.integers(1, MOST_DAYS + 1, size=int(changed_R.sum()))
    return rows.with_columns(
        *[pl.col(name) * pl.Series(factor_R) for name in prices],
        *[_other_values(rows[name], donor_R, changed_R, generator) for name in dealt],
        *[pl.col(name) + pl.duration(days=pl.lit(pl.Series(days_R))) for name in moved],
    )


def _other_values(
    values: pl.Series,
    donor_R: Index,
    changed_R: Mask,
    generator: np.random.Generator,
) -> pl.Series:
    """Return a column with the values of other rows where it is changed.

    Where almost all rows hold one value, half of the changed cells get a value that is not it:
    a rare one of the column, or one made up where there is no other.
    """
    dealt = values.gather(donor_R)
    counts = values.value_counts(sort=True)
    if not len(counts) or counts["count"][0] < RARE * len(values):
        return dealt
    usual = counts[values.name][0]
    others = _sorted(counts[values.name][1:].drop_nulls())
    if not len(others):
        others = _made_up(usual, values)
    if not len(others):
        return dealt
    rows = np.flatnonzero(changed_R & (generator.random(len(values)) < 0.5))
    place_R = np.arange(len(dealt))
    place_R[rows] = len(dealt) + generator.integers(len(others), size=len(rows))
    return pl.concat([dealt, others.rename(dealt.name)]).gather(place_R)


def _sorted(values: pl.Series) -> pl.Series:
    """Return values in an order that no count and no hash decides; vectors by their numbers."""
    if not isinstance(values.dtype, pl.Array):
        return values.sort()
    return values.gather(np.lexsort(values.to_numpy().T[::-1]))


def _made_up(usual: object, values: pl.Series) -> pl.Series:
    """Return values that a column which holds one alone might hold too; none of texts."""
    dtype, name = values.dtype, values.name
    if isinstance(dtype, pl.Array):
        vector_V = np.ones(dtype.shape) if usual is None else np.asarray(usual, dtype=np.float64)
        unit_V = vector_V if vector_V.any() else np.ones(dtype.shape)
        return pl.Series(name, [(unit_V * ratio).tolist() for ratio in RATIOS], dtype=dtype)
    if dtype == pl.Boolean:
        return pl.Series(name, [True] if usual is None else [not usual], dtype=dtype)
    if dtype.is_float():
        unit = usual if isinstance(usual, float) and usual else 1.0
        return pl.Series(name, [unit * ratio for ratio in RATIOS], dtype=dtype)
    if dtype.is_integer():
        return pl.Series(name, [usual + 1 if isinstance(usual, int) else 1], dtype=dtype)
    return values.clear()


def _emptied(feed: Feed, rows: pl.DataFrame, later_R: Mask) -> pl.DataFrame:
    """Return the rows without the later values that may be empty; those of bars stay."""
    if feed.name == "daily_bars":
        return rows
    optional = [
        column.name
        for column in feed.values
        if not column.required and column.default is None
        if column.dtype == pl.Float64 or isinstance(column.dtype, pl.Array)
    ]
    kept = pl.Series(~later_R)
    return rows.with_columns(pl.when(kept).then(name).alias(name) for name in optional)


def _donors(fields: pl.DataFrame, later_R: Mask, generator: np.random.Generator) -> Index:
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
