"""From scores to weights: by hand, with ties, barred names, limits and too few names."""

from collections.abc import Mapping
from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.backtest.market import FREE, PLAIN, TOKYO, books, day, path, raw

from alpha_assets.backtest import PortfolioSpec, QuantileSpec
from alpha_assets.backtest.portfolio import TARGETS, check_portfolio, target_weights
from alpha_assets.calendar import RebalanceRule
from alpha_assets.errors import BadInput, SpecError

SESSION = date(2023, 6, 5)
FIFTH = QuantileSpec(horizon=5, quantile=0.2)
approx = pytest.approx


def scores(values: Mapping[str, float | None], horizon: int = 5) -> pl.DataFrame:
    """Return scores of one session, the last symbol first: their order means nothing."""
    names = list(values)[::-1]
    return pl.DataFrame(
        {
            "session": [SESSION] * len(names),
            "symbol": names,
            "horizon": pl.Series([horizon] * len(names), dtype=pl.Int16),
            "score": pl.Series([values[name] for name in names], dtype=pl.Float32),
            "model_month": ["2023-06"] * len(names),
        }
    )


def ranked(n: int) -> dict[str, float]:
    """Return n names; the first has the best score."""
    return {f"S{k:02d}": float(n - k) for k in range(n)}


def weights(values: Mapping[str, float], spec: PortfolioSpec, *barred: str) -> dict[str, float]:
    """Return the weights that are not 0."""
    frame = target_weights(scores(values), barred, spec)
    return {s: w for s, w in frame.select("symbol", "target_weight").rows() if w != 0}


def reasons(values: Mapping[str, float], spec: PortfolioSpec, *barred: str) -> dict[str, str]:
    frame = target_weights(scores(values), barred, spec)
    return dict(frame.select("symbol", "reason").rows())


def test_the_best_fifth_is_bought_and_the_worst_fifth_is_sold() -> None:
    # Ten names: two a side, each side half of the exposure, each name half of its side.
    assert weights(ranked(10), FIFTH) == {"S00": 0.25, "S01": 0.25, "S08": -0.25, "S09": -0.25}


def test_every_scored_name_has_a_row_in_the_order_of_symbols_and_says_why() -> None:
    frame = target_weights(scores(ranked(10)), (), FIFTH)

    assert frame.schema == TARGETS
    assert frame["symbol"].to_list() == [f"S{k:02d}" for k in range(10)]
    assert frame["reason"].to_list() == [
        *["top quantile"] * 2,
        *["not in a quantile"] * 6,
        *["bottom quantile"] * 2,
    ]


def test_long_only_puts_all_exposure_into_the_best() -> None:
    spec = FIFTH.model_copy(update={"rule": "long_only_quantile", "gross_exposure": 0.9})

    assert weights(ranked(10), spec, "S09") == {"S00": 0.45, "S01": 0.45}
    assert reasons(ranked(10), spec, "S09")["S09"] == "not in a quantile"


def test_names_of_equal_score_stand_in_the_order_of_symbols() -> None:
    flat = dict.fromkeys((f"S{k:02d}" for k in range(10)), 1.0)

    assert weights(flat, FIFTH) == {"S00": 0.25, "S01": 0.25, "S08": -0.25, "S09": -0.25}


def test_names_that_cannot_be_borrowed_are_passed_over_and_may_still_be_bought() -> None:
    assert weights(ranked(10), FIFTH, "S00", "S09") == {
        "S00": 0.25,
        "S01": 0.25,
        "S07": -0.25,
        "S08": -0.25,
    }
    assert reasons(ranked(10), FIFTH, "S00", "S09")["S09"] == "not shortable"
    assert reasons(ranked(10), FIFTH, "S00", "S09")["S00"] == "top quantile"


def test_no_name_is_on_both_sides() -> None:
    half = FIFTH.model_copy(update={"quantile": 0.5, "min_side": 1})
    barred = [f"S{k:02d}" for k in range(1, 5)]

    # Of five names two are bought; the one that may be sold is bought already.
    assert weights(ranked(5), half, *barred) == {}
    assert weights(ranked(3), half) == {"S00": 0.25, "S01": 0.25, "S02": -0.5}


@pytest.mark.parametrize("n", [0, 1, 5, 7])
def test_too_few_names_hold_nothing(n: int) -> None:
    frame = target_weights(scores(ranked(n)), (), FIFTH)

    assert frame.height == n
    assert frame.schema == TARGETS
    assert set(frame["target_weight"]) <= {0.0}
    assert set(frame["reason"]) <= {"a side has fewer than 2 names"}


def test_too_few_names_that_can_be_borrowed_hold_nothing_at_all() -> None:
    barred = [f"S{k:02d}" for k in range(2, 9)]

    assert weights(ranked(10), FIFTH, *barred) == {}


def test_a_count_says_how_many_names_a_side_has() -> None:
    spec = FIFTH.model_copy(update={"count": 3})
    found = weights(ranked(10), spec)

    assert sorted(found) == ["S00", "S01", "S02", "S07", "S08", "S09"]
    assert sum(map(abs, found.values())) == approx(1.0)


def test_score_weights_follow_the_distance_from_the_median() -> None:
    # Scores 5, 4, 1, 0, -1, -5: the median is 0.5; the distances 4.5 and 3.5 make 8.
    values = {"A": 5.0, "B": 4.0, "C": 1.0, "D": 0.0, "E": -1.0, "F": -5.0}
    spec = FIFTH.model_copy(update={"count": 2, "weighting": "score"})

    assert weights(values, spec) == approx(
        {"A": 0.5 * 4.5 / 8, "B": 0.5 * 3.5 / 8, "E": -0.5 * 1.5 / 7, "F": -0.5 * 5.5 / 7}
    )


