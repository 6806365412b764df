"""Short sales of the market and of sectors: by hand, against loops, and one series per key."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from tests.features.conftest import make_panel, random_bars
from tests.features.through import Through, through

from alpha_assets.arrays.types import Array
from alpha_assets.errors import BadInput
from alpha_assets.features import CATALOG, compute_features
from alpha_assets.features import sector_short as of_sector
from alpha_assets.features.inputs import INPUTS
from alpha_assets.features.scopes import Keys
from alpha_assets.features.shares import extreme_run, fraction_below, short_ratio

EVER = (date(2000, 1, 1), date(2100, 1, 1))
SALES = ("selling", "restricted", "exempt")
OF_MARKET = tuple(f"short_selling_{name}" for name in SALES)
OF_SECTOR = tuple(f"sector_{name}" for name in OF_MARKET)


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def of_market(name: str) -> Through:
    """Return a feature of the market's sales."""
    return through(name, *OF_MARKET)


def sales_of(ratio: Array) -> tuple[Array, Array, Array]:
    """Return sales of 1000, a share of them short, four fifths of that restricted."""
    return 1000 * (1 - ratio), 800 * ratio, 200 * ratio


def test_the_ratio_is_of_sums() -> None:
    # (30 + 10) / (60 + 30 + 10); nothing sold; nobody short
    found = of_market("ss_ratio")(column(60, 0, 5), column(30, 0, 0), column(10, 0, 0))

    np.testing.assert_array_equal(found, column(0.4, np.nan, 0.0))
    np.testing.assert_array_equal(
        through("sector_short_ratio", *OF_SECTOR)(column(60), column(30), column(10)), column(0.4)
    )


def test_each_part_is_of_all_sales() -> None:
    parts = column(60.0), column(30.0), column(10.0)

    assert of_sector.sector_short_restricted(*parts).item() == 0.3
    assert of_sector.sector_short_exempt(*parts).item() == 0.1


def test_a_sectors_part_is_of_all_that_is_short() -> None:
    # (30 + 10) / (120 + 80)
    whole = column(120.0), column(80.0)
    found = of_sector.sector_short_share(column(60.0), column(30.0), column(10.0), *whole)

    assert found.item() == 0.2


def test_a_sector_is_compared_with_the_market() -> None:
    # 40 / 100 - 50 / 200
    market = column(150.0), column(30.0), column(20.0)
    found = through("sector_short_rel", *OF_SECTOR, *OF_MARKET)(
        column(60.0), column(30.0), column(10.0), *market
    )

    assert found.item() == pytest.approx(0.15, abs=1e-15)


def test_changes_by_hand() -> None:
    ratio = column(*np.arange(30) / 100)
    mom = of_market("ss_ratio_mom_5")(*sales_of(ratio))
    gap = of_market("ss_ratio_ma_gap")(*sales_of(ratio))

    assert mom[29, 0] == pytest.approx(0.05, abs=1e-12)
    assert np.isnan(mom[4, 0])
    # Of a straight line the mean of 5 lies 2 back, that of 20 lies 9.5 back.
    assert gap[29, 0] == pytest.approx(0.075, abs=1e-12)


@pytest.mark.parametrize("row", [47, 59, 99])
def test_the_z_is_numpys(row: int) -> None:
    ratio = np.random.default_rng(0).uniform(0.3, 0.5, (100, 2))
    found = of_market("ss_ratio_z_60")(*sales_of(ratio))
    x = short_ratio(*sales_of(ratio))[max(row - 59, 0) : row + 1]
    expected = (x[-1] - x.mean(axis=0)) / x.std(axis=0, ddof=1)

    np.testing.assert_allclose(found[row], expected, rtol=1e-9)
    assert np.isnan(found[46]).all()  # 47 values are less than four fifths of 60


def random_ratio(seed: int, n: int = 330) -> Array:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.01, (n, 2))
    ratio = np.round(0.4 + np.cumsum(steps, axis=0), 3)  # some values occur more than once
    ratio[rng.random((n, 2)) < 0.05] = np.nan
    return ratio


@pytest.mark.parametrize("seed", range(2))
def test_where_it_stands_and_how_long_are_those_of_a_loop(seed: int) -> None:
    ratio = random_ratio(seed)
    share, run = fraction_below(ratio), extreme_run(ratio)
    for k in range(2):
        expected = [slow_share(ratio[: row + 1, k]) for row in range(len(ratio))]
        np.testing.assert_array_equal(share[:, k], expected)
        for row in range(len(ratio)):
            assert run[row, k] == slow_run(expected[: row + 1]) or np.isnan(expected[row])
            assert np.isnan(run[row, k]) == np.isnan(expected[row])
    assert np.nanmax(run) >= 2
    assert np.nanmin(run) <= -2


def slow_share(x: Array) -> float:
    last = x[-252:]
    known = last[~np.isnan(last)]
    if np.isnan(x[-1]) or len(known) < 202:
        return np.nan
    return float((known <= x[-1]).sum() / len(known))


def slow_run(share: list[float]) -> float:
    run = 0
    for sign, extreme in ((1, lambda s: s >= 0.95), (-1, lambda s: s <= 0.05)):
        back = 0
        while back < min(20, len(share)) and extreme(share[-1 - back]):
            back += 1
        run += sign * back
    return float(run)


def test_the_newest_high_stands_above_all_and_the_newest_low_at_one_of_all() -> None:
    line = column(*np.arange(300.0))

    assert fraction_below(line)[-1, 0] == 1.0
    assert fraction_below(-line)[-1, 0] == 1 / 252
    assert extreme_run(line)[-1, 0] == 20  # and no more
    assert extreme_run(-line)[-1, 0] == -20


