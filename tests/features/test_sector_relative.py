"""Features of a symbol against its sector: by hand and against polars."""

import numpy as np
import polars as pl
import pytest
from tests.features.crowd import EVER, MOVED, STRANGER, SYMBOLS, computed, crowd_panel

from alpha_assets.arrays.types import Index
from alpha_assets.errors import BadInput
from alpha_assets.features import CATALOG, compute_features
from alpha_assets.features.compute_cross_symbol import ACROSS
from alpha_assets.features.sector_relative import rest_of_sector, sec_beta_60

NAN = np.nan
SEC = [item for item in ACROSS if item.family == "sec"]


def nowhere(sector: Index) -> Index:
    """Return coarse sectors that are unknown throughout."""
    return np.full_like(sector, -1)


def test_the_rest_of_a_sector_by_hand() -> None:
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 100.0, 7.0]])
    sector = np.array([[0, 0, 0, 0, 0, 1, -1]])
    # (15 - x) / 4; sector 1 has one member; the last has no sector.
    expected = [[14 / 4, 13 / 4, 12 / 4, 11 / 4, 10 / 4, NAN, NAN]]
    np.testing.assert_array_equal(rest_of_sector(x, sector, nowhere(sector)), expected)


def test_a_small_sector_gives_way_to_the_coarse_one_by_hand() -> None:
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 7.0, 8.0]])
    sector = np.array([[0, 0, 0, 0, 0, 1, -1, 2]])
    coarse = np.array([[0, 0, 0, 0, 0, 0, -1, 1]])
    # The member of sector 1 sees 1 to 5; those of sector 0 still see each other only; the last
    # is alone in its coarse sector, too.
    expected = [[14 / 4, 13 / 4, 12 / 4, 11 / 4, 10 / 4, 15 / 5, NAN, NAN]]
    np.testing.assert_array_equal(rest_of_sector(x, sector, coarse), expected)


def test_a_member_without_a_value_sees_the_others_and_is_not_counted() -> None:
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, NAN], [NAN, 2.0, 3.0, 4.0, 5.0, NAN]])
    sector = np.zeros((2, 6), dtype=np.int64)
    rest = rest_of_sector(x, sector, nowhere(sector))
    np.testing.assert_array_equal(rest[0], [3.5, 3.25, 3.0, 2.75, 2.5, 3.0])
    assert np.isnan(rest[1]).all()  # four are too few


def test_a_symbol_that_moves_twice_as_much_as_its_sector_has_a_beta_of_two() -> None:
    moves = np.random.default_rng(1).normal(0, 0.01, (60, 1))
    returns = np.repeat(moves, 6, axis=1)
    returns[:, 0] *= 2
    sector = np.zeros((60, 6), dtype=np.int64)
    beta = sec_beta_60(returns, sector, nowhere(sector))
    # The rest of any other member holds the first: (4 · 1 + 2) / 5.
    np.testing.assert_allclose(beta[-1], [2.0] + [5 / 6] * 5)


@pytest.fixture(scope="module")
def panel() -> pl.DataFrame:
    return crowd_panel()


@pytest.fixture(scope="module")
def values(panel: pl.DataFrame) -> pl.DataFrame:
    return computed(panel, SEC)


def leave_one_out(name: str) -> pl.Expr:
    """Return the mean of the other members in polars' words."""
    here = ["session", "sector"]
    total, count = pl.col(name).sum().over(here), pl.col(name).count().over(here)
    known = pl.col(name).is_not_null()
    mean = (total - pl.col(name).fill_null(0.0)) / (count - known.cast(pl.Int64))
    return pl.when((count >= 5) & pl.col("sector").is_not_null()).then(mean)


def test_the_table_agrees_with_polars(panel: pl.DataFrame, values: pl.DataFrame) -> None:
    names = ("ret_1", "ret_5", "ret_20", "mom_12_1", "vol_yz_20", "turn_z")
    own = compute_features(
        panel, [item for item in CATALOG if item.name in names], *EVER, dtype=np.float64
    )
    own = own.with_columns(panel["sector"])
    expected = own.select(
        "session",
        "symbol",
        sec_ret_5=leave_one_out("ret_5"),
        sec_ret_20=leave_one_out("ret_20"),
        sec_rel_ret_5=pl.col("ret_5") - leave_one_out("ret_5"),
        sec_rel_ret_20=pl.col("ret_20") - leave_one_out("ret_20"),
        sec_rel_mom_12_1=pl.col("mom_12_1") - leave_one_out("mom_12_1"),
        sec_rel_vol_20=pl.col("vol_yz_20") - leave_one_out("vol_yz_20"),
        sec_rel_turn_z=pl.col("turn_z") - leave_one_out("turn_z"),
    )
    assert values.select("session", "symbol").equals(expected.select("session", "symbol"))
    for name in expected.columns[2:]:
        assert values[name].is_null().equals(expected[name].is_null()), name
        assert values[name].is_not_null().sum() > 1000
        np.testing.assert_allclose(
            values[name].to_numpy(), expected[name].to_numpy(), rtol=1e-9, atol=1e-12
        )


def test_beta_agrees_with_numpy(panel: pl.DataFrame, values: pl.DataFrame) -> None:
    own = compute_features(
        panel, [item for item in CATALOG if item.name == "ret_1"], *EVER, dtype=np.float64
    ).with_columns(panel["sector"])
    rows = own.with_columns(rest=leave_one_out("ret_1"))
    for symbol in (SYMBOLS[0], SYMBOLS[MOVED]):
        one = rows.filter(symbol=symbol)
        told = values.filter(symbol=symbol)["sec_beta_60"]
        for d in range(100, len(one), 20):
            window = one[d - 59 : d + 1].drop_nulls(["ret_1", "rest"])
            y, x = window["ret_1"].to_numpy(), window["rest"].to_numpy()
            if len(window) >= 48:
                assert told[d] == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-6)
            else:
                assert told[d] is None


def test_who_has_no_sector_has_no_peers(values: pl.DataFrame) -> None:
    stranger = values.filter(symbol=SYMBOLS[STRANGER])
    assert all(stranger[item.name].null_count() == len(stranger) for item in SEC)


def test_a_panel_without_sectors_is_refused(panel: pl.DataFrame) -> None:
    with pytest.raises(BadInput, match="lacks sector"):
        computed(panel.drop("sector"), SEC)
