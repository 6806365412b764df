"""The plain panel agrees with the panel where symbols live twice and factors come late."""

from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest
from tests.panel.market import TOKYO, day, random_market

from alpha_assets.audit.reference_panel import book_of
from alpha_assets.feeds import FEEDS
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.joins import plain

LAST = 70


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (5, 9))]
)
def test_the_book_and_the_panel_are_one_where_lives_and_late_factors_are(seed: int) -> None:
    raw = random_market(seed)
    # Fees of every symbol every few sessions, those of old lives among them.
    fees = raw["daily_bars"].filter(
        (pl.col("event_date").dt.day() % 4 == 0) & (pl.col("revision") == 0)
    )
    raw["borrow"] = fees.select(
        "event_date",
        "symbol",
        (pl.col("event_date").dt.ordinal_day() * 1.0).alias("fee_bps_annual"),
        pl.lit(None, pl.Float64).alias("available_shares"),
        "available_at",
        "revision",
    )
    joins = (plain(FEEDS["borrow"]),)
    market: Any = SimpleNamespace(calendar=TOKYO, joins=joins, spec=SimpleNamespace(max_stale=20))
    panel = build_panel(raw, TOKYO, day(0), day(LAST), side=joins)
    first = int(TOKYO.index_of(day(0)))

    book = book_of(market, cast("Any", raw), range(first, first + LAST + 1))
    assert book.rows.select(panel.columns).equals(panel)
    assert panel["life"].max() == 1
    assert panel["late_factors"].drop_nulls().len() > 5
