"""Volatility of a week, and volatility and range against the symbol's own year: a second way."""

import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features import Feature, compute_features, volatility

EVER = (date(2000, 1, 1), date(2100, 1, 1))
(VOL_5,) = (f for f in volatility.vol_c2c if f.name == "vol_c2c_5")


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def test_the_volatility_of_a_week_by_hand() -> None:
    # Mean 0.01; squares of the gaps 9, 1, 0, 1, 9 in 1e-4: 20e-4 / 4.
    found = VOL_5(column(-0.02, 0.0, 0.01, 0.02, 0.04))
    assert found[-1, 0] == pytest.approx(math.sqrt(245 * 20e-4 / 4), rel=1e-12)
    # Four of five are enough, three are not.
    assert not np.isnan(VOL_5(column(np.nan, 0.0, 0.01, 0.02, 0.04))[-1, 0])
    assert np.isnan(VOL_5(column(np.nan, 0.0, np.nan, 0.02, 0.04))[-1, 0])


@pytest.mark.parametrize("feature", [volatility.vol_z_252, volatility.range_z_252])
def test_a_z_of_the_own_year_by_hand(feature: Feature) -> None:
    # 126 times 1 and 126 times 3: mean 2, variance 252 / 251; the last is 3.
    x = column(*[1.0, 3.0] * 126)
    assert feature(x)[-1, 0] == pytest.approx(math.sqrt(251 / 252), rel=1e-12)
    # A value of before the year does not count, however large.
    assert feature(np.concatenate([column(1e6), x]))[-1, 0] == feature(x)[-1, 0]
    # What never varies is not unusual by any number; nor is what is known for under 202 sessions.
    assert np.isnan(feature(np.full((300, 1), 0.02))[:, 0]).all()
    assert np.isnan(feature(x)[200, 0])
    assert not np.isnan(feature(x)[201, 0])


def test_the_zs_of_a_panel_are_those_of_a_loop(panel: pl.DataFrame) -> None:
    wanted = [volatility.vol_yz_20, volatility.vol_z_252, volatility.range_1]
    values = compute_features(
        panel, [*wanted, volatility.range_z_252], *EVER, dtype=np.float64
    ).filter(symbol="plain")
    for level, z in (("vol_yz_20", "vol_z_252"), ("range_1", "range_z_252")):
        x = values[level].fill_null(np.nan).to_numpy()
        n_known = 0
        for row, found in enumerate(values[z]):
            year = x[max(row - 251, 0) : row + 1]
            known = year[~np.isnan(year)]
            if len(known) < 202:
                assert found is None
                continue
            n_known += 1
            expected = (x[row] - known.mean()) / known.std(ddof=1)
            assert found == pytest.approx(expected, rel=1e-9), (z, row)
        assert n_known > 100
