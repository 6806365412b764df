"""Promises every catalogued feature must keep, whatever it computes.

They are checked on the bits of raw Float64 values: a tolerance, a rank, a z-score or the
rounding to Float32 can hide a leak.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features import CATALOG as EVERY_FEATURE
from alpha_assets.features import Feature, compute_features, max_lookback
from alpha_assets.features.base import feature as declare
from alpha_assets.features.cross_symbol import Across
from alpha_assets.features.inputs import INPUTS, OPTIONAL_COLUMNS, REQUIRED_COLUMNS

FAMILY = "planted"  # of the features declared here

# Those of side feeds keep the same promises in `test_side_catalog.py`, on a panel that has them;
# those across symbols need more symbols and are tested in `test_across.py`.
CATALOG = tuple(f for f in EVERY_FEATURE if not f.feeds and not isinstance(f, Across))

every_feature = pytest.mark.parametrize("feature", CATALOG, ids=lambda f: f.name)

PRICES = ("open", "high", "low", "close")
KEYS = ["session", "symbol"]


def computed(panel: pl.DataFrame, catalog: Sequence[Feature] = CATALOG, **how: int) -> pl.DataFrame:
    return compute_features(
        panel, catalog, date(2000, 1, 1), date(2100, 1, 1), dtype=np.float64, **how
    )


def assert_same_bits(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert left.select(KEYS).equals(right.select(KEYS))
    changed = [name for name in left.columns if not _bits(left[name]).equals(_bits(right[name]))]
    assert changed == []


def _bits(column: pl.Series) -> pl.Series:
    if column.dtype != pl.Float64:
        return column
    bits = pl.Series(column.fill_null(0.0).to_numpy().view(np.int64))
    return bits.to_frame("b").select(pl.when(column.is_not_null()).then(pl.col("b")))["b"]


def columns_behind(name: str) -> set[str]:
    item = INPUTS[name]
    return set(item.columns).union(*(columns_behind(other) for other in item.inputs))


def reads_market(feature: Feature) -> bool:
    return "market_return" in feature.inputs


@pytest.fixture(scope="module")
def full(panel: pl.DataFrame) -> pl.DataFrame:
    return computed(panel)


def test_the_catalogue_holds_what_the_issue_names() -> None:
    names = [feature.name for feature in CATALOG]
    assert len(names) == len(set(names)) >= 60
    wanted = {f"ret_{n}" for n in (1, 2, 3, 5, 10, 20, 60, 120)}
    wanted |= {f"sma_ratio_{n}" for n in (7, 14, 20, 50, 200)}
    wanted |= {f"dist_{side}_{n}" for side in ("high", "low") for n in (5, 20, 252)}
    wanted |= {f"vol_{kind}_20" for kind in ("c2c", "park", "gk", "rs", "yz")}
    wanted |= {"mom_12_1", "mom_6_1", "gap_on", "intraday", "gap_on_20", "intraday_20"}
    wanted |= {"rsi_14", "vov_60", "range_1", "amihud_20", "cs_spread_20", "ln_adv20"}
    wanted |= {"turn_z", "dollar_volume_z_20", "volume_z_20", "beta_60", "beta_252"}
    wanted |= {"beta_shrunk", "ivol_60", "max_ret_20", "stale", "n_stale_20", "rev_5"}
    wanted |= {"sma_cross_5_20", "limit_up_20", "limit_dn_20", "tick_rel", "adv_sh_20"}
    wanted |= {"vol_c2c_5", "vol_z_252", "range_z_252", "close_in_range"}
    wanted |= {
        f"regime_{kind}" for kind in ("low_vol", "high_vol", "momentum", "reversal", "crash")
    }
    assert wanted <= set(names)


@every_feature
def test_a_feature_says_what_it_is(feature: Feature) -> None:
    assert feature.unit
    assert feature.source
    assert len(feature.about) > 20
    assert "{n}" not in feature.about + feature.source
    assert feature.lookback >= 1
    assert set(feature.inputs) <= set(INPUTS)
    families = ("price", "trend", "volatility", "risk", "liquidity", "trading", "regime")
    assert feature.family in families


def test_the_panel_puts_every_feature_to_work(full: pl.DataFrame) -> None:
    idle = [f.name for f in CATALOG if full[f.name].drop_nulls().n_unique() < 2]
    # Eight symbols on their own never fall together; those of `test_side_catalog.py` do.
    assert idle == ["regime_crash"]


@pytest.mark.parametrize("cut", [-1, -2, -40, 90])
def test_deleting_what_comes_later_changes_nothing(
    panel: pl.DataFrame, full: pl.DataFrame, cut: int
) -> None:
    last = panel["session"].unique().sort()[cut]
    past = pl.col("session") <= last
    assert_same_bits(full.filter(past), computed(panel.filter(past)))


@pytest.mark.parametrize("cut", [-2, -40])
def test_changing_what_comes_later_changes_nothing(
    panel: pl.DataFrame, full: pl.DataFrame, cut: int
) -> None:
    last = panel["session"].unique().sort()[cut]
    later = pl.col("session") > last
    noise = pl.Series(np.random.default_rng(1).lognormal(size=len(panel)))
    changed = panel.with_columns(
        *[
            pl.when(later).then(pl.col(name) * noise).otherwise(name).alias(name)
            for name in (*PRICES, "volume", "cum_factor", "turnover_value")
        ],
        stale=pl.when(later).then(pl.lit(3, pl.Int16)).otherwise("stale"),
        upper_limit=pl.when(later).then(~pl.col("upper_limit")).otherwise("upper_limit"),
    )
    assert_same_bits(full.filter(~later), computed(changed).filter(~later))


@pytest.mark.parametrize("leak", ["tomorrow", "whole sample"])
def test_a_planted_leak_is_seen(panel: pl.DataFrame, leak: str) -> None:
    def leaking(close: Array) -> Array:
        """Leak."""
        if leak == "tomorrow":
            return np.vstack([close[1:], close[-1:]])
        return close / np.nanmean(close, axis=0)

    planted = [declare(rows=1, unit="none", source="none")(leaking)]
    past = pl.col("session") <= panel["session"].unique().sort()[-30]
    with pytest.raises(AssertionError):
        assert_same_bits(
            computed(panel, planted).filter(past), computed(panel.filter(past), planted)
        )


@every_feature
def test_the_lookback_is_all_the_history_needed(
    feature: Feature, panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    sessions = panel["session"].unique().sort()
    for end in (-1, -16):
        recent = panel.filter(
            pl.col("session").is_between(sessions[end - feature.lookback + 1], sessions[end])
        )
        here = pl.col("session") == sessions[end]
        expected = full.filter(here).select(*KEYS, feature.name)
        assert_same_bits(expected, computed(recent, [feature]).filter(here))


@every_feature
def test_the_row_before_the_lookback_is_not_felt(
    feature: Feature, edge_panel: Callable[[int], pl.DataFrame]
) -> None:
    panel = edge_panel(feature.lookback + 1)
    sessions = panel["session"].unique().sort()
    here = pl.col("session") == sessions[-1]
    more = computed(panel, [feature]).filter(here)
    enough = computed(panel.filter(pl.col("session") > sessions[0]), [feature]).filter(here)
    assert_same_bits(more, enough)


# A flag hangs on its first row only near its threshold: `test_regime.py` looks at many markets.
MEASURES = [f for f in CATALOG if f.lookback > 1 and f.family != "regime"]


@pytest.mark.parametrize("feature", MEASURES, ids=lambda f: f.name)
def test_a_row_less_than_the_lookback_is_felt(
    feature: Feature, edge_panel: Callable[[int], pl.DataFrame]
) -> None:
    panel = edge_panel(feature.lookback)
    sessions = panel["session"].unique().sort()
    here = pl.col("session") == sessions[-1]
    enough = computed(panel, [feature]).filter(here)
    short = computed(panel.filter(pl.col("session") > sessions[0]), [feature]).filter(here)
    assert not _bits(enough[feature.name]).equals(_bits(short[feature.name]))


@every_feature
def test_a_feature_reads_only_its_declared_inputs(
    feature: Feature, panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    declared = set[str]().union(*(columns_behind(name) for name in feature.inputs))
    # Without a column of its own volume moves with the factor of prices.
    if "cum_volume_factor" in declared:
        declared = {*declared, "cum_factor"} - {"cum_volume_factor"}
    assert declared <= {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS}
    others = [name for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if name not in declared]
    noise = pl.Series(np.random.default_rng(2).lognormal(size=len(panel)))
    changed = panel.with_columns(pl.col(name).cast(pl.Float64) * noise for name in others)
    assert_same_bits(full.select(*KEYS, feature.name), computed(changed, [feature]))


def test_a_restatement_by_a_power_of_two_changes_no_bit(
    panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    scale = pl.col("symbol").replace_strict(
        {"plain": 0.25, "halted": 8.0, "split": 2.0}, default=1.0, return_dtype=pl.Float64
    )
    restated = computed(
        panel.with_columns(
            *[pl.col(name) * scale for name in PRICES], volume=pl.col("volume") / scale
        )
    )
    free = [f.name for f in CATALOG if "raw_price_level" not in f.requires]
    assert_same_bits(full.select(*KEYS, *free), restated.select(*KEYS, *free))
    for feature in CATALOG:
        if "raw_price_level" in feature.requires:
            assert not full[feature.name].equals(restated[feature.name])


def test_a_vendors_restatement_of_the_past_changes_no_bit(
    panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    # A split at row 200 that the vendor applies to the prices before: halved there, and the
    # factor of that session then says nothing any more, which doubles what it was relative to.
    before = pl.col("session") < panel["session"].unique().sort()[200]
    restated = computed(
        panel.with_columns(
            *[
                pl.when(before).then(pl.col(name) / 2).otherwise(name).alias(name)
                for name in PRICES
            ],
            volume=pl.when(before).then(pl.col("volume") * 2).otherwise("volume"),
            cum_factor=pl.when(before).then("cum_factor").otherwise(pl.col("cum_factor") * 2),
        )
    )
    free = [f.name for f in CATALOG if "raw_price_level" not in f.requires]
    assert_same_bits(full.select(*KEYS, *free), restated.select(*KEYS, *free))


def test_other_symbols_change_nothing(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    own = [f for f in CATALOG if not reads_market(f)]
    few = pl.col("symbol").is_in(["halted", "split"])
    assert_same_bits(
        full.filter(few).select(*KEYS, *[f.name for f in own]), computed(panel.filter(few), own)
    )


def test_a_symbol_without_bars_changes_nothing_even_through_the_market(
    panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    empty = panel.filter(symbol="plain").with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in (*PRICES, "volume", "turnover_value")
    )
    for name in ("aaa", "m", "zzz"):
        crowd = pl.concat([panel, empty.with_columns(symbol=pl.lit(name))]).sort(KEYS)
        assert_same_bits(full, computed(crowd).filter(pl.col("symbol") != name))


@pytest.mark.parametrize("how", [{"block_symbols": 1}, {"block_symbols": 3}, {"threads": 3}])
def test_blocks_and_threads_change_nothing(
    panel: pl.DataFrame, full: pl.DataFrame, how: dict[str, int]
) -> None:
    assert_same_bits(full, computed(panel, **{"block_symbols": 2, **how}))


def test_daily_updates_give_the_bits_of_one_build(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    sessions = panel["session"].unique().sort()
    reach = max_lookback(CATALOG)
    for end in range(-5, 0):
        recent = panel.filter(
            pl.col("session").is_between(sessions[end - reach + 1], sessions[end])
        )
        daily = compute_features(recent, CATALOG, sessions[end], sessions[end], dtype=np.float64)
        assert_same_bits(full.filter(session=sessions[end]), daily)


def test_what_is_unknown_never_becomes_zero(panel: pl.DataFrame) -> None:
    unknown = panel.with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in (*PRICES, "volume", "turnover_value")
    ).with_columns(upper_limit=pl.lit(None), lower_limit=pl.lit(None), stale=pl.lit(7, pl.Int16))
    values = computed(unknown)
    # A session without a bar is itself a fact, and nothing was traded in it.
    facts = {"stale", "n_stale_20", "adv_20", "adv_60"}
    for feature in CATALOG:
        known = values[feature.name].drop_nulls()
        assert feature.name in facts or len(known) == 0, feature.name


def test_a_session_without_a_bar_has_no_value_of_its_own(
    panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    halted = full.join(panel.filter(pl.col("stale") > 0).select(KEYS), on=KEYS, how="semi")
    assert len(halted) > 20
    for feature in CATALOG:
        if feature.name.startswith(("ret_", "gap_on", "intraday", "sma_ratio", "dist_", "rsi")):
            is_sum = feature.name.endswith(("gap_on_20", "intraday_20", "rsi_14"))
            assert is_sum or halted[feature.name].null_count() == len(halted), feature.name


def test_a_return_across_a_halt_starts_at_the_last_close_before_it(panel: pl.DataFrame) -> None:
    halted = panel.filter(symbol="halted")
    values = computed(panel).filter(symbol="halted")
    # Rows 200 to 203 have no bar: the return of row 204 runs from the close of row 199.
    expected = halted["close"][204] / halted["close"][199] - 1
    assert values["ret_1"][204] == pytest.approx(expected, rel=1e-6)
    assert values["ret_3"][204] == pytest.approx(expected, rel=1e-6)
    assert values["ret_5"][204] == pytest.approx(expected, rel=1e-6)


def test_a_split_moves_no_feature(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    unsplit = computed(
        panel.with_columns(
            *[pl.col(name) / pl.col("cum_factor") for name in PRICES],
            volume=pl.col("volume") * pl.col("cum_factor"),
            cum_factor=pl.lit(1.0),
        )
    )
    for feature in CATALOG:
        if "raw_price_level" not in feature.requires:
            np.testing.assert_allclose(
                full[feature.name].to_numpy(), unsplit[feature.name].to_numpy(), 1e-5, 1e-6
            )


def test_a_symbol_back_after_more_than_20_sessions_starts_afresh(full: pl.DataFrame) -> None:
    returned = full.filter(symbol="returned").with_columns(
        gap=pl.col("session").diff().dt.total_days()
    )
    back = returned.filter(pl.col("gap") > 7)
    assert len(back) == 1
    assert back["ret_1"].null_count() == 1


def test_a_lookback_declared_too_short_is_seen(
    edge_panel: Callable[[int], pl.DataFrame],
) -> None:
    honest = next(f for f in CATALOG if f.name == "vol_c2c_60")
    short = replace(honest, lookback=80)
    with pytest.raises(AssertionError):
        test_the_row_before_the_lookback_is_not_felt(short, edge_panel)
