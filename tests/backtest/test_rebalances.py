"""Which sessions rebalance: the first of their period that can be decided, known on the day."""

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from tests.backtest.market import TOKYO

from alpha_assets.backtest import QuantileSpec
from alpha_assets.backtest.portfolio import Known, decided
from alpha_assets.backtest.rebalances import (
    below_exposure,
    displaced,
    held_back,
    little_aimed_at,
    rebalance_sessions,
    thin_sides,
)
from alpha_assets.backtest.rules import CostAwareSpec
from alpha_assets.backtest.rules.cost_aware import UNSOLVED
from alpha_assets.backtest.rules.quantile import BOTTOM, TOP
from alpha_assets.calendar import RebalanceRule

NONE: list[str] = []


def days(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def june(first: int, last: int) -> np.ndarray:
    return TOKYO.between(f"2023-06-{first:02d}", f"2023-06-{last:02d}")


def rebalanced(decided: np.ndarray, rule: RebalanceRule, earlier: list[str] = NONE) -> list[str]:
    found = rebalance_sessions(decided, days(earlier), TOKYO, rule)
    return [str(day) for day in found]


def test_a_week_whose_monday_cannot_be_decided_is_rebalanced_on_the_next_session_that_can() -> None:
    # Mondays of June 2023: 5, 12, 19, 26.  Nothing is decided on the 12th and the 13th.
    decided = days([d for d in june(5, 23).astype(str) if d not in ("2023-06-12", "2023-06-13")])

    assert rebalanced(decided, "weekly") == ["2023-06-05", "2023-06-14", "2023-06-19"]


def test_a_month_whose_first_session_cannot_be_decided_is_rebalanced_later() -> None:
    assert rebalanced(june(2, 30), "monthly") == ["2023-06-02"]


def test_every_decided_session_rebalances_daily() -> None:
    assert rebalanced(june(5, 8), "daily") == [f"2023-06-0{d}" for d in (5, 6, 7, 8)]


def test_a_week_that_began_in_the_month_before_is_rebalanced_once() -> None:
    # Thursday 2023-06-01 belongs to the week of Monday 2023-05-29.
    july = june(1, 6)
    assert rebalanced(july, "weekly", ["2023-05-30", "2023-05-31"]) == ["2023-06-05"]
    assert rebalanced(july, "weekly") == ["2023-06-01", "2023-06-05"]


def test_nothing_decided_rebalances_nothing() -> None:
    assert rebalanced(days([]), "weekly") == []
    assert rebalanced(days([]), "weekly", ["2023-05-30"]) == []


@pytest.mark.parametrize("rule", ["daily", "weekly", "monthly"])
def test_the_rule_can_be_followed_on_the_day(rule: RebalanceRule) -> None:
    """Whether D rebalances does not depend on which later sessions can be decided."""
    rng = np.random.default_rng(0)
    sessions = TOKYO.between("2023-03-01", "2023-09-29")
    decided = sessions[rng.random(len(sessions)) < 0.4]
    whole = rebalanced(decided, rule)
    for n in range(1, len(decided)):
        assert rebalanced(decided[:n], rule) == [d for d in whole if d <= str(decided[n - 1])]


def test_what_was_moved_and_missed_is_counted_and_named() -> None:
    sessions = june(5, 30)
    found = displaced(days(["2023-06-05", "2023-06-14", "2023-06-26"]), sessions, TOKYO, "weekly")

    assert found.sentences == (
        "1 rebalances came later than the first session of their period, because no name of the "
        "universe had a bar on the session before: 2023-06-14 instead of 2023-06-12.",
        "1 rebalances were missed, because on no session of their period a name of the universe "
        "had a bar on the session before: due 2023-06-19.",
    )


def test_a_period_that_is_not_over_is_not_missed_and_one_that_began_before_is_not_due() -> None:
    # The 20th is a Tuesday; the first of June a Thursday.
    found = displaced(days(["2023-06-12"]), june(1, 20), TOKYO, "weekly")

    assert [str(day) for day in found.missed] == ["2023-06-05"]
    assert found.moved == ()
    assert displaced(days([]), days([]), TOKYO, "monthly").sentences == ()


WHEN = (date(2023, 6, 5), date(2023, 6, 12), date(2023, 6, 19))


def test_limits_that_leave_much_less_than_the_exposure_are_named() -> None:
    low = little_aimed_at({WHEN[0]: 0.95, WHEN[1]: 0.4, WHEN[2]: math.nan})
    assert low == {WHEN[1]: 0.4}
    (words,) = below_exposure(low, 3, QuantileSpec(horizon=5, max_weight=0.2))
    assert words.startswith(
        "At 1 of 3 rebalances the limits left less than 90% of portfolio.gross_exposure = 1 to aim "
        "at, first 0.4 at 2023-06-12: portfolio.max_weight = 0.2 "
    )
    assert below_exposure({}, 3, QuantileSpec(horizon=5, max_weight=0.2)) == ()
    # What a rule weighs against its costs is its own choice, and no limit's.
    (words,) = below_exposure(low, 3, CostAwareSpec(rule="cost_aware", horizon=5, max_weight=0.2))
    assert "rule = 'cost_aware' aimed at less than 90%" in words
    assert words.endswith("no more worth holding, inside portfolio.max_weight = 0.2.")


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"step": 0.25},
        {"quantile": 0.25, "exit_quantile": 0.5},
        {"max_turnover": 0.1},
        {"regimes": {"crash": 0.5}},
        {"volatility_target": 0.01},
    ],
    ids=str,
)
def test_what_counts_is_what_the_rule_aims_at_and_not_what_is_held_on_the_way(
    keys: dict[str, object],
) -> None:
    names = [f"n{k:02}" for k in range(20)]
    scores = pl.DataFrame(
        {"session": [WHEN[0]] * 20, "symbol": names, "horizon": [5] * 20, "score": range(20)},
        schema_overrides={"score": pl.Float64},
    )
    days = [WHEN[0] - timedelta(days=k) for k in range(60)]
    noise = np.random.default_rng(0).normal(0, 0.02, (60, 20))
    returns = pl.DataFrame(
        [(d, n, noise[i, j]) for i, d in enumerate(days) for j, n in enumerate(names)],
        schema={"session": pl.Date, "symbol": pl.String, "ret_1": pl.Float64},
        orient="row",
    )
    features = pl.DataFrame({"symbol": names, "regime_crash": [1.0] * 20})
    known = Known(returns=returns, features=features)
    spec = {"horizon": 5, "quantile": 0.25, **keys}
    free = decided(scores, known, QuantileSpec.model_validate(spec))
    held = decided(scores, known, QuantileSpec.model_validate({**spec, "max_weight": 0.04}))

    assert free.filled == pytest.approx(1.0)
    assert held.filled == pytest.approx(10 * 0.04)
    # What is held of it on the way there may be less.
    assert held.rows["target_weight"].abs().sum() <= 10 * 0.04 + 1e-12
    if keys and "exit_quantile" not in keys:
        assert free.rows["target_weight"].abs().sum() < 0.9


