"""The table of features: its rows, its types, what it refuses, and pandas as a second opinion."""

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.errors import BadInput
from alpha_assets.features import CATALOG as EVERY_FEATURE
from alpha_assets.features import compute_features, max_lookback
from alpha_assets.features.compute import by_reach, inputs_with, panel_columns

CATALOG = tuple(feature for feature in EVERY_FEATURE if not feature.feeds)
EVER = (date(2000, 1, 1), date(2100, 1, 1))
SYMBOLS = ("halted", "late", "plain", "returned", "split", "vanished")


def test_the_rows_are_those_of_the_panel_in_the_span(panel: pl.DataFrame) -> None:
    sessions = panel["session"].unique().sort()
    first, last = sessions[150], sessions[190]
    values = compute_features(panel, CATALOG, first, last)
    expected = panel.filter(pl.col("session").is_between(first, last))
    assert values.select("session", "symbol").equals(expected.select("session", "symbol"))
    assert values.columns == ["session", "symbol", *[feature.name for feature in CATALOG]]
    assert set(values.dtypes[2:]) == {pl.Float32}


def test_made_by_reach_from_few_columns_they_have_the_bits_of_the_whole_panel(
    panel: pl.DataFrame,
) -> None:
    sessions = panel["session"].unique().sort()
    first, last = sessions[-15], sessions[-1]
    whole = compute_features(panel, CATALOG, first, last)
    inputs, groups = inputs_with((), MAX_STALE), by_reach(CATALOG)

    assert len(groups) > 2
    assert sorted(item.name for group in groups for item in group) == sorted(whole.columns[2:])
    reaches = [max_lookback(group) for group in groups]
    assert reaches == sorted(reaches)
    for group, reach in zip(groups, reaches, strict=True):
        needed = [name for name in panel_columns(group, inputs) if name in panel.columns]
        near = panel.select(needed).filter(pl.col("session") >= sessions[-15 - (reach - 1)])
        made = compute_features(near, group, first, last)
        assert made.equals(whole.select(made.columns)), reach


def test_unknown_is_null_and_never_nan_or_infinite(panel: pl.DataFrame) -> None:
    values = compute_features(panel, CATALOG, *EVER)
    for feature in CATALOG:
        assert values[feature.name].drop_nulls().is_finite().all(), feature.name
    assert values["ret_120"].null_count() > 100


def test_a_span_without_sessions_is_an_empty_table(panel: pl.DataFrame) -> None:
    values = compute_features(panel, CATALOG, date(2090, 1, 1), date(2090, 2, 1))
    assert len(values) == 0
    assert values.width == 2 + len(CATALOG)


def test_limits_are_null_where_the_market_has_none(panel: pl.DataFrame) -> None:
    values = compute_features(panel.drop("upper_limit", "lower_limit"), CATALOG, *EVER)
    assert values["limit_up_20"].null_count() == len(values)
    assert values["limit_dn_20"].null_count() == len(values)


def test_a_session_that_the_panel_lacks_is_a_row_of_the_window(panel: pl.DataFrame) -> None:
    sessions = panel["session"].unique().sort()
    holed = panel.filter(pl.col("session") != sessions[-3])
    ret_2 = [feature for feature in CATALOG if feature.name == "ret_2"]
    here = pl.col("session") == sessions[-1]
    as_if_never = compute_features(holed, ret_2, *EVER).filter(here)
    known = compute_features(holed, ret_2, *EVER, sessions=sessions.to_numpy()).filter(here)
    closes = panel.filter(symbol="plain")["close"]
    at_plain = pl.col("symbol") == "plain"
    # Without the session list, two rows back is the fourth session from the end.
    assert as_if_never.filter(at_plain)["ret_2"][0] == pytest.approx(closes[-1] / closes[-4] - 1)
    # With it, the third from the end has no bar, and its last known close is the same.
    assert known.filter(at_plain)["ret_2"][0] == pytest.approx(closes[-1] / closes[-4] - 1)
    ret_1 = [feature for feature in CATALOG if feature.name == "gap_on_20"]
    assert len(compute_features(holed, ret_1, *EVER, sessions=sessions.to_numpy())) == len(holed)


