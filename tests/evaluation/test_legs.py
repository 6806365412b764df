"""Legs, concentration, exposures and the capacity curve, by hand."""

import math
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from alpha_assets.backtest.attribution import Attribution
from alpha_assets.backtest.books import OrderCounts
from alpha_assets.backtest.capacity import Capacity
from alpha_assets.evaluation.capacity import break_even, capacity_curve, orders
from alpha_assets.evaluation.exposures import exposures, neutral
from alpha_assets.evaluation.legs import concentration, legs
from alpha_assets.evaluation.performance import judged_performance
from alpha_assets.evaluation.rebalances import rebalances
from alpha_assets.report.leg_tables import (
    capacity_table,
    concentration_table,
    exposure_table,
    leg_table,
    order_table,
    worst_month_table,
)

YEAR = 250.0
approx = pytest.approx


def days(n: int) -> np.ndarray:
    return np.arange(n) + np.datetime64("2021-01-04")


def made_up(long_D: list[float], short_D: list[float]) -> Attribution:
    """Legs of a book of 1,000 that costs nothing, and three names."""
    n = len(long_D)
    money = np.stack([long_D, short_D], axis=1).ravel()
    frame = pl.DataFrame(
        {
            "session": np.repeat(days(n), 2),
            "leg": ["long", "short"] * n,
            "pnl_gross": money,
            "pnl_net": money,
            "gross_return": money / 1_000,
            "net_return": money / 1_000,
            "turnover": [0.02, 0.01] * n,
            "exposure": [0.5, -0.5] * n,
        }
    )
    names = pl.DataFrame(
        [
            ("2021-01", "A", "long", 60.0, 50.0),
            ("2021-01", "B", "short", -10.0, -20.0),
            ("2021-02", "A", "long", -5.0, -6.0),
            ("2021-02", "C", "long", 20.0, 16.0),
            ("2021-03", "B", "short", -30.0, -30.0),
        ],
        schema=["month", "symbol", "leg", "pnl_gross", "pnl_net"],
        orient="row",
    )
    return Attribution(frame, names)


def test_legs_add_up_to_long_short() -> None:
    rng = np.random.default_rng(0)
    long_D, short_D = (10 * rng.standard_normal((2, 40))).tolist()
    found: Any = legs(made_up(long_D, short_D).legs, sessions_per_year=YEAR)

    both = (np.array(long_D) + np.array(short_D)) / 1_000
    assert found["long_short"]["net"]["sharpe"] == approx(both.mean() / both.std(ddof=1) * 250**0.5)
    assert found["long_short"]["net"]["total_return"] == approx(np.prod(1 + both) - 1)
    assert found["long"]["pnl_net"] + found["short"]["pnl_net"] == approx(sum(long_D + short_D))
    assert found["short"]["exposure_mean"] == -0.5
    assert found["long_short"]["turnover_annual"] == approx(0.03 * 250)


def test_sessions_that_do_not_count_are_left_out_of_legs() -> None:
    counts_D = np.array([True] * 30 + [False] * 10)
    short_D = [1.0, -1.0] * 20
    found: Any = legs(
        made_up([5.0] * 30 + [900.0] * 10, short_D).legs, sessions_per_year=YEAR, counts_D=counts_D
    )
    assert found["long"]["pnl_net"] == approx(150)
    assert found["long"]["net"]["n_sessions"] == 30


def test_concentration_names_what_made_the_profit_and_the_worst_months() -> None:
    found: Any = concentration(made_up([1.0] * 9 + [11.0] + [0.0] * 10, [0.0] * 20))

    assert found["pnl_net"] == approx(20)
    assert found["top_names"] == [
        {"symbol": "A", "pnl_net": 44.0, "share": approx(44 / 20)},
        {"symbol": "C", "pnl_net": 16.0, "share": approx(16 / 20)},
    ]
    assert found["top_names_share"] == approx(60 / 20)
    assert found["best_sessions_share"] == approx(15 / 20)
    assert found["best_sessions"][0]["session"] == date(2021, 1, 13)
    assert found["worst_months"] == [
        {
            "month": "2021-03",
            "pnl_net": -30.0,
            "names": [{"symbol": "B", "leg": "short", "pnl_net": -30.0}],
        }
    ]


