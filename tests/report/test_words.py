"""Numbers as they are written, and what the verdict dares to say."""

from typing import Any

import pytest

from alpha_assets.report.attainable_table import attainable_table, chosen_rules_table
from alpha_assets.report.inputs import main_horizon
from alpha_assets.report.words import (
    between,
    bps,
    money,
    percent,
    plain,
    unbroken,
    verdict,
    warnings,
)


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


def test_an_interval_that_is_missing_is_replaced_by_its_reason() -> None:
    assert between({"low": -0.012, "high": 0.034}) == "−0.012 to 0.034"
    assert between({"low": None, "high": None}) == "no interval"
    why = "41 sessions are fewer than 3 blocks of 30"
    without = {"low": None, "high": None, "reasons": {"low": why, "high": why}}
    assert between(without) == f"no interval: {why}"


def test_clear_signal_and_profit_are_said_with_their_error_bars() -> None:
    said = told()
    assert said[0] == (
        "The scores carry information: mean rank IC 0.030 at 10 sessions, "
        "95 % interval 0.010 to 0.050, t (smallest of three) 3.0."
    )
    assert "Sharpe 1.00 ± 0.30, clear of zero" in said[1]
    assert "4.0 years would be needed" in said[1]
    assert "breaks even at 12.0 bps" in said[2]


def test_weak_signal_and_profit_are_not_called_evidence() -> None:
    said = told(t=1.2, sharpe=0.5, error=0.4)
    assert said[0].startswith("The signal cannot be distinguished from chance")
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
    assert held.startswith("The signal cannot be distinguished from chance")
    assert held.endswith(
        "95 % interval −0.007 to 0.130, t (smallest of three) 2.4; the interval holds 0."
    )
    assert "the interval holds 0" in told(ic=-0.06, t=-2.4, interval=(-0.130, 0.0))[0]
    assert told(t=1.2)[0].startswith("The signal cannot be distinguished from chance")
    short = told(t=3.0, interval=(None, None))[0]
    assert short.startswith("The span is too short to judge the signal")
    assert short.endswith("t (smallest of three) 3.0, without an interval.")


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
    words = "That is 75 % of the 0.040 that the planted drift is estimated to reach."
    assert words in told(planted=0.04, simulated=True)


def test_share_of_what_was_planted_is_not_known_where_the_estimate_is_not() -> None:
    planted = {"oracle_rank_ic": None, "share": None, "reason": "nothing was planted"}
    rank_ic = {"mean": 0.03, "t": 3.0, "low": 0.01, "high": 0.05}
    said = verdict({"signal": {"h10": {"rank_ic": rank_ic, "planted": planted}}})
    assert said[1] == (
        "What share of the planted drift that is, is not known: nothing was planted."
    )


def test_what_is_missing_is_said_to_be_missing() -> None:
    assert told(ic=None)[0].startswith("The signal cannot be judged")
    assert "too short" in told(t=None)[0]
    assert told(sharpe=None)[1].startswith("The portfolio cannot be judged")


def test_a_book_that_is_too_short_says_so_and_what_trading_cost_without_a_figure_of_a_year() -> (
    None
):
    why = "too short: 6 sessions are fewer than 20"
    net = {"sharpe": None, "sharpe_se": None, "reasons": {"sharpe": why}}
    costs = {"trading_bps": 24.1, "break_even_bps": 11.9, "total_annual_return": None}
    said = verdict({"portfolio": {"net": net}, "costs": costs})
    assert f"The portfolio cannot be judged: {why}." in said
    assert said[-1] == (
        "Trading cost 24.1 bps of what was traded, and the book breaks even at 11.9 bps."
    )


def test_book_that_loses_before_costs_is_not_given_a_break_even() -> None:
    assert "even if trading were free" in told(break_even=-3.0)[-1]


def test_sessions_that_nothing_decided_are_named_with_what_was_earned_in_them() -> None:
    before = {
        "first_session": "2019-01-02",
        "last_session": "2019-06-28",
        "n_sessions": 124,
        "why": "too little history for a model, the first month with enough is 2019-07",
        "net_return": None,
    }
    hole = {**before, "why": "no name had a bar", "net_return": -0.0031}
    found = warnings({"span": {"undecided": [before, hole]}})
    assert found == [
        "2019-01-02 to 2019-06-28 (124 sessions) was asked for and not decided: too little history "
        "for a model, the first month with enough is 2019-07. It counts in no figure.",
        "2019-01-02 to 2019-06-28 (124 sessions) was asked for and not decided: no name had a bar. "
        "It counts in no figure; what was held stayed as it was and earned −0.31 %.",
    ]
    many = warnings({"span": {"undecided": [hole] * 7}})
    assert len(many) == 6
    assert many[-1].startswith("2 more stretches, 248 sessions in all")


