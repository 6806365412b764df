"""Which factors that were read from an adjusted close change the number of shares.

An adjusted close carries cash dividends beside splits, in one ratio.  A dividend moves the price
alone: were volume restated by it, a payout of 40 % would look like trade that fell by as much.
"""

import polars as pl

from alpha_assets.feeds.base import PriceLevel
from alpha_assets.store.raw import RawTable

STORED = " stored"
SAME = 1e-9  # relative; factors closer than that are one
# Splits that companies make, shares after per share before, and the other way round.  A ratio
# such as 5 : 3 is more often a dividend of 40 %.
_SPLITS = [*range(2, 101), *(n / m for n, m in ((3, 2), (4, 3), (5, 4), (6, 5), (11, 10)))]
SPLITS = (*_SPLITS, *(1 / n for n in _SPLITS))
ROUNDED = 2e-4  # relative distance within which a factor is a split


def with_share_factors(
    bars: pl.DataFrame, price_level: PriceLevel, stored: pl.DataFrame | None
) -> pl.DataFrame:
    """Return bars of a total-return source with `share_factor` where their factors move no shares.

    - Prices that carry later splits: a factor is cash, and shares stay (1), but for the step
      between the levels of two bars, which is that of a split between two deliveries.
    - Prices as traded: a factor that is a split's usual ratio stays open (null: shares move by
      its inverse); any other is cash.
    - A factor that is stored already, and the same, keeps what is stored beside it.

    Args:
        bars: with the factors that are to be stored, and `level`, the ratio to which each bar has
            been restated since it was first stored (null: 1); a `share_factor` that is given
            stays.
        price_level: of the source.
        stored: `symbol`, `event_date`, `adjustment_factor`, `share_factor` of the last revisions.
    """
    if "share_factor" not in bars.columns:
        bars = bars.with_columns(pl.lit(None, dtype=pl.Float64).alias("share_factor"))
    factor, share = pl.col("adjustment_factor"), pl.col("share_factor")
    moves = factor.is_not_null() & ((factor - 1).abs() > SAME)
    step = _step_of_level(bars) if price_level == "split_adjusted" else pl.lit(1.0)
    is_cash = moves | ((step - 1).abs() > SAME)
    if price_level == "raw":
        near = [(factor * split - 1).abs() <= ROUNDED for split in SPLITS]
        is_cash &= ~pl.any_horizontal(near)
    stays = pl.when(share.is_null() & is_cash).then(1.0 / step).otherwise(share)
    bars = bars.with_columns(stays.alias("share_factor"))
    if stored is None:
        return bars
    key = ["symbol", "event_date"]
    held = stored.select(*key, "adjustment_factor", "share_factor", is_stored=pl.lit(value=True))
    both = bars.join(held, on=key, how="left", suffix=STORED, maintain_order="left")
    known = pl.col(f"adjustment_factor{STORED}")
    is_same = pl.col("is_stored") & ((factor / known - 1).abs() <= SAME)
    return both.with_columns(
        pl.when(is_same)
        .then(pl.col(f"share_factor{STORED}"))
        .otherwise(share)
        .alias("share_factor")
    ).select(bars.columns)


def stored_shares(table: RawTable) -> pl.DataFrame | None:
    """Return the factors of the last stored revisions; None where nothing is stored."""
    if not table.months():
        return None
    names = ("symbol", "event_date", "adjustment_factor", "share_factor")
    return table.latest().select(names).collect()


def _step_of_level(bars: pl.DataFrame) -> pl.Expr:
    """Return by what a bar's level moved since the symbol's bar before; 1 without."""
    if "level" not in bars.columns:
        return pl.lit(1.0)
    level = pl.when(pl.col("close").is_not_null()).then(pl.col("level").fill_null(1.0))
    before = level.forward_fill().shift(1).over("symbol", order_by="event_date")
    return (before / level).fill_null(1.0)
