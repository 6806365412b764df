"""Places of symbols and dates, as-of look-ups and the cash rate, by hand."""

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.asof import at_or_before, last_row, latest_rows
from alpha_assets.arrays.places import codes, places_on, runs
from alpha_assets.arrays.rates import interest, paid_rate, rate_in_force

DAYS = np.array(["2024-01-04", "2024-01-05", "2024-01-09"], dtype="datetime64[D]")


@pytest.mark.parametrize("known", [["a", "c"], pl.Series(["a", "c"])], ids=["list", "series"])
def test_a_code_is_the_place_among_the_known(known: list[str] | pl.Series) -> None:
    assert codes(pl.Series(["c", "b", None, "a"]), known).tolist() == [1, -1, -1, 0]


def test_categories_of_another_order_have_the_same_codes() -> None:
    words = pl.Series(["c", "a"], dtype=pl.Enum(["c", "a"]))
    assert codes(words, ["a", "c"]).tolist() == [1, 0]


def test_a_date_off_the_axis_has_no_place() -> None:
    asked = np.array(
        ["2024-01-09", "2024-01-06", "2023-12-29", "2024-01-10"], dtype="datetime64[D]"
    )
    assert places_on(DAYS, asked).tolist() == [2, -1, -1, -1]
    assert places_on(DAYS[:0], asked).tolist() == [-1] * 4
    assert places_on(DAYS, DAYS[1]) == 1


def test_the_last_row_is_that_of_the_column() -> None:
    known_DN = np.array([[False, True], [True, False], [False, False]])
    assert last_row(known_DN).tolist() == [[-1, 0], [1, 0], [1, 0]]


def test_at_or_before_takes_the_last_of_equals() -> None:
    assert at_or_before(np.array([2, 5, 5, 7]), np.array([1, 2, 5, 6, 9])).tolist() == [
        *(-1, 0, 2, 2, 3)
    ]


def test_the_strongest_row_of_those_effective_is_known() -> None:
    effective_R, code_R = np.array([11, 10, 3, 10]), np.array([0, 0, 1, -1])
    # Key 0: row 1 from 10 on; row 0, which is weaker, never hides it.  Key 1: from before.
    row_DK = latest_rows(effective_R, code_R, range(9, 13), 2)
    assert row_DK.tolist() == [[-1, 2], [1, 2], [1, 2], [1, 2]]


def test_a_rate_is_in_force_until_it_is_too_old_and_a_blank_ends_none() -> None:
    rate_D = rate_in_force(np.array([2, 3]), np.array([0.01, np.nan]), range(1, 6), max_stale=2)
    np.testing.assert_array_equal(rate_D, [np.nan, 0.01, 0.01, 0.01, np.nan])
    blank_D = rate_in_force(np.array([2]), np.array([np.nan]), range(1, 4), max_stale=2)
    assert np.isnan(blank_D).all()


def test_cash_earns_by_calendar_night_and_what_is_unknown_stays_unknown() -> None:
    rate_D, nights_D = np.array([0.0365, 0.0365, np.nan]), np.array([1, 3, 1])
    earned_D = interest(rate_D, nights_D)
    np.testing.assert_allclose(earned_D, [0.0001, 0.0003, np.nan], rtol=1e-15)

    # What is paid at an unknown rate is the caller's choice, by name.
    paid_D = interest(paid_rate(rate_D, where_unknown=0.0), nights_D)
    np.testing.assert_allclose(paid_D, [0.0001, 0.0003, 0.0], rtol=1e-15)
    assert paid_rate(rate_D, where_unknown=0.01).tolist() == [0.0365, 0.0365, 0.01]


@pytest.mark.parametrize("values", [[], [3], [3, 3, 1, 1, 1, 3]])
def test_runs_repeat_to_what_they_are_of(values: list[int]) -> None:
    value_R = np.array(values, dtype=np.int32)
    first_P, length_P = runs(value_R)

    assert np.array_equal(np.repeat(value_R[first_P], length_P), value_R)
    assert (value_R[first_P][1:] != value_R[first_P][:-1]).all()
