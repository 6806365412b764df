"""What is carried over a gap is no observation."""

import numpy as np
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features.observed import fresh, fresh_change, fresh_z


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


VALUE = column(1, 2, 2, 2, 5, 6)
AGE = column(0, 0, 1, 2, 0, 0)  # rows 2 and 3 carry the value of row 1


def test_only_rows_of_age_zero_are_observed() -> None:
    nan = np.nan
    np.testing.assert_array_equal(fresh(VALUE, AGE), column(1, 2, nan, nan, 5, 6))
    np.testing.assert_array_equal(fresh(VALUE, column(*[nan] * 6)), column(*[nan] * 6))


def test_a_change_needs_both_ends_observed() -> None:
    nan = np.nan
    np.testing.assert_array_equal(fresh_change(VALUE, AGE, 1), column(nan, 1, nan, nan, nan, 1))
    np.testing.assert_array_equal(fresh_change(VALUE, AGE, 4), column(*[nan] * 4, 5 - 1, 6 - 2))


def test_a_z_counts_a_carried_value_once() -> None:
    value, age = column(1, 2, 4, 4, 3), column(0, 0, 0, 1, 0)
    z = fresh_z(value, age, 5)[:, 0]

    # Of five rows four are observed: 1, 2, 4, 3 with mean 2.5 and variance 5/3.
    assert np.isnan(z[:4]).all()
    assert z[4] == pytest.approx((3 - 2.5) / np.sqrt(5 / 3))
    # On a day that carries the last one it is measured against the observed ones.
    again = fresh_z(column(1, 2, 4, 3, 3), column(0, 0, 0, 0, 1), 5)[:, 0]
    assert again[4] == pytest.approx(z[4])
