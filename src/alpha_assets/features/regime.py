"""Regimes of the market as of the session: five flags, each equal for every symbol.

A flag is 1 or 0 by a rule on r, the mean return of all symbols with a return (`market_return`), and
null where too little of its window is known.  It reads what was known at the session and nothing
after it, so that a regime never changes later: an exposure may be switched on it.  The flags are
not exclusive: a rebound in a volatile market is a reversal and may be a crash.  `calm`, `normal`
and `stormy` of the report sort the sessions of a whole span, and describe only the past.

The level of the market is the product of 1 + r, that of a portfolio which is brought back to equal
weights in every session.
"""

import math

import numpy as np

from alpha_assets.arrays.types import Array, Mask
from alpha_assets.arrays.windows import needed, shift, window_count, window_std, window_sum
from alpha_assets.features.base import feature
from alpha_assets.features.shares import fraction_below

FAMILY = "regime"

MONTH = 21  # sessions: the fast trend
YEAR = 252  # sessions: the slow trend, and the past that a volatility is ranked in
VOLATILITY = 20  # sessions
FIFTH = 0.2  # of the past year: a volatility among its lowest or highest fifth
BEAR = -0.15  # a fall from the highest level of a year that is called a bear market
VOLATILE = "Moreira & Muir (2017), J. Finance 72: volatility as the state that exposure follows"


@feature(
    rows=YEAR + VOLATILITY - 1,
    unit="flag",
    formula="1 if SD_20(ln(1 + r)) is among the lowest fifth of its last 252 values",
    source=f"{VOLATILE}.",
)
def regime_low_vol(market_return: Array) -> Array:
    """1 where the market has been calm for a month: a volatility as low as in a fifth of a year."""
    share = _share_below(market_return)
    return _flag(share <= FIFTH, share)


@feature(
    rows=YEAR + VOLATILITY - 1,
    unit="flag",
    formula="1 if SD_20(ln(1 + r)) is among the highest fifth of its last 252 values",
    source=f"{VOLATILE}.",
)
def regime_high_vol(market_return: Array) -> Array:
    """1 where the market has been volatile for a month: as much as in a fifth of a year."""
    share = _share_above(market_return)
    return _flag(share <= FIFTH, share)


@feature(
    rows=YEAR,
    unit="flag",
    formula="1 if the market's return is not negative over 252 sessions nor over 21",
    source=(
        "Goulding, Harvey & Mazzoleni (2023), J. Financ. Econ. 149: slow and fast signal agree, "
        "a bull market."
    ),
)
def regime_momentum(market_return: Array) -> Array:
    """1 where the market has risen over the past year and over the past month."""
    slow, fast = _trends(market_return)
    return _flag((slow >= 0) & (fast >= 0), slow, fast)


@feature(
    rows=YEAR,
    unit="flag",
    formula="1 if the market's returns over 252 and over 21 sessions differ in sign; 0 counts as +",
    source=(
        "Goulding, Harvey & Mazzoleni (2023), J. Financ. Econ. 149: slow and fast signal disagree, "
        "a correction or a rebound."
    ),
)
def regime_reversal(market_return: Array) -> Array:
    """1 where the past month went against the past year: a turning point of the market."""
    slow, fast = _trends(market_return)
    return _flag((slow >= 0) != (fast >= 0), slow, fast)


@feature(
    rows=YEAR + VOLATILITY - 1,
    unit="flag",
    formula=(
        "1 if the market's level is 15 % or more below its highest of 252 sessions, and "
        "regime_high_vol"
    ),
    source=(
        "Daniel & Moskowitz (2016), J. Financ. Econ. 122: panic states, a fallen and volatile "
        "market; Lunde & Timmermann (2004), J. Bus. Econ. Stat. 22: a bear market begins at 15 %."
    ),
)
def regime_crash(market_return: Array) -> Array:
    """1 where the market has fallen far from its high of the year and is volatile."""
    fall, share = _fall(np.log1p(market_return), YEAR), _share_above(market_return)
    return _flag((fall <= math.log1p(BEAR)) & (share <= FIFTH), fall, share)


def _flag(holds: Mask, *read: Array) -> Array:
    """Return 1 where a rule holds, 0 where it does not, NaN where something read is unknown."""
    known = np.logical_and.reduce([~np.isnan(x) for x in read])
    return np.where(known, holds.astype(np.float64), np.nan)


def _trends(market_return: Array) -> tuple[Array, Array]:
    """Return the logarithm of the market's growth over a year and over a month."""
    growth = np.log1p(market_return)
    return window_sum(growth, YEAR), window_sum(growth, MONTH)


def _share_below(market_return: Array) -> Array:
    """Return the share of the last year's volatilities that are no higher than the current."""
    return fraction_below(window_std(np.log1p(market_return), VOLATILITY), YEAR)


def _share_above(market_return: Array) -> Array:
    """Return the share of the last year's volatilities that are no lower than the current."""
    return fraction_below(-window_std(np.log1p(market_return), VOLATILITY), YEAR)


def _fall(growth: Array, n: int) -> Array:
    """Return the logarithm of a level over the highest that it had in n steps, from its growth.

    The level before the oldest step counts too.  Sums run from the newest step back, so that where
    the series starts changes no bit; an unknown step is none.
    """
    known = ~np.isnan(growth)
    step = np.where(known, growth, 0.0)
    since, lowest = np.zeros(growth.shape), np.zeros(growth.shape)
    for back in range(n):
        since = since + shift(step, back, before=0.0)
        lowest = np.minimum(lowest, since)
    lowest[window_count(known, n) < needed(n)] = np.nan
    return lowest
