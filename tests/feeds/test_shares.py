"""A cash dividend inside an adjusted close moves no shares; a split does."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from alpha_assets.feeds.shares import with_share_factors

D = [date(2024, 1, n) for n in (4, 5, 9)]


def bars(factors: list[float | None], shares: list[float | None] | None = None) -> pl.DataFrame:
    more: dict[str, Any] = {} if shares is None else {"share_factor": shares}
    schema = {"adjustment_factor": pl.Float64, "share_factor": pl.Float64}
    return pl.DataFrame(
        {
            "symbol": ["A"] * len(factors),
            "event_date": D[: len(factors)],
            "adjustment_factor": factors,
            **more,
        },
        schema_overrides=schema,
    )


def test_where_prices_carry_splits_every_factor_is_cash() -> None:
    found = with_share_factors(bars([1.0, 0.6, None]), "split_adjusted", None)
    assert found["share_factor"].to_list() == [None, 1.0, None]
    # A split of 1 to 2 between two deliveries: the bars before it were restated to one half, and
    # the first new one pays 3 % in cash as well.
    split = bars([1.0, 1.0, 0.5 * 0.97]).with_columns(close=1.0, level=pl.Series([0.5, 0.5, None]))
    found = with_share_factors(split, "split_adjusted", None)
    assert found["share_factor"].to_list() == [None, None, 2.0]


@pytest.mark.parametrize(
    ("factor", "share"),
    [
        *[(factor, None) for factor in (0.5, 1 / 3, 10.0, 2 / 3, 0.50004)],
        *[(factor, 1.0) for factor in (0.97, 0.6, 0.985, 0.51)],
    ],
)
def test_of_prices_as_traded_only_a_usual_ratio_is_a_split(
    factor: float, share: float | None
) -> None:
    found = with_share_factors(bars([1.0, factor]), "raw", None)
    assert found["share_factor"].to_list() == [None, share]


def test_a_factor_that_is_stored_keeps_what_is_stored_beside_it() -> None:
    # The first bar of a later delivery cannot state the step that is stored of it.
    stored = bars([0.5, 0.97, 0.97], [2.0, 1.0, None])
    found = with_share_factors(bars([0.5, 0.96, 0.97]), "split_adjusted", stored)
    assert found["share_factor"].to_list() == [2.0, 1.0, None]
