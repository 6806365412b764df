"""What it costs to trade and to stay short.  Costs are money and positive; the books subtract them.

Shape letters: N symbols.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alpha_assets.spec import Spec

Array = NDArray[np.float64]

BPS = 1e-4
DAYS_A_YEAR = 365


class CostsSpec(Spec):
    """Declared under `[costs]` in a market, and in a recipe that wants others."""

    commission_bps: float = Field(default=1.0, ge=0)  # of traded notional
    half_spread_bps: float = Field(default=5.0, ge=0)  # of traded notional
    impact_coefficient: float = Field(default=0.5, ge=0)  # of daily volatility, at participation 1
    borrow_fee_bps_annual: float = Field(default=115.0, ge=0)  # where no fee is quoted


def commission(notional_N: Array, spec: CostsSpec) -> Array:
    """Return the broker's fee: abs(notional) · commission."""
    return np.abs(notional_N) * (spec.commission_bps * BPS)


def spread_cost(notional_N: Array, spec: CostsSpec) -> Array:
    """Return what crossing half the spread costs: abs(notional) · half-spread."""
    return np.abs(notional_N) * (spec.half_spread_bps * BPS)


def impact_cost(notional_N: Array, adv_N: Array, volatility_N: Array, spec: CostsSpec) -> Array:
    """Return what moving the price costs, by the square-root law.

    cost = coefficient · daily volatility · sqrt(abs(notional) / ADV) · abs(notional)

    Args:
        notional_N: traded money, signed.
        adv_N: mean traded money a session as known at the decision.
        volatility_N: standard deviation of daily log returns as known at the decision.
        spec: the coefficient.

    Returns:
        Money, at least 0.  Where ADV or volatility is unknown the largest known volatility
        and the least known ADV of the session stand in, so that the unknown is never cheap.

    Source: Almgren, Thum, Hauptmann & Li (2005), Risk 18(7); Grinold & Kahn (1999), chapter 16.
    """
    traded_N = np.abs(notional_N)
    adv_N = np.where(adv_N > 0, adv_N, np.nan)
    adv_N = np.where(np.isnan(adv_N), _least(adv_N), adv_N)
    volatility_N = np.where(np.isnan(volatility_N), _greatest(volatility_N), volatility_N)
    return spec.impact_coefficient * volatility_N * np.sqrt(traded_N / adv_N) * traded_N


def borrow_cost(value_N: Array, fee_bps_annual_N: Array, nights: int) -> Array:
    """Return the fee for carrying short positions to the next session.

    cost = max(-value, 0) · fee · nights / 365

    Args:
        value_N: market value after the close, signed; longs pay nothing.
        fee_bps_annual_N: the lender's fee, basis points a year.
        nights: calendar nights until the next session.

    Source: Boyd et al. (2017), Multi-Period Trading via Convex Optimization, section 2.4.
    """
    return np.maximum(-value_N, 0.0) * fee_bps_annual_N * (BPS * nights / DAYS_A_YEAR)


def _least(x_N: Array) -> float:
    known_N = x_N[~np.isnan(x_N)]
    return float(known_N.min()) if len(known_N) else 1.0


def _greatest(x_N: Array) -> float:
    known_N = x_N[~np.isnan(x_N)]
    return float(known_N.max()) if len(known_N) else 1.0
