"""What it costs to trade and to stay short.  Costs are money and positive; the books subtract them.

The same functions price a plan and the simulator's bill.  Shape letters: K trades or positions.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from alpha_assets.arrays.rates import DAYS_A_YEAR
from alpha_assets.arrays.types import Array, Index
from alpha_assets.errors import SpecError
from alpha_assets.spec import Spec

BPS = 1e-4

SpreadModel = Literal["fixed", "corwin_schultz"]


PRESETS: Mapping[str, Mapping[str, float]] = {
    "research_10bps": {
        "commission_bps": 5.0,
        "half_spread_bps": 0.0,
        "impact_coefficient": 0.0,
        "borrow_fee_bps_annual": 0.0,
    },
    "research_liquid": {
        "commission_bps": 5.0,
        "half_spread_bps": 5.0,
        "impact_coefficient": 0.0,
        "borrow_fee_bps_annual": 300.0,
    },
    "institution_large_cap": {
        "commission_bps": 0.5,
        "half_spread_bps": 2.0,
        "impact_coefficient": 0.5,
        "borrow_fee_bps_annual": 40.0,
    },
    "retail": {
        "commission_bps": 5.0,
        "half_spread_bps": 10.0,
        "impact_coefficient": 0.5,
        "borrow_fee_bps_annual": 500.0,
    },
}
ON_TICK = 1e-6  # ticks: a price nearer than this to the grid is on it


class CostsSpec(Spec):
    """Declared under `[costs]` in a market, and in a recipe that wants others."""

    preset: str | None = None
    """Costs by name, which the keys beside it override. `research_10bps`: 10 bps a round trip;
    `research_liquid`: a spread of 10 bps, 5 bps each way and 3 % a year to borrow;
    `institution_large_cap`, `retail`: with impact.
    """
    commission_bps: float = Field(default=1.0, ge=0, lt=10_000)
    """The broker's fee, of traded notional."""
    half_spread_bps: float = Field(default=5.0, ge=0, lt=10_000)
    """Distance from the mid price to the side that is hit, of traded notional."""
    spread: SpreadModel = "fixed"
    """`fixed`: the same half-spread for all; `corwin_schultz`: half of what the ranges of the
    20 sessions before the decision imply, and never less than `half_spread_bps`.
    """
    impact_coefficient: float = Field(default=0.5, ge=0, le=100)
    """Share of a day's volatility that trading a day's volume costs."""
    unknown_volatility: float = Field(default=0.05, ge=0, le=1)
    """Daily volatility where fewer than 16 of the last 20 returns are known."""
    borrow_fee_bps_annual: float = Field(default=115.0, ge=0, lt=1_000_000)
    """Lender's fee on shorts where no fee is quoted."""
    tick: float | None = Field(default=None, gt=0)
    """Step of prices at the exchange: fills are rounded to it, purchases up and sales down;
    none: fills are not rounded.
    """

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, values: object) -> object:
        if not isinstance(values, Mapping) or values.get("preset") is None:
            return values
        name = values["preset"]
        if not isinstance(name, str) or name not in PRESETS:
            near = get_close_matches(str(name), PRESETS, n=2, cutoff=0.3)
            guess = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ValueError(f"there is no preset {name!r} of costs: {', '.join(PRESETS)}{guess}")
        return {**PRESETS[name], **values}


def check_costs(spec: CostsSpec, price_level: str) -> None:
    """Refuse costs that need prices as they were traded where the market has none.

    Raises:
        SpecError: ticks on split-adjusted prices.
    """
    if spec.tick is not None and price_level != "raw":
        raise SpecError(
            f"costs.tick = {spec.tick:g} needs prices as traded, and this market's price level "
            f"is {price_level!r}; leave tick out"
        )


def to_tick(price_K: Array, order_K: Array, spec: CostsSpec) -> Array:
    """Return prices on the grid of ticks: the next one up for purchases, down for sales.

    At least one tick; the same prices where the spec has no tick.

    Args:
        price_K: of the auction.
        order_K: signed; its sign decides the side.
        spec: the tick.
    """
    if spec.tick is None:
        return price_K
    steps_K = price_K / spec.tick
    near_K = np.round(steps_K)
    side_K = np.where(order_K > 0, np.ceil(steps_K), np.floor(steps_K))
    whole_K = np.where(np.abs(steps_K - near_K) <= ON_TICK, near_K, side_K)
    return np.asarray(np.maximum(whole_K, 1.0) * spec.tick)


def commission(notional_K: Array, spec: CostsSpec) -> Array:
    """Return the broker's fee: abs(notional) · commission; money, at least 0."""
    return np.abs(notional_K) * (spec.commission_bps * BPS)


def spread_cost(notional_K: Array, half_spread_K: Array, spec: CostsSpec) -> Array:
    """Return what crossing half the spread costs.

    cost = abs(notional) · max(half-spread, the spec's own)

    Args:
        notional_K: traded money, signed.
        half_spread_K: as known at the decision, a fraction of the price; NaN where unknown:
            the spec's own then.
        spec: the least half-spread.

    Returns:
        Money, at least 0.
    """
    return np.abs(notional_K) * np.fmax(half_spread_K, spec.half_spread_bps * BPS)


def impact_cost(notional_K: Array, adv_K: Array, volatility_K: Array, spec: CostsSpec) -> Array:
    """Return what moving the price costs, by the square-root law.

    cost = coefficient · daily volatility · sqrt(abs(notional) / ADV) · abs(notional)

    Args:
        notional_K: traded money, signed.
        adv_K: mean traded money a session as known at the decision.  Where it is unknown or
            0, the trade counts as a whole day's volume, so that the unknown is never cheap.
        volatility_K: standard deviation of daily log returns as known at the decision; where
            it is NaN, the spec's `unknown_volatility`.
        spec: the coefficient.

    Returns:
        Money, at least 0.

    Source: Almgren, Thum, Hauptmann & Li (2005), Risk 18(7); Grinold & Kahn (1999), chapter 16.
    """
    traded_K = np.abs(notional_K)
    participation_K = np.ones_like(traded_K)
    np.divide(traded_K, adv_K, out=participation_K, where=adv_K > 0)
    volatility_K = np.where(np.isnan(volatility_K), spec.unknown_volatility, volatility_K)
    return spec.impact_coefficient * volatility_K * np.sqrt(participation_K) * traded_K


def borrow_cost(
    value_K: Array, fee_bps_annual_K: Array, nights: int | Index, spec: CostsSpec
) -> Array:
    """Return the fee for carrying short positions to the next session.

    cost = max(-value, 0) · fee · nights / 365

    Args:
        value_K: market value after the close, signed; longs pay nothing.
        fee_bps_annual_K: the lender's fee as known at the decision, basis points a year; NaN
            where none is quoted: the spec's own then.
        nights: calendar nights until the next session: 1 midweek, 3 over a weekend; of several
            sessions as [D, 1], where the other arrays are [D, K].
        spec: the fee where none is quoted.

    Returns:
        Money, at least 0.

    Source: Boyd et al. (2017), Multi-Period Trading via Convex Optimization, section 2.4.
    """
    fee_K = np.where(np.isnan(fee_bps_annual_K), spec.borrow_fee_bps_annual, fee_bps_annual_K)
    return np.maximum(-value_K, 0.0) * fee_K * (BPS * nights / DAYS_A_YEAR)
