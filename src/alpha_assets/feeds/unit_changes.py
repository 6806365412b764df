"""A delivery in other units than the store: pence after pounds, lots after shares.

Within one delivery `plausibility` compares rows with each other.  Between two deliveries there are
two seams: stored rows that are delivered again, and the first bar after the last stored one.
Nothing that is stored changes its unit, so a delivery in another one is refused.
"""

from collections.abc import Sequence

import polars as pl

from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.plausibility import (
    MIN_BARS,
    MIN_POWER,
    price_steps,
    rate_warnings,
    volume_steps,
)
from alpha_assets.feeds.problem import Problem, violations
from alpha_assets.feeds.revisions import STORED, to_compare
from alpha_assets.feeds.validation import PRICES
from alpha_assets.feeds.warnings import jumps
from alpha_assets.store.raw import RawTable

NEAR = 0.01  # of the decimal logarithm of a value against the stored one: roundings of both


def restated_units(
    rows: pl.DataFrame, fresh: pl.DataFrame, table: RawTable, feed: Feed, *, restates_splits: bool
) -> list[Problem]:
    """Return the columns whose stored values are delivered again a power of ten away.

    One such row is a corrected slip; half of all stored rows of a column, and ten at least, are
    another unit.

    Args:
        rows: as delivered, with the columns of the feed.
        fresh: those of them that are to be stored, revisions among them.
        table: the stored rows.
        feed: theirs.
        restates_splits: prices are split-adjusted by the vendor: a split moves all prices of one
            symbol, and its volumes the other way.
    """
    revised = fresh.filter(pl.col("revision") > 0)
    if revised.height < MIN_BARS:
        return []
    new = fresh.filter(pl.col("revision") == 0)
    numbers = [column.name for column in feed.values if column.dtype == pl.Float64]
    both = revised.join(to_compare(table.latest(), feed), on=list(feed.key), how="inner")
    sizes = {
        name: (pl.col(name) / pl.col(f"{name}{STORED}")).log10().alias(f"size {name}")
        for name in numbers
    }
    both = both.with_columns(sizes.values()).with_columns(
        _power(pl.col(f"size {name}")).alias(f"power {name}") for name in numbers
    )
    splits = restates_splits and {*PRICES, "volume"} <= set(numbers)
    problems = []
    for name in numbers:
        power = pl.col(f"power {name}")
        moved = both.filter(power != 0)
        if splits and name in (*PRICES, "volume"):
            other = "close" if name == "volume" else "volume"
            moved = moved.filter(power != -pl.col(f"power {other}"))
            if moved["symbol"].n_unique() < 2:  # a consolidation of one, whose volumes stay
                continue
        if moved.height < MIN_BARS:
            continue
        n_stored = _n_nonzero(rows[name]) - _n_nonzero(new[name])
        common = moved.filter(power == power.mode().first())
        if 2 * common.height < n_stored:
            continue
        times = 10.0 ** common[f"power {name}"][0]
        problems += violations(
            "error",
            feed.name,
            "unit_changed",
            f"a column keeps its unit from delivery to delivery: {name} of rows that are stored "
            f"is {times:g} times as large now; bring it to the unit of the stored rows, or choose "
            "another --storage for the new one",
            common,
            key=feed.key,
            values=(f"{name}{STORED}", name),
        )
    return problems


def seam_problems(
    rows: pl.DataFrame, fresh: pl.DataFrame, table: RawTable, feed: Feed
) -> list[Problem]:
    """Return what is odd between the last stored row of a symbol and the first one after it.

    Only of a delivery that does not hold the stored row too: another one is compared with itself.

    Args:
        rows: as delivered.
        fresh: those to store.
        table: the stored rows.
        feed: theirs; `daily_bars` and `rates` are compared.
    """
    if feed.name not in ("daily_bars", "rates") or not table.months():
        return []
    new = fresh.filter(pl.col("revision") == 0)
    if new.is_empty():
        return []
    price = pl.col("close" if feed.name == "daily_bars" else "cash_rate_annual")
    whose = [name for name in feed.key if name != "event_date"]
    columns = [name for name in new.columns if name in feed.schema]
    # Factors of bars lie between the levels at which they were first known.
    stored = table.first_effective() if feed.name == "daily_bars" else table.latest()
    last = _first_or_last(
        stored.filter(price.is_not_null()).select(columns).collect(), whose, last=True
    )
    next_ = _first_or_last(new.filter(price.is_not_null()).select(columns), whose, last=False)
    if whose:
        last = last.join(next_.select(*whose, pl.col("event_date").alias("after")), on=whose)
    else:
        last = last.with_columns(after=next_["event_date"].min())
    last = last.filter(pl.col("event_date") < pl.col("after")).drop("after")
    last = last.join(rows, on=list(feed.key), how="anti")
    if last.is_empty():
        return []
    next_ = next_.join(last, on=whose, how="semi") if whose else next_
    both = pl.concat([last, next_]).sort(*whose, "event_date")
    if feed.name == "rates":
        return [p for p in rate_warnings(both) if p.rule == "rate_unit"]
    # The factors between the two: a split may stand on a row without prices.
    between = new.join(next_.select(*whose, pl.col("event_date").alias("until")), on=whose)
    between = between.filter(pl.col("event_date") <= pl.col("until"))
    factor = pl.col("adjustment_factor").fill_null(1.0)
    moved = between.group_by(whose).agg(factor.product().alias("moved"))
    both = both.join(moved, on=whose, how="left", maintain_order="left").with_columns(
        pl.when(pl.int_range(pl.len()).over(whose) > 0)
        .then(pl.col("moved"))
        .otherwise(1.0)
        .alias("adjustment_factor")
    )
    return [*price_steps(both), *volume_steps(both), *jumps(both)]


def _first_or_last(rows: pl.DataFrame, whose: Sequence[str], *, last: bool) -> pl.DataFrame:
    day = pl.col("event_date")
    end = day.max() if last else day.min()
    return rows.filter(day == (end.over(whose) if whose else end))


def _power(size: pl.Expr) -> pl.Expr:
    """Return the power of ten that a decimal logarithm equals within rounding; 0 for none."""
    power = size.round()
    fits = (power.abs() >= MIN_POWER) & ((size - power).abs() <= NEAR)
    return pl.when(fits).then(power).otherwise(0.0)


def _n_nonzero(values: pl.Series) -> int:
    """Return how many values are known and not zero: those that can be a power of ten away."""
    known = values.drop_nulls().drop_nans()
    return int((known != 0).sum())
