"""Promises of the features across symbols, on the bits of raw Float64 values."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from tests.features.crowd import (
    EVER,
    LATE,
    PRICES,
    SYMBOLS,
    changed_columns,
    computed,
    crowd_panel,
)

from alpha_assets.arrays.keys import KEYS
from alpha_assets.errors import BadInput
from alpha_assets.features.compute_cross_symbol import ACROSS, across_features
from alpha_assets.features.cross_symbol import Across
from alpha_assets.features.inputs import INPUTS

every_feature = pytest.mark.parametrize("item", ACROSS, ids=lambda item: item.name)
BLANK = (*PRICES, "volume")


@pytest.fixture(scope="module")
def panel() -> pl.DataFrame:
    return crowd_panel()


@pytest.fixture(scope="module")
def full(panel: pl.DataFrame) -> pl.DataFrame:
    return computed(panel)


def days(panel: pl.DataFrame) -> list[object]:
    return panel["session"].unique().sort().to_list()


@every_feature
def test_a_feature_says_what_it_is(item: Across) -> None:
    assert item.unit
    assert item.source
    assert len(item.about) > 20
    assert set(item.inputs) <= set(INPUTS)
    assert item.family == item.name.split("_")[0]
    assert item.lookback > item.rows


def test_the_panel_puts_every_feature_to_work(full: pl.DataFrame) -> None:
    for item in ACROSS:
        assert full[item.name].drop_nulls().n_unique() > 10, item.name
        assert full[item.name].drop_nulls().is_finite().all()


def test_rows_and_columns_are_those_asked_for(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    sessions = panel["session"].unique().sort().to_numpy()
    first, last = sessions[300].item(), sessions[310].item()
    some = across_features(panel, sessions, first, last)
    here = pl.col("session").is_between(first, last)
    assert some.select(KEYS).equals(panel.filter(here).select(KEYS))
    assert some.columns == [*KEYS, *[item.name for item in ACROSS]]
    assert set(some.dtypes[2:]) == {pl.Float32}
    expected = full.filter(here).with_columns(pl.exclude(KEYS).cast(pl.Float32))
    assert some.equals(expected)


def test_a_span_without_sessions_is_an_empty_table(panel: pl.DataFrame) -> None:
    later = np.datetime64("2090-01-01").item(), np.datetime64("2090-02-01").item()
    values = computed(panel, span=later)
    assert values.shape == (0, 2 + len(ACROSS))


@pytest.mark.parametrize("cut", [-1, -2, -3, -4, -5, -40])
def test_deleting_what_comes_later_changes_nothing(
    panel: pl.DataFrame, full: pl.DataFrame, cut: int
) -> None:
    past = pl.col("session") <= days(panel)[cut]
    assert changed_columns(full.filter(past), computed(panel.filter(past))) == []


@pytest.mark.parametrize("cut", [-2, -3, -4, -5, -6, -40])
def test_changing_what_comes_later_changes_nothing(
    panel: pl.DataFrame, full: pl.DataFrame, cut: int
) -> None:
    later = pl.col("session") > days(panel)[cut]
    noise = pl.Series(np.random.default_rng(1).lognormal(size=len(panel)))
    changed = panel.with_columns(
        *[pl.when(later).then(pl.col(name) * noise).otherwise(name).alias(name) for name in BLANK],
        sector=pl.when(later).then(pl.lit("0009")).otherwise("sector"),
    )
    after = computed(changed)
    assert changed_columns(full.filter(~later), after.filter(~later)) == []
    assert len(changed_columns(full, after)) > 8


def test_a_month_alone_has_the_bits_of_any_span(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    reach = max(item.lookback for item in ACROSS)
    sessions = days(panel)
    for first in (reach - 1, 290, 310):
        last = min(first + 20, len(sessions) - 1)
        near = panel.filter(
            pl.col("session").is_between(sessions[first - reach + 1], sessions[last])
        )
        span = sessions[first], sessions[last]
        expected = full.filter(pl.col("session").is_between(*span))
        assert changed_columns(expected, computed(near, span=span)) == []


@every_feature
def test_the_lookback_is_all_the_history_needed(
    item: Across, panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    sessions = days(panel)
    for end in range(-6, 0):  # every day of a week
        recent = panel.filter(
            pl.col("session").is_between(sessions[end - item.lookback + 1], sessions[end])
        )
        here = sessions[end], sessions[end]
        expected = full.filter(session=sessions[end]).select(*KEYS, item.name)
        assert changed_columns(expected, computed(recent, [item], here)) == []


@every_feature
@pytest.mark.parametrize(("before", "is_felt"), [(0, True), (1, False), (2, False), (3, False)])
def test_the_last_row_of_the_lookback_is_felt_and_none_before(
    item: Across, before: int, is_felt: bool, panel: pl.DataFrame
) -> None:
    sessions = days(panel)
    # A Friday after five weeks of five sessions, when a graph has been longest in force.
    end = sessions.index(date(2019, 11, 1)) if item.reads_graph else len(sessions) - 1
    # A bar on one row, none on the next 20, and then a jump from its close.
    row = end - item.lookback + 1 - before
    silent = pl.col("session").is_between(sessions[row + 1], sessions[row + 20])
    later = pl.col("session") > sessions[row]
    is_one = pl.col("symbol") == "s01"
    jumped = panel.with_columns(
        pl.when(is_one & later).then(pl.col(c) * 3).otherwise(c).alias(c) for c in PRICES
    )
    if item.name != "sec_rel_turn_z":  # which carries nothing
        jumped = jumped.with_columns(
            pl.when(~is_one | ~silent).then(pl.col(c)).alias(c) for c in BLANK
        )
    greedy = replace(item, lookback=len(sessions))
    span = sessions[end], sessions[end]
    with_row = computed(jumped, [greedy], span)
    without = computed(jumped.filter(later), [greedy], span)
    assert changed_columns(with_row, without) == ([item.name] if is_felt else [])
    assert changed_columns(with_row, computed(jumped, [item], span)) == []


@every_feature
def test_a_lookback_declared_too_short_is_seen(
    item: Across, panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    short = replace(item, lookback=max(item.lookback - 30, 1))
    sessions = days(panel)
    seen = [
        changed_columns(
            full.filter(session=sessions[end]).select(*KEYS, item.name),
            computed(panel, [short], (sessions[end], sessions[end])),
        )
        for end in range(-6, 0)
    ]
    assert any(seen)


def test_a_symbol_listed_later_changes_nothing_before(
    panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    without = computed(panel.filter(pl.col("symbol") != SYMBOLS[LATE]))
    before = pl.col("session") < panel.filter(symbol=SYMBOLS[LATE])["session"].min()
    assert changed_columns(full.filter(before), without.filter(before)) == []


def test_a_symbol_without_bars_changes_nothing(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    empty = panel.filter(symbol="s00").with_columns(
        pl.lit(None, pl.Float64).alias(c) for c in BLANK
    )
    for name in ("a", "s105", "z"):
        crowd = pl.concat([panel, empty.with_columns(symbol=pl.lit(name))]).sort(KEYS)
        kept = computed(crowd).filter(pl.col("symbol") != name)
        assert changed_columns(full, kept) == []
        alone = computed(crowd).filter(symbol=name)
        rel = [item.name for item in ACROSS if "_rel_" in item.name or item.reads_graph]
        assert all(alone[column].null_count() == len(alone) for column in rel)


def test_other_names_for_the_symbols_permute_the_results(
    panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    names = np.random.default_rng(3).permutation(SYMBOLS).tolist()
    word = pl.col("symbol").replace_strict(SYMBOLS, names)
    renamed = computed(panel.with_columns(word).sort(KEYS))
    expected = full.with_columns(word).sort(KEYS)
    # Sums over symbols run in another order, so the last bits may differ, and no more.
    for item in ACROSS:
        assert renamed[item.name].is_null().equals(expected[item.name].is_null()), item.name
        np.testing.assert_allclose(
            renamed[item.name].to_numpy(), expected[item.name].to_numpy(), rtol=1e-5, atol=2e-6
        )


def test_a_vendors_restatement_changes_no_bit(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    scale = pl.col("symbol").replace_strict({"s00": 0.25, "s05": 8.0}, default=1.0)
    restated = panel.with_columns(
        *[pl.col(name) * scale for name in PRICES], volume=pl.col("volume") / scale
    )
    assert changed_columns(full, computed(restated)) == []


def test_daily_updates_give_the_bits_of_one_build(panel: pl.DataFrame, full: pl.DataFrame) -> None:
    for day in days(panel)[-8:]:
        expected = full.filter(session=day)
        assert changed_columns(expected, computed(panel, span=(day, day))) == []


def test_one_feature_alone_has_the_bits_it_has_among_all(
    panel: pl.DataFrame, full: pl.DataFrame
) -> None:
    for item in ACROSS:
        alone = computed(panel, [item])
        assert changed_columns(full.select(*KEYS, item.name), alone) == []


def test_a_row_outside_the_sessions_is_refused(panel: pl.DataFrame) -> None:
    sessions = panel["session"].unique().sort().to_numpy()
    with pytest.raises(BadInput, match="none of the"):
        across_features(panel, np.delete(sessions, 300), *EVER)


def test_a_missing_column_is_named(panel: pl.DataFrame) -> None:
    with pytest.raises(BadInput, match="lacks cum_factor"):
        computed(panel.drop("cum_factor"))
