"""Features of options on the index: by hand, and a carried surface is no new one."""

import math

import numpy as np
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features import index_options
from alpha_assets.features.base import Feature

FEATURES = {item.name: item for item in vars(index_options).values() if isinstance(item, Feature)}
ROWS = 300


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def value(name: str, **inputs: float) -> float:
    """Return a feature of one row from inputs whose prefix `index_options_` is left out."""
    feature = FEATURES[name]
    given = {f"index_options_{n}": column(v) for n, v in inputs.items()}
    return float(feature(*[given[n] for n in feature.inputs])[0, 0])


@pytest.fixture
def series() -> dict[str, Array]:
    """Return a year of surfaces; rows 100, 101 and 290 carry the one before."""
    rng = np.random.default_rng(3)
    made = {
        "iv_30": 0.2 * np.exp(rng.normal(0, 0.1, (ROWS, 1))),
        "underlying": 1000 * np.exp(np.cumsum(rng.normal(0, 0.01, (ROWS, 1)), axis=0)),
        "open_interest": rng.normal(12, 0.2, (ROWS, 1)),
        "age": np.zeros((ROWS, 1)),
    }
    for row, age in ((100, 1), (101, 2), (290, 1)):
        for array in made.values():
            array[row] = array[row - 1]
        made["age"][row] = age
    return made


BY_HAND = [
    ("opt_iv_30", {"iv_30": 0.2}, 0.2),
    ("opt_iv_60", {"iv_60": 0.22}, 0.22),
    ("opt_term_slope", {"iv_30": 0.2, "iv_60": 0.22}, 0.22 - 0.2),
    ("opt_pc_oi", {"put_call_oi": 0.3}, 0.3),
    ("opt_pc_vo", {"put_call_volume": -0.3}, -0.3),
    ("opt_oi_sum", {"open_interest": 12.5}, 12.5),
    ("opt_skew_25d", {"skew_25d": 0.04}, 0.04),
    ("opt_skew_slope", {"skew_slope": -0.3}, -0.3),
    ("opt_days_to_sq", {"days_to_sq": 5, "age": 0}, 5),
    ("opt_days_to_sq", {"days_to_sq": 5, "age": 5}, 0),
    ("opt_days_to_sq", {"days_to_sq": 4, "age": 5}, np.nan),
    ("opt_is_stale", {"age": 0, "lag": 1}, 0),
    ("opt_is_stale", {"age": 0, "lag": 2}, 1),
    ("opt_is_stale", {"age": 1, "lag": 1}, 1),
    ("opt_is_stale", {"age": 9, "lag": np.nan}, 1),
    ("opt_is_stale", {"age": np.nan, "lag": np.nan}, np.nan),
    ("opt_is_odd", {"is_odd": 1.0}, 1.0),
]


@pytest.mark.parametrize(("name", "inputs", "expected"), BY_HAND)
def test_by_hand(name: str, inputs: dict[str, float], expected: float) -> None:
    assert value(name, **inputs) == pytest.approx(expected, nan_ok=True)


def test_every_feature_is_of_the_whole_market_and_comes_from_one_feed() -> None:
    assert {item.scope for item in FEATURES.values()} == {"market"}
    assert {item.feeds for item in FEATURES.values()} == {("index_options",)}
    assert len(FEATURES) == 15


def test_the_price_of_insurance_by_hand() -> None:
    # The index goes up and down by 1 % in turn: 20 changes of mean 0, variance .01² · 20 / 19.
    level = column(*[1000 * math.exp(0.01 * (n % 2)) for n in range(60)])
    found = index_options.opt_vrp(np.full((60, 1), 0.2), level, np.zeros((60, 1)))

    assert found[59, 0] == pytest.approx(0.04 - 245 * 0.0001 * 20 / 19)
    assert np.isnan(found[15, 0])  # 15 changes are fewer than four fifths of 20
    assert not np.isnan(found[16, 0])


def test_a_carried_level_is_no_session_without_a_move(series: dict[str, Array]) -> None:
    found = index_options.opt_vrp(series["iv_30"], series["underlying"], series["age"])[:, 0]
    # Row 105 looks back on rows 86 to 105: 100 and 101 have no change, 102 that since 99.
    level = series["underlying"][:, 0]
    observed = [n for n in range(85, 106) if n not in (100, 101)]
    changes = np.diff(np.log(level[observed]))

    assert len(changes) == 18
    assert found[105] == pytest.approx(
        series["iv_30"][105, 0] ** 2 - 245 * changes.var(ddof=1), rel=1e-9
    )


def test_a_z_over_a_year_leaves_carried_values_out(series: dict[str, Array]) -> None:
    found = index_options.opt_iv_z(series["iv_30"], series["age"])[:, 0]
    row = 295
    window = [n for n in range(row - 251, row + 1) if n not in (100, 101, 290)]
    past = series["iv_30"][window, 0]

    assert found[row] == pytest.approx((past[-1] - past.mean()) / past.std(ddof=1), rel=1e-9)


@pytest.mark.parametrize("name", ["iv_30", "open_interest"])
def test_a_change_that_starts_or_ends_at_a_carried_value_is_unknown(
    series: dict[str, Array], name: str
) -> None:
    feature = {"iv_30": index_options.opt_iv_chg_5, "open_interest": index_options.opt_oi_chg_5}[
        name
    ]
    found = feature(series[name], series["age"])[:, 0]

    assert np.flatnonzero(np.isnan(found)).tolist() == [*range(5), 100, 101, 105, 106, 290, 295]
    assert found[110] == series[name][110, 0] - series[name][105, 0]


@pytest.mark.parametrize("name", ["opt_iv_z", "opt_iv_chg_5", "opt_vrp", "opt_oi_chg_5"])
def test_what_comes_later_or_before_the_rows_declared_changes_no_bit(
    series: dict[str, Array], name: str
) -> None:
    feature = FEATURES[name]
    given = [series[n.removeprefix("index_options_")] for n in feature.inputs]
    whole = feature(*given)
    assert feature(*[array[:280] for array in given]).tobytes() == whole[:280].tobytes()
    for end in (ROWS, ROWS - 5, ROWS - 9):
        cut = slice(end - feature.rows, end)
        assert feature(*[a[cut].copy() for a in given])[-1].tobytes() == whole[end - 1].tobytes()


def test_the_oldest_change_may_start_at_a_level_that_was_carried_for_twenty_rows() -> None:
    # 19 rows of silence before the window's first row: its change starts 20 rows earlier.
    age = np.zeros((41, 1))
    age[1:21, 0] = np.arange(1, 21)
    level = column(*np.exp(0.01 * np.arange(41.0) ** 1.5))
    iv = np.full((41, 1), 0.2)

    assert FEATURES["opt_vrp"].rows == 41
    whole, short = (
        index_options.opt_vrp(iv, level, age),
        index_options.opt_vrp(iv[1:], level[1:], age[1:]),
    )
    assert whole[-1, 0] != short[-1, 0]
