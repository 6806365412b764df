"""The level of the one index that a market is compared with."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from tests.panel.market import TOKYO

from alpha_assets.errors import BadInput
from alpha_assets.panel.states.index import index_states


def rows(*names: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "event_date": [date(2021, 3, 1)] * len(names),
            "name": names,
            "close": [1900.0] * len(names),
            "available_at": [datetime(2021, 3, 1, 7, 30, tzinfo=UTC)] * len(names),
            "revision": [0] * len(names),
        }
    )


def test_one_index_is_handed_on() -> None:
    (found,) = index_states(rows("TOPIX"), TOKYO, 10**6).iter_rows(named=True)

    assert (found["event_date"], found["close"]) == (date(2021, 3, 1), 1900.0)


def test_two_indices_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"holds 2 indices \(Mothers, TOPIX\).*keep one of them"):
        index_states(rows("TOPIX", "Mothers"), TOKYO, 10**6)
