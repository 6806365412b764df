"""Where the close lies in the session's range, by hand and on a panel."""

from datetime import date

import numpy as np
import polars as pl

from alpha_assets.features import compute_features
from alpha_assets.features.trend import close_in_range


def test_the_place_of_the_close_by_hand() -> None:
    # At the low, in the middle, a quarter up, at the high; no range; no bar.
    low, high = np.array([[10.0, 10, 10, 10, 10, np.nan]]), np.array([[14.0, 14, 14, 14, 10, 9]])
    close = np.array([[10.0, 12, 11, 14, 10, 9]])
    np.testing.assert_array_equal(
        close_in_range(close, high, low), [[0.0, 0.5, 0.25, 1.0, np.nan, np.nan]]
    )


def test_the_place_of_the_close_on_a_panel_is_that_of_its_raw_bars(panel: pl.DataFrame) -> None:
    ever = (date(2000, 1, 1), date(2100, 1, 1))
    found = compute_features(panel, [close_in_range], *ever, dtype=np.float64)["close_in_range"]
    # A factor moves all three prices alike.
    place = (pl.col("close") - pl.col("low")) / (pl.col("high") - pl.col("low"))
    expected = panel.select(place.fill_nan(None))["close"]
    assert found.is_null().equals(expected.is_null())
    np.testing.assert_allclose(found.drop_nulls(), expected.drop_nulls(), rtol=1e-9, atol=1e-12)
    assert found.filter(panel["symbol"] == "quiet").null_count() == 340
    known = found.drop_nulls().to_numpy()
    assert 0.0 <= known.min() < 0.1 < 0.9 < known.max() <= 1.0
