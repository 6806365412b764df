"""The cash rate: which one is in force at a session, and what it earns until the next.

The books pay it and the Sharpe ratio is over it: there is no other rule.
Shape letters: R rates, D sessions.
"""

import numpy as np

from alpha_assets.arrays.asof import latest_rows
from alpha_assets.arrays.types import Array, Index

DAYS_A_YEAR = 365  # of interest by calendar night and of the life of an option
UNKNOWN_RATE = 0.0  # paid where no rate is known; the books note in how many sessions


def rate_in_force(effective_R: Index, rate_R: Array, span: range, max_stale: int) -> Array:
    """Return the annual rate in force at each session, a fraction; NaN where it is not known.

    Args:
        effective_R: number of the session from which each rate is known.
        rate_R: annual rates in the order of their dates; NaN (a blank on a holiday) takes none
            out of force.
        span: session numbers wanted.
        max_stale: sessions since a rate became known after which it is not known any more.
    """
    effective_R, rate_R = effective_R[~np.isnan(rate_R)], rate_R[~np.isnan(rate_R)]
    if not len(rate_R):
        return np.full(len(span), np.nan)
    row_D = latest_rows(effective_R, np.zeros_like(effective_R), span, 1)[:, 0]
    age_D = np.arange(span.start, span.stop) - effective_R[row_D]
    return np.where((row_D >= 0) & (age_D <= max_stale), rate_R[row_D], np.nan)


def paid_rate(rate_annual_D: Array, *, where_unknown: float) -> Array:
    """Return the annual rate that is paid, a fraction: `where_unknown` where none is known."""
    return np.where(np.isnan(rate_annual_D), where_unknown, rate_annual_D)


def interest(rate_annual_D: Array, nights_D: Index) -> Array:
    """Return what cash earns from each session to the next, a fraction; NaN at an unknown rate.

    rate · nights / 365

    Args:
        rate_annual_D: fraction a year; NaN where it is not known.
        nights_D: calendar nights to the next session.
    """
    return rate_annual_D * nights_D / DAYS_A_YEAR