def test_a_missing_column_is_named(panel: pl.DataFrame) -> None:
    with pytest.raises(BadInput, match="the panel lacks cum_factor"):
        compute_features(panel.drop("cum_factor"), CATALOG, *EVER)


def test_rows_out_of_order_or_twice_are_refused(panel: pl.DataFrame) -> None:
    with pytest.raises(BadInput, match="sorted by session, symbol"):
        compute_features(panel.reverse(), CATALOG, *EVER)
    with pytest.raises(BadInput, match="unique rows"):
        compute_features(pl.concat([panel, panel.tail(1)]), CATALOG, *EVER)


def test_a_row_outside_the_markets_sessions_is_refused(panel: pl.DataFrame) -> None:
    sessions = panel["session"].unique().sort().to_numpy()
    with pytest.raises(BadInput, match="none of the market's"):
        compute_features(panel, CATALOG, *EVER, sessions=sessions[:-1])


Rolling = Callable[[pd.DataFrame], pd.Series]


def mean(x: pd.Series, n: int) -> pd.Series:
    return x.rolling(n, min_periods=-(-4 * n // 5)).mean()


def std(x: pd.Series, n: int) -> pd.Series:
    return x.rolling(n, min_periods=-(-4 * n // 5)).std()


def log(x: pd.Series) -> pd.Series:
    return np.log(x)


PANDAS: dict[str, Rolling] = {
    "ret_1": lambda b: b.close / b.last_close.shift(1) - 1,
    "ret_60": lambda b: b.close / b.last_close.shift(60) - 1,
    "mom_12_1": lambda b: b.last_close.shift(21) / b.last_close.shift(252) - 1,
    "mom_6_1": lambda b: b.last_close.shift(21) / b.last_close.shift(126) - 1,
    "rev_5": lambda b: 1 - b.close / b.last_close.shift(5),
    "gap_on_20": lambda b: log(b.open / b.last_close.shift(1)).rolling(20, min_periods=16).sum(),
    "sma_ratio_50": lambda b: b.close / mean(b.close, 50) - 1,
    "sma_cross_5_20": lambda b: mean(b.close, 5) / mean(b.close, 20) - 1,
    "dist_high_252": lambda b: b.close / b.high.rolling(252, min_periods=202).max() - 1,
    "dist_low_20": lambda b: b.close / b.low.rolling(20, min_periods=16).min() - 1,
    "vol_c2c_60": lambda b: 245**0.5 * std(log(b.close / b.last_close.shift(1)), 60),
    "vol_park_20": lambda b: (245 * mean(log(b.high / b.low) ** 2, 20) / (4 * np.log(2))) ** 0.5,
    "range_20": lambda b: mean(log(b.high / b.low), 20),
    "max_ret_20": lambda b: b.ret.rolling(20, min_periods=16).max(),
    "min_ret_20": lambda b: b.ret.rolling(20, min_periods=16).min(),
    "amihud_20": lambda b: np.log1p(1e9 * mean(b.ret.abs() / b.value.where(b.value > 0), 20)),
    "adv_60": lambda b: mean(b.value.fillna(0), 60),
    "ln_adv20": lambda b: log(mean(b.value.fillna(0), 20).where(lambda adv: adv > 0)),
    "turn_z": lambda b: (
        (np.log1p(b.value) - mean(np.log1p(b.value), 60)) / std(np.log1p(b.value), 60)
    ),
    "volume_z_20": lambda b: (b.volume - mean(b.volume, 20)) / std(b.volume, 20),
    "dollar_volume_z_20": lambda b: (b.value - mean(b.value, 20)) / std(b.value, 20),
    "volume_ratio_5_60": lambda b: log(mean(b.volume, 5) / mean(b.volume, 60)),
    "beta_60": lambda b: (
        b.ret.rolling(60, min_periods=48).cov(b.market)
        / b.market_seen.rolling(60, min_periods=48).var()
    ),
    "limit_up_20": lambda b: b.upper_limit.rolling(20, min_periods=16).sum(),
    "n_stale_20": lambda b: (b.stale > 0).astype(float).rolling(20, min_periods=16).sum(),
}


LISTED_WINDOW = {"adv_60": 60, "ln_adv20": 20, "n_stale_20": 20}


@pytest.fixture(scope="module")
def bars(panel: pl.DataFrame) -> dict[str, pd.DataFrame]:
    """Adjusted bars per symbol on the sessions in which it is listed, gaps as empty rows."""
    sessions = panel["session"].unique().sort().to_list()
    tables = {}
    for symbol in SYMBOLS:
        rows = panel.filter(symbol=symbol).drop("sector", "symbol")
        b = pd.DataFrame(rows.to_dict(as_series=False)).set_index("session")
        b = b.astype(float).reindex(sessions)
        raw_value = b.turnover_value.fillna(b.close * b.volume)
        for name in ("open", "high", "low", "close"):
            b[name] = b[name] / b.cum_factor
        b["volume"] = b.volume * b.cum_factor
        b["value"] = raw_value
        b["last_close"] = b.close.ffill(limit=20)
        b["ret"] = b.close / b.last_close.shift(1) - 1
        tables[symbol] = b
    for symbol in ("quiet", "stopped"):
        rows = panel.filter(symbol=symbol).drop("sector", "symbol")
        b = pd.DataFrame(rows.to_dict(as_series=False)).set_index("session")
        b = b.astype(float).reindex(sessions)
        b["ret"] = b.close / b.close.ffill().shift(1) - 1
        tables[symbol] = b
    market = pd.DataFrame({symbol: b.ret for symbol, b in tables.items()}).mean(axis=1)
    for b in tables.values():
        b["market"] = market
        b["market_seen"] = market.where(b.ret.notna())
    return tables


@pytest.mark.parametrize("name", PANDAS)
def test_features_agree_with_pandas(
    name: str, panel: pl.DataFrame, bars: dict[str, pd.DataFrame]
) -> None:
    feature = next(feature for feature in CATALOG if feature.name == name)
    values = compute_features(panel, [feature], *EVER)
    for symbol in SYMBOLS:
        ours = values.filter(symbol=symbol)
        theirs = PANDAS[name](bars[symbol]).loc[ours["session"].to_list()].to_numpy(dtype=float)
        # Ours count the sessions listed; pandas also has rows before and between listings.
        warm_up = LISTED_WINDOW.get(name, 0)
        if warm_up and symbol == "returned":
            continue
        np.testing.assert_allclose(
            ours[name].to_numpy()[warm_up:], theirs[warm_up:], rtol=2e-6, atol=2e-6, err_msg=symbol
        )


@pytest.mark.parametrize("name", [name for name in PANDAS if name not in ("beta_60", "adv_60")])
def test_the_functions_agree_with_pandas_to_nine_digits(
    name: str, bars: dict[str, pd.DataFrame]
) -> None:
    feature = next(feature for feature in CATALOG if feature.name == name)
    b = bars["split"]
    arrays = {
        "close": b.close, "high": b.high, "low": b.low, "open": b.open, "volume": b.volume,
        "last_close": b.last_close, "session_return": b.ret, "dollar_volume": b.value,
        "log_return": log(b.close / b.last_close.shift(1)), "stale": b.stale,
        "overnight": log(b.open / b.last_close.shift(1)), "log_range": log(b.high / b.low),
        "log_dollar_volume": np.log1p(b.value), "upper_limit": b.upper_limit,
    }  # fmt: skip
    inputs = [arrays[item].to_numpy(dtype=float)[:, None] for item in feature.inputs]
    np.testing.assert_allclose(
        feature(*inputs)[:, 0], PANDAS[name](b).to_numpy(dtype=float), rtol=1e-9, atol=1e-9
    )