def test_sessions_of_equal_scores_are_named() -> None:
    figures = {"n_sessions_constant": 3, "n_sessions_predicted": 61}
    (found,) = warnings({"signal": {"h5": figures}})
    assert found.startswith("In 3 of 61 sessions every name has the same score")
    assert warnings({"signal": {"h5": {**figures, "n_sessions_constant": 0}}}) == []


def rule(**changed: object) -> dict[str, Any]:
    usual = {
        "n": 13,
        "n_empty": 13,
        "reasons": [{"reason": "a side has fewer than 2 names", "n_rebalances": 13}],
        "names_scored": 12.0,
        "n_sessions": 61,
        "n_sessions_empty": 61,
        "quantile": 0.1,
        "count": None,
        "min_side": 2,
    }
    return {"portfolio": {"rebalances": {**usual, **changed}}}


def test_book_that_holds_nothing_has_its_reason_and_a_way_out() -> None:
    (empty,) = warnings(rule())
    assert empty == (
        "13 of 13 rebalances held nothing: a side has fewer than 2 names (13 times). With quantile "
        "0.10, 12 scored names (median) ask for 1 a side and portfolio.min_side = 2: set "
        "portfolio.quantile to 0.17 or more, portfolio.count to 2 or more, or portfolio.min_side "
        "to less, or bring more names."
    )
    assert round(0.17 * 12) >= 2
    (three,) = warnings(rule(names_scored=3.0))  # no quantile of at most 0.5 gives two of three
    assert "portfolio.quantile to" not in three
    (unfilled,) = warnings(rule(n_empty=0, reasons=[]))
    assert unfilled.startswith("The book was empty at every close although 13 of 13 rebalances")
    assert warnings(rule(n_empty=0, reasons=[], n_sessions_empty=3)) == []
    (never,) = warnings(rule(n=0, n_empty=0, reasons=[], names_scored=None))
    assert never.startswith("No session of the span is a rebalance")


def test_the_share_of_the_attainable_is_said_or_why_it_is_not_known() -> None:
    own = {
        "cost_scale": 1.0,
        "attainable": 3.0,
        "reached_share": 0.25,
        "reached_share_error": 0.1,
        "own_rule_share": 0.9,
    }
    said = verdict({"attainable": {"sharpe": [own | {"cost_scale": 0.5}, own]}})
    assert (
        "That is 25 % ± 10 % of the 3.00 that the planted drift earns under the best of a family "
        "of rules at these costs and this capital; the planted drift itself keeps 90 % under this "
        "rule."
    ) in said
    unknown = own | {"reached_share": None, "reason": "nothing was planted"}
    assert "What share of the attainable that is, is not known: nothing was planted." in verdict(
        {"attainable": {"sharpe": [unknown]}}
    )


def test_what_is_left_out_of_the_family_is_said_and_what_was_not_solved() -> None:
    own = {"cost_scale": 1.0, "attainable": 3.0, "reached_share": 0.25, "unsolved": 2}
    why = "it needs CVXPY; install the extra with: pip install 'alpha-assets[portfolio]'"
    found = {"sharpe": [own, own | {"unsolved": 1}], "left_out": {"cost-aware, weekly": why}}
    said = verdict({"attainable": found})

    assert f"The rule “cost-aware, weekly” is left out of that family: {why}." in said
    assert any(
        words.startswith("At 3 rebalances of that family's cost-aware rule") for words in said
    )
    nothing = {"sharpe": [own | {"unsolved": 0}], "left_out": {}}
    assert not any("that family" in words for words in verdict({"attainable": nothing}))


def test_the_table_of_the_attainable_says_not_known_and_why() -> None:
    row = {"capital": 1e8, "cost_scale": 1.0, "reason": "nothing was planted"}
    (shown,) = attainable_table({"attainable": {"sharpe": [row]}}).rows

    assert [cell.text for cell in shown[:5]] == ["100.00 m ", "× 1.0", *["not known"] * 3]
    assert {cell.hint for cell in shown[2:7]} == {"nothing was planted"}


def test_the_rules_that_attain_have_a_table_of_their_own() -> None:
    row = {"capital": 1e8, "cost_scale": 2.0, "chosen_on_even": "daily", "chosen_on_odd": None}
    metrics = {"attainable": {"sharpe": [row]}, "data": {"currency": "JPY"}}
    shown = chosen_rules_table(metrics)

    assert [[cell.text for cell in line] for line in shown.rows] == [
        ["100.00 m JPY", "× 2.0", "daily", "–"]
    ]
    assert len(shown.columns) == 4
    assert len(attainable_table(metrics).columns) == len(attainable_table(metrics).rows[0]) == 7


def test_no_line_of_the_page_ends_before_a_percent_or_beside_plus_minus() -> None:
    text = "95 % interval, Sharpe 2.08 ± 1.45, a − b"
    assert unbroken(text) == "95\u00a0% interval, Sharpe 2.08\u00a0±\u00a01.45, a − b"
