"""Promises about time and order: what the books may know, and when."""

from datetime import UTC

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.backtest.market import (
    FRICTIONS,
    LAST,
    SPECS,
    TOKYO,
    Raw,
    books,
    day,
    random_market,
    random_targets,
)

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.backtest.simulator import backtest

OPEN = SPECS["fractions at the open"]
PRICES = ("open", "high", "low", "close")
every_seed = pytest.mark.parametrize("seed", [30, 31, 32])


def rebalances(seed: int) -> list[int]:
    """Return the rebalance sessions of the second half."""
    days = set(random_targets(seed)["session"])
    return [n for n in range(LAST // 2, LAST) if day(n) in days]


def noisy_from(market: Raw, n: int) -> Raw:
    """Return the market with other prices and volumes in every bar of session n and later."""
    bars = market["daily_bars"]
    factor = np.exp(0.1 * np.random.default_rng(n).standard_normal(bars.height))
    is_later = pl.col("event_date") >= day(n)
    noise = pl.when(is_later).then(pl.Series(factor)).otherwise(1.0)
    return market | {
        "daily_bars": bars.with_columns(
            *(pl.col(name) * noise for name in (*PRICES, "volume", "turnover_value"))
        )
    }


@every_seed
def test_no_bar_of_a_session_or_a_later_one_changes_its_orders(seed: int) -> None:
    market, targets = random_market(seed), random_targets(seed)
    targets = targets.with_columns(pl.col("target_weight") / 2)  # noise must not ruin the books
    clean = books(targets, market, LAST, OPEN, FRICTIONS)
    n_orders = 0
    for n in rebalances(seed):
        other = books(targets, noisy_from(market, n), LAST, OPEN, FRICTIONS)
        # What is ordered at the rebalance fills at other prices, but in the same shares.
        today = pl.col("session") == day(n)
        orders = ["symbol", "shares", "reason"]
        found, expected = (kept.trades.filter(today).select(orders) for kept in (other, clean))
        assert_frame_equal(found, expected, check_exact=True)
        n_orders += expected.height
        before = pl.col("session") < day(n)
        for name in ("positions", "trades", "daily", "marks"):
            assert_frame_equal(
                getattr(other, name).filter(before),
                getattr(clean, name).filter(before),
                check_exact=True,
            )
    assert n_orders > 3


@every_seed
def test_books_to_an_earlier_session_are_the_beginning_of_the_books(seed: int) -> None:
    market, targets = random_market(seed), random_targets(seed)
    clean = books(targets, market, LAST, OPEN, FRICTIONS)
    for n in (20, 45):
        until = pl.col("event_date") <= day(n)
        short = {name: rows.filter(until) for name, rows in market.items()}
        kept = books(targets.filter(pl.col("session") <= day(n)), short, n, OPEN, FRICTIONS)
        for name in ("positions", "trades", "daily"):
            assert_frame_equal(
                getattr(kept, name),
                getattr(clean, name).filter(pl.col("session") <= day(n)),
                check_exact=True,
            )


@every_seed
def test_the_order_of_rows_and_names_that_nobody_holds_change_nothing(seed: int) -> None:
    market, targets = random_market(seed), random_targets(seed)
    stranger = random_market(seed + 1)["daily_bars"].with_columns(
        symbol=pl.col("symbol").str.replace("S", "R")
    )
    shuffled = {
        name: rows.sample(fraction=1.0, shuffle=True, seed=seed) for name, rows in market.items()
    }
    shuffled["daily_bars"] = pl.concat([stranger, shuffled["daily_bars"]])
    clean = books(targets, market, LAST, OPEN, FRICTIONS)
    other = books(
        targets.sample(fraction=1.0, shuffle=True, seed=seed), shuffled, LAST, OPEN, FRICTIONS
    )
    for name in ("positions", "trades", "daily", "marks"):
        assert_frame_equal(getattr(other, name), getattr(clean, name), check_exact=True)


@every_seed
def test_nothing_is_gained_by_paying(seed: int) -> None:
    """Costs only ever cost: the books with them end below the books without."""
    market, targets = random_market(seed), random_targets(seed)
    dear = books(targets, market, LAST, OPEN, FRICTIONS).daily
    cheap = books(
        targets, market, LAST, OPEN, FRICTIONS.model_copy(update={"commission_bps": 0.0})
    ).daily

    assert (dear["net_return"] <= dear["gross_return"]).all()
    assert dear["commission"].sum() > 0.0 == cheap["commission"].sum()


@pytest.mark.parametrize("basis", ["price", "total_return"])
@every_seed
def test_no_row_published_after_a_decision_changes_the_orders_of_a_book_that_begins_there(
    seed: int, basis: str
) -> None:
    """Late bars, corrected closes and factors of older sessions included: to the last bit."""
    market, targets = random_market(seed), random_targets(seed)
    n_orders = 0
    for n in rebalances(seed):
        decided = TOKYO.decision(day(n))[()].astype("datetime64[us]").item().replace(tzinfo=UTC)
        known = {
            name: rows.filter(pl.col("available_at") <= decided) for name, rows in market.items()
        }
        sides = [
            backtest(
                targets.filter(pl.col("session") == day(n)),
                rows,
                TOKYO,
                first=day(n),
                last=day(n),
                portfolio=OPEN,
                costs=FRICTIONS,
                basis=basis,  # type: ignore[arg-type]
                max_stale=MAX_STALE,
            ).orders
            for rows in (market, known)
        ]
        assert_frame_equal(*sides, check_exact=True)
        n_orders += sides[0].height
    assert n_orders > 3
