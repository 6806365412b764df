"""Recipes against one another: by hand, against resampling of both sides, and what must hold."""

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.evaluation.compare import TrackRecord, common_sessions, comparison
from alpha_assets.evaluation.inference import N_BOOTSTRAP, block_length

YEAR = 250.0
FIRST = date(2021, 1, 1)


def days(n: int, start: int = 0) -> list[date]:
    return [FIRST + timedelta(d) for d in range(start, start + n)]


def track(
    recipe: str,
    net_D: Sequence[float] | Array,
    *,
    start: int = 0,
    cash: float = 0.0,
    turnover_D: Sequence[float] | Array | None = None,
    ic: Mapping[int, Sequence[float] | Array] | None = None,
    traded: int = 1,
) -> TrackRecord:
    """Return a track record of daily sessions from the day `start` on."""
    n = len(net_D)
    sessions = days(n, start)
    coefficients = [
        pl.DataFrame({"session": sessions, "horizon": [h] * n, "rank_ic": np.asarray(ic_D)})
        for h, ic_D in (ic or {}).items()
    ]
    schema = {"session": pl.Date, "horizon": pl.Int64, "rank_ic": pl.Float64}
    daily = {
        "session": sessions,
        "net_return": np.asarray(net_D),
        "cash_return": np.full(n, cash),
        "turnover": np.full(n, 0.1) if turnover_D is None else np.asarray(turnover_D),
        "gross_exposure": np.ones(n),
    }
    return TrackRecord(
        recipe=recipe,
        daily=pl.DataFrame(daily),
        ic=pl.concat(coefficients) if coefficients else pl.DataFrame(schema=schema),
        persistence=dict.fromkeys(ic or {}, 0.5),
        traded_horizon=traded,
    )


def compared(*records: TrackRecord, year: float = YEAR) -> Any:
    return comparison(records, year)


def difference(found: Mapping[str, Any], figure: str) -> dict[str, Any]:
    (row,) = [row for row in found["differences"] if row["figure"] == figure]
    assert isinstance(row, dict)
    return row


def correlated(n: int, seed: int, share: float = 0.9) -> tuple[Array, Array]:
    """Return the excess returns of two books that share most of their variance."""
    rng = np.random.default_rng(seed)
    both_D, a_D, b_D = rng.standard_t(5, (3, n)) * 0.01
    shared_D, own = 0.0005 + math.sqrt(share) * both_D, math.sqrt(1 - share)
    return shared_D + own * a_D, shared_D + own * b_D


def test_common_sessions_by_hand() -> None:
    # Only days 1 to 21 are judged of both; what lies on day 0 and day 22 would change all.
    a = track(
        "a",
        [0.90, *[0.02, 0.03, 0.04] * 7],
        cash=0.01,  # excess 1, 2, 3 %, seven times: mean 2, variance 14 / 20
        turnover_D=[9.0, *[0.1, 0.2, 0.3] * 7],  # mean 0.2
        ic={2: [0.9, *[0.1, 0.2, 0.3] * 7]},  # mean 0.2
    )
    b = track(
        "b",
        [*[0.00, 0.02, 0.04] * 7, -0.90],  # excess 0, 2, 4 %: mean 2, variance 4 * 14 / 20
        start=1,
        turnover_D=[*[0.3] * 21, 9.0],
        ic={2: [*[0.5, 0.1, 0.3] * 7, -0.9]},  # mean 0.3
    )
    assert common_sessions([a, b]).to_list() == days(21, start=1)

    found = compared(a, b, year=4.0)  # a root of 2
    first, second = found["recipes"]
    sharpe = 2 / math.sqrt(14 / 20)
    assert first["net"]["sharpe"] == pytest.approx(sharpe * 2)
    assert second["net"]["sharpe"] == pytest.approx(sharpe / 2 * 2)
    assert first["turnover"]["annual"] == pytest.approx(0.2 * 4)
    assert first["rank_ic"]["h2"]["mean"] == pytest.approx(0.2)
    assert second["rank_ic"]["h2"]["mean"] == pytest.approx(0.3)

    assert difference(found, "sharpe")["difference"] == pytest.approx(-sharpe)
    assert difference(found, "turnover")["difference"] == pytest.approx(0.4)
    of_ic = difference(found, "rank_ic")
    assert (of_ic["recipe"], of_ic["against"], of_ic["horizon"]) == ("b", "a", 2)
    assert of_ic["difference"] == pytest.approx(0.1)
    assert of_ic["n_sessions"] == 21


@pytest.mark.parametrize("n", [1, 3, 19, 20])
def test_fewer_than_twenty_common_sessions_are_too_short_for_a_sharpe_ratio(n: int) -> None:
    rng = np.random.default_rng(n)
    # Each book is long enough by itself: what they have in common is not.
    a, b = (track(name, rng.normal(0, 0.01, 30), start=k * (30 - n)) for k, name in enumerate("ab"))
    found = compared(a, b)
    row, figures = difference(found, "sharpe"), [one["net"] for one in found["recipes"]]
    values = [row["difference"], *[one["sharpe"] for one in figures]]

    assert row["n_sessions"] == n
    if n == 20:
        assert not any(math.isnan(value) for value in values)
        return
    assert all(math.isnan(value) for value in values)
    why = f"too short: {n} sessions are fewer than 20"
    assert row["reasons"] == dict.fromkeys(("difference", "low", "high"), why)
    assert all(one["reasons"]["sharpe"] == why for one in figures)


