"""Books by hand, and against pandas and scipy."""

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from alpha_assets.evaluation.performance import performance
from alpha_assets.evaluation.portfolio import cash_return, costs, portfolio, source_end_exits

YEAR = 250.0


def dates(n: int) -> np.ndarray:
    return np.arange(n) + np.datetime64("2021-01-04")


@pytest.fixture(scope="module")
def returns() -> np.ndarray:
    return np.random.default_rng(0).standard_t(5, 600) * 0.01 + 0.0004


def test_doubling_in_a_year_is_a_hundred_percent_in_sessions_not_days() -> None:
    daily = np.full(250, 2 ** (1 / 250) - 1)
    assert performance(daily, dates(250), sessions_per_year=YEAR)["annual_return"] == pytest.approx(
        1.0
    )
    half = performance(daily[:125], dates(125), sessions_per_year=YEAR)
    assert half["annual_return"] == pytest.approx(1.0)
    assert half["total_return"] == pytest.approx(math.sqrt(2) - 1)


def test_figures_agree_with_pandas_and_scipy(returns: np.ndarray) -> None:
    found: Any = performance(returns, dates(600), sessions_per_year=YEAR)
    series = pd.Series(returns)
    wealth = (1 + series).cumprod()
    root = math.sqrt(YEAR)
    assert found["total_return"] == pytest.approx(wealth.iloc[-1] - 1, rel=1e-12)
    assert found["volatility"] == pytest.approx(series.std() * root, rel=1e-12)
    assert found["sharpe"] == pytest.approx(series.mean() / series.std() * root, rel=1e-12)
    assert found["skew"] == pytest.approx(stats.skew(returns), rel=1e-12)
    assert found["var_95"] == pytest.approx(series.quantile(0.05), rel=1e-12)
    assert found["cvar_99"] == pytest.approx(series[series <= series.quantile(0.01)].mean())
    assert found["win_rate"] == (series > 0).mean()
    peak = np.maximum(wealth.cummax(), 1)
    assert found["max_drawdown"] == pytest.approx((wealth / peak - 1).min(), rel=1e-12)
    downside = math.sqrt((np.minimum(series, 0) ** 2).mean())
    assert found["sortino"] == pytest.approx(series.mean() / downside * root, rel=1e-12)
    assert found["calmar"] == pytest.approx(found["annual_return"] / -found["max_drawdown"])
    assert found["sharpe_low"] < found["sharpe"] < found["sharpe_high"]
    assert found["reasons"] == {}


def test_sharpe_error_annualises_like_the_ratio(returns: np.ndarray) -> None:
    found: Any = performance(returns, dates(600), sessions_per_year=YEAR)
    assert found["sharpe_se"] == pytest.approx(math.sqrt(YEAR / 599), rel=0.05)
    assert found["psr"] == pytest.approx(
        stats.norm.cdf(found["sharpe"] / found["sharpe_se"]), rel=1e-9
    )


def test_the_headline_error_allows_for_correlated_returns(returns: np.ndarray) -> None:
    leaning = returns.copy()
    leaning[1:] += 0.5 * returns[:-1]
    found: Any = performance(leaning, dates(600), sessions_per_year=YEAR, hac_lag=5)
    # An average of two neighbours with weights 1 and 1/2: autocorrelation 0.4, variance of the
    # mean (1 + 2 * 0.4) times that of independent returns.
    assert found["sharpe_se"] / found["sharpe_se_mertens"] == pytest.approx(1.8**0.5, rel=0.12)
    low, high = (found["sharpe"] + s * 1.959964 * found["sharpe_se"] for s in (-1, 1))
    assert (found["sharpe_low"], found["sharpe_high"]) == pytest.approx((low, high))


