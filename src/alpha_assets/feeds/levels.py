"""A folder's prices carry later splits; the store's carry those that were known at the time.

A vendor who adjusts prices divides the whole past when a share splits.  Bars are read as they
first became available, so the bar of the split's ex-date follows one on the old level, and the
factor between the two is not in the delivery: there, both already lie on the new level.
"""

import polars as pl

from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.rules import PRICES
from alpha_assets.store.raw import RawTable

FIRST = " first"
# Vendors round what they restate: the four ratios of one bar, or those of two bars, that lie
# closer together than this are the same.
ROUNDED = 0.01


def on_first_levels(bars: pl.DataFrame, table: RawTable, feed: Feed) -> pl.DataFrame:
    """Return bars with factors between the levels at which they were first known.

    factor'[T] = factor[T] · level[T-1] / level[T], where level = close delivered / close as first
    stored, and 1 for a bar that is new.  Only a bar of which all four prices moved by one ratio
    was put on another level; a corrected price leaves the level at 1.

    So the adjusted return over the ex-date of a split that came between two deliveries is the
    vendor's, and the factor of a stored bar stays what it was.

    Args:
        bars: as delivered, with the factor between neighbouring rows of the delivery.
        table: the stored bars.
        feed: theirs, for the tolerance within which a price is the same.
    """
    if not table.months():
        return bars
    place = ["symbol", "event_date"]
    stored = table.first_effective().select(
        *place, pl.lit(True).alias("is_stored"), *[pl.col(p).alias(f"{p}{FIRST}") for p in PRICES]
    )
    known = bars.join(stored.collect(), on=place, how="left", maintain_order="left")
    ratios = [pl.col(price) / pl.col(f"{price}{FIRST}") for price in PRICES]
    ratio = pl.col("close") / pl.col(f"close{FIRST}")
    moved = pl.all_horizontal((one - 1).abs() > feed.tolerance for one in ratios)
    as_one = pl.max_horizontal(ratios) <= pl.min_horizontal(ratios) * (1 + ROUNDED)
    level = (
        pl.when(pl.col("is_stored").is_null() & pl.col("close").is_not_null())
        .then(1.0)
        .when(ratio.is_not_null())
        .then(pl.when(moved & as_one).then(ratio).otherwise(1.0))
    )  # null where nothing was traded: the level is that of the bar before
    before = level.forward_fill().shift(1).over("symbol", order_by="event_date")
    step = pl.col("before") / pl.col("level")
    # Between two bars that were restated alike, only the vendor's rounding is left.
    rounding = (pl.col("before") != 1) & (pl.col("level") != 1) & ((step - 1).abs() <= ROUNDED)
    return (
        known.with_columns(level.alias("level"), before.alias("before"))
        .with_columns(
            pl.col("adjustment_factor")
            * pl.when(rounding).then(1.0).otherwise(step.fill_null(1.0)),
            pl.when(pl.col("is_stored")).then(pl.col("level")).alias("level"),
        )
        .select(bars.columns)
    )
