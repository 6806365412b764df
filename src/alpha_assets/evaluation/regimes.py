"""Calm and stormy times, for break-downs."""

import polars as pl

WINDOW = 21  # sessions, about a month
REGIMES = ("calm", "normal", "stormy")


def volatility_regimes(market: pl.DataFrame, window: int = WINDOW) -> pl.DataFrame:
    """Sort sessions into thirds by the market's trailing volatility.

    The thirds are of the whole span: this describes the past, nothing may be decided on it.

    Args:
        market: `session`, `market_return` (the return known at that session's decision, a
            fraction), in any order.
        window: sessions of trailing volatility.

    Returns:
        `session`, `regime` (calm, normal, stormy); sessions before a full window are left out.
    """
    trailing = (
        market.sort("session")
        .with_columns(volatility=pl.col("market_return").rolling_std(window))
        .drop_nulls("volatility")
    )
    third = (pl.col("volatility").rank("ordinal") - 1) * len(REGIMES) // pl.len()
    return trailing.select(
        "session",
        regime=third.replace_strict(dict(enumerate(REGIMES)), return_dtype=pl.String),
    )
