"""Margin balances as features: by hand, in both regimes, and across splits."""

import numpy as np
import pytest
from tests.features.through import through

from alpha_assets.arrays.types import Array
from alpha_assets.features import margin

NAN = np.nan
VOLUME = ("cum_volume_factor", "dollar_volume", "raw_close", "stale")
long_adv = through("margin_long_adv", "margin_long", "margin_lag", "margin_age", *VOLUME)
short_adv = through("margin_short_adv", "margin_short", "margin_lag", "margin_age", *VOLUME)
long_chg_1w = through(
    "margin_long_chg_1w",
    "margin_long",
    "margin_lag",
    "margin_age",
    "margin_is_week_end",
    "cum_volume_factor",
)
long_z_52w = through(
    "margin_long_z_52w", "margin_long", "margin_lag", "margin_age", "margin_is_week_end", *VOLUME
)


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def constant(value: float, like: Array) -> Array:
    return np.full_like(like, value)


def weekly_clock(n: int) -> tuple[Array, Array]:
    """Return age and week-end flag of n rows that get a weekly balance every fifth row."""
    return (np.arange(n) % 5.0)[:, None], np.ones((n, 1))


def test_levels_by_hand() -> None:
    long, short = column(900, 0, NAN), column(100, 0, 1)

    # ln(1000 / 200); ln(100 / 100)
    np.testing.assert_allclose(margin.margin_ls_ratio(long, short), column(np.log(5), 0, NAN))
    # (900 - 100) / 1000; nothing is owed at all
    np.testing.assert_allclose(margin.margin_imbalance(long, short), column(0.8, NAN, NAN))


def test_shares_on_the_exchanges_terms_by_hand() -> None:
    np.testing.assert_allclose(
        margin.margin_long_std_share(column(900, 0, 900), column(630, 0, NAN)),
        column(0.7, NAN, NAN),
    )
    np.testing.assert_allclose(
        margin.margin_short_std_share(column(100, 0), column(60, 0)), column(0.6, NAN)
    )


def test_each_type_of_issue_has_its_flag() -> None:
    kind = column(1, 2, 3, NAN)

    np.testing.assert_array_equal(margin.margin_is_buy_only(kind), column(1, 0, 0, NAN))
    np.testing.assert_array_equal(margin.margin_is_borrowable(kind), column(0, 1, 0, NAN))
    np.testing.assert_array_equal(margin.margin_is_negotiable_only(kind), column(0, 0, 1, NAN))


def test_ages_by_hand() -> None:
    age, lag = column(0, 1, 2, NAN), column(3, 3, 3, NAN)

    np.testing.assert_array_equal(margin.margin_days_since(age), age)
    np.testing.assert_array_equal(margin.margin_balance_age(age, lag), column(3, 4, 5, NAN))


class Split:
    """Forty rows; the bar of session 19 (row 20) is the first after a 1-to-2 split.

    A million is traded every session, at 100 before the split and 50 after.
    """

    n = 40
    factor = np.where(np.arange(n) >= 20, 0.5, 1.0)[:, None]
    close = 100 * factor
    traded = np.full((n, 1), 1e6)
    stale = np.zeros((n, 1))

    def adv(self, long: Array, lag: Array, age: Array) -> Array:
        return long_adv(long, lag, age, self.factor, self.traded, self.close, self.stale)


def test_a_balance_of_before_a_split_is_restated_from_the_split_on() -> None:
    rows = np.arange(Split.n)
    # Of session 17, known from row 20 on: three sessions later.
    long = np.where(rows >= 20, 1000.0, NAN)[:, None]
    age = np.where(rows >= 20, rows - 20.0, NAN)[:, None]
    found = Split().adv(long, constant(3, long), age)

    # 1000 shares are 2000 of today's; 1e6 / 50 = 20000 are traded in a session.
    np.testing.assert_allclose(found[20:], 0.1)
    assert np.isnan(found[:20]).all()


def test_a_balance_that_is_known_before_a_split_and_after_it_does_not_jump() -> None:
    rows = np.arange(Split.n)
    long = np.where(rows >= 18, 1000.0, NAN)[:, None]  # of session 15
    age = np.where(rows >= 18, rows - 18.0, NAN)[:, None]
    found = Split().adv(long, constant(3, long), age)

    # 1000 / 10000, then 2000 / 20000
    np.testing.assert_allclose(found[18:], 0.1)


def test_a_balance_of_the_ex_date_is_in_shares_of_after_the_split() -> None:
    rows = np.arange(Split.n)
    long = np.where(rows >= 22, 2000.0, NAN)[:, None]  # of session 19: 22 - 3
    age = np.where(rows >= 22, rows - 22.0, NAN)[:, None]

    np.testing.assert_allclose(Split().adv(long, constant(3, long), age)[22:], 0.1)


def test_the_short_side_is_measured_alike() -> None:
    long, age = np.full((40, 1), 1000.0), np.zeros((40, 1))
    args = (constant(3, long), age, Split.factor, Split.traded, Split.close, Split.stale)

    np.testing.assert_array_equal(short_adv(long, *args), long_adv(long, *args))


