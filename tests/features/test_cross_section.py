"""The cross-section: by hand, its promises on bits, and what it refuses."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pytest

from alpha_assets.errors import BadInput
from alpha_assets.features import CATALOG, CrossSection, Feature, cross_section, trailing_z
from alpha_assets.features.cross_section import section_z

KEYS = ["session", "symbol"]
RET = tuple(feature for feature in CATALOG if feature.name in ("ret_1", "ret_2", "stale"))
NAMES = [feature.name for feature in RET]


@dataclass(frozen=True)
class Rules:
    min_names: int = 3
    winsorise: float = 0.01
    clip: float = 5.0


def table(n_sessions: int, n_symbols: int, seed: int = 0, holes: float = 0.1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n_rows = n_sessions * n_symbols
    values = rng.standard_t(3, (len(NAMES), n_rows)).astype(np.float32)
    values[rng.random(values.shape) < holes] = np.nan
    return pl.DataFrame(
        {
            "session": np.repeat(
                np.arange("2020-01-01", "2025-01-01", dtype="datetime64[D]")[:n_sessions], n_symbols
            ),
            "symbol": [f"{n:04d}" for n in range(n_symbols)] * n_sessions,
            **dict(zip(NAMES, values, strict=True)),
            "sector": [f"s{n % 3}" for n in range(n_symbols)] * n_sessions,
        }
    ).with_columns(pl.col(NAMES).fill_nan(None))


def section(
    features: pl.DataFrame,
    universe: pl.DataFrame | None = None,
    rules: Rules = Rules(),
    catalog: tuple[Feature, ...] = RET,
    threads: int = 1,
) -> CrossSection:
    universe = features if universe is None else universe
    return cross_section(
        features.drop("sector"), universe.select(KEYS), features.select(*KEYS, "sector"),
        catalog, rules, threads=threads,
    )  # fmt: skip


def one_session(values: list[float | None], rules: Rules = Rules()) -> pl.DataFrame:
    features = pl.DataFrame(
        {
            "session": [date(2020, 1, 6)] * len(values),
            "symbol": [f"{n:02d}" for n in range(len(values))],
            **{name: pl.Series(values, dtype=pl.Float32) for name in NAMES},
            "sector": ["a"] * len(values),
        }
    )
    return section(features, rules=rules).frame


def test_four_names_by_hand() -> None:
    frame = one_session([1.0, 2.0, None, 3.0], Rules(winsorise=0.0))
    # mean 2, sd (ddof 0) sqrt(2/3)
    expected = [-np.sqrt(1.5), 0.0, 0.0, np.sqrt(1.5)]
    np.testing.assert_allclose(frame["ret_1_cs_z"].to_numpy(), expected, rtol=1e-6)
    assert frame["price_missing"].to_list() == [0.0, 0.0, 1.0, 0.0]
    assert frame["ret_1_cs_z"].dtype == frame["price_missing"].dtype == pl.Float32


def test_the_columns_are_those_of_the_contract() -> None:
    frame = section(table(2, 5)).frame
    assert frame.columns == [
        "session", "symbol", "ret_1_cs_z", "ret_2_cs_z", "stale_cs_z",
        "price_missing", "trading_missing", "sector",
    ]  # fmt: skip


@pytest.mark.parametrize("n_names", [10, 500, 513, 1700])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2])
def test_winsorised_at_the_quantiles_that_numpy_finds(n_names: int, share: float) -> None:
    x = np.random.default_rng(n_names).standard_t(2, (3, n_names)).astype(np.float32)
    x[1, ::3] = np.nan
    x[2, 7:] = np.nan
    got = section_z(x, Rules(winsorise=share)).z_NF
    for f in range(3):
        known = x[f, ~np.isnan(x[f])].astype(float)
        w = np.clip(known, *np.quantile(known, [share, 1 - share]))
        expected = np.clip((w - w.mean()) / w.std(), -5, 5)
        np.testing.assert_allclose(got[~np.isnan(x[f]), f], expected, rtol=1e-12, atol=1e-12)
        assert (got[np.isnan(x[f]), f] == 0).all()


def test_z_scores_are_clipped() -> None:
    frame = one_session([0.0] * 60 + [100.0], Rules(winsorise=0.0))
    assert frame["ret_1_cs_z"].max() == 5.0


def test_too_few_names_give_zero_and_are_counted() -> None:
    features = table(6, 8, holes=0.0).with_columns(
        ret_1=pl.when(pl.col("symbol") < "0002").then("ret_1").cast(pl.Float32)
    )
    got = section(features, rules=Rules(min_names=3))
    assert got.frame["ret_1_cs_z"].abs().max() == 0.0
    assert got.frame["ret_2_cs_z"].abs().max() > 0
    assert got.counts.filter(feature="ret_1").select("n_thin", "n_missing").row(0) == (6, 36)
    assert got.counts.filter(feature="ret_2").select("n_thin", "n_missing").row(0) == (0, 0)


def test_a_constant_feature_is_zero_and_counted() -> None:
    features = table(5, 30, holes=0.0).with_columns(stale=pl.lit(0.1, pl.Float32))
    got = section(features)
    assert got.frame["stale_cs_z"].abs().max() == 0.0
    assert got.counts.filter(feature="stale")["n_constant"][0] == 5


def test_only_the_universe_is_compared() -> None:
    features = table(4, 30)
    inside = features.filter(~pl.col("symbol").is_in(["0000", "0012", "0013", "0029"]))
    got = section(features, inside).frame
    assert got.select(KEYS).equals(inside.select(KEYS))
    assert got.equals(section(inside).frame)


def test_symbols_without_values_change_no_bit_of_the_others() -> None:
    features = table(20, 150, holes=0.05)
    for extra in (1, 7, 64):
        empty = table(20, extra).with_columns(
            *[pl.lit(None, pl.Float32).alias(name) for name in NAMES],
            symbol=pl.col("symbol") + "x",
        )
        crowd = pl.concat([features, empty]).sort(KEYS)
        got = section(crowd).frame.filter(~pl.col("symbol").str.ends_with("x"))
        assert got.equals(section(features).frame)


def test_a_feature_alone_has_the_bits_it_has_in_company() -> None:
    features = table(10, 300)
    together = section(features).frame
    for feature in RET:
        alone = section(features, catalog=(feature,)).frame
        column = f"{feature.name}_cs_z"
        assert alone[column].equals(together[column])


def test_sums_run_from_the_first_symbol_to_the_last() -> None:
    x = np.random.default_rng(1).standard_t(2, (3, 400)).astype(np.float32)
    for n_features in (1, 3):
        got = section_z(x[:n_features], Rules(winsorise=0.0, clip=1e9)).z_NF[:, 0]
        total = 0.0
        for value in x[0].astype(float):
            total += value
        deviation = x[0].astype(float) - total * (1 / 400)
        squares = 0.0
        for value in deviation:
            squares += value * value
        assert np.array_equal(got, deviation / np.sqrt(squares * (1 / 400)))


@pytest.mark.parametrize("threads", [1, 3])
def test_sessions_do_not_feel_each_other(threads: int) -> None:
    features = table(40, 50)
    whole = section(features, threads=threads).frame
    for day in features["session"].unique().sort()[[0, 17, 39]]:
        alone = section(features.filter(session=day)).frame
        assert alone.equals(whole.filter(session=day))


def test_the_sector_is_that_of_the_session() -> None:
    features = table(2, 3).with_columns(sector=pl.Series(["a", "b", "c", "a", "x", "c"]))
    assert section(features).frame["sector"].to_list() == ["a", "b", "c", "a", "x", "c"]


def test_an_empty_universe_is_an_empty_table() -> None:
    features = table(2, 3)
    got = section(features, features.head(0))
    assert len(got.frame) == 0
    assert got.counts["n_sessions"].to_list() == [0, 0, 0]


def test_a_universe_row_without_features_is_refused() -> None:
    features = table(2, 3)
    universe = pl.concat(
        [features.select(KEYS), pl.DataFrame({"session": [date(2020, 1, 2)], "symbol": ["zz"]})]
    )
    with pytest.raises(BadInput, match=r"1 universe rows are not in features, first .*zz"):
        section(features, universe)


def test_a_catalogued_column_that_is_missing_is_named() -> None:
    with pytest.raises(BadInput, match="features lacks ret_2"):
        section(table(2, 3).drop("ret_2"))


def test_a_trailing_z_looks_only_backwards_and_agrees_with_its_formula() -> None:
    x = np.random.default_rng(2).normal(size=(300, 1))
    z = trailing_z(x, 252)
    window = x[300 - 252 :, 0]
    expected = (window[-1] - window.mean()) / window.std(ddof=1)
    assert z[-1, 0] == pytest.approx(expected, rel=1e-10)
    assert np.isnan(z[200, 0])  # 201 values are less than four fifths of 252
    np.testing.assert_array_equal(trailing_z(x[:260], 252), z[:260])
