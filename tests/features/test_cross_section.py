"""The cross-section: by hand, its promises on bits, and what it refuses."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pytest

from alpha_assets.errors import BadInput
from alpha_assets.features import CATALOG, CrossSection, Feature, cross_section, trailing_z
from alpha_assets.features.cross_section import TRAILING, Past, scales_by_history, section_z
from alpha_assets.features.interactions import interaction

KEYS = ["session", "symbol"]
RET = tuple(feature for feature in CATALOG if feature.name in ("ret_1", "ret_2", "stale"))
NAMES = [feature.name for feature in RET]


@dataclass(frozen=True)
class Rules:
    min_names: int = 3
    winsorise: float = 0.01
    clip: float = 5.0
    scale: str = "session"


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


(MARKET_WIDE,) = (feature for feature in CATALOG if feature.name == "ss_ratio")


def with_series(
    features: pl.DataFrame,
    series: pl.DataFrame | None,
    catalog: tuple[Feature, ...] = (*RET, MARKET_WIDE),
    rules: Rules = Rules(),
) -> pl.DataFrame:
    return cross_section(
        features.drop("sector"), features.select(KEYS), features.select(*KEYS, "sector"),
        catalog, rules, series=series,
    ).frame  # fmt: skip


def market_series(n_sessions: int, seed: int = 4) -> pl.DataFrame:
    """Return one number a session, over the sessions of `table`; some are not known."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(n_sessions) < 0.05, np.nan, rng.standard_t(3, n_sessions))
    days = np.arange("2020-01-01", "2025-01-01", dtype="datetime64[D]")[:n_sessions]
    return pl.DataFrame({"session": days, "ss_ratio": values.astype(np.float32)}).with_columns(
        pl.col("ss_ratio").fill_nan(None)
    )


