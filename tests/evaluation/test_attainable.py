"""The share of the attainable: by hand, without the luck of the choice, and when not known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from alpha_assets.backtest.attainable import Setting, settings_around
from alpha_assets.evaluation.attainable import (
    AttainableInputs,
    attainable,
    attainable_record,
    share_of,
)
from alpha_assets.evaluation.sharpe import sharpe_ratio

approx = pytest.approx
SETTINGS = settings_around(1e8)


def woven(even: list[float], odd: list[float]) -> list[float]:
    """Return returns of even and odd sessions in their order."""
    return [x for pair in zip(even, odd, strict=True) for x in pair]


def test_a_rule_is_chosen_on_one_half_and_measured_on_the_other() -> None:
    # Mean and standard deviation (ddof 1) of 1, 2, 3 are 2 and 1; of 3, 5, 7 they are 5 and 2.
    first = woven([0.03, 0.05, 0.07], [-0.01, 0.00, 0.01])  # 2.5 on even sessions, 0 on odd ones
    second = woven([0.01, 0.02, 0.03], [0.09, 0.10, 0.11])  # 2 on even ones, 10 on odd ones
    found = attainable(np.array([first, second]), lag=0)

    assert found.chosen == (0, 1)  # on even sessions the first, on odd ones the second
    assert found.sharpe == approx((0 + 2) / 2)
    assert found.influence_D.sum() == approx(0)


def test_the_best_of_worthless_rules_earns_nothing_where_it_was_not_chosen() -> None:
    # Planted fault: with the choice made on the sessions that measure it, this mean is 0.23.
    rng = np.random.default_rng(3)
    found = [attainable(rng.standard_normal((72, 200)), lag=0) for _ in range(200)]
    mean = np.mean([one.sharpe for one in found])

    assert abs(mean) < 3 * np.std([one.sharpe for one in found]) / math.sqrt(200)
    assert np.mean([one.error for one in found]) == approx(1 / math.sqrt(200), rel=0.25)


def test_rules_without_returns_are_never_chosen() -> None:
    rng = np.random.default_rng(1)
    good_D = 0.01 + 0.01 * rng.standard_normal(60)
    used_up_D = np.where(np.arange(60) < 3, 0.5, np.nan)
    rows = np.stack([used_up_D, np.zeros(60), good_D])

    assert attainable(rows, lag=0).chosen == (2, 2)
    nothing = attainable(rows[:2], lag=0)
    assert nothing.chosen is None
    assert math.isnan(nothing.sharpe)


def test_a_share_of_the_same_returns_is_one_without_error() -> None:
    rng = np.random.default_rng(2)
    half_D = 0.001 + 0.01 * rng.standard_normal(400)
    excess_D = np.repeat(half_D, 2)  # the halves are alike
    best = attainable(excess_D[None], lag=10)
    share, error = share_of(excess_D, best, lag=10)

    assert share == approx(1, rel=2e-3)  # ddof 1 of 400 and of 800 sessions
    assert error < 1e-3
    assert best.error > 0.03


def record(inputs: AttainableInputs, n: int = 100) -> dict[str, object]:
    """Return the record of made-up returns on sessions without interest."""
    return attainable_record(
        inputs, sessions_per_year=245, cash_D=np.zeros(n), counts_D=np.ones(n, dtype=bool)
    )


def made_up(n: int = 100, mean: float = 0.002) -> AttainableInputs:
    rng = np.random.default_rng(4)
    net_RSD = mean + 0.01 * rng.standard_normal((3, len(SETTINGS), n))
    return AttainableInputs(
        settings=SETTINGS,
        rules=("rank", "score", "quantile"),
        net_RSD=net_RSD,
        own_SD=net_RSD[0],
        reached_SD=net_RSD[0] / 2 - 0.0005,
    )


def test_each_setting_has_its_figures_and_the_rules_that_were_chosen() -> None:
    inputs = made_up()
    rows = record(inputs)["sharpe"]
    assert isinstance(rows, list)
    first = rows[1]

    assert [(row["capital"], row["cost_scale"]) for row in rows] == [
        *((1e8, 0.5), (1e8, 1.0), (1e8, 2.0)),
        *((1e6, 1.0), (1e7, 1.0), (1e9, 1.0)),
    ]
    own_D, reached_D = inputs.net_RSD[0, 1], inputs.reached_SD[1]
    assert first["own_rule"] == approx(sharpe_ratio(own_D) * math.sqrt(245))
    assert first["reached"] == approx(sharpe_ratio(reached_D) * math.sqrt(245))
    assert first["reached_share"] == approx(first["reached"] / first["attainable"])
    assert {first["chosen_on_even"], first["chosen_on_odd"]} <= {"rank", "score", "quantile"}
    assert first["reason"] is None


def test_rules_left_out_or_not_walked_are_said_and_never_chosen() -> None:
    inputs = made_up()
    net_RSD = inputs.net_RSD.copy()
    net_RSD[2, 3:] = np.nan  # the third is walked at the first three settings alone
    net_RSD[2, :3] += 0.01
    why = {"cost-aware, weekly": "no solver"}
    found = record(
        replace(
            inputs, net_RSD=net_RSD, left_out=why, unsolved_S=(1, 0, 2, 0, 0, 0), own_unsolved=4
        )
    )
    rows = found["sharpe"]
    assert isinstance(rows, list)

    assert found["left_out"] == why
    assert [row["n_rules"] for row in rows] == [3, 3, 3, 2, 2, 2]
    assert [row["unsolved"] for row in rows] == [1, 0, 2, 0, 0, 0]
    assert {row["own_rule_unsolved"] for row in rows} == {4}
    assert [row["chosen_on_even"] == "quantile" for row in rows] == [True] * 3 + [False] * 3
    assert not any(math.isnan(row["attainable"]) for row in rows)


@pytest.mark.parametrize(
    ("inputs", "n", "words"),
    [
        (AttainableInputs(settings=SETTINGS, why="nothing was planted"), 100, "nothing was plant"),
        (made_up(39), 39, "39 sessions are fewer than 40, 20 to choose a rule on"),
        (made_up(mean=-0.002), 100, "no net Sharpe ratio under these rules"),
    ],
)
def test_a_share_that_is_not_known_says_why(inputs: AttainableInputs, n: int, words: str) -> None:
    found = record(inputs, n)
    rows = found["sharpe"]
    assert isinstance(rows, list)

    for row in rows:
        assert math.isnan(row["reached_share"])
        assert words in row["reason"]


def test_an_own_rule_that_reads_features_has_no_figures_and_says_why() -> None:
    inputs = AttainableInputs(
        settings=(Setting(1e8),),
        rules=("rank",),
        net_RSD=made_up().net_RSD[:1, :1],
        reached_SD=made_up().reached_SD[:1],
    )
    (row,) = record(inputs)["sharpe"]  # type: ignore[misc]

    assert math.isnan(row["own_rule_share"])
    assert "reads more than the scores" in row["own_rule_reason"]
    assert not math.isnan(row["reached_share"])