def test_rebalances_that_stop_at_the_cap_are_counted_with_what_is_held() -> None:
    targets = pl.DataFrame(
        {
            "session": [WHEN[0], WHEN[0], WHEN[1], WHEN[1], WHEN[2], WHEN[2]],
            "symbol": ["A", "B"] * 3,
            "target_weight": [0.1, -0.1, 0.2, -0.2, 0.2, -0.25],
            "reason": ["top quantile", "bottom quantile"] * 3,
        }
    )
    found = held_back(targets, 0.2)
    assert found.capped == WHEN[:2]
    (words,) = found.sentences
    assert words.startswith(
        "At 2 of 3 rebalances trading stopped at portfolio.max_turnover, short of what the rule "
        "aims at; the last one holds 0.45 of equity: 2023-06-05, 2023-06-12."
    )
    assert held_back(targets, 0.3).capped == ()


def test_sides_and_bands_that_the_universe_is_too_small_for_are_named() -> None:
    def targets(n_top: int, n_bottom: int, n: int = 10) -> pl.DataFrame:
        reasons = [TOP] * n_top + ["not in a quantile"] * (n - n_top - n_bottom)
        return pl.DataFrame(
            {
                "session": [WHEN[0]] * n,
                "symbol": [f"n{k}" for k in range(n)],
                "score": [float(k) for k in range(n)],
                "target_weight": [0.1] * n,
                "reason": reasons + [BOTTOM] * n_bottom,
            }
        )

    (words,) = thin_sides(targets(7, 3), QuantileSpec(horizon=5, count=7))
    assert "At 1 of 1 rebalances a side has fewer names than portfolio.count = 7" in words
    assert "first 7 long and 3 short at 2023-06-05" in words
    assert thin_sides(targets(5, 5), QuantileSpec(horizon=5, count=5)) == ()
    assert thin_sides(targets(2, 2), QuantileSpec(horizon=5, quantile=0.2)) == ()

    (words,) = thin_sides(targets(3, 3), QuantileSpec(horizon=5, count=3, exit_count=8))
    assert "reaches among those that the other side holds, first at 2023-06-05" in words
    assert "below rank 8 of 10 (portfolio.exit_count)" in words
    assert thin_sides(targets(3, 3), QuantileSpec(horizon=5, count=3, exit_count=7)) == ()
    long_only = {"rule": "long_only_quantile", "horizon": 5, "count": 3, "exit_count": 10}
    (words,) = thin_sides(targets(3, 0), QuantileSpec.model_validate(long_only))
    assert "reaches to the last name" in words


def test_only_the_first_five_are_listed() -> None:
    found = displaced(days([]), june(1, 30), TOKYO, "daily")

    assert found.sentences[0].startswith("22 rebalances were missed")
    assert found.sentences[0].endswith("2023-06-06, 2023-06-07, and 17 more.")


def test_rebalances_that_were_held_back_are_counted_and_named() -> None:
    when = [date(2023, 6, 5), date(2023, 6, 12), date(2023, 6, 19)]
    targets = pl.DataFrame(
        {
            "session": [when[0], when[0], when[1], when[1], when[2], when[2]],
            "symbol": ["A", "B"] * 3,
            "target_weight": [0.2, -0.2, 0.5, -0.2, 0.5, -0.2],
            "reason": ["held by the rule"] * 4 + [UNSOLVED] * 2,
        }
    )
    # Changes 0.4, 0.3, 0; from 0.1 of A 0.3, 0.3, 0.
    assert held_back(targets, 0.35).over_cap == (when[0],)
    found = held_back(targets, 0.35, {"A": 0.1})
    assert found.over_cap == ()
    assert found.unsolved == (when[2],)
    assert held_back(targets, None).over_cap == ()
    unsolved, over = held_back(targets, 0.2).sentences
    assert unsolved.startswith("At 1 rebalances the solver did not converge, and what was held")
    assert over.endswith("portfolio.max_turnover allows: 2023-06-05, 2023-06-12.")
