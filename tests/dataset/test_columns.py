"""Which columns a month can learn: by hand, and what is refused."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Dates
from alpha_assets.dataset import Columns, informative, learnable_columns
from alpha_assets.models import LinearSpec
from alpha_assets.models.losses import ICSpec
from alpha_assets.training import Learner, TrainingSpec, WindowSpec

DAYS = [date(2020, 1, 1) + timedelta(days=n) for n in range(12)]
TRAIN = np.array(DAYS[:10], dtype="datetime64[D]")  # the last two are of the validation


def section(**told_on: list[int]) -> pl.DataFrame:
    """Two symbols a day; a column differs between them, or is not 0 in time, on some days."""
    return pl.DataFrame(
        [
            {"session": day, "symbol": symbol}
            | {
                name: sign * float(n in days) if name.endswith("_cs_z") else float(n in days)
                for name, days in told_on.items()
            }
            for n, day in enumerate(DAYS)
            for symbol, sign in (("A", 1.0), ("B", -1.0))
        ]
    )


def learnable(
    rows: pl.DataFrame,
    train: Dates,
    features: tuple[str, ...],
    wide: tuple[str, ...],
    min_span: float,
) -> Columns:
    """The columns that rows leave to learn from."""
    return learnable_columns(informative(rows, features, wide), train, features, wide, min_span)


def test_a_column_is_left_out_until_it_spans_half_of_the_window() -> None:
    rows = section(always_cs_z=[*range(12)], half_cs_z=[*range(5, 12)], late_cs_z=[*range(6, 12)])
    found = learnable(rows, TRAIN, ("always_cs_z", "late_cs_z", "half_cs_z"), (), 0.5)

    assert found.features == ("always_cs_z", "half_cs_z")
    assert found.left_out == ("late_cs_z",)


def test_a_rare_event_spans_all_that_came_after_the_first_one() -> None:
    found = learnable(section(flag_cs_z=[2]), TRAIN, ("flag_cs_z",), (), 0.5)

    assert found.left_out == ()


def test_what_never_told_anything_in_training_is_left_out_whatever_came_later() -> None:
    rows = section(new_cs_z=[10, 11], new_ts_z=[10, 11], old_ts_z=[0, 11])
    found = learnable(rows, TRAIN, ("new_cs_z",), ("new_ts_z", "old_ts_z"), 0.1)

    assert (found.features, found.market_features) == ((), ("old_ts_z",))
    assert found.left_out == ("new_cs_z", "new_ts_z")


def test_shares_that_are_missing_stay_and_nothing_is_left_out_unasked() -> None:
    rows = section(new_cs_z=[11], ss_missing=[])
    assert learnable(rows, TRAIN, ("ss_missing",), (), 0.9).left_out == ()
    assert learnable(rows, TRAIN, ("new_cs_z",), (), 0.0).left_out == ()


def test_a_warm_start_keeps_its_columns() -> None:
    with pytest.raises(ValueError, match=r"warm_start .*min_span = 0\.5 .*leave one of them out"):
        Learner(
            model=LinearSpec(),
            loss=(ICSpec(),),
            window=WindowSpec(min_span=0.5),
            training=TrainingSpec(warm_start=True),
        )
