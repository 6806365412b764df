"""The ceiling of least squares and correlations with components, by hand."""

import math
from typing import Any

import numpy as np
import pytest

from alpha_assets.evaluation.planted import Learning, ceiling, ceiling_record, effective_values
from alpha_assets.evaluation.signal import signal


def test_the_ceiling_by_hand() -> None:
    # x = 10,000 · 0.1² = 100 beside 300 inputs: sqrt(100 / 400)
    assert ceiling(0.1, 10_000, 300) == pytest.approx(0.5)


def test_labels_that_overlap_count_for_less_by_hand() -> None:
    # VIF of 2 sessions at 0.5: 1 + 2 · 0.5 · (1 − 1/2) = 1.5
    assert effective_values(30, 100, 2, 0.5) == pytest.approx(2_000)


def test_least_squares_reaches_the_ceiling_on_average() -> None:
    rng = np.random.default_rng(4)
    n, p, ic = 2_000, 40, 0.1
    beta_P = np.zeros(p)
    beta_P[:4] = ic / 2  # squares sum to ic²
    reached = []
    for _ in range(200):
        x_NP = rng.standard_normal((n, p))
        y_N = x_NP @ beta_P + np.sqrt(1 - ic**2) * rng.standard_normal(n)
        fit_P = np.linalg.lstsq(x_NP, y_N, rcond=None)[0]
        reached.append(fit_P @ beta_P / np.linalg.norm(fit_P) / np.linalg.norm(beta_P))
    # The mean of a ratio lies a little below the ratio of means.
    assert np.mean(reached) == pytest.approx(ceiling(ic, n, p), abs=0.02)


@pytest.mark.parametrize(
    ("planted", "persistence"),
    [("nothing was planted", {1: 0.5}), (0.0, {1: 0.5}), (0.1, {2: 0.5})],
)
def test_a_ceiling_that_is_not_known_is_nan(
    planted: float | str, persistence: dict[int, float | None]
) -> None:
    record = ceiling_record(planted, 100, 1, Learning(252, 7, persistence))
    assert isinstance(record["ceiling"], float)
    assert math.isnan(record["ceiling"])
    assert record["n_inputs"] == 7


def test_a_share_has_its_ceiling_and_scores_their_components(world: Any) -> None:
    # A component that is the score, one that is minus it in every other session, one of noise.
    sessions = world.predictions["session"].unique().sort()
    sign = {day: 1.0 if place % 2 else -1.0 for place, day in enumerate(sessions)}
    noise = np.random.default_rng(99).standard_normal(len(world.predictions))
    components = world.predictions.select(
        "session",
        "symbol",
        itself=world.predictions["score"],
        turned=world.predictions["score"]
        * world.predictions["session"].replace_strict(sign, return_dtype=float),
        noise=noise,
    )

    found: Any = signal(
        world.predictions,
        world.labels,
        oracle={1: 0.2},
        learning=Learning(100, 24, {1: 0.9}),
        components=components,
    ).statistics["h1"]

    # 100 sessions · 60 names · 0.2² = 240 beside 24 inputs, one session: nothing overlaps
    assert found["planted"]["ceiling"] == pytest.approx(math.sqrt(240 / 264))
    itself, turned, drawn = found["components"]
    assert itself["correlation"] == pytest.approx(1)
    assert turned["correlation"] == pytest.approx(0)
    assert abs(drawn["correlation"]) < 3 * drawn["error"]
    assert drawn["error"] < 0.03