def test_a_book_that_lost_money_has_no_shares_of_a_profit() -> None:
    found: Any = concentration(made_up([-1.0] * 20, [0.0] * 20))

    assert math.isnan(found["top_names_share"])
    assert found["reasons"]["best_sessions_share"].startswith("the positions earned nothing in all")


def test_of_nineteen_sessions_no_share_of_the_profit_and_no_turnover_of_a_year_is_told() -> None:
    short, long = (made_up([1.0] * n, [0.0] * n) for n in (19, 20))
    found: Any = concentration(short)
    why = "too short: 19 sessions are fewer than 20"
    assert found["reasons"] == dict.fromkeys(("top_names_share", "best_sessions_share"), why)
    assert math.isnan(found["best_sessions_share"])
    assert math.isnan(found["top_names"][0]["share"])
    assert found["pnl_net"] == approx(19)
    told: Any = concentration(long)
    assert told["best_sessions_share"] == approx(5 / 20)

    turnovers = [legs(one.legs, sessions_per_year=YEAR)["long"] for one in (short, long)]
    assert math.isnan(turnovers[0]["turnover_annual"])
    assert turnovers[1]["turnover_annual"] == approx(0.02 * YEAR)


def test_nineteen_sessions_are_too_short_for_a_ratio_and_twenty_are_not() -> None:
    return_D = 0.01 * np.random.default_rng(0).standard_normal(20)
    short: Any = judged_performance(return_D[:19], days(19), sessions_per_year=YEAR)
    enough: Any = judged_performance(return_D, days(20), sessions_per_year=YEAR)

    assert math.isnan(short["sharpe"])
    assert math.isnan(short["annual_return"])
    assert short["reasons"]["sharpe"] == "too short: 19 sessions are fewer than 20"
    assert short["total_return"] == approx(np.prod(1 + return_D[:19]) - 1)
    assert math.isfinite(enough["sharpe"])


def test_orders_are_counted_as_shares_of_those_with_a_known_adv() -> None:
    counts = OrderCounts(10, 3, 4, 2, 2, {0.01: 4, 0.05: 2, 0.1: 1})
    found = orders(counts)

    assert (found["above_1pct"], found["above_5pct"], found["above_10pct"]) == (0.5, 0.25, 0.125)
    assert orders(OrderCounts(0, 0, 0, 0, 0, {0.01: 0}))["reasons"] == {
        "above_1pct": "no order has a known ADV"
    }


COUNTS = OrderCounts(4, 1, 2, 1, 0, {0.01: 3, 0.05: 2, 0.1: 1})


def curve_of(net_CD: np.ndarray) -> dict[str, Any]:
    n, n_sessions = net_CD.shape
    spent = np.full(net_CD.shape, 1.0)
    found = Capacity(
        sessions=days(n_sessions),
        capital=1e3 * 10.0 ** np.arange(n),
        net_return=net_CD,
        gross_return=net_CD + 0.01,
        turnover=np.full(net_CD.shape, 0.1),
        cost=2 * spent,
        trading_cost=spent,
        traded=np.full(net_CD.shape, 100.0),
        orders=(COUNTS,) * n,
    )
    return capacity_curve(found, sessions_per_year=YEAR, cash_D=np.zeros(n_sessions))


def test_the_capital_that_breaks_even_lies_between_two_of_the_curve() -> None:
    # Means of 3, 1 and -1 thousandths at 1, 10 and 100 thousand: 0 halfway between the last two.
    wave = 0.01 * np.tile([1.0, -1.0], 20)
    found = curve_of(np.array([0.003 + wave, 0.001 + wave, -0.001 + wave]))

    assert found["break_even_capital"] == approx(10**4.5)
    first = found["curve"][0]
    assert first["turnover_annual"] == approx(25)
    assert first["trading_bps"] == approx(100)
    assert first["orders"]["n_unfinished"] == 1
    assert first["net"]["sharpe"] > found["curve"][2]["net"]["sharpe"]


