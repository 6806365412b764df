"""Features of short interest, by hand and over a split."""

import math

import numpy as np
import pytest
from tests.features.through import through

from alpha_assets.arrays.types import Array
from alpha_assets.features import short_interest

NAMED = ("short_interest_shares_short", "short_interest_lag", "short_interest_age")
days_to_cover = through(
    "short_interest_days", *NAMED, "cum_volume_factor", "dollar_volume", "raw_close", "stale"
)
ROWS, SPLIT = 120, 70  # from row SPLIT on a 1-to-2 split is known
LAG, EVERY = 10, 11  # sessions from the settlement date, and from report to report


def reports(shares: list[float]) -> dict[str, Array]:
    """Return what is known in each row of reports that come every eleven rows from row 40."""
    made = {name: np.full((ROWS, 1), np.nan) for name in ("shares", "lag", "age")}
    for number, count in enumerate(shares):
        start = 40 + EVERY * number
        made["shares"][start:] = count
        made["lag"][start:] = LAG
        made["age"][start:, 0] = np.arange(ROWS - start)
    return made


def market() -> dict[str, Array]:
    """Return prices and volume over the split: 1,000 shares a session before, 2,000 after."""
    after = (np.arange(ROWS) >= SPLIT)[:, None]
    close = np.where(after, 50.0, 100.0)
    return {
        "cum_factor": np.where(after, 0.5, 1.0),
        "dollar_volume": np.full((ROWS, 1), 100_000.0),
        "raw_close": close,
        "stale": np.zeros((ROWS, 1)),
    }


def days(told: dict[str, Array]) -> Array:
    return days_to_cover(told["shares"], told["lag"], told["age"], *market().values())[:, 0]


def change(told: dict[str, Array], factor: Array) -> Array:
    return short_interest.short_interest_chg(told["shares"], told["lag"], told["age"], factor)[:, 0]


def test_days_to_cover_by_hand() -> None:
    found = days(reports([3_000.0]))

    assert np.isnan(found[:40]).all()
    assert found[40] == pytest.approx(3)  # 3,000 shares over 1,000 a session
    # The split doubles both: an old report is restated.
    assert found[SPLIT] == pytest.approx(3)


def test_a_report_of_the_days_after_the_split_is_in_new_shares() -> None:
    # Reports become known in rows 40, 51, 62, 73 and 84; their settlement dates are ten
    # sessions before, that of row 84 after the split.
    found = days(reports([3_000.0, 3_000.0, 3_000.0, 3_000.0, 6_000.0]))

    assert found[83] == pytest.approx(3)
    assert found[84] == pytest.approx(3)


def test_growth_since_the_report_before_by_hand() -> None:
    told = reports([3_000.0, 4_000.0, 2_000.0])
    found = change(told, np.ones((ROWS, 1)))

    assert np.isnan(found[:51]).all()  # one report has no one before
    assert found[51:62] == pytest.approx(math.log(4_100 / 3_100))
    assert found[62] == pytest.approx(math.log(2_100 / 4_100))
    # 25 rows hold both reports until row 75.
    assert not np.isnan(found[75])
    assert np.isnan(found[76])


def test_a_split_between_two_reports_is_no_growth() -> None:
    told = reports([3_000.0, 3_000.0, 3_000.0, 3_000.0, 6_000.0])
    found = change(told, market()["cum_factor"])

    assert found[73] == pytest.approx(0, abs=1e-12)  # both of days before the split
    assert found[84] == pytest.approx(0, abs=1e-12)  # 6,000 new ones are 3,000 old ones


def test_the_age_is_that_of_the_report() -> None:
    told = reports([3_000.0])

    np.testing.assert_array_equal(short_interest.short_interest_age(told["age"]), told["age"])


def test_what_comes_later_or_before_the_rows_declared_changes_no_bit() -> None:
    rng = np.random.default_rng(6)
    told = reports(rng.uniform(1e3, 1e4, 8).round().tolist())
    given = [told["shares"], told["lag"], told["age"], *market().values()]
    for feature in (days_to_cover, short_interest.short_interest_chg):
        mine = given[: len(feature.inputs)]
        whole = feature(*mine)
        assert feature(*[array[:100] for array in mine]).tobytes() == whole[:100].tobytes()
        for end in (ROWS, 110, 96):
            cut = slice(end - feature.rows, end)
            assert feature(*[a[cut].copy() for a in mine])[-1].tobytes() == whole[end - 1].tobytes()


def test_the_first_of_the_rows_declared_is_felt() -> None:
    # A settlement date 45 sessions before its report, and a split right after it.
    for feature, points in (
        (days_to_cover, [44]),
        (short_interest.short_interest_chg, [44, 60]),
    ):
        n = feature.rows
        told = {name: np.full((n, 1), np.nan) for name in ("shares", "lag", "age")}
        for point, shares in zip(points, (1_000.0, 5_000.0), strict=False):
            told["shares"][point:], told["lag"][point:] = shares, 45
            told["age"][point:, 0] = np.arange(n - point)
        factor, level = np.full((n, 1), 0.5), np.full((n, 1), 100.0)
        factor[0] = 1.0
        given = [told["shares"], told["lag"], told["age"], factor, level, level, 0 * level]
        given = given[: len(feature.inputs)]
        whole, short = feature(*given), feature(*[array[1:].copy() for array in given])
        assert whole[-1, 0] != short[-1, 0]
        assert not np.isnan([whole[-1, 0], short[-1, 0]]).any()