def test_few_sessions_have_a_difference_and_say_why_there_is_no_interval() -> None:
    a = track("a", [0.01, 0.02, 0.03], ic={2: [0.1, 0.2, 0.3]})
    b = track("b", [0.01, 0.03, 0.02], ic={2: [0.2, 0.2, 0.2]})
    row = difference(compared(a, b), "rank_ic")
    assert row["difference"] == pytest.approx(0)
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])
    assert row["reasons"] == dict.fromkeys(
        ("low", "high"), "too short: 3 sessions are fewer than 20"
    )


def test_nineteen_sessions_are_too_short_to_compare_and_twenty_are_not() -> None:
    rng = np.random.default_rng(3)

    def pair(n: int) -> dict[str, Any]:
        a, b = (
            track(name, rng.normal(0, 0.01, n), ic={2: rng.normal(0, 0.1, n).tolist()})
            for name in "ab"
        )
        return compared(a, b)

    why = "too short: 19 sessions are fewer than 20"
    for figure, missing in (
        ("rank_ic", ("low", "high")),
        ("turnover", ("difference", "low", "high")),
        ("sharpe", ("difference", "low", "high")),
    ):
        short, long = difference(pair(19), figure), difference(pair(20), figure)
        assert all(math.isnan(short[name]) for name in missing)
        assert {short["reasons"][name] for name in missing} == {why}
        assert math.isfinite(long["difference"])
    own = pair(19)["recipes"][0]
    assert math.isnan(own["rank_ic"]["h2"]["error"])
    assert math.isnan(own["rank_ic"]["h2"]["low"])
    assert math.isnan(own["turnover"]["annual"])


def test_a_book_without_spread_has_no_difference_of_sharpe_ratios() -> None:
    flat = track("flat", np.full(100, 0.001), cash=0.001)
    other = track("other", np.random.default_rng(0).normal(0, 0.01, 100))
    row = difference(compared(flat, other), "sharpe")
    assert math.isnan(row["difference"])
    why = "the returns of a book have no spread"
    assert row["reasons"] == dict.fromkeys(("difference", "low", "high"), why)
    assert difference(compared(flat, other), "turnover")["difference"] == 0


def test_a_recipe_differs_from_itself_by_exactly_nothing() -> None:
    rng = np.random.default_rng(1)
    one = track("one", rng.normal(0, 0.01, 300), ic={5: rng.normal(0, 0.1, 300)}, cash=0.0001)
    found = compared(one, one)
    assert [row["difference"] for row in found["differences"]] == [0.0, 0.0, 0.0]
    why = "the difference is the same in every session"
    for row in found["differences"]:
        assert row["reasons"] == dict.fromkeys(("low", "high"), why)


def test_differences_change_sign_with_the_order() -> None:
    rng = np.random.default_rng(2)
    a, b = (
        track(
            name,
            rng.normal(0.001, 0.01, 300),
            turnover_D=rng.random(300),
            ic={5: rng.normal(0.02, 0.1, 300)},
        )
        for name in "ab"
    )
    forth, back = compared(a, b)["differences"], compared(b, a)["differences"]
    for one, other in zip(forth, back, strict=True):
        assert one["difference"] == -other["difference"] != 0
        assert one["low"] == pytest.approx(-other["high"], rel=1e-9)
        assert one["high"] == pytest.approx(-other["low"], rel=1e-9)
    assert compared(a, b) == compared(a, b)


def starts_of(n: int, block: int) -> Array:
    """Return the first sessions of the blocks of every draw, as the seed 0 has them."""
    drawn = np.random.default_rng(0).integers(0, n, size=(N_BOOTSTRAP, math.ceil(n / block)))
    return np.asarray(drawn)


def resampled(x_D: Array, block: int) -> Array:
    """Return [draws, blocks, sessions of a block] of a series, around the end."""
    at = (starts_of(len(x_D), block)[:, :, None] + np.arange(block)) % len(x_D)
    return np.asarray(x_D[at])


def error_of_blocks(x_D: Array, block: int) -> float:
    """Return the standard error of a mean from the spread of all n circular blocks."""
    n = len(x_D)
    means = np.array([np.mean(np.roll(x_D, -d)[:block]) for d in range(n)])
    return math.sqrt(float(np.mean((means - x_D.mean()) ** 2)) * block / (n - block))


def studentised(value: float, error: float, drawn_X: Array, errors_X: Array) -> tuple[float, float]:
    lower, upper = np.quantile((drawn_X - value) / errors_X, [0.025, 0.975])
    return value - float(upper) * error, value - float(lower) * error


