"""What a person who waits reads: count, rate, time left, and not too often."""

import pytest

from alpha_assets.progress import Pace, duration


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def lines_of(steps: list[tuple[float, int]], total: int, what: str = "months") -> list[str]:
    """Return what is reported when `done` parts are done after so many seconds."""
    clock, lines = Hand(), []
    pace = Pace(lambda stage, words: lines.append(f"{stage} {words}"), "run", clock=clock)
    for seconds, done in steps:
        clock.seconds = seconds
        pace(what, done, total)
    return lines


def test_a_long_loop_reports_count_rate_and_time_left() -> None:
    assert lines_of([(0, 0), (5, 1), (10, 2), (20, 4)], 4) == [
        "run months: 1 of 4, 5.0 s each, 15 s left",
        "run months: 2 of 4, 5.0 s each, 10 s left",
        "run months: 4 of 4, 5.0 s each",
    ]


def test_the_end_is_reported_once() -> None:
    assert lines_of([(0, 0), (10, 2), (11, 2), (20, 2)], 2) == ["run months: 2 of 2, 5.0 s each"]


def test_a_fast_loop_reports_every_two_seconds() -> None:
    steps = [(n / 10, n) for n in range(51)]  # ten a second, for five seconds
    assert lines_of(steps, 1_000) == [
        "run months: 20 of 1,000, 10.0 a second, 2 min left",
        "run months: 40 of 1,000, 10.0 a second, 2 min left",
    ]


def test_a_loop_that_is_over_at_once_reports_nothing() -> None:
    assert lines_of([(0, 0), (0.5, 1), (1.0, 2)], 2) == []


def test_parts_done_before_do_not_count_into_the_rate() -> None:
    assert lines_of([(0, 90), (10, 95)], 100) == ["run months: 95 of 100, 2.0 s each, 10 s left"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5_340, "89 min"), (11_100, "3 h 05 min")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
