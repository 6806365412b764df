"""Features of short volume, by hand."""

import numpy as np
import pytest
from tests.features.through import through

from alpha_assets.arrays.types import Array

REPORTED = ("short_volume_short_volume", "short_volume_total_volume")
ratio_of = through("short_volume_ratio", *REPORTED)
mom_5 = through("short_volume_mom_5", *REPORTED, "short_volume_age")
z_60 = through("short_volume_z_60", *REPORTED, "short_volume_age")


def volumes(n: int) -> tuple[Array, Array, Array]:
    """Return short and total volume and age; row 50 carries row 49, row 60 reported nothing."""
    rng = np.random.default_rng(5)
    total = rng.integers(1_000, 9_000, (n, 1)).astype(np.float64)
    short = np.floor(total * rng.uniform(0.3, 0.6, (n, 1)))
    age = np.zeros((n, 1))
    short[50], total[50], age[50] = short[49], total[49], 1
    short[60] = total[60] = 0
    return short, total, age


def test_the_ratio_is_short_over_all() -> None:
    short, total = np.array([[3.0], [0.0]]), np.array([[8.0], [0.0]])

    np.testing.assert_array_equal(ratio_of(short, total), [[3 / 8], [np.nan]])


def test_a_change_needs_two_reports() -> None:
    short, total, age = volumes(100)
    change = mom_5(short, total, age)[:, 0]
    ratio = np.divide(short, total, out=np.full_like(short, np.nan), where=total > 0)[:, 0]

    assert np.flatnonzero(np.isnan(change)).tolist() == [*range(5), 50, 55, 60, 65]
    assert change[70] == ratio[70] - ratio[65]


def test_a_z_counts_sessions_that_were_reported() -> None:
    short, total, age = volumes(100)
    z = z_60(short, total, age)[:, 0]
    rows = [n for n in range(40, 100) if n not in (50, 60)]
    past = short[rows, 0] / total[rows, 0]

    assert z[99] == pytest.approx((past[-1] - past.mean()) / past.std(ddof=1))
    assert np.isnan(z[60])  # nothing is known of that session itself


def test_what_comes_later_or_before_the_rows_declared_changes_no_bit() -> None:
    given = volumes(130)
    for feature in (mom_5, z_60):
        whole = feature(*given)
        assert feature(*[array[:90] for array in given]).tobytes() == whole[:90].tobytes()
        cut = slice(100 - feature.rows, 100)
        assert feature(*[a[cut].copy() for a in given])[-1].tobytes() == whole[99].tobytes()
