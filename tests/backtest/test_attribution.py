"""What each leg and each name earned, by hand: at most three symbols, 1,000 of capital."""

import polars as pl
import pytest
from tests.backtest.market import (
    FREE,
    FRICTIONS,
    LAST,
    SPECS,
    bar,
    books,
    day,
    dividend,
    hold,
    path,
    random_market,
    random_targets,
    raw,
)

from alpha_assets.backtest.attribution import attribution

approx = pytest.approx


def leg(legs: pl.DataFrame, n: int, name: str) -> dict[str, float]:
    return legs.filter(session=day(n), leg=name).row(0, named=True)


def test_each_leg_earns_on_its_own_positions() -> None:
    # 5 of A from 100 to 110, 3 of B short from 100 to 90; A pays 2 a share, B 1.
    market = raw(
        daily_bars=[*path("A", [100.0, 100.0, 110.0]), *path("B", [100.0, 100.0, 90.0])],
        dividends=[dividend("A", 2, 2.0), dividend("B", 2, 1.0)],
    )
    legs = attribution(books(hold((1, {"A": 0.5, "B": -0.3})), market, 2).pages).legs

    assert leg(legs, 2, "long")["pnl_gross"] == approx(5 * 10 + 5 * 2)
    assert leg(legs, 2, "long")["dividends"] == approx(10)
    assert leg(legs, 2, "short")["pnl_gross"] == approx(3 * 10 - 3 * 1)
    assert leg(legs, 2, "short")["net_return"] == approx(27 / 1_000)
    assert leg(legs, 2, "short")["exposure"] == approx(-270 / (1_000 + 60 + 27))
    assert leg(legs, 1, "long")["turnover"] == approx(0.25)


def test_a_fill_through_zero_is_cut_there_with_its_costs() -> None:
    # 2 long become 6 short at the open of 100, which closes at 95: a quarter of the fill closes
    # the long, and pays a quarter of the 8 that 100 basis points of 800 are.
    costs = FREE.model_copy(update={"commission_bps": 100.0})
    bars = [*path("A", [100.0, 100.0]), bar("A", 2, 95.0, open=100.0, high=100.0, low=95.0)]
    kept = books(hold((1, {"A": 0.2}), (2, {"A": -0.6})), raw(daily_bars=bars), 2, costs=costs)
    legs = attribution(kept.pages).legs
    (shares,) = kept.trades.filter(session=day(2))["shares"]
    opened = -shares - 2

    # The long: -2 * 5 of the day, + 2 * 5 because it was sold at 100.
    assert leg(legs, 2, "long")["pnl_gross"] == approx(0.0)
    assert leg(legs, 2, "long")["commission"] == approx(2.0)
    assert leg(legs, 2, "short")["pnl_gross"] == approx(5 * opened)
    assert leg(legs, 2, "short")["commission"] == approx(opened)


def test_a_split_of_a_held_name_earns_nothing() -> None:
    bars = [*path("A", [100.0, 100.0]), bar("A", 2, 50.0, adjustment_factor=0.5)]
    legs = attribution(books(hold((1, {"A": -0.5})), raw(daily_bars=bars), 2).pages).legs

    assert legs["pnl_net"].to_list() == approx([0.0] * 6)


def test_the_fee_for_what_is_short_is_the_short_legs() -> None:
    costs = FREE.model_copy(update={"borrow_fee_bps_annual": 365.0})
    market = raw(daily_bars=[*path("A", [100.0] * 2), *path("B", [100.0] * 2)])
    legs = attribution(books(hold((1, {"A": 0.5, "B": -0.5})), market, 1, costs=costs).pages).legs

    assert leg(legs, 1, "short")["pnl_net"] == approx(-500 * 0.0365 / 365)
    assert leg(legs, 1, "long")["pnl_net"] == 0.0


def test_names_are_summed_by_month_over_the_sessions_that_count() -> None:
    market = raw(daily_bars=[*path("A", [100.0, 100.0, 110.0, 121.0])])
    pages = books(hold((1, {"A": 0.5})), market, 3).pages
    counts_D = (pl.Series(pages.marks.sessions) != day(2)).to_numpy()

    (row,) = attribution(pages, counts_D).names.rows(named=True)
    assert row == {
        "month": "2023-06",
        "symbol": "A",
        "leg": "long",
        "pnl_gross": approx(5 * 11),
        "pnl_net": approx(5 * 11),
    }


@pytest.mark.parametrize("word", SPECS)
def test_legs_and_names_are_the_book_without_its_interest(word: str) -> None:
    kept = books(random_targets(6), random_market(6), LAST, SPECS[word], FRICTIONS)
    found = attribution(kept.pages)
    earned = kept.daily["equity"][-1] - SPECS[word].capital - kept.daily["cash_interest"].sum()

    tolerance = 1e-9 * SPECS[word].capital
    assert found.legs["pnl_net"].sum() == approx(earned, abs=tolerance)
    assert found.names["pnl_net"].sum() == approx(earned, abs=tolerance)
    for part in ("commission", "spread_cost", "impact_cost", "borrow_cost", "dividends"):
        assert found.legs[part].sum() == approx(kept.daily[part].sum(), abs=tolerance)
    turnover = found.legs.group_by("session", maintain_order=True).agg(pl.col("turnover").sum())
    assert turnover["turnover"].to_list() == approx(kept.daily["turnover"].to_list(), abs=1e-9)


def test_what_became_of_orders_is_counted() -> None:
    # 1,000 shares a session at 100: an ADV of 100,000. Orders of 25,000 (A, a tenth a session, so
    # partial and carried), 100 (B), and of C, which the next rebalance cancels unfilled.
    spec = SPECS["capped"].model_copy(update={"capital": 50_000.0})
    bars = [
        *path("A", [100.0] * 25),
        *path("B", [100.0] * 25),
        *(bar("C", n, 100.0, volume=1_000.0 if n < 20 else 0.0) for n in range(25)),
    ]
    targets = hold((20, {"A": 0.5, "B": 0.002, "C": 0.1}), (24, {"A": 0.5, "B": 0.002}))
    counts = books(targets, raw(daily_bars=bars), 24, spec).order_counts

    assert (counts.n, counts.n_partial, counts.n_carried, counts.n_unfinished) == (3, 1, 2, 1)
    assert counts.above == {0.01: 2, 0.05: 1, 0.1: 1}
    assert counts.n_unknown_adv == 0
