"""Numbers as they are written, and what the verdict dares to say."""

from typing import Any

import pytest

from alpha_assets.report.inputs import main_horizon
from alpha_assets.report.words import bps, money, percent, plain, verdict


def told(
    *,
    ic: float | None = 0.03,
    t: float | None = 3.0,
    sharpe: float | None = 1.0,
    error: float | None = 0.3,
    simulated: bool = False,
    planted: float | None = None,
    break_even: float = 12.0,
    interval: tuple[float | None, float | None] = (0.01, 0.05),
) -> list[str]:
    rank_ic = {"mean": ic, "t": t, "low": interval[0], "high": interval[1]}
    share = None if planted is None or ic is None else ic / planted
    metrics: dict[str, Any] = {
        "signal": {
            "h10": {"rank_ic": rank_ic, "planted": {"oracle_rank_ic": planted, "share": share}}
        },
        "portfolio": {"net": {"sharpe": sharpe, "sharpe_se": error, "min_track_record_years": 4.0}},
        "costs": {
            "trading_bps": 8.0,
            "break_even_bps": break_even,
            "total_annual_return": 0.02,
        },
        "span": {"years": 2.0},
        "data": {"simulated": simulated},
    }
    return verdict(metrics)


def test_numbers_have_true_minus_signs_and_no_negative_zero() -> None:
    assert plain(-1_234.5) == "−1,234.50"
    assert plain(-0.001) == "0.00"
    assert plain(0.5, signed=True) == "+0.50"
    assert plain(None) == "–"
    assert percent(-0.1234) == "−12.3 %"
    assert bps(12.34) == "12.3 bps"
    assert bps(None) == percent(None) == "–"


def test_money_is_shortened_to_its_unit() -> None:
    assert money(1_234_567.0, "JPY") == "1.23 m JPY"
    assert money(-2e9, "USD") == "−2.00 bn USD"
    assert money(12.0, "JPY") == "12 JPY"
    assert money(None, "JPY") == "–"


def test_clear_signal_and_profit_are_said_with_their_error_bars() -> None:
    said = told()
    assert said[0] == (
        "The scores carry information: mean rank IC 0.030 at 10 sessions, "
        "95 % interval 0.010 to 0.050, honest t 3.0."
    )
    assert "Sharpe 1.00 ± 0.30, clear of zero" in said[1]
    assert "4.0 years would be needed" in said[1]
    assert "breaks even at 12.0 bps" in said[2]


def test_weak_signal_and_profit_are_not_called_evidence() -> None:
    said = told(t=1.2, sharpe=0.5, error=0.4)
    assert said[0].startswith("The signal cannot be told from chance")
    assert "not yet evidence of profit" in said[1]


@pytest.mark.parametrize(
    ("sharpe", "words"), [(-0.2, "earned nothing"), (-2.0, "lost money, clearly")]
)
def test_losses_are_called_losses(sharpe: float, words: str) -> None:
    assert words in told(sharpe=sharpe)[1]


def test_inverted_signal_is_called_so() -> None:
    said = told(ic=-0.03, t=-3.0, interval=(-0.05, -0.01))
    assert said[0].startswith("The scores point the wrong way")


def test_more_cautious_of_t_and_interval_decides() -> None:
    held = told(ic=0.06, t=2.4, interval=(-0.007, 0.130))[0]
    assert held.startswith("The signal cannot be told from chance")
    assert held.endswith("95 % interval −0.007 to 0.130, honest t 2.4; the interval holds 0.")
    assert "the interval holds 0" in told(ic=-0.06, t=-2.4, interval=(-0.130, 0.0))[0]
    assert told(t=1.2)[0].startswith("The signal cannot be told from chance")
    short = told(t=3.0, interval=(None, None))[0]
    assert short.startswith("The span is too short to judge the signal")
    assert short.endswith("honest t 3.0, without an interval.")


def test_verdict_is_of_the_horizon_that_is_traded() -> None:
    short = {"rank_ic": {"mean": 0.03, "t": 3.0, "low": 0.01, "high": 0.05}}
    long = {"rank_ic": {"mean": 0.09, "t": 0.5, "low": -0.1, "high": 0.2}}
    metrics: dict[str, Any] = {
        "signal": {"h2": short, "h5": long},
        "data": {"traded_horizon": 2},
    }
    assert "rank IC 0.030 at 2 sessions" in verdict(metrics)[0]
    assert not any("leak" in line for line in verdict(metrics))
    metrics["data"]["traded_horizon"] = 5
    assert "rank IC 0.090 at 5 sessions" in verdict(metrics)[0]
    del metrics["data"]["traded_horizon"]
    assert main_horizon(metrics) == 5


def test_large_coefficient_is_suspicious_on_real_prices_only() -> None:
    assert any("leak until proven otherwise" in line for line in told(ic=0.12))
    assert not any("leak" in line for line in told(ic=0.12, simulated=True))


def test_share_of_what_was_planted_is_said() -> None:
    assert "That is 75 % of the 0.040 that was planted." in told(planted=0.04, simulated=True)


def test_what_is_missing_is_said_to_be_missing() -> None:
    assert told(ic=None)[0].startswith("Of the signal nothing can be said")
    assert "too short" in told(t=None)[0]
    assert told(sharpe=None)[1].startswith("Of the portfolio nothing can be said")


def test_book_that_loses_before_costs_is_not_given_a_break_even() -> None:
    assert "even if trading were free" in told(break_even=-3.0)[-1]