def test_what_a_limit_cuts_off_goes_to_the_others_of_the_side() -> None:
    values = {"A": 5.0, "B": 4.0, "C": 1.0, "D": 0.0, "E": -1.0, "F": -5.0}
    spec = FIFTH.model_copy(update={"count": 2, "weighting": "score", "max_weight": 0.27})

    assert weights(values, spec) == approx({"A": 0.27, "B": 0.23, "E": -0.23, "F": -0.27})


def test_what_nobody_may_take_stays_in_cash() -> None:
    spec = FIFTH.model_copy(update={"max_weight": 0.1})

    assert weights(ranked(10), spec) == {"S00": 0.1, "S01": 0.1, "S08": -0.1, "S09": -0.1}


def test_only_scores_of_the_traded_horizon_count() -> None:
    both = pl.concat([scores(ranked(10)), scores({s: -v for s, v in ranked(10).items()}, 20)])

    assert_frame_equal(
        target_weights(both, (), FIFTH), target_weights(scores(ranked(10)), (), FIFTH)
    )


@pytest.mark.parametrize(
    ("rule", "trades_on"),
    [("weekly", [5, 10, 15, 20, 25]), ("monthly", [20])],  # 2023-07-03 is session 20
)
def test_a_book_trades_on_the_first_session_of_its_week_or_month(
    rule: RebalanceRule, trades_on: list[int]
) -> None:
    last = 26
    market = raw(
        daily_bars=[
            row
            for k in range(6)
            for row in path(f"S{k:02d}", [100.0 + 10 * ((k + n) % 3) for n in range(last + 1)])
        ]
    )
    spec = PLAIN.model_copy(update={"quantile": 0.4, "horizon": 5, "rebalance": rule})
    sessions = [day(n) for n in range(1, last + 1)]
    when = TOKYO.rebalances(sessions, rule)
    targets = pl.concat(
        target_weights(scores(ranked(6)).with_columns(session=pl.lit(session)), (), spec)
        for session, decides in zip(sessions, when, strict=True)
        if decides
    )
    kept = books(targets, market, last, spec, FREE)

    assert kept.trades["session"].unique().sort().to_list() == [day(n) for n in trades_on]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (
            pl.concat(
                [scores({"A": 1.0}), scores({"A": 2.0}).with_columns(session=pl.date(2023, 6, 6))]
            ),
            "scores of 2 sessions were given",
        ),
        (pl.concat([scores({"A": 1.0}), scores({"A": 2.0})]), "symbol 'A' has two scores"),
        (scores({"A": 1.0, "B": float("nan")}), "1 scores are not finite numbers, first 'B'"),
        (scores({"A": 1.0, "B": None}), "1 scores are not finite numbers, first 'B'"),
    ],
)
def test_scores_that_cannot_be_right_are_refused(frame: pl.DataFrame, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        target_weights(frame, (), FIFTH)


def test_a_side_that_could_never_be_full_is_refused() -> None:
    with pytest.raises(ValueError, match="count = 1 is below min_side = 2"):
        QuantileSpec(horizon=5, count=1)


def test_lots_are_refused_where_prices_are_not_as_traded() -> None:
    spec = QuantileSpec(horizon=5, lot=100)

    check_portfolio(spec, "raw")
    with pytest.raises(SpecError, match=r"portfolio.lot = 100 needs prices as traded"):
        check_portfolio(spec, "split_adjusted")


def test_a_band_as_wide_as_the_universe_is_refused() -> None:
    spec = QuantileSpec(rule="long_only_quantile", horizon=5, count=3, exit_count=14)

    check_portfolio(spec, "raw")  # how many names there are is not known
    check_portfolio(spec, "raw", 15)
    words = "a held name leaves below rank 14 .* the universe has 14 names: none would ever leave"
    with pytest.raises(SpecError, match=words):
        check_portfolio(spec, "raw", 14)


@pytest.mark.parametrize(
    ("keys", "least", "words"),
    [
        ({"count": 8}, 16, "two sides of count = 8 names, 16 in all, .* universe has 15"),
        ({"count": 5, "exit_count": 9}, 14, "exit_count = 9 of the 13 names of the universe"),
        ({"rule": "long_only_quantile", "count": 8}, 8, "a side of count = 8 names, 8 in all"),
    ],
)
def test_sides_and_bands_that_named_symbols_are_too_few_for_are_refused(
    keys: dict[str, object], least: int, words: str
) -> None:
    spec = QuantileSpec.model_validate({"horizon": 5, **keys})
    check_portfolio(spec, "raw", least)
    check_portfolio(spec, "raw")  # how many names there are is not known
    with pytest.raises(SpecError, match=words):
        check_portfolio(spec, "raw", least - 1)


@pytest.mark.parametrize(
    "change",
    [
        {"quantile": 0.6},
        {"quantile": 0.0},
        {"horizon": 0},
        {"lot": 0},
        {"max_participation": 1.5},
        {"gross_exposure": 0.0},
        {"capital": -1.0},
        {"rule": "market_neutral"},
        {"no_such_key": 1},
    ],
)
def test_values_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        QuantileSpec(**{"horizon": 5, **change})  # type: ignore[arg-type]