def test_a_curve_over_nineteen_sessions_tells_nothing_of_a_year_and_no_break_even() -> None:
    for n in (19, 20):
        wave = 0.01 * np.resize([1.0, -1.0], n)
        found = curve_of(np.array([0.003 + wave, 0.001 + wave, -0.001 + wave]))
        first = found["curve"][0]
        of_a_year = [first["turnover_annual"], first["cost_annual_return"]]
        if n < 20:
            assert all(map(math.isnan, [*of_a_year, found["break_even_capital"]]))
            assert found["reason"] == "too short: 19 sessions are fewer than 20"
        else:
            assert all(map(math.isfinite, [*of_a_year, found["break_even_capital"]]))
        assert first["trading_bps"] == approx(100)


@pytest.mark.parametrize(
    ("excess", "words"),
    [
        ([-1.0, -2.0], "nothing is earned even at the smallest capital, 1,000"),
        ([2.0, 1.0], "something is earned even at the largest capital, 10,000"),
        ([np.nan, np.nan], "the backtest has no session"),
    ],
)
def test_a_curve_that_does_not_cross_says_so(excess: list[float], words: str) -> None:
    capital, reason = break_even(np.array([1e3, 1e4]), np.array(excess))

    assert math.isnan(capital)
    assert reason == words


def test_a_capital_that_is_used_up_says_when() -> None:
    wave = np.tile([0.01, -0.005], 20)
    ruined = wave.copy()
    ruined[7:] = np.nan
    found = curve_of(np.array([wave, ruined]))

    assert found["curve"][1]["reason"] == "the equity is used up at 2021-01-11"
    assert "net" not in found["curve"][1]
    assert found["break_even_capital"] == approx(1e3)


def test_scores_that_are_a_factor_know_nothing_without_it() -> None:
    rng = np.random.default_rng(1)
    n_sessions, n = 30, 40
    factor_DN, own_DN, noise_DN = rng.standard_normal((3, n_sessions, n))
    sessions = [d for d in days(n_sessions).tolist() for _ in range(n)]
    keys = {"session": sessions, "symbol": [f"{k:02d}" for k in range(n)] * n_sessions}
    labels = pl.DataFrame({**keys, "label": (factor_DN + own_DN + noise_DN).ravel()})
    factors = pl.DataFrame(
        {
            **keys,
            "momentum": factor_DN.ravel(),
            "sector": ["even" if k % 2 == 0 else "odd" for k in range(n)] * n_sessions,
        }
    )
    positions = pl.DataFrame({**keys, "weight": np.sign(factor_DN).ravel() / n})

    def found(score_DN: np.ndarray) -> Any:
        scores = pl.DataFrame({**keys, "score": score_DN.ravel()})
        return exposures(scores, labels, positions, factors, horizon=1)

    alone, both = found(factor_DN), found(factor_DN + own_DN)
    assert alone["factors"][0]["scores"] == approx(1.0)
    assert alone["factors"][0]["book"] == approx(0.8, abs=0.05)  # E|z| of a normal
    assert alone["neutral_rank_ic"]["n_sessions"] == 0  # nothing is left of the scores
    # What is left is `own`, one of three parts of the label of equal variance.
    assert both["neutral_rank_ic"]["mean"] == approx(3**-0.5, abs=0.05)
    assert [row["sector"] for row in both["sectors"]] == ["even", "odd"]
    assert both["sectors"][0]["scores"] == approx(-both["sectors"][1]["scores"])


