"""Features of options on a symbol, by hand."""

import math

import numpy as np
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features import implied_volatility
from alpha_assets.features.base import Feature

FEATURES = {
    item.name: item for item in vars(implied_volatility).values() if isinstance(item, Feature)
}


def value(name: str, **inputs: float) -> float:
    """Return a feature of one row from inputs whose prefix `option_summary_` is left out."""
    feature = FEATURES[name]
    given = {
        n if n == "yang_zhang_20" else f"option_summary_{n}": np.array([[v]], dtype=np.float64)
        for n, v in inputs.items()
    }
    return float(feature(*[given[n] for n in feature.inputs])[0, 0])


BY_HAND = [
    ("iv_30", {"iv_30": 0.3}, 0.3),
    ("iv_term_slope", {"iv_30": 0.3, "iv_60": 0.28}, 0.28 - 0.3),
    ("iv_vrp", {"iv_30": 0.3, "yang_zhang_20": 0.015}, 0.09 - 245 * 0.015**2),
    ("iv_skew_25d", {"skew_25d": 0.05}, 0.05),
    ("iv_pc_volume", {"put_volume": 9, "call_volume": 19}, math.log(10 / 20)),
    ("iv_pc_volume", {"put_volume": 0, "call_volume": 19}, math.log(1 / 20)),
    ("iv_pc_volume", {"put_volume": 0, "call_volume": 0}, np.nan),
    ("iv_pc_oi", {"put_open_interest": 99, "call_open_interest": 49}, math.log(100 / 50)),
    ("iv_pc_oi", {"put_open_interest": np.nan, "call_open_interest": 49}, np.nan),
]


@pytest.mark.parametrize(("name", "inputs", "expected"), BY_HAND)
def test_by_hand(name: str, inputs: dict[str, float], expected: float) -> None:
    assert value(name, **inputs) == pytest.approx(expected, nan_ok=True)


def test_every_feature_is_of_the_symbol() -> None:
    assert {item.scope for item in FEATURES.values()} == {"symbol"}
    assert {item.feeds for item in FEATURES.values()} == {("option_summary",)}
    assert len(FEATURES) == 8


def lines(n: int) -> tuple[Array, Array]:
    """Return n rows of two symbols; the second one is carried in every tenth row."""
    rng = np.random.default_rng(4)
    vol, age = rng.uniform(0.2, 0.4, (n, 2)), np.zeros((n, 2))
    vol[10::10, 1], age[10::10, 1] = vol[9:-1:10, 1], 1
    return vol, age


def test_changes_and_windows_leave_carried_lines_out() -> None:
    vol, age = lines(100)
    change, z = implied_volatility.iv_chg_5(vol, age), implied_volatility.iv_z_60(vol, age)

    assert change[50, 0] == vol[50, 0] - vol[45, 0]
    assert np.flatnonzero(np.isnan(change[20:, 1])).tolist() == list(range(0, 80, 5))
    past = vol[[n for n in range(26, 86) if n % 10], 1]
    assert z[85, 1] == pytest.approx((past[-1] - past.mean()) / past.std(ddof=1))


@pytest.mark.parametrize("name", ["iv_chg_5", "iv_z_60"])
def test_what_comes_later_or_before_the_rows_declared_changes_no_bit(name: str) -> None:
    given = lines(100)
    feature = FEATURES[name]
    whole = feature(*given)

    assert feature(*[array[:80] for array in given]).tobytes() == whole[:80].tobytes()
    for end in (100, 97, 91):
        cut = slice(end - feature.rows, end)
        assert feature(*[a[cut].copy() for a in given])[-1].tobytes() == whole[end - 1].tobytes()
