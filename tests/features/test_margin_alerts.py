"""Issues under watch as features: zeros for those not listed, nothing without a board."""

import numpy as np
import pytest
from tests.features.through import through

from alpha_assets.arrays.types import Array
from alpha_assets.features import Feature, margin_alerts

NAN = np.nan
# An issue never under watch, one that is, one that was, one without a publication to go by, and
# one of which the publication says less than of others.
BOARD = np.array([[12.0, 12.0, 12.0, NAN, 12.0]])
LISTED = np.array([[NAN, 1.0, 0.0, 1.0, 1.0]])


def row(*values: float) -> Array:
    return np.array([values], dtype=np.float64)


def test_an_issue_that_was_never_listed_is_zero_and_without_a_board_nothing_is_known() -> None:
    np.testing.assert_array_equal(margin_alerts.dmi_listed(LISTED, BOARD), row(0, 1, 0, NAN, 1))


def test_an_entry_is_recent_for_twenty_sessions_whether_it_lasted_or_not() -> None:
    spell, age = row(NAN, 3, 0, 1, 20), row(NAN, 16, 20, 1, 0)

    found = margin_alerts.dmi_entry_20(spell, age, BOARD)
    np.testing.assert_array_equal(found, row(0, 1, 0, NAN, 0))


def test_days_are_counted_while_the_issue_is_inside() -> None:
    spell, age = row(NAN, 3, 7, 1, 20), row(NAN, 16, 20, 1, 0)

    found = margin_alerts.dmi_days_in(spell, age, LISTED, BOARD)
    np.testing.assert_array_equal(found, row(0, 19, 0, NAN, 20))


def test_short_over_long_by_hand() -> None:
    board, listed = row(5, 5, 5, 5, NAN, 5), row(1, 1, 0, NAN, 1, 1)
    found = margin_alerts.dmi_sl(row(25, 0.02, 30, NAN, 25, NAN), listed, board)

    # ln(.25); never below a tenth of a percent; 0 after and for those never listed; unknown
    np.testing.assert_allclose(found, row(np.log(0.25), np.log(0.001), 0, 0, NAN, NAN))


@pytest.mark.parametrize("feature", [margin_alerts.dmi_short_ratio, margin_alerts.dmi_long_ratio])
def test_ratios_are_fractions(feature: Feature) -> None:
    found = feature(row(NAN, 2.5, 0, 3, NAN), LISTED, BOARD)
    np.testing.assert_allclose(found, row(0, 0.025, 0, NAN, NAN))


def test_changes_are_over_the_balance_and_over_the_volume() -> None:
    change, long = row(NAN, -80, 0, 80, NAN), row(NAN, 800, 0, 800, 800)
    found = margin_alerts.dmi_long_chg(change, long, LISTED, BOARD)
    np.testing.assert_allclose(found, row(0, -0.1, 0, NAN, NAN))
    # Of an empty balance there is no change, and without a volume nothing to measure one by.
    empty = margin_alerts.dmi_long_chg(0 * change, 0 * long, LISTED, BOARD)
    np.testing.assert_allclose(empty, row(0, NAN, 0, NAN, NAN))
    untraded = margin_alerts.dmi_long_chg_adv(change, LISTED, BOARD, NAN * change)
    np.testing.assert_allclose(untraded, row(0, NAN, 0, NAN, NAN))

    ones = np.ones((30, 5))
    found = through(
        "dmi_long_chg_adv",
        "margin_alerts_long_change",
        "margin_alerts_listed",
        "alert_board_listed",
        "dollar_volume",
        "raw_close",
        "stale",
    )(ones * change, ones * LISTED, ones * BOARD, 1e6 * ones, 100 * ones, 0 * ones)
    # 10,000 shares a session.
    np.testing.assert_allclose(found[-1], row(0, -0.008, 0, NAN, NAN)[0])


def test_stages_and_reasons_are_handed_on() -> None:
    stage = margin_alerts.dmi_reg_stage(row(NAN, 3, 0, 3, NAN), LISTED, BOARD)
    np.testing.assert_array_equal(stage, row(0, 3, 0, NAN, NAN))
    for reason in margin_alerts.dmi_reason:
        found = reason(row(NAN, 1, 0, 1, NAN), LISTED, BOARD)
        np.testing.assert_array_equal(found, row(0, 1, 0, NAN, NAN))


def test_supervision_is_apart_from_the_order_of_stages() -> None:
    # Not listed, the strictest restriction, supervision, lifted, not known.
    stage, listed = row(NAN, 6, 7, -1, NAN), row(NAN, 1, 1, 1, 1)
    found = margin_alerts.dmi_is_supervised(stage, listed, np.zeros_like(stage))

    np.testing.assert_array_equal(found, row(0, 0, 1, 0, NAN))


def test_every_reason_reads_its_own_column() -> None:
    for reason in margin_alerts.dmi_reason:
        word = reason.name.removeprefix("dmi_reason_")
        own = f"margin_alerts_is_{word}"
        assert reason.inputs == (own, "margin_alerts_listed", "alert_board_listed")
    assert len(margin_alerts.dmi_reason) == 6
