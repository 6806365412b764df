"""Several at a time: results and errors are those of one at a time, in the order of the items."""

import threading
from collections.abc import Iterator

import pytest

from alpha_assets.store.side_by_side import side_by_side

SECONDS = 30.0  # for threads that wait for each other


def test_several_run_at_a_time_and_come_back_in_order() -> None:
    met = threading.Barrier(3)  # breaks where fewer than three wait at it

    def do(item: int) -> int:
        met.wait(SECONDS)
        return 10 * item

    assert side_by_side(do, [3, 1, 2], at_once=3) == [30, 10, 20]


def test_one_at_a_time_takes_the_next_item_when_it_is_done_with_the_one_before() -> None:
    seen: list[str] = []

    def do(item: int) -> None:
        seen.append(f"do {item} in {threading.current_thread().name}")

    def items() -> Iterator[int]:
        for item in (1, 2):
            seen.append(f"take {item}")
            yield item

    side_by_side(do, items(), at_once=1)
    here = threading.current_thread().name
    assert seen == ["take 1", f"do 1 in {here}", "take 2", f"do 2 in {here}"]


@pytest.mark.parametrize("at_once", [1, 4])
def test_the_error_of_the_first_item_in_order_is_raised_and_none_runs_on(at_once: int) -> None:
    later = threading.Event()
    running: set[int] = set()

    def do(item: int) -> None:
        running.add(item)
        try:
            if item == 2:
                later.set()
                raise ValueError("the second, and faster")
            if at_once > 1:
                assert later.wait(SECONDS)
            raise KeyError("the first")
        finally:
            running.discard(item)

    with pytest.raises(KeyError, match="the first"):
        side_by_side(do, [1, 2, 3], at_once)
    assert running == set()
