"""What it costs to trade and to stay short.  Costs are money and positive; the books subtract them.

The same functions price a plan and the simulator's bill.  Shape letters: K trades or positions.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from alpha_assets.arrays.rates import DAYS_A_YEAR
from alpha_assets.arrays.types import Array
from alpha_assets.spec import Spec

BPS = 1e-4

SpreadModel = Literal["fixed", "corwin_schultz"]


class CostsSpec(Spec):
    """Declared under `[costs]` in a market, and in a recipe that wants others."""

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


def borrow_cost(value_K: Array, fee_bps_annual_K: Array, nights: int, spec: CostsSpec) -> Array:
    """Return the fee for carrying short positions to the next session.

    cost = max(-value, 0) · fee · nights / 365

    Args:
        value_K: market value after the close, signed; longs pay nothing.
        fee_bps_annual_K: the lender's fee as known at the decision, basis points a year; NaN
            where none is quoted: the spec's own then.
        nights: calendar nights until the next session: 1 midweek, 3 over a weekend.
        spec: the fee where none is quoted.

    Returns:
        Money, at least 0.

    Source: Boyd et al. (2017), Multi-Period Trading via Convex Optimization, section 2.4.
    """
    fee_K = np.where(np.isnan(fee_bps_annual_K), spec.borrow_fee_bps_annual, fee_bps_annual_K)
    return np.maximum(-value_K, 0.0) * fee_K * (BPS * nights / DAYS_A_YEAR)
