"""Requests of one process side by side, where each waits for a network more than it computes."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def side_by_side(do: Callable[[A], B], items: Iterable[A], at_once: int) -> list[B]:
    """Return what `do` returns of each item, in their order; all have ended when it returns.

    Args:
        do: called once an item, in another thread where several run at a time.
        items: what it is called with; taken one by one where one runs at a time.
        at_once: how many at a time; 1: in this thread.

    Raises:
        Exception: what `do` raised of the first item, in order, of which it raised; with one at a
            time those after it are not begun, else some may be done.
    """
    if at_once == 1:
        return [do(item) for item in items]
    asked = list(items)
    if len(asked) <= 1:
        return [do(item) for item in asked]
    with ThreadPoolExecutor(min(at_once, len(asked)), "alpha-assets") as pool:
        return list(pool.map(do, asked))
