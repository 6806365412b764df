"""What tests of planted leaks share."""

from collections.abc import Callable
from datetime import date
from typing import Any

from alpha_assets.store.compare import Comparison

Cut = Callable[..., list[Comparison]]  # compares the month of a cut in two worlds


def unbounded(labels: Callable[..., Any]) -> Callable[..., Any]:
    """Return `labels_between` that gives the labels of a span, whenever they became known."""

    def leaky(context: Any, first: date, last: date, known_by: date | None) -> Any:
        return labels(context, first, last, None)

    return leaky


def first_of(comparisons: list[Comparison]) -> str:
    """Return the first differing cell; empty where nothing differs."""
    return next((str(one.first) for one in comparisons if one.first is not None), "")
