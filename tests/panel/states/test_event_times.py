"""Tables of a day at each of its moments, and sums in a fixed order: by hand."""

from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from tests.panel.market import INSTANT, TOKYO, day, evening

from alpha_assets.panel.states.event_times import (
    MOMENT,
    decision_stamps,
    moments,
    session_numbers,
    sums,
)


def table(*cells: tuple[int, str, float | None, datetime, int]) -> pl.DataFrame:
    schema = {
        "event_date": pl.Date,
        "part": pl.String,
        "x": pl.Float64,
        "available_at": INSTANT,
        "revision": pl.Int16,
    }
    rows = [(day(n), part, x, stamp.astimezone(UTC), r) for n, part, x, stamp, r in cells]
    return pl.DataFrame(rows, schema=schema, orient="row")


def told(rows: pl.DataFrame) -> list[tuple[str, str, float | None]]:
    """Return (day and hour of the decision that knew it, part, x)."""
    found = moments(rows, ["event_date"], ["part"], TOKYO).with_columns(
        pl.col(MOMENT).dt.convert_time_zone("Asia/Tokyo").dt.strftime("%d %H")
    )
    return found.select(MOMENT, "part", "x").rows()


def test_rows_that_come_together_are_told_once() -> None:
    rows = table((0, "b", 2.0, evening(0), 0), (0, "a", 1.0, evening(0), 0))

    assert told(rows) == [("02 08", "a", 1.0), ("02 08", "b", 2.0)]


def test_a_late_row_tells_the_whole_day_anew_and_leaves_what_was_told() -> None:
    rows = table((0, "a", 1.0, evening(0), 0), (0, "b", 2.0, evening(1), 0))

    assert told(rows) == [("02 08", "a", 1.0), ("05 08", "a", 1.0), ("05 08", "b", 2.0)]


def test_a_correction_replaces_its_row_from_its_own_moment_on() -> None:
    rows = table(
        (0, "a", 1.0, evening(0), 0), (0, "b", 2.0, evening(0), 0), (0, "a", 5.0, evening(1), 1)
    )

    assert told(rows) == [
        ("02 08", "a", 1.0),
        ("02 08", "b", 2.0),
        ("05 08", "a", 5.0),
        ("05 08", "b", 2.0),
    ]


def test_rows_of_one_evening_belong_together_however_many_stamps_they_have() -> None:
    rows = table(
        (0, "a", 1.0, evening(0, time(16, 30)), 0),
        (0, "b", 2.0, evening(0, time(16, 31)), 0),
        (0, "a", 3.0, evening(0, time(17)), 1),
        # After the decision of session 1, at 08:30.
        (0, "c", 4.0, evening(1, time(8, 31)), 0),
    )

    assert told(rows) == [
        ("02 08", "a", 3.0),
        ("02 08", "b", 2.0),
        ("05 08", "a", 3.0),
        ("05 08", "b", 2.0),
        ("05 08", "c", 4.0),
    ]


def test_a_stamp_for_each_row_of_a_day_repeats_no_row() -> None:
    n = 400
    rows = table(*[(0, f"{k:03d}", 1.0, evening(0) + timedelta(seconds=k), 0) for k in range(n)])

    assert moments(rows, ["event_date"], ["part"], TOKYO).height == n


def test_of_two_versions_at_one_moment_the_higher_revision_counts() -> None:
    rows = table((0, "a", 5.0, evening(0), 1), (0, "a", 1.0, evening(0), 0))

    assert told(rows) == [("02 08", "a", 5.0)]


def test_another_day_is_not_told_anew() -> None:
    rows = table((0, "a", 1.0, evening(0), 0), (1, "a", 2.0, evening(1), 0))

    assert told(rows) == [("02 08", "a", 1.0), ("05 08", "a", 2.0)]


def test_sums_run_over_known_values_of_each_group() -> None:
    rows = pl.DataFrame({"by": ["p", "p", "q", "q", "r"], "x": [1.0, 2.0, None, 4.0, None]})

    assert sums(rows, ["by"], ["x"]).rows() == [("p", 3.0), ("q", 4.0), ("r", None)]


def test_sums_are_added_in_the_order_of_the_rows() -> None:
    # 1e16 + 1 is 1e16: only from the small end on does the sum see both ones.
    rows = pl.DataFrame({"by": ["p"] * 3 + ["q"] * 3, "x": [1e16, 1.0, 1.0, 1.0, 1.0, 1e16]})

    assert sums(rows, ["by"], ["x"])["x"].to_list() == [1e16, 1e16 + 2]


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_is_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, x = np.sort(rng.integers(0, 9, 200)), rng.standard_t(2, 200)
    expected = []
    for g in np.unique(group):
        total = 0.0
        for value in x[group == g].tolist():
            total += value
        expected.append(total)

    assert sums(pl.DataFrame({"by": group, "x": x}), ["by"], ["x"])["x"].to_list() == expected


def test_nothing_gives_no_sums() -> None:
    empty = pl.DataFrame(schema={"by": pl.String, "x": pl.Float64})

    assert sums(empty, ["by"], ["x"]).rows() == []
    assert told(table()) == []


def test_a_state_made_at_a_decision_is_known_at_that_very_session() -> None:
    # 2023-06-02 is session 1; 08:30 in Tokyo is 23:30 UTC of the day before.
    number = TOKYO.index_of([day(1)])
    stamps = pl.DataFrame(decision_stamps(number, TOKYO))

    assert stamps.rows() == [(day(1), datetime(2023, 6, 1, 23, 30, tzinfo=UTC), 0)]
    assert session_numbers(stamps, TOKYO).tolist() == number.tolist()
    at_nine = table((1, "a", 1.0, evening(1, time(9)), 0))
    assert session_numbers(at_nine, TOKYO).tolist() == [number[0] + 1]
