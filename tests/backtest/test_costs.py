"""What a trade and a short position cost, by hand."""

import math

import numpy as np
import pytest
from tests.backtest.market import FREE, bar, books, hold, of, raw

from alpha_assets.backtest import CostsSpec, check_costs
from alpha_assets.backtest.costs import (
    PRESETS,
    borrow_cost,
    commission,
    impact_cost,
    spread_cost,
)
from alpha_assets.errors import SpecError
from alpha_assets.spec import parse_spec

SPEC = CostsSpec(
    commission_bps=2.0,
    half_spread_bps=10.0,
    impact_coefficient=0.5,
    unknown_volatility=0.08,
    borrow_fee_bps_annual=365.0,
)
NAN = float("nan")
approx = pytest.approx


def test_a_commission_is_paid_on_both_sides() -> None:
    assert commission(np.array([10_000.0, -10_000.0, 0.0]), SPEC).tolist() == [2.0, 2.0, 0.0]


def test_a_spread_is_never_narrower_than_the_spec_says() -> None:
    notional_K = np.array([10_000.0, -10_000.0, 10_000.0])
    known_K = np.array([0.0030, 0.0001, NAN])

    assert spread_cost(notional_K, known_K, SPEC).tolist() == approx([30.0, 10.0, 10.0])


def test_impact_is_volatility_times_the_root_of_the_share_of_volume() -> None:
    # A quarter of the volume at 2 % a day: 0.5 · 0.02 · 0.5 = 0.5 %.
    found = impact_cost(np.array([-1_000.0]), np.array([4_000.0]), np.array([0.02]), SPEC)

    assert found.tolist() == approx([5.0])


@pytest.mark.parametrize("adv", [NAN, 0.0])
def test_a_trade_in_unknown_volume_counts_as_all_of_it(adv: float) -> None:
    found = impact_cost(np.array([1_000.0]), np.array([adv]), np.array([0.02]), SPEC)

    assert found.tolist() == approx([0.5 * 0.02 * 1_000])


def test_unknown_volatility_is_high_volatility() -> None:
    found = impact_cost(np.array([1_000.0]), np.array([4_000.0]), np.array([NAN]), SPEC)

    assert found.tolist() == approx([0.5 * 0.08 * 0.5 * 1_000])


def test_only_shorts_pay_a_lender_and_unquoted_names_pay_the_default() -> None:
    value_K, fee_K = np.array([-1_000.0, 1_000.0, -1_000.0]), np.array([730.0, 730.0, NAN])

    assert borrow_cost(value_K, fee_K, 3, SPEC).tolist() == approx([0.6, 0.0, 0.3])


def test_volatility_does_not_see_a_split_or_a_rights_issue() -> None:
    # 25 sessions at +1 % and -1 % in turn; the same with a split and a rights issue in between.
    plain, changed = [], []
    price = other = 100.0
    for n in range(25):
        move, factor, shares = (1.01 if n % 2 else 0.99), 1.0, None
        if n == 15:
            factor = 0.5
        if n == 18:
            factor, shares = 0.8, 1.0
        price, other = price * move, other * move * factor
        plain.append(bar("A", n, price, turnover_value=1e6))
        changed.append(
            bar("A", n, other, turnover_value=1e6, adjustment_factor=factor, share_factor=shares)
        )
    costs = FREE.model_copy(update={"impact_coefficient": 1.0})
    targets = hold((24, {"A": 0.5}))
    one, two = (books(targets, raw(daily_bars=rows), 24, costs=costs) for rows in (plain, changed))

    moves = [math.log(1.01 if n % 2 else 0.99) for n in range(4, 24)]
    notional = of(one.trades, 24)["notional"]
    expected = np.std(moves, ddof=1) * math.sqrt(notional / 1e6) * notional
    assert of(one.trades, 24)["impact_cost"] == approx(expected)
    assert of(two.trades, 24)["impact_cost"] == approx(expected)


def test_estimated_spreads_are_wider_where_ranges_are() -> None:
    costs = CostsSpec(spread="corwin_schultz", impact_coefficient=0.0, half_spread_bps=1.0)
    found = []
    for width in (0.0, 0.02):
        rows = [
            bar("A", n, 100.0, high=100.0 * (1 + width), low=100.0 * (1 - width)) for n in range(30)
        ]
        kept = books(hold((29, {"A": 0.5})), raw(daily_bars=rows), 29, costs=costs)
        found.append(of(kept.trades, 29)["spread_cost"] / of(kept.trades, 29)["notional"])

    # A range that is the same every day is all spread: high over low is 1.02 / 0.98.
    assert found == approx([1e-4, 0.02], rel=0.02)


def test_a_preset_names_costs_and_keys_beside_it_override_them() -> None:
    found = parse_spec({"preset": "research_liquid", "commission_bps": 2.0}, CostsSpec, "costs")

    assert (found.commission_bps, found.half_spread_bps) == (2.0, 5.0)
    assert (found.impact_coefficient, found.borrow_fee_bps_annual) == (0.0, 300.0)


def test_ten_basis_points_a_round_trip_are_five_each_way() -> None:
    spec = parse_spec({"preset": "research_10bps"}, CostsSpec, "costs")
    round_trip_2 = np.array([10_000.0, -10_000.0])
    bill_2 = commission(round_trip_2, spec) + spread_cost(round_trip_2, np.full(2, NAN), spec)

    assert bill_2.sum() == approx(10.0)
    assert impact_cost(round_trip_2, np.full(2, NAN), np.full(2, NAN), spec).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_resolves_to_is_itself_a_declaration(name: str) -> None:
    spec = parse_spec({"preset": name}, CostsSpec, "costs")

    assert parse_spec(spec.model_dump(mode="json"), CostsSpec, "costs") == spec


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preset": "reserch_10bps"}, "did you mean 'research_10bps'"),
        ({"preset": ["retail"]}, "there is no preset ['retail'] of costs: research_10bps"),
        ({"preset": {}}, "there is no preset {} of costs: research_10bps"),
        ({"preset": 7}, "there is no preset 7 of costs: research_10bps, research_liquid"),
        ({"commission_bps": -1.0}, "commission_bps = -1.0: Input should be greater than or equal"),
        ({"half_spread_bps": -1.0}, "half_spread_bps = -1.0"),
        ({"impact_coefficient": -0.1}, "impact_coefficient = -0.1"),
        ({"borrow_fee_bps_annual": -5.0}, "borrow_fee_bps_annual = -5.0"),
        ({"tick": 0.0}, "tick = 0.0: Input should be greater than 0"),
    ],
)
def test_costs_that_cannot_be_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(settings, CostsSpec, "costs")

    assert words in str(refused.value)


def test_ticks_need_prices_as_traded() -> None:
    spec = CostsSpec(tick=0.5)
    check_costs(spec, "raw")
    with pytest.raises(SpecError, match=r"costs\.tick = 0\.5 needs prices as traded"):
        check_costs(spec, "split_adjusted")
