"""The figures that `run` and `results` print."""

from typing import Any

import numpy as np

from alpha_assets.evaluation.inference import overlapping_mean
from alpha_assets.pipeline.results import headline_figures


def printed(n_sessions: int) -> dict[str, str]:
    """Return the figures of a rank IC of so many sessions, a horizon of 10."""
    x_D = np.random.default_rng(0).normal(0.02, 0.1, n_sessions)
    rank_ic: dict[str, Any] = overlapping_mean(x_D, 10, 0.9, seed=0)
    of_json = {k: None if v != v else v for k, v in rank_ic.items()}  # as metrics.json has it
    sharpe = {"sharpe": None, "sharpe_se": None}
    portfolio = {"net": sharpe, "gross": sharpe}
    return headline_figures({"signal": {"h10": {"rank_ic": of_json}}, "portfolio": portfolio})


def test_an_interval_is_printed_or_why_there_is_none() -> None:
    few = printed(42)["rank IC h10"]
    assert few.endswith(", no interval: 42 sessions are fewer than 3 blocks of 30")
    assert "–" not in few

    enough = printed(90)["rank IC h10"]
    assert enough.endswith("]")
    assert enough.count(",") == 1


def test_the_share_of_the_attainable_is_printed_or_not_known() -> None:
    nothing = dict.fromkeys(
        ("reached_share", "reached_share_error", "own_rule_share", "own_rule_share_error")
    )
    half = nothing | {"cost_scale": 0.5, "attainable": 4.0, "attainable_error": 0.5}
    known = {"reached_share": 0.25, "reached_share_error": 0.1}
    own = half | {"cost_scale": 1.0, "attainable": 3.0} | known
    sharpe = {"sharpe": None, "sharpe_se": None}
    shown = headline_figures(
        {
            "signal": {},
            "portfolio": {"net": sharpe, "gross": sharpe},
            "attainable": {"sharpe": [half, own], "reason": None},
        }
    )

    assert shown["  share of attainable Sharpe"] == "25 % ± 10 % of 3.00 ± 0.50"
    assert shown["  share of attainable Sharpe, planted drift under this rule"] == "not known"


def test_a_ratio_that_cannot_be_had_says_why_and_what_held_a_book_back_is_counted() -> None:
    why = "too short: 6 sessions are fewer than 20"
    none = {"sharpe": None, "sharpe_se": None, "reasons": {"sharpe": why}}
    counts = {"n": 10, "n_empty": 0, "n_below_exposure": 4, "n_capped": 3, "n_over_cap": 0}
    portfolio = {
        "net": none,
        "gross": {"sharpe": 1.0, "sharpe_se": 0.5},
        "rebalances": {**counts, "n_unsolved": 2},
        "legs": {"long": {"net": none}, "short": {"net": {"sharpe": 2.0, "sharpe_se": 0.5}}},
    }
    shown = headline_figures({"signal": {}, "portfolio": portfolio})
    assert shown == {
        "Sharpe, net": f"none: {why}",
        "Sharpe, gross": "1.00 ± 0.50",
        "rebalances that aimed at less than the exposure": "4 of 10",
        "rebalances that stopped at max_turnover": "3 of 10",
        "rebalances at which the solver did not converge": "2 of 10",
        "  long leg, net": f"none: {why}",
        "  short leg, net": "2.00",
    }