def test_what_is_unknown_of_a_factor_is_reported_as_a_share() -> None:
    """Two sessions of four names; the book holds A for 0.6 and B for -0.2."""
    sessions = [d for d in days(2).tolist() for _ in range(4)]
    keys = {"session": sessions, "symbol": ["A", "B", "C", "D"] * 2}
    scores = pl.DataFrame({**keys, "score": [4.0, 3.0, 2.0, 1.0] * 2})
    labels = scores.rename({"score": "label"})
    positions = pl.DataFrame({**keys, "weight": [0.6, -0.2, 0.0, 0.0] * 2})
    beta = [None, 2.0, 1.0, 1.0, None, None, 1.0, 1.0]  # of the second session: of none held
    factors = pl.DataFrame(
        {
            **keys,
            "market": pl.Series(beta, dtype=pl.Float64),
            "size": pl.Series([None] * 8, dtype=pl.Float64),
            "sector": ["x", "x", None, "x"] * 2,
        }
    )
    found: Any = exposures(scores, labels, positions, factors, horizon=1)

    market, size = found["factors"]
    assert market["unknown"] == approx(3 / 8)
    assert market["book_unknown"] == approx((0.6 + 0.8) / 1.6)
    # The first session alone has an exposure, of B: -0.2 times 2.
    assert market["book"] == market["book_low"] == market["book_high"] == approx(-0.4)
    assert (size["unknown"], size["book_unknown"]) == (1.0, 1.0)
    assert math.isnan(size["book"])
    assert size["reasons"]["book"].startswith("no session in which anything is held has a value")
    assert (found["sectors_unknown"], found["book_sectors_unknown"]) == (0.25, 0.0)

    table = exposure_table({"portfolio": {"exposures": found}})
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert [cell.text for cell in table.rows[0]][-2:] == ["37.5 %", "87.5 %"]
    assert "without a sector" in [row[0].text for row in table.rows]


def test_what_is_left_is_uncorrelated_with_what_was_taken_out() -> None:
    rng = np.random.default_rng(2)
    rank_DN, inputs_XDN = rng.standard_normal((3, 20)), rng.standard_normal((2, 3, 20))
    rank_DN[1, 4] = np.nan
    left_DN = neutral(rank_DN, inputs_XDN)

    assert np.isnan(left_DN[1, 4])
    for d in range(3):
        known = ~np.isnan(left_DN[d])
        assert left_DN[d, known].sum() == approx(0.0, abs=1e-9)
        assert inputs_XDN[:, d, known] @ left_DN[d, known] == approx(np.zeros(2), abs=1e-9)


def test_a_side_that_was_wanted_and_not_filled_is_counted() -> None:
    first, second = days(2).tolist()
    rows = [(first, "A", 0.5), (first, "B", -0.5), (second, "A", 0.5), (second, "B", -0.5)]
    targets = pl.DataFrame(
        rows, schema=["session", "symbol", "target_weight"], orient="row"
    ).with_columns(score=pl.lit(1.0), reason=pl.lit("top"))
    positions = pl.DataFrame(
        [(first, "A", 5.0), (first, "B", 0.0), (second, "A", 5.0), (second, "B", -5.0)],
        schema=["session", "symbol", "shares"],
        orient="row",
    )
    daily = pl.DataFrame({"session": [first, second], "gross_exposure": [0.5, 1.0]})

    found = rebalances(targets, daily, positions)
    assert (found["n_longs_unfilled"], found["n_shorts_unfilled"]) == (0, 1)


def test_the_page_has_a_table_of_each() -> None:
    rng = np.random.default_rng(0)
    given = made_up(*(1 + 10 * rng.standard_normal((2, 40))).tolist())
    wave = 0.01 * np.tile([1.0, -1.0], 20)
    metrics: Any = {
        "portfolio": {
            "net": {"n_sessions": 40},
            "legs": legs(given.legs, sessions_per_year=YEAR),
            "concentration": concentration(given),
            "exposures": {
                "factors": [{"factor": "market", "scores": 0.1, "book": 0.02}],
                "sectors": [],
                "neutral_rank_ic": {"mean": 0.01, "t": 1.0},
            },
        },
        "costs": {
            "orders": orders(COUNTS),
            "capacity": curve_of(np.array([0.001 + wave, -0.001 + wave])),
        },
        "data": {"currency": "JPY"},
    }
    table = leg_table(metrics)
    assert table.columns[1:5] == ("book, net", "book, gross", "long leg, net", "long leg, gross")
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert concentration_table(metrics).rows[0][0].text == "2 best names together"
    assert worst_month_table(metrics).rows[0][2].text == "B (short, −30 JPY)"
    assert exposure_table(metrics).rows[0][1].text == "+0.100"
    assert [cell.text for cell in order_table(metrics).rows[1]][1:] == ["1", "25.0 %"]
    curve = capacity_table(metrics)
    assert curve.rows[-1][0].text == "breaks even at"
    assert all(len(row) == len(curve.columns) for row in curve.rows)