def test_a_market_wide_series_is_compared_with_its_own_past_and_not_across_symbols() -> None:
    spike = pl.when(pl.int_range(pl.len()) == 290).then(50.0).otherwise("ss_ratio")
    features = table(300, 4)
    series = market_series(300).with_columns(spike.cast(pl.Float32).alias("ss_ratio"))
    frame = with_series(features, series)
    x = series["ss_ratio"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    expected = np.zeros(300)
    for row in range(300):
        known = x[max(row - 251, 0) : row + 1]
        known = known[~np.isnan(known)]
        if len(known) >= 202 and not np.isnan(x[row]):
            expected[row] = np.clip((x[row] - known.mean()) / known.std(ddof=1), -5, 5)

    assert "ss_ratio_cs_z" not in frame.columns
    per_session = frame.group_by("session", maintain_order=True).agg(
        pl.col("ss_ratio_ts_z").first(), pl.col("ss_ratio_ts_z").n_unique().alias("n")
    )
    assert set(per_session["n"]) == {1}
    np.testing.assert_allclose(per_session["ss_ratio_ts_z"], expected, rtol=1e-6, atol=1e-6)
    assert (expected != 0).sum() > 50
    assert np.abs(expected).max() == 5.0
    assert frame["ss_ratio_ts_z"].dtype == pl.Float32
    # Before a year is known the z-score is 0 because it is unknown, and the family says so.
    shares = frame.group_by("session", maintain_order=True).agg(pl.col("ss_missing").first())
    assert shares["ss_missing"].to_list() == [float(value == 0) for value in expected]


def test_a_family_of_market_wide_series_alone_is_made_as_in_company() -> None:
    features, series = table(300, 4), market_series(300)
    together = with_series(features, series)
    alone = with_series(features, series, (MARKET_WIDE,))
    assert alone["ss_ratio_ts_z"].equals(together["ss_ratio_ts_z"])
    assert set(alone.columns) == {*KEYS, "sector", "ss_ratio_ts_z", "ss_missing"}


def test_a_z_in_time_does_not_feel_which_symbols_there_are() -> None:
    features, series = table(260, 6), market_series(260)
    few = features.filter(pl.col("symbol") < "0002").filter(pl.col("session").dt.day() != 7)
    whole, part = with_series(features, series), with_series(few, series)

    expected = whole.join(few.select(KEYS), on=KEYS, how="semi")["ss_ratio_ts_z"]
    assert part["ss_ratio_ts_z"].equals(expected)


def test_a_z_in_time_does_not_feel_what_comes_later() -> None:
    features, series = table(280, 3), market_series(280)
    past = pl.col("session") <= features["session"].unique().sort()[250]
    early = with_series(features.filter(past), series.filter(past))

    assert early.equals(with_series(features, series).filter(past))


def test_market_wide_features_without_their_series_are_refused() -> None:
    for series in (None, market_series(2).drop("ss_ratio")):
        with pytest.raises(BadInput, match="the market-wide series lack ss_ratio"):
            with_series(table(2, 3), series)


def crossed(a: str, b: str) -> Feature:
    by_name = {feature.name: feature for feature in (*RET, MARKET_WIDE)}
    return interaction(by_name[a], by_name[b], "Made up.")


def test_a_product_of_z_scores_by_hand() -> None:
    features = pl.DataFrame(
        {
            "session": [date(2020, 1, 6)] * 3,
            "symbol": ["a", "b", "c"],
            "ret_1": pl.Series([1.0, 2.0, 3.0], dtype=pl.Float32),
            "ret_2": pl.Series([5.0, 9.0, 1.0], dtype=pl.Float32),
            "stale": pl.Series([0.0, 1.0, 2.0], dtype=pl.Float32),
            "sector": ["x"] * 3,
        }
    )
    frame = with_series(features, None, (*RET, crossed("ret_1", "ret_2")), Rules(winsorise=0.0))

    # z of (1, 2, 3) is √1.5 · (-1, 0, 1), that of (5, 9, 1) is √1.5 · (0, 1, -1): the product is
    # 1.5 · (0, 0, -1), and of that the z is (√½, √½, -√2).
    expected = [np.sqrt(0.5), np.sqrt(0.5), -np.sqrt(2)]
    np.testing.assert_allclose(frame["x_ret_1__ret_2_cs_z"], expected, rtol=1e-6)
    assert frame.columns[2:6] == [
        "ret_1_cs_z", "ret_2_cs_z", "stale_cs_z", "x_ret_1__ret_2_cs_z",
    ]  # fmt: skip


def test_a_product_with_a_market_wide_series_turns_with_its_sign() -> None:
    features, series = table(300, 30, holes=0.0), market_series(300)
    frame = with_series(
        features,
        series,
        (*RET, MARKET_WIDE, crossed("ret_1", "ss_ratio")),
        Rules(winsorise=0.0, clip=99),
    )
    in_time = frame["ss_ratio_ts_z"].to_numpy()
    expected = np.sign(in_time) * frame["ret_1_cs_z"].to_numpy()

    # Within a session the partner is one number: standardised again, its size is gone.
    np.testing.assert_allclose(frame["x_ret_1__ss_ratio_cs_z"], expected, atol=1e-5)
    assert set(np.sign(in_time)) == {-1.0, 0.0, 1.0}


def test_a_product_is_zero_where_one_of_its_parts_is() -> None:
    features = table(3, 40, holes=0.0).with_columns(ret_2=pl.lit(None, pl.Float32))
    frame = with_series(features, None, (*RET, crossed("ret_1", "ret_2")))

    assert frame["x_ret_1__ret_2_cs_z"].abs().max() == 0.0


def test_an_interaction_needs_what_its_parts_need() -> None:
    made = crossed("ret_1", "ss_ratio")

    assert (made.name, made.family) == ("x_ret_1__ss_ratio", "x")
    assert made.feeds == MARKET_WIDE.feeds == ("sector_short_selling",)
    assert made.lookback == max(RET[0].lookback, MARKET_WIDE.lookback)


HISTORY = Rules(winsorise=0.0, scale="history")


def by_history(
    features: pl.DataFrame,
    first: int,
    rules: Rules = HISTORY,
    catalog: tuple[Feature, ...] = RET,
    threads: int = 1,
    start: int = 0,
) -> pl.DataFrame:
    """Return the rows of the sessions from place `first` on; features are known from `start` on."""
    sessions = features["session"].unique().sort().to_numpy().astype("datetime64[D]")
    known = features.filter(pl.col("session") >= sessions[start])
    wanted = features.filter(pl.col("session") >= sessions[first])
    return cross_section(
        known.drop("sector"), wanted.select(KEYS), wanted.select(*KEYS, "sector"),
        catalog, rules, threads=threads, past=Past(known.select(KEYS), sessions[start:]),
    ).frame  # fmt: skip


def test_two_sessions_by_history_by_hand() -> None:
    values = [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]
    features = pl.DataFrame(
        {
            "session": [date(2020, 1, 6)] * 3 + [date(2020, 1, 7)] * 3,
            "symbol": ["a", "b", "c"] * 2,
            **{name: pl.Series(values, dtype=pl.Float32) for name in NAMES},
            "sector": ["s"] * 6,
        }
    )
    z = by_history(features, 0)["ret_1_cs_z"].to_numpy()
    # The first session alone: mean 2, sd sqrt(2/3).  Both: mean 4, squares 9 + 4 + 1 twice, / 6.
    sd = np.sqrt(28 / 6)
    want = [-np.sqrt(1.5), 0.0, np.sqrt(1.5), 1 / sd, 2 / sd, 3 / sd]
    np.testing.assert_allclose(z, want, rtol=1e-6)


def test_what_moves_all_names_of_a_session_stays_in_sight_by_history_alone() -> None:
    features = table(300, 40, holes=0.0).with_columns(
        ret_1=(pl.col("ret_1") + 3.0 * (pl.col("session").dt.ordinal_day() % 2)).cast(pl.Float32)
    )
    last = features["session"].max()
    up = last.timetuple().tm_yday % 2
    assert abs(section(features).frame.filter(session=last)["ret_1_cs_z"].mean()) < 1e-6
    level = by_history(features, 299)["ret_1_cs_z"].mean()
    assert level > 0.3 if up else level < -0.3


def test_a_scale_by_history_looks_at_its_own_sessions_and_at_nothing_else() -> None:
    features = table(TRAILING + 12, 20)
    whole = by_history(features, TRAILING + 5)
    for threads, start in ((1, 6), (3, 6), (2, 3)):
        assert by_history(features, TRAILING + 5, threads=threads, start=start).equals(whole)
    # One session less changes the first row, so that the window is as long as it says.
    assert not by_history(features, TRAILING + 5, start=7).equals(whole)
    cut = features.filter(pl.col("session") < features["session"].max())
    earlier = whole.filter(pl.col("session") < features["session"].max())
    assert by_history(cut, TRAILING + 5).equals(earlier), "a later session changes no bit"
    for feature in RET:
        column = f"{feature.name}_cs_z"
        alone = by_history(features, TRAILING + 5, catalog=(feature,))
        assert alone[column].equals(whole[column])


def test_a_scale_by_history_agrees_with_moments_over_all_rows() -> None:
    features = table(TRAILING + 3, 30)
    is_hole = (pl.col("session") == pl.col("session").max()) & (pl.col("symbol") == "0003")
    features = features.with_columns(ret_2=pl.when(~is_hole).then("ret_2"))
    made = by_history(features, TRAILING + 2)
    day = features["session"].unique().sort()[3:]
    x = features.filter(pl.col("session").is_in(day.implode()))["ret_2"].drop_nulls().to_numpy()
    mine = features.filter(session=features["session"].max())["ret_2"].to_numpy()
    is_known, got = ~np.isnan(mine), made["ret_2_cs_z"].to_numpy()
    assert 0 < is_known.sum() < len(mine)
    want = np.clip((mine[is_known] - x.mean(dtype=float)) / x.std(dtype=float), -5, 5)
    np.testing.assert_allclose(got[is_known], want, rtol=1e-5, atol=1e-6)
    assert (got[~is_known] == 0.0).all()


def test_by_history_few_names_give_zero_and_equal_ones_do_not() -> None:
    features = table(30, 12, holes=0.0)
    last = features["session"].max()
    thin = pl.when(pl.col("session") < last).then("ret_1")
    level = pl.when(pl.col("session") < last).then("ret_2").otherwise(4.0)
    frame = by_history(
        features.with_columns(thin.cast(pl.Float32).alias("ret_1"), level.cast(pl.Float32)), 29
    )
    assert frame["ret_1_cs_z"].to_list() == [0.0] * 12
    (z,) = frame["ret_2_cs_z"].unique()
    assert z > 1.0


def test_a_scale_by_history_holds_far_from_0_and_refuses_sessions_that_it_does_not_know() -> None:
    features = table(60, 30, holes=0.0).with_columns(
        ret_1=(pl.col("ret_1").clip(-3, 3).round() * 4 + 5e6).cast(pl.Float32)
    )
    near = features.with_columns(ret_1=pl.col("ret_1") - 5e6)
    assert by_history(features, 50)["ret_1_cs_z"].std() > 0.5
    np.testing.assert_allclose(
        by_history(features, 50)["ret_1_cs_z"], by_history(near, 50)["ret_1_cs_z"], atol=1e-5
    )
    days = features["session"].unique().sort().to_numpy().astype("datetime64[D]")
    past = Past(features.select(KEYS), days[1:])
    with pytest.raises(BadInput, match="session 2020-01-01 is none of the 59 that a scale by"):
        scales_by_history(features.drop("sector"), NAMES, HISTORY, past)


def test_a_feature_that_never_moved_is_counted_as_constant_by_history_too() -> None:
    features = table(30, 12, holes=0.0).with_columns(ret_1=pl.lit(2.0, pl.Float32))
    sessions = features["session"].unique().sort().to_numpy().astype("datetime64[D]")
    made = cross_section(
        features.drop("sector"), features.select(KEYS), features.select(*KEYS, "sector"),
        RET, HISTORY, past=Past(features.select(KEYS), sessions),
    )  # fmt: skip
    assert made.counts.filter(feature="ret_1")["n_constant"][0] == 30
    assert made.counts.filter(feature="ret_2")["n_constant"][0] == 0


def test_a_product_by_history_is_clipped_alone() -> None:
    features = table(40, 30, holes=0.0)
    frame = by_history(features, 30, catalog=(*RET, crossed("ret_1", "ret_2")))
    product = frame["ret_1_cs_z"].to_numpy() * frame["ret_2_cs_z"].to_numpy()
    name = "x_ret_1__ret_2_cs_z"
    np.testing.assert_array_equal(frame[name].to_numpy(), np.clip(product, -5, 5) + 0.0)