@pytest.fixture(scope="module")
def panel() -> pl.DataFrame:
    """Three old symbols in two sectors, one that moves, and one that is listed on the last day."""
    symbols = ("a_tools", "b_toys", "c_moves", "d_new", "e_lost")
    bars = random_bars(300, len(symbols), seed=1)
    bars["stale"][:299, 3] = np.nan
    rows = make_panel(bars, symbols)
    days = rows["session"].unique().sort()
    moves = (pl.col("symbol") == "c_moves") & (pl.col("session") < days[200])
    rows = rows.with_columns(
        sector=pl.when((pl.col("symbol") == "a_tools") | moves)
        .then(pl.lit("Tools"))
        .when(pl.col("symbol") == "e_lost")
        .then(None)
        .otherwise(pl.lit("Toys")),
        market_segment=pl.when(pl.col("session") < days[150])
        .then(pl.lit("First Section"))
        .otherwise(pl.lit("Prime")),
    )
    rng = np.random.default_rng(2)
    values = {
        "sector_short_selling": (["session", "sector"], SALES),
        "short_selling": (["session"], SALES),
        "investor_types": (["session"], ("foreigners_imp", "foreigners_z", "individuals_z")),
    }
    for join, (by, names) in values.items():
        keys = rows.select(by).unique().drop_nulls().sort(by)
        made = keys.with_columns(
            pl.Series(f"{join}_{name}", 1e6 * (1 + rng.random(keys.height))) for name in names
        )
        rows = rows.join(made, on=by, how="left", maintain_order="left")
    return rows


def features(panel: pl.DataFrame, *names: str) -> pl.DataFrame:
    catalog = [feature for feature in CATALOG if feature.name in names]
    assert len(catalog) == len(names)
    return compute_features(panel, catalog, *EVER, dtype=np.float64)


def of_symbol(frame: pl.DataFrame, symbol: str, name: str) -> list[float | None]:
    return frame.filter(symbol=symbol)[name].to_list()


def test_a_symbol_listed_today_has_its_sectors_past(panel: pl.DataFrame) -> None:
    found = features(panel, "sector_short_z_60", "sector_short_pct_252", "ss_ratio_z_60")
    for name in ("sector_short_z_60", "sector_short_pct_252", "ss_ratio_z_60"):
        assert len(of_symbol(found, "d_new", name)) == 1
        assert of_symbol(found, "d_new", name)[0] == of_symbol(found, "b_toys", name)[-1]
        assert of_symbol(found, "d_new", name)[0] is not None


def test_a_symbol_that_moves_takes_over_its_new_sectors_series(panel: pl.DataFrame) -> None:
    found = features(panel, "sector_short_z_60", "sector_short_mom_5")
    for name in ("sector_short_z_60", "sector_short_mom_5"):
        moved = of_symbol(found, "c_moves", name)
        tools, toys = (of_symbol(found, symbol, name) for symbol in ("a_tools", "b_toys"))
        assert moved[:200] == tools[:200]
        assert moved[200:] == toys[200:]
        assert tools[200:] != toys[200:]


def test_a_symbol_without_a_sector_has_the_markets_figures_only(panel: pl.DataFrame) -> None:
    found = features(panel, "sector_short_ratio", "ss_ratio")

    assert set(of_symbol(found, "e_lost", "sector_short_ratio")) == {None}
    assert of_symbol(found, "e_lost", "ss_ratio") == of_symbol(found, "a_tools", "ss_ratio")


def test_a_section_that_is_renamed_keeps_its_series(panel: pl.DataFrame) -> None:
    rows = panel.with_columns(pl.col("investor_types_foreigners_imp").alias("told"))
    found = features(rows, "flow_frgn_imp")

    assert found["flow_frgn_imp"].to_list() == rows["told"].to_list()


def test_a_market_wide_number_meets_every_sector(panel: pl.DataFrame) -> None:
    found = features(panel, "sector_short_rel", "sector_short_ratio", "ss_ratio")
    known = found.filter(pl.col("sector_short_ratio").is_not_null())

    expected = known["sector_short_ratio"] - known["ss_ratio"]
    assert known["sector_short_rel"].equals(expected, check_names=False)


def test_facts_of_keys_are_computed_once_for_all_symbols(panel: pl.DataFrame) -> None:
    sessions = panel["session"].unique().sort().to_numpy()
    wanted = {"market": 1, "sector": 2, "section": 1}
    assert wanted == {
        scope: Keys.of(panel, scope, sessions, INPUTS).n_keys  # type: ignore[arg-type]
        for scope in wanted
    }


def test_a_panel_without_sectors_or_without_the_feed_is_refused(panel: pl.DataFrame) -> None:
    with pytest.raises(BadInput, match="the panel lacks sector"):
        features(panel.drop("sector"), "sector_short_ratio")
    with pytest.raises(BadInput, match=r"sector_short_selling_exempt.*'sector_short_selling' on"):
        features(panel.drop("sector_short_selling_exempt"), "sector_short_ratio")


def test_extremes_are_the_ends_of_the_last_252_values() -> None:
    # A ratio that grows is at its highest all the time, one that falls at its lowest.
    ratio = column(*np.linspace(0.2, 0.4, 252))
    for name, sales in (("ss_ratio", OF_MARKET), ("sector_short", OF_SECTOR)):
        high, low = through(f"{name}_ext_hi", *sales), through(f"{name}_ext_lo", *sales)
        assert (high(*sales_of(ratio))[-1, 0], low(*sales_of(ratio))[-1, 0]) == (1, 0)
        falling = ratio[::-1].copy()
        assert (high(*sales_of(falling))[-1, 0], low(*sales_of(falling))[-1, 0]) == (0, 1)
        assert np.isnan(high(*sales_of(ratio))[100, 0])  # 200 values are needed
