"""Forward returns and what training makes of them."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import norm, rankdata
from tests.panel.market import (
    SESSIONS,
    TOKYO,
    bar,
    bars,
    day,
    evening,
    listing,
    listings,
    random_market,
)

from alpha_assets.errors import BadInput, RangeError
from alpha_assets.labels import LabelSpec, forward_returns, transform

NAN = np.nan


def returns(
    rows: list[dict[str, Any]], h: int, entry: Any = "open", **more: Any
) -> dict[date, float | None]:
    found = forward_returns(bars(rows), TOKYO, (h,), entry, day(0), day(60), **more)
    return dict(found.select("session", "label").rows())


def test_the_label_runs_from_the_open_of_the_decision_session_to_the_open_h_sessions_on() -> None:
    rows = [bar("A", n, 100.0 + n, open=200.0 + 10 * n) for n in range(4)]

    assert returns(rows, 2) == {
        day(0): 220 / 200 - 1,
        day(1): 230 / 210 - 1,
        day(2): None,
        day(3): None,
    }


def test_with_entry_at_the_close_it_runs_from_close_to_close() -> None:
    rows = [bar("A", n, 100.0 + n, open=200.0) for n in range(2)]

    assert returns(rows, 1, "close") == {day(0): 101 / 100 - 1, day(1): None}


def test_sessions_are_those_of_the_market_not_those_with_a_bar() -> None:
    # Friday 2023-06-02, then a halt on Monday and Tuesday.
    rows = [bar("A", 1, 100.0), bar("A", 4, 130.0), bar("A", 5, 150.0)]

    assert returns(rows, 3) == {day(1): 130 / 100 - 1, day(4): None, day(5): None}
    assert returns(rows, 2) == {day(1): None, day(4): None, day(5): None}


def test_only_factors_after_the_decision_session_up_to_the_exit_count() -> None:
    rows = [bar("A", n, 100.0) for n in (0, 1)] + [
        bar("A", n, 60.0, adjustment_factor=0.5 if n == 2 else 1.0) for n in (2, 3)
    ]

    # Into the split 100 → 60 is a gain of a fifth; entered on the ex-date it is none.
    assert returns(rows, 1) == {day(0): 0.0, day(1): 60 / 50 - 1, day(2): 0.0, day(3): None}


def test_the_factor_of_a_session_without_a_trade_counts() -> None:
    rows = [bar("A", 0, 100.0), bar("A", 1, None, adjustment_factor=0.5), bar("A", 2, 60.0)]

    assert returns(rows, 2) == {day(0): 60 / 50 - 1, day(2): None}


def test_an_exit_has_no_label() -> None:
    rows = [bar("A", n, 100.0) for n in range(3)]

    assert returns(rows, 5) == dict.fromkeys([day(0), day(1), day(2)])


def test_the_last_revision_judges_and_training_knows_none_after_its_session() -> None:
    rows = [bar("A", 0, 100.0), bar("A", 1, 110.0)]
    later = bar("A", 1, 130.0, revision=1, available_at=evening(9))

    assert returns([*rows, later], 1)[day(0)] == 130 / 100 - 1
    assert returns([*rows, later], 1, known_by=day(9)) == returns(rows, 1)
    assert returns([*rows, later], 1, known_by=day(10))[day(0)] == 130 / 100 - 1


def test_a_split_that_was_forgotten_for_two_days_is_one_on_its_real_day() -> None:
    rows = [bar("A", 0, 100.0), *(bar("A", n, 50.0) for n in (1, 2, 3))]
    forgotten = rows[1] | {"adjustment_factor": None}
    found = rows[1] | {"adjustment_factor": 0.5, "revision": 1, "available_at": evening(3)}
    told = [rows[0], forgotten, found, *rows[2:]]

    assert returns(told, 1) == {day(0): 0.0, day(1): 0.0, day(2): 0.0, day(3): None}
    assert returns(told, 1, known_by=day(3))[day(0)] == 50 / 100 - 1
    assert returns(told, 1, known_by=day(4))[day(0)] == 0.0


def test_a_revision_that_states_no_factor_takes_none_back() -> None:
    # Session 1 is the ex-date of a split; its close is corrected by a delivery without factors.
    rows = [bar("A", 0, 100.0), *(bar("A", n, 50.0) for n in (1, 2))]
    rows[1] |= {"adjustment_factor": 0.5}
    silent = bar(
        "A", 1, 55.0, adjustment_factor=None, revision=1, available_at=evening(2), open=55.0
    )

    assert returns([*rows, silent], 1)[day(0)] == pytest.approx(55 / (100 * 0.5) - 1)
    # The same where both became effective together.
    soon = silent | {"available_at": evening(1)}
    assert returns([*rows, soon], 1)[day(0)] == pytest.approx(55 / (100 * 0.5) - 1)


def test_a_restated_level_is_no_correction() -> None:
    # After the split of session 2 the vendor halves all earlier prices.
    rows = [bar("A", 0, 100.0), bar("A", 1, 110.0), bar("A", 2, 60.0, adjustment_factor=0.5)]
    halved = [
        bar("A", n, close / 2, revision=1, available_at=evening(2))
        for n, close in ((0, 100.0), (1, 110.0))
    ]
    corrected = bar("A", 1, 50.0, revision=2, available_at=evening(3))
    frame = bars([*rows, *halved, corrected])
    level = pl.when(pl.col("revision") > 0).then(0.5)
    frame = frame.with_columns(level=level)

    found = forward_returns(frame, TOKYO, (1,), "open", day(0), day(1))
    # Session 1 was 50 on the halved level: 100 on the first one.
    assert found["label"].to_list() == [0.0, 60 / (100 * 0.5) - 1]


def test_no_label_reaches_from_one_life_of_a_symbol_into_the_other() -> None:
    # The old company ends on session 2 at 100, the new one starts on session 4 at 7.
    rows = [bar("A", n, 100.0) for n in (0, 1, 2)] + [bar("A", n, 7.0) for n in (4, 5, 6)]
    rows.append(bar("A", 3, 50.0))  # between the two: of neither
    rows[4] = bar("A", 5, 3.5, adjustment_factor=0.5)
    events = [listing("A", 0), listing("A", 2, "delisted"), listing("A", 4)]

    found = returns(rows, 2, listings=listings(events))
    assert found == {
        day(0): 0.0,
        **dict.fromkeys((day(1), day(2))),
        day(4): 7.0 / 3.5 - 1,
        **dict.fromkeys((day(5), day(6))),
    }
    # Who trains before the new start was known could not tell them apart.
    events[2] = listing("A", 4, available_at=evening(7))
    early = returns(rows, 2, listings=listings(events), known_by=day(6))
    assert early[day(2)] == 7.0 / 100.0 - 1


def test_a_bar_that_was_late_does_not_exist_for_who_trains_before_it_came() -> None:
    rows = [bar("A", 0, 100.0), bar("A", 1, 110.0, available_at=evening(5))]

    assert returns(rows, 1, known_by=day(5)) == {day(0): None}
    assert returns(rows, 1, known_by=day(6)) == {day(0): 110 / 100 - 1, day(1): None}
    assert returns(rows, 1)[day(0)] == 110 / 100 - 1


def test_several_horizons_stand_below_each_other_in_key_order() -> None:
    rows = [bar(symbol, n, 100.0 + n) for n in range(3) for symbol in "BA"]
    found = forward_returns(bars(rows), TOKYO, (2, 1), "open", day(0), day(1))

    assert dict(found.schema) == {
        "session": pl.Date,
        "symbol": pl.String,
        "horizon": pl.Int16,
        "label": pl.Float64,
    }
    assert found.select("symbol", "horizon").rows()[:4] == [("A", 1), ("A", 2), ("B", 1), ("B", 2)]
    assert found.equals(found.sort("session", "symbol", "horizon"))
    assert found["label"].to_list()[:2] == [101 / 100 - 1, 102 / 100 - 1]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 50), st.integers(0, 20))
def test_any_span_alone_equals_the_slice_of_the_whole(seed: int, start: int, length: int) -> None:
    rows = random_market(seed)["daily_bars"]
    first, last = SESSIONS[start], SESSIONS[start + length]
    whole = forward_returns(rows, TOKYO, (1, 7), "open", day(0), day(80))
    alone = forward_returns(rows.lazy(), TOKYO, (1, 7), "open", first, last)

    assert alone.equals(whole.filter(pl.col("session").is_between(first, last)))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 60))
def test_what_is_not_effective_by_the_session_asked_for_changes_nothing(
    seed: int, month: int
) -> None:
    rows = random_market(seed)["daily_bars"]
    instant = pl.lit(TOKYO.decision(day(month))).dt.replace_time_zone("UTC")
    span = (TOKYO, (3,), "open", day(0), day(70))
    known = rows.filter(pl.col("available_at") <= instant)
    noisy = rows.with_columns(
        pl.when(pl.col("available_at") > instant).then(1.0).otherwise("open").alias("open")
    )

    wanted = forward_returns(known, *span)
    assert forward_returns(noisy, *span, known_by=day(month)).equals(wanted)
    complete = wanted.filter(pl.col("label").is_not_null())
    assert all(session < day(month - 3) for session in complete["session"])  # D + h < M0


@pytest.mark.parametrize("h", [0, -1])
def test_a_label_that_ends_at_its_decision_or_before_is_refused(h: int) -> None:
    with pytest.raises(RangeError, match=f"horizon {h}"):
        forward_returns(bars([]), TOKYO, (h, 5), "open", day(0), day(1))
    with pytest.raises(ValidationError, match="known already"):
        LabelSpec(horizons=(h, 5))


def test_no_horizon_at_all_is_refused() -> None:
    with pytest.raises(RangeError, match="no horizon"):
        forward_returns(bars([]), TOKYO, (), "open", day(0), day(1))


@pytest.mark.parametrize("horizons", [(), (5, 1), (5, 5)])
def test_horizons_ascend_and_stand_once(horizons: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        LabelSpec(horizons=horizons)


def test_ranks_become_normal_within_each_session() -> None:
    return_DN = np.array([[0.3, -0.1, NAN, 0.1], [0.2, 0.2, 0.0, NAN]])
    expected_DN = np.array(
        [
            [norm.ppf(2.5 / 3), norm.ppf(0.5 / 3), NAN, 0.0],
            [*norm.ppf((rankdata([0.2, 0.2, 0.0]) - 0.5) / 3), NAN],
        ]
    )

    np.testing.assert_allclose(transform(return_DN, "rank_normal"), expected_DN, atol=1e-15)


def test_excess_is_against_the_mean_of_the_session() -> None:
    return_DN = np.array([[0.3, -0.1, NAN, 0.1], [NAN, NAN, NAN, NAN]])

    np.testing.assert_allclose(
        transform(return_DN, "excess"), [[0.2, -0.2, NAN, 0.0], [NAN] * 4], atol=1e-15
    )


def test_the_sector_mean_is_that_of_the_symbols_known_in_it() -> None:
    return_DN = np.array([[0.3, 0.1, 0.5, NAN, 0.4]])
    sector_DN = np.array([[1, 1, 2, 2, 0]])

    np.testing.assert_allclose(
        transform(return_DN, "sector", sector_DN=sector_DN),
        [[0.1, -0.1, 0.0, NAN, 0.0]],
        atol=1e-15,
    )


def test_a_volatility_that_is_no_positive_number_leaves_no_target() -> None:
    return_DN = np.array([[0.3, 0.1, 0.5, 0.2]])
    found_DN = transform(return_DN, "vol_scaled", volatility_DN=np.array([[0.1, 0.0, NAN, 0.4]]))

    np.testing.assert_allclose(found_DN, [[3.0, NAN, NAN, 0.5]])


def test_returns_stay_what_they_are_in_an_array_of_their_own() -> None:
    return_DN = np.array([[0.3, NAN]])
    found_DN = transform(return_DN, "return")

    np.testing.assert_array_equal(found_DN, return_DN)
    assert found_DN is not return_DN


@pytest.mark.parametrize("kind", ["return", "rank_normal", "excess", "sector", "vol_scaled"])
def test_symbols_without_a_return_change_no_bit(kind: Any) -> None:
    rng = np.random.default_rng(3)
    wide_DN = rng.standard_normal((20, 30))
    wide_DN[:, ::3] = NAN
    more = {
        "sector_DN": rng.integers(0, 4, wide_DN.shape),
        "volatility_DN": rng.random(wide_DN.shape),
    }
    kept = np.flatnonzero(np.arange(30) % 3)
    narrow_DN = transform(
        wide_DN[:, kept], kind, **{name: value[:, kept] for name, value in more.items()}
    )

    np.testing.assert_array_equal(transform(wide_DN, kind, **more)[:, kept], narrow_DN)


@pytest.mark.parametrize(("kind", "needs"), [("sector", "sectors"), ("vol_scaled", "volatility")])
def test_a_kind_that_lacks_what_it_needs_is_refused(kind: Any, needs: str) -> None:
    with pytest.raises(BadInput, match=needs):
        transform(np.zeros((1, 1)), kind)
