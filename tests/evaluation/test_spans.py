"""Which sessions count: by hand, on calendars of a few weeks."""

from datetime import date

import numpy as np
import pytest

from alpha_assets.calendar import RebalanceRule
from alpha_assets.evaluation.spans import Undecided, is_undecided, stretches

# Four weeks of weekdays: 2021-01-25 is a Monday, 2021-02-01 the next one.
DAYS = np.arange("2021-01-25", "2021-02-20", dtype="datetime64[D]")
SESSIONS = DAYS[np.is_busday(DAYS)]


def left_out(scored: list[str], rule: RebalanceRule) -> list[str]:
    scored_D = np.isin(SESSIONS, np.array(scored, dtype="datetime64[D]"))
    return SESSIONS[is_undecided(SESSIONS, scored_D, rule)].astype(str).tolist()


def all_but(*days: str) -> list[str]:
    return [day for day in SESSIONS.astype(str).tolist() if day not in days]


def test_span_begins_with_the_first_session_that_has_scores() -> None:
    scored = [day for day in all_but() if day >= "2021-01-27"]
    assert left_out(scored, "weekly") == ["2021-01-25", "2021-01-26"]
    assert left_out(scored, "monthly") == ["2021-01-25", "2021-01-26"]


def test_one_session_without_scores_is_part_of_the_period_that_was_decided() -> None:
    assert left_out(all_but("2021-02-03"), "weekly") == []
    assert left_out(all_but("2021-02-08"), "weekly") == []  # a Monday: the week has four more


def test_week_without_scores_is_a_hole_for_a_weekly_book_alone() -> None:
    week = [f"2021-02-{day:02d}" for day in range(8, 13)]
    assert left_out(all_but(*week), "weekly") == week
    assert left_out(all_but(*week), "monthly") == []


@pytest.mark.parametrize("rule", ["weekly", "monthly"])
def test_month_without_scores_is_a_hole_for_every_book(rule: RebalanceRule) -> None:
    february = [day for day in all_but() if day.startswith("2021-02")]
    assert left_out(all_but(*february), rule) == february


def test_neighbours_of_one_reason_are_one_stretch() -> None:
    days = SESSIONS[:6]
    undecided_D = np.array([True, True, True, False, True, True])
    found = stretches(days, undecided_D, ["a", "a", "b", "b", "b", "b"])
    assert found == (
        Undecided(date(2021, 1, 25), date(2021, 1, 26), 2, "a"),
        Undecided(date(2021, 1, 27), date(2021, 1, 27), 1, "b"),
        Undecided(date(2021, 1, 29), date(2021, 2, 1), 2, "b"),
    )
    assert stretches(days, np.zeros(6, dtype=bool), [""] * 6) == ()