def test_fall_by_hand_with_its_dates() -> None:
    # wealth 1.10 0.99 0.88 0.968 1.2: the peak is the first session, the trough the third
    r = np.array([0.10, -0.10, 0.88 / 0.99 - 1, 0.1, 1.2 / 0.968 - 1])
    found = performance(r, dates(5), sessions_per_year=YEAR)
    assert found["max_drawdown"] == pytest.approx(0.88 / 1.10 - 1)
    assert found["drawdown_peak"] == "2021-01-04"
    assert found["drawdown_trough"] == "2021-01-06"
    assert found["drawdown_recovered"] == "2021-01-08"
    assert found["drawdown_sessions"] == 4


def test_fall_from_the_start_that_lasts_has_no_peak_date_and_no_end() -> None:
    found = performance(np.array([-0.1, -0.1, 0.05]), dates(3), sessions_per_year=YEAR)
    assert found["max_drawdown"] == pytest.approx(0.81 - 1)
    assert found["drawdown_peak"] is None
    assert found["drawdown_trough"] == "2021-01-05"
    assert found["drawdown_recovered"] is None
    assert found["drawdown_sessions"] == 3


def test_sharpe_is_of_the_return_over_cash(returns: np.ndarray) -> None:
    cash = np.full(600, 0.0004)
    over: Any = performance(returns, dates(600), sessions_per_year=YEAR, cash_D=cash)
    shifted: Any = performance(returns - 0.0004, dates(600), sessions_per_year=YEAR)
    assert over["sharpe"] == pytest.approx(shifted["sharpe"])
    assert over["annual_return"] > shifted["annual_return"]


def test_cash_accrues_by_night_at_the_rate_that_the_books_paid(make_books: Any) -> None:
    daily = make_books([0.0] * 6)  # Monday 4 January 2021 ... Monday 11
    annual = [0.0365] * 4 + [0.0730, 0.99]
    rates = pl.DataFrame({"session": daily["session"], "cash_rate_annual": annual})
    assert cash_return(daily, rates) == pytest.approx([0, 1e-4, 1e-4, 1e-4, 1e-4, 6e-4])


def test_a_session_without_a_rate_earns_nothing(make_books: Any) -> None:
    daily = make_books([0.0] * 3)
    rates = pl.DataFrame({"session": [daily["session"][1]], "cash_rate_annual": [0.0365]})
    assert cash_return(daily, rates) == pytest.approx([0.0, 0.0, 1e-4])


def test_costs_by_hand(make_books: Any, make_trades: Any) -> None:
    # Equity before: 1,000, then 1,010.  Paid 5 and nothing more, traded 2,000 and 500 in all.
    daily = make_books([0.01] + [0.0] * 19, cost=[5.0] + [0.0] * 19)
    found: Any = costs(daily, make_trades([2_000.0, -500.0]), YEAR)
    parts = {row["part"]: row for row in found["parts"]}
    assert parts["commission"]["money"] == 5
    assert parts["commission"]["bps_of_traded"] == pytest.approx(5 / 2_500 * 1e4)
    assert parts["commission"]["annual_return"] == pytest.approx(0.005 / (20 / YEAR))
    assert found["earned_before_costs"] == pytest.approx(15)
    assert found["break_even_bps"] == pytest.approx(15 / 2_500 * 1e4)
    assert found["total"] == 5
    assert parts["impact_cost"]["money"] == 0


def test_nineteen_sessions_are_too_short_for_a_figure_of_a_year(
    make_books: Any, make_trades: Any, no_positions: Any
) -> None:
    why = "too short: 19 sessions are fewer than 20"
    r = np.random.default_rng(2).normal(0, 0.01, 20).tolist()
    for n in (19, 20):
        daily = make_books(r[:n], cost=[5.0] * n)
        bill: Any = costs(daily, make_trades([2_000.0, -500.0]), YEAR)
        found: Any = portfolio(daily, no_positions, sessions_per_year=YEAR)
        of_a_year = (
            bill["total_annual_return"],
            bill["parts"][0]["annual_return"],
            found["turnover"]["annual"],
            *(found["net"][name] for name in ("volatility", "skew", "kurtosis", "sharpe")),
        )
        volatility = found["by_year"][0]["volatility"]
        if n < 20:
            assert all(math.isnan(value) for value in of_a_year)
            assert volatility is None
            assert found["turnover"]["reasons"]["annual"] == why
            assert bill["reasons"]["total_annual_return"] == why
            assert found["net"]["reasons"]["volatility"] == why
        else:
            assert all(math.isfinite(value) for value in of_a_year)
            assert volatility == pytest.approx(found["net"]["volatility"])
        # What was earned, paid and traded is known of any span.
        assert bill["total"] == 5 * n
        assert math.isfinite(found["net"]["total_return"])


