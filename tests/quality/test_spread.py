"""How many equal scores a session may have: as many as training was allowed."""

from datetime import date

import polars as pl
import pytest

from alpha_assets.quality.checks import scores_spread
from alpha_assets.store.table import MonthTable


class _Scores:
    """A table of scores in memory."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def read(self, *span: str) -> pl.LazyFrame:
        """Return all rows."""
        return self.frame.lazy()


def table(values: list[float]) -> MonthTable:
    n = len(values)
    return _Scores(  # type: ignore[return-value]
        pl.DataFrame(
            {
                "session": [date(2021, 1, 4)] * n,
                "horizon": [5] * n,
                "symbol": [f"S{k}" for k in range(n)],
                "score": values,
            }
        )
    )


@pytest.mark.parametrize(("least", "passed"), [(0.5, False), (0.25, True), (0.2, True)])
def test_equal_scores_are_judged_by_the_guard_of_the_training(least: float, passed: bool) -> None:
    # Three values among twelve names: a quarter.
    answer = scores_spread(table([1.0, 2.0, 3.0] * 4), 2, least)
    assert answer.passed == passed
    assert answer.facts["limit_distinct"] == least


def test_one_value_for_all_is_flat_whatever_the_guard() -> None:
    assert not scores_spread(table([1.0] * 12), 2, 0.0).passed