def test_a_symbol_that_trades_nothing_takes_no_number_of_sessions() -> None:
    long, age = np.full((40, 1), 1000.0), np.zeros((40, 1))
    found = long_adv(long, age + 3, age, Split.factor, Split.traded * 0, Split.close, Split.stale)

    assert np.isnan(found).all()


def test_the_weeks_change_is_against_what_was_known_five_sessions_before() -> None:
    # Balances at rows 0, 5, 10: .8, .6, .2
    long = np.repeat([900.0, 800.0, 600.0], 5)[:, None]
    short = 1000 - long
    found = margin.margin_chg_1w(long, short, *weekly_clock(15))

    np.testing.assert_allclose(found[5:10], -0.2)
    np.testing.assert_allclose(found[10:], -0.4)
    assert np.isnan(found[:5]).all()


def test_in_the_daily_regime_a_week_is_compared_with_the_last_weeks_end() -> None:
    # Balances every row; those of rows 4 and 9 are week ends.
    long = np.arange(100.0, 115.0)[:, None]
    ends = column(*([0, 0, 0, 0, 1] * 3))
    found = margin.margin_chg_1w(long, 1000 - long, constant(0, long), ends)

    # Row 9 looks at what was known at row 4: (109 · 2 - 1000) / 1000 - (104 · 2 - 1000) / 1000
    assert found[9, 0] == pytest.approx(0.01, abs=1e-12)
    assert found[13, 0] == pytest.approx(2 * (113 - 104) / 1000, abs=1e-12)
    assert found[14, 0] == pytest.approx(2 * (114 - 109) / 1000, abs=1e-12)


def test_a_split_between_two_weeks_is_no_growth() -> None:
    rows = np.arange(40)
    # Week by week; from the balance of session 19 on (known at row 22) in shares of after it.
    number = rows // 5
    known_at = 5 * number
    long = np.where(known_at - 3 >= 19, 2000.0, 1000.0)[:, None]
    age, ends = weekly_clock(40)
    found = long_chg_1w(long, constant(3, age), age, ends, Split.factor)

    np.testing.assert_allclose(found[10:], 0.0, atol=1e-12)


def test_growth_by_hand() -> None:
    long = np.repeat([900.0, 1900.0], 5)[:, None]
    age, ends = weekly_clock(10)
    factor = np.ones_like(long)
    found = long_chg_1w(long, constant(3, age), age, ends, factor)

    # ln((1900 + 100) / (900 + 100))
    np.testing.assert_allclose(found[5:], np.log(2))


def z_of(long: Array, age: Array, ends: Array) -> Array:
    """Return the z of a long balance where 10000 shares are traded in every session."""
    one = np.ones_like(long)
    return long_z_52w(long, 3 * one, age, ends, one, 1e6 * one, 100 * one, 0 * one)


@pytest.mark.parametrize("row", [299, 303, 230])
def test_the_years_z_is_of_52_weekly_balances(row: int) -> None:
    weeks = np.random.default_rng(0).uniform(500, 1500, 62)
    long = np.repeat(weeks, 5)[:, None]
    found = z_of(long, *weekly_clock(310))

    known = (weeks / 10000)[3 : row // 5 + 1][-52:]  # volume is known from row 15 on
    expected = (known[-1] - known.mean()) / known.std(ddof=1)
    assert found[row, 0] == pytest.approx(expected, rel=1e-9)


def test_a_z_needs_42_weeks() -> None:
    long = np.random.default_rng(0).uniform(500, 1500, (300, 1))
    found = z_of(long, *weekly_clock(300))[:, 0]

    # A volume of 20 sessions is known with 16 of them, at row 15, which has a balance.
    assert np.isnan(found[: 15 + 5 * 41]).all()
    assert not np.isnan(found[15 + 5 * 41])


def test_daily_balances_are_compared_by_their_week_ends_too() -> None:
    weeks = np.random.default_rng(1).uniform(500, 1500, 62)
    weekly = z_of(np.repeat(weeks, 5)[:, None], *weekly_clock(310))
    # The same week ends at rows 0, 5, 10, ...; between them other daily balances.
    long = np.random.default_rng(2).uniform(1, 9999, (310, 1))
    long[::5, 0] = weeks
    ends = (np.arange(310) % 5 == 0).astype(float)[:, None]
    daily = z_of(long, np.zeros((310, 1)), ends)

    np.testing.assert_array_equal(daily, weekly)


def test_the_change_of_a_day_is_of_two_daily_balances() -> None:
    long = column(900, 800, 700, 700, 600)
    is_daily, age = column(0, 1, 1, 1, 1), column(0, 0, 0, 1, 0)
    found = margin.margin_chg_1d(long, 1000 - long, age, is_daily)

    # The first daily balance follows a weekly one; on row 3 none came.
    np.testing.assert_allclose(found, column(NAN, NAN, -0.2, NAN, -0.2), atol=1e-12)