def test_interval_of_a_rank_ic_is_that_of_resampling_both_sides_together() -> None:
    n, h = 300, 5
    rng = np.random.default_rng(3)
    a_D, b_D = rng.normal(0.02, 0.1, (2, n))
    block = block_length(n, h)
    drawn = resampled(b_D, block).mean(axis=2) - resampled(a_D, block).mean(axis=2)
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(drawn.shape[1])
    value = float(b_D.mean() - a_D.mean())
    want = studentised(value, error_of_blocks(b_D - a_D, block), drawn.mean(axis=1), errors)

    zero_D = rng.normal(0, 0.01, n)
    row = difference(
        compared(track("a", zero_D, ic={h: a_D}), track("b", zero_D, ic={h: b_D})), "rank_ic"
    )
    assert row["block"] == block == 15
    assert (row["low"], row["high"]) == pytest.approx(want, rel=1e-9)


def test_interval_of_a_sharpe_ratio_is_that_of_resampling_both_books_together() -> None:
    """The ratios of every draw anew, as Ledoit & Wolf do; ours is linear in the sessions."""
    n = 500
    a_D, b_D = correlated(n, seed=4)
    block = block_length(n, 1)

    def standardised(x_XBL: Array) -> tuple[Array, Array]:
        flat = x_XBL.reshape(len(x_XBL), -1)
        sd = flat.std(axis=1)
        sharpe = flat.mean(axis=1) / sd
        z = (x_XBL - flat.mean(axis=1)[:, None, None]) / sd[:, None, None]
        return sharpe, z - sharpe[:, None, None] / 2 * (z**2 - 1)

    (a_X, moved_a), (b_X, moved_b) = (standardised(resampled(x_D, block)) for x_D in (a_D, b_D))
    means = (moved_b - moved_a).mean(axis=2)
    errors = means.std(axis=1, ddof=1) / math.sqrt(means.shape[1])
    (a,), whole_a = standardised(a_D[None, None])
    (b,), whole_b = standardised(b_D[None, None])
    error = error_of_blocks((whole_b - whole_a)[0, 0], block)
    low, high = studentised(b - a, error, b_X - a_X, errors)

    row = difference(compared(track("a", a_D), track("b", b_D)), "sharpe")
    root = math.sqrt(YEAR)
    width = (high - low) * root
    assert row["difference"] == pytest.approx((b - a) * root, rel=2e-3)
    assert row["low"] == pytest.approx(low * root, abs=0.03 * width)
    assert row["high"] == pytest.approx(high * root, abs=0.03 * width)


def test_an_interval_of_pairs_is_narrower_than_of_books_by_themselves() -> None:
    a_D, b_D = correlated(750, seed=5)
    found = compared(track("a", a_D), track("b", b_D))
    row = difference(found, "sharpe")
    by_themselves = 2 * 1.96 * math.hypot(*(side["net"]["sharpe_se"] for side in found["recipes"]))
    assert row["high"] - row["low"] < 0.5 * by_themselves  # root(1 - 0.9) of it, and some


def test_an_interval_holds_the_true_difference_in_95_of_100_worlds() -> None:
    n_worlds, held = 200, 0
    for world in range(n_worlds):
        a_D, b_D = correlated(250, seed=1_000 + world, share=0.6)
        sd = 0.01 * math.sqrt(5 / 3)  # of Student's t with 5 degrees of freedom
        row = difference(compared(track("a", a_D), track("b", b_D + 0.001), year=1.0), "sharpe")
        held += row["low"] <= 0.001 / sd <= row["high"]
    assert 0.91 <= held / n_worlds <= 0.985


def test_horizons_of_all_are_compared_that_which_the_first_trades_at_the_front() -> None:
    x = np.random.default_rng(6).normal(0, 0.01, 60)
    a = track("a", x, ic={1: x, 5: x, 10: x}, traded=10)
    b = track("b", x, ic={5: x, 10: x, 20: x}, traded=20)
    c = track("c", x, ic={10: x, 5: x}, traded=10)
    found = compared(a, b, c)
    assert found["horizons"] == [10, 5]
    assert list(found["recipes"][1]["rank_ic"]) == ["h10", "h5"]
    assert [(row["recipe"], row["figure"], row["horizon"]) for row in found["differences"]] == [
        ("b", "rank_ic", 10),
        ("b", "rank_ic", 5),
        ("b", "sharpe", None),
        ("b", "turnover", None),
        ("c", "rank_ic", 10),
        ("c", "rank_ic", 5),
        ("c", "sharpe", None),
        ("c", "turnover", None),
    ]
    blocks = {row["recipe"]: row["block"] for row in found["differences"] if row["horizon"] is None}
    assert blocks == {"b": 60, "c": 30}  # three of the longer traded horizon of the two


def test_a_session_without_a_coefficient_of_one_counts_for_none() -> None:
    a = track("a", np.zeros(4), ic={1: [0.1, 0.2, math.nan, 0.4]})
    b = track("b", np.zeros(4), ic={1: [math.nan, 0.3, 0.9, 0.5]})
    found = compared(a, b)
    assert found["recipes"][0]["rank_ic"]["h1"]["mean"] == pytest.approx((0.2 + 0.4) / 2)
    assert difference(found, "rank_ic")["difference"] == pytest.approx(0.1)
    assert difference(found, "rank_ic")["n_sessions"] == 2
