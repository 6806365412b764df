"""Published test vectors of the estimators, to the digits that are printed."""

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import shift, window_mean, window_std
from alpha_assets.features import CATALOG, SESSIONS_PER_YEAR, compute_features
from alpha_assets.features.estimators import (
    corwin_schultz,
    garman_klass,
    mean_traded_value,
    parkinson,
    rogers_satchell_variance,
    wilder_share,
    yang_zhang,
)


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


OPEN = column(100, 102, 101.5, 103, 104, 102.5)
HIGH = column(103, 104, 103, 105.5, 104.5, 104)
LOW = column(99, 101, 100, 102.5, 101, 101.5)
CLOSE = column(102, 101.2, 102.8, 104.2, 101.9, 103.6)
TRADED = column(1.0, 1.2, 0.9, 1.5, 1.1, 1.3) * 1e9
RSI_CLOSE = column(
    44.34, 44.09, 44.15, 43.61, 44.33, 44.83, 45.10, 45.42, 45.84, 46.08,
    45.89, 46.03, 45.61, 46.28, 46.28, 46.00, 46.03, 46.41, 46.22, 45.64,
)  # fmt: skip
DIGITS = 5e-11  # half a unit of the tenth decimal that the vectors are printed with


def last(x_DN: Array) -> float:
    return float(x_DN[-1, 0])


def test_parkinson_agrees_with_the_vector() -> None:
    assert last(parkinson(HIGH, LOW, 5)) == pytest.approx(0.0176431663, abs=DIGITS)


def test_garman_klass_agrees_with_the_vector() -> None:
    assert last(garman_klass(OPEN, HIGH, LOW, CLOSE, 5)) == pytest.approx(0.0190501008, abs=DIGITS)


def test_rogers_satchell_agrees_with_the_vector() -> None:
    variance = last(rogers_satchell_variance(OPEN, HIGH, LOW, CLOSE, 5))
    assert np.sqrt(variance) == pytest.approx(0.0200188751, abs=DIGITS)


def test_yang_zhang_agrees_with_the_vector() -> None:
    overnight = np.log(OPEN / shift(CLOSE, 1))
    assert pytest.approx(0.1197183099, abs=DIGITS) == 0.34 / (1.34 + 6 / 4)
    sigma = last(yang_zhang(OPEN, HIGH, LOW, CLOSE, overnight, 5))
    assert sigma == pytest.approx(0.0196938255, abs=DIGITS)


def test_close_to_close_agrees_with_the_vector() -> None:
    log_return = np.log(CLOSE / shift(CLOSE, 1))
    assert last(window_std(log_return, 5)) == pytest.approx(0.0174250801, abs=DIGITS)


def test_amihud_agrees_with_the_vector() -> None:
    impact = np.abs(CLOSE / shift(CLOSE, 1) - 1) / TRADED
    assert 1e9 * last(window_mean(impact, 5)) == pytest.approx(0.0132162880, abs=DIGITS)


def test_corwin_schultz_agrees_with_the_vector() -> None:
    spread = corwin_schultz(HIGH, LOW, CLOSE)[1:, 0]
    expected = [-0.0000489393, 0.0057417134, -0.0295424051, 0.0025343176, 0.0188237611]
    np.testing.assert_allclose(spread, expected, rtol=0, atol=DIGITS)


def test_the_mean_traded_value_counts_a_session_without_a_bar_and_no_bar_without_a_volume() -> None:
    traded_DN, stale_DN = np.full((20, 1), 100.0), np.zeros((20, 1))
    traded_DN[[3, 7, 9, 12]] = np.nan
    stale_DN[[3, 7]] = 1.0  # no bar; those of 9 and 12 have no volume
    assert mean_traded_value(traded_DN, stale_DN, 20)[-1] == pytest.approx(16 * 100 / 18)


def test_corwin_schultz_takes_an_overnight_gap_out_of_the_range() -> None:
    high, low, close = column(101, 111), column(99, 109), column(100, 110)
    # Shifted down by 109 - 100 = 9: the second range is 100 to 102 against 99 to 101.
    beta = np.log(101 / 99) ** 2 + np.log(102 / 100) ** 2
    gamma = np.log(102 / 99) ** 2
    d = 3 - 2 * np.sqrt(2)
    alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / d - np.sqrt(gamma / d)
    expected = 2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha))
    assert last(corwin_schultz(high, low, close)) == pytest.approx(expected, rel=1e-12)


def test_rsi_agrees_with_the_vector() -> None:
    rsi = 100 * wilder_share(RSI_CLOSE - shift(RSI_CLOSE, 1))[:, 0]
    assert np.isnan(rsi[:14]).all()
    expected = [70.4641, 66.2496, 66.4809, 69.3469, 66.2947, 57.9150]
    np.testing.assert_allclose(rsi[14:], expected, rtol=0, atol=5e-5)


def test_rsi_is_wilders_recursion_for_as_long_as_it_remembers() -> None:
    change = np.random.default_rng(3).normal(size=(142, 1))
    gain, loss = np.maximum(change, 0)[:, 0], np.maximum(-change, 0)[:, 0]
    up, down = gain[:14].mean(), loss[:14].mean()
    for now_up, now_down in zip(gain[14:], loss[14:], strict=True):
        up, down = (13 * up + now_up) / 14, (13 * down + now_down) / 14
    assert last(wilder_share(change)) == pytest.approx(up / (up + down), rel=1e-12)


def test_rsi_far_from_its_start_differs_from_an_endless_recursion_by_the_seed_alone() -> None:
    change = np.random.default_rng(4).normal(size=(600, 1))
    gain, loss = np.maximum(change, 0)[:, 0], np.maximum(-change, 0)[:, 0]
    up, down = gain[:14].mean(), loss[:14].mean()
    for now_up, now_down in zip(gain[14:], loss[14:], strict=True):
        up, down = (13 * up + now_up) / 14, (13 * down + now_down) / 14
    assert last(wilder_share(change)) == pytest.approx(up / (up + down), abs=1e-4)


def test_rsi_of_prices_that_only_rise_is_one_and_of_still_prices_unknown() -> None:
    assert last(wilder_share(np.ones((40, 1)))) == 1.0
    assert np.isnan(last(wilder_share(np.zeros((40, 1)))))


def test_annualised_features_are_scaled_by_245_sessions(panel: pl.DataFrame) -> None:
    assert SESSIONS_PER_YEAR == 245
    by_name = {feature.name: feature for feature in CATALOG}
    sessions = panel["session"].unique().sort()
    values = compute_features(panel, [by_name["vol_park_20"]], sessions[-1], sessions[-1]).filter(
        symbol="plain"
    )
    bars = panel.filter(symbol="plain").tail(20)
    squares = (bars["high"] / bars["low"]).log() ** 2
    expected = np.sqrt(245 * squares.mean() / (4 * np.log(2)))
    assert values["vol_park_20"][0] == pytest.approx(expected, rel=1e-6)


def test_the_tick_of_a_price_is_that_of_the_table() -> None:
    tick_rel = next(feature for feature in CATALOG if feature.name == "tick_rel")
    prices = column(900, 3000, 3001, 30_000, 30_001, 60e6, np.nan)
    ticks = column(1, 1, 5, 10, 50, 100_000, np.nan)
    np.testing.assert_array_equal(tick_rel(prices), ticks / prices)
