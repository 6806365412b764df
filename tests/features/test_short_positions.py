"""Large short positions as features: by hand, and in sessions of volume across a split."""

import numpy as np
from tests.features.through import through

from alpha_assets.arrays.types import Array
from alpha_assets.features import short_positions

NAN = np.nan

to_adv = through(
    "ssp_to_adv",
    "short_positions_shares",
    "short_positions_lag",
    "short_positions_age",
    "cum_volume_factor",
    "dollar_volume",
    "raw_close",
    "stale",
)


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def test_what_is_known_is_handed_on() -> None:
    total = column(0.012, 0.0, NAN)

    np.testing.assert_array_equal(short_positions.ssp_total(total), total)
    np.testing.assert_array_equal(
        short_positions.ssp_n_holders(column(2, 0, NAN)), column(2, 0, NAN)
    )
    np.testing.assert_array_equal(short_positions.ssp_max_holder(column(0.007)), column(0.007))


def test_the_change_is_against_twenty_sessions_before() -> None:
    total = column(*[0.01] * 10, *[0.015] * 25)
    found = short_positions.ssp_chg_20(total)[:, 0]

    assert np.isnan(found[:20]).all()
    np.testing.assert_allclose(found[20:], [0.005] * 10 + [0.0] * 5, atol=1e-15)


def test_a_silence_goes_on_counting_where_its_state_began() -> None:
    # The state of a silence was 60 sessions old when it began, and began two sessions ago.
    assert short_positions.ssp_days_since(column(60, 0), column(2, 5))[:, 0].tolist() == [62, 5]


def test_shares_are_counted_in_sessions_of_volume_across_a_split() -> None:
    rows = np.arange(60)
    after = rows >= 30  # the bar of session 29 is the first after a 1-to-2 split
    factor = np.where(after, 0.5, 1.0)[:, None]
    close = 100 * factor
    traded, stale = np.full((60, 1), 1e6), np.zeros((60, 1))
    # 5000 shares of session 23, known from row 25 on.
    shares = np.where(rows >= 25, 5000.0, NAN)[:, None]
    age = np.where(rows >= 25, rows - 25.0, NAN)[:, None]
    found = to_adv(shares, shares * 0 + 2, age, factor, traded, close, stale)

    # 5000 / (1e6 / 100), then 10000 / (1e6 / 50)
    np.testing.assert_allclose(found[25:], 0.5)
    assert np.isnan(found[:25]).all()


def test_a_report_of_before_the_split_that_is_known_after_it_is_restated() -> None:
    rows = np.arange(60)
    factor = np.where(rows >= 30, 0.5, 1.0)[:, None]
    traded, stale = np.full((60, 1), 1e6), np.zeros((60, 1))
    # 5000 shares of session 27, known from row 31 on: four sessions later, one after the split.
    shares = np.where(rows >= 31, 5000.0, NAN)[:, None]
    age = np.where(rows >= 31, rows - 31.0, NAN)[:, None]
    found = to_adv(shares, shares * 0 + 4, age, factor, traded, 100 * factor, stale)

    np.testing.assert_allclose(found[31:], 0.5)


def test_a_report_of_after_the_split_is_not_restated() -> None:
    rows = np.arange(60)
    factor = np.where(rows >= 30, 0.5, 1.0)[:, None]
    traded, stale = np.full((60, 1), 1e6), np.zeros((60, 1))
    # 10000 shares of session 29, the ex-date, known from row 31 on.
    shares = np.where(rows >= 31, 10000.0, NAN)[:, None]
    age = np.where(rows >= 31, rows - 31.0, NAN)[:, None]
    found = to_adv(shares, shares * 0 + 2, age, factor, traded, 100 * factor, stale)

    np.testing.assert_allclose(found[31:], 0.5)


def test_without_a_close_nothing_is_said() -> None:
    one = np.ones((30, 1))
    found = to_adv(one, one, one, one, 1e6 * one, 0 * one, 0 * one)

    assert np.isnan(found).all()
