"""The spans of a month: by hand on a calendar one can count, and the promises of every split."""

from datetime import time
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha_assets.calendar import Calendar, month_range, next_month
from alpha_assets.dataset import SplitSpec, split_month
from alpha_assets.errors import RangeError


def weekdays(first: str, last: str) -> Calendar:
    """A market that trades Monday to Friday without holidays."""
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    sessions = days[np.is_busday(days)]
    return Calendar(
        exchange="TEST",
        zone=ZoneInfo("UTC"),
        decision_time=time(8, 30),
        sessions=sessions,
        decisions=sessions.astype("datetime64[us]") + np.timedelta64(510, "m"),
        sessions_per_year=261.0,
    )


CALENDAR = weekdays("2019-01-01", "2021-12-31")
FIRST = CALENDAR.sessions[0]


def number(session: np.datetime64) -> int:
    return int(CALENDAR.index_of(session))


def test_by_hand() -> None:
    # March 2019 starts on Friday the 1st.  h = 2: K + 2 < 1 March, so K = Tuesday 26 February.
    spec = SplitSpec(lookback_sessions=3, valid_sessions=2)

    split = split_month(CALENDAR, "2019-03", 2, spec, FIRST)

    assert split.first_session == np.datetime64("2019-03-01")
    assert split.last_known == np.datetime64("2019-02-26")
    assert split.valid.astype(str).tolist() == ["2019-02-25", "2019-02-26"]
    # V0 = Monday 25 February; D + 2 < V0, so the last D is Wednesday 20 February.
    assert split.train.astype(str).tolist() == ["2019-02-18", "2019-02-19", "2019-02-20"]
    assert split.is_ready
    assert split.first_month == "2019-03"


def test_an_embargo_comes_on_top_of_the_purge() -> None:
    plain = split_month(CALENDAR, "2020-06", 5, SplitSpec(lookback_sessions=20), FIRST)
    apart = split_month(
        CALENDAR, "2020-06", 5, SplitSpec(lookback_sessions=20, embargo_sessions=3), FIRST
    )

    assert number(plain.train[-1]) - number(apart.train[-1]) == 3
    assert (plain.valid == apart.valid).all()


@settings(max_examples=60, deadline=None)
@given(
    month=st.sampled_from(month_range("2019-01", "2021-12")),
    horizon=st.integers(1, 25),
    lookback=st.integers(1, 260),
    valid=st.integers(1, 60),
    embargo=st.integers(0, 12),
    expanding=st.booleans(),
)
def test_no_label_of_one_span_is_known_on_the_first_session_of_the_next(
    month: str, horizon: int, lookback: int, valid: int, embargo: int, expanding: bool
) -> None:
    spec = SplitSpec(
        lookback_sessions=lookback,
        valid_sessions=valid,
        embargo_sessions=embargo,
        expanding=expanding,
    )

    split = split_month(CALENDAR, month, horizon, spec, FIRST)

    if not split.is_ready:
        return
    assert number(split.valid[-1]) + horizon == number(split.first_session) - 1
    assert number(split.train[-1]) + horizon + embargo == number(split.valid[0]) - 1
    assert len(split.valid) == valid
    assert expanding or len(split.train) == lookback
    assert not expanding or split.train[0] == FIRST
    assert (np.diff(CALENDAR.index_of(split.train)) == 1).all()


@settings(max_examples=40, deadline=None)
@given(
    first=st.integers(0, 400),
    horizon=st.integers(1, 20),
    lookback=st.integers(1, 150),
    valid=st.integers(1, 42),
)
def test_a_skipped_month_names_the_first_that_is_not_skipped(
    first: int, horizon: int, lookback: int, valid: int
) -> None:
    spec = SplitSpec(lookback_sessions=lookback, valid_sessions=valid)
    usable = CALENDAR.sessions[first]

    splits = [
        split_month(CALENDAR, month, horizon, spec, usable)
        for month in month_range("2019-01", "2021-12")
    ]

    ready = [split.month for split in splits if split.is_ready]
    told = {split.first_month for split in splits if not split.is_ready}
    assert told <= {ready[0] if ready else None}
    assert ready == [split.month for split in splits][len(splits) - len(ready) :]


def test_fewer_training_sessions_can_be_allowed() -> None:
    spec = SplitSpec(lookback_sessions=252, valid_sessions=42, min_train_sessions=60)

    split = split_month(CALENDAR, "2019-09", 10, spec, FIRST)

    assert split.is_ready
    assert 60 <= len(split.train) < 252
    assert split.train[0] == FIRST


def test_a_month_whose_windows_all_begin_before_the_history_is_skipped() -> None:
    spec = SplitSpec(lookback_sessions=20, valid_sessions=5)
    months = month_range("2019-01", "2021-12")

    def first_ready(steps: int) -> tuple[str, int]:
        splits = [split_month(CALENDAR, month, 2, spec, FIRST, steps) for month in months]
        ready = [split for split in splits if split.is_ready]
        assert {s.first_month for s in splits if not s.is_ready} <= {ready[0].month}
        return ready[0].month, len(CALENDAR.between(FIRST, ready[0].train[-1]))

    assert first_ready(20) == first_ready(1)
    month, n_sessions = first_ready(100)
    assert n_sessions >= 100
    before = split_month(CALENDAR, next_month(month, -1), 2, spec, FIRST)
    assert before.is_ready
    assert len(CALENDAR.between(FIRST, before.train[-1])) < 100


def test_more_sessions_than_the_window_holds_are_refused_where_it_does_not_expand() -> None:
    words = "min_train_sessions = 300 is more than lookback_sessions = 252"
    with pytest.raises(ValueError, match=words):
        SplitSpec(lookback_sessions=252, min_train_sessions=300)
    assert SplitSpec(min_train_sessions=300, expanding=True).needed_sessions == 300


def test_a_month_before_all_history_is_skipped_without_sessions() -> None:
    split = split_month(CALENDAR, "2019-01", 10, SplitSpec(), FIRST)

    assert split.status == "not_enough_history"
    assert len(split.train) == 0
    assert split.last_known is None


def test_a_calendar_that_ends_too_soon_names_no_month() -> None:
    assert split_month(CALENDAR, "2019-01", 10, SplitSpec(), "2021-06-01").first_month is None


def test_a_month_without_sessions_is_refused() -> None:
    with pytest.raises(RangeError, match="2031-01 has no sessions"):
        split_month(CALENDAR, "2031-01", 10, SplitSpec(), FIRST)
