"""What tests of planted leaks share."""

from collections.abc import Callable

from alpha_assets.store.compare import Comparison

Cut = Callable[..., list[Comparison]]  # compares the month of a cut in two worlds


def first_of(comparisons: list[Comparison]) -> str:
    """Return the first differing cell; empty where nothing differs."""
    return next((str(one.first) for one in comparisons if one.first is not None), "")