def test_exits_because_the_archive_stopped_are_counted(make_books: Any, make_trades: Any) -> None:
    made = make_trades([1.0, -1.0, 2.0], ["rebalance", "source_end", "exit: source_end"])
    found: Any = costs(make_books([0.0, 0.0, 0.0]), made, YEAR)
    assert source_end_exits(found["trades_by_reason"]) == 2
    assert found["n_trades"] == 3


def test_calendar_of_returns_agrees_with_pandas(make_books: Any, no_positions: Any) -> None:
    r = np.random.default_rng(3).normal(0, 0.01, 300)
    daily = make_books(r.tolist())
    found: Any = portfolio(daily, no_positions, sessions_per_year=YEAR)
    series = pd.Series(r, index=pd.to_datetime(daily["session"].to_list()))
    monthly = (1 + series).groupby(series.index.strftime("%Y-%m")).prod() - 1
    assert [row["month"] for row in found["by_month"]] == monthly.index.to_list()
    assert [row["net_return"] for row in found["by_month"]] == pytest.approx(monthly.to_list())
    assert len(found["by_year"]) == 2


def test_turnover_implies_a_holding_time(make_books: Any, no_positions: Any) -> None:
    found: Any = portfolio(make_books([0.0] * 20), no_positions, sessions_per_year=YEAR)
    assert found["turnover"]["annual"] == pytest.approx(25)
    # A book of twice equity that turns over a tenth of equity a session lives twenty.
    assert found["turnover"]["holding_sessions"] == pytest.approx(20)


def test_names_held_are_counted_per_session(make_books: Any, no_positions: Any) -> None:
    daily = make_books([0.0, 0.0])
    held = pl.DataFrame(
        {
            "session": [daily["session"][0]] * 3 + [daily["session"][1]],
            "symbol": ["a", "b", "c", "a"],
            "shares": [1.0, 2.0, -3.0, 0.0],
        }
    )
    found: Any = portfolio(daily, held, sessions_per_year=YEAR)
    assert found["exposure"]["longs_mean"] == 1.0
    assert found["exposure"]["shorts_mean"] == 0.5


def test_short_and_flat_series_leave_gaps_with_reasons() -> None:
    found: Any = performance(np.array([0.01] * 10), dates(10), sessions_per_year=YEAR)
    assert math.isnan(found["sharpe"])
    assert "no spread" in found["reasons"]["sharpe"]
    assert found["reasons"]["calmar"] == "there was no drawdown"
    assert "fewer than 20" in found["reasons"]["var_95"]
    assert "fewer than 100" in found["reasons"]["cvar_99"]
    losing: Any = performance(np.array([-0.01, 0.001] * 60), dates(120), sessions_per_year=YEAR)
    assert "not above 0" in losing["reasons"]["min_track_record_years"]


def test_empty_books_have_no_figures_at_all(make_books: Any, make_trades: Any) -> None:
    found: Any = performance(np.array([]), dates(0), sessions_per_year=YEAR)
    figures = {k: v for k, v in found.items() if k not in ("n_sessions", "reasons")}
    assert set(figures.values()) == {None}
    assert set(found["reasons"]) == set(figures)
    full: Any = performance(np.random.default_rng(1).random(200), dates(200), sessions_per_year=1)
    assert set(full) == set(found)
    bill: Any = costs(make_books([]), make_trades([]), YEAR)
    assert bill["total"] is None
    assert bill["break_even_bps"] is None
    assert bill["parts"] == []
