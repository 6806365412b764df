"""Open short positions as reported twice a month, made comparable over splits."""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import shift
from alpha_assets.features.base import feature
from alpha_assets.features.inputs import SHORT_INTEREST_OLDEST
from alpha_assets.features.margin import LOT
from alpha_assets.features.observed import fresh
from alpha_assets.features.split_adjust import restated

FAMILY = "short_interest"

TWO_REPORTS = 25  # rows that hold the last two reports
AS_TRADED = ("raw_price_level",)


def _last_two(x_DN: Array, n: int) -> tuple[Array, Array]:
    """Return the last known value among n rows and the one before it; NaN where there is none."""
    last_DN, before_DN = np.full(x_DN.shape, np.nan), np.full(x_DN.shape, np.nan)
    for back in range(n):
        then_DN = shift(x_DN, back)
        is_second_DN = ~np.isnan(last_DN) & np.isnan(before_DN)
        before_DN = np.where(is_second_DN, then_DN, before_DN)
        last_DN = np.where(np.isnan(last_DN), then_DN, last_DN)
    return last_DN, before_DN


@feature(
    rows=1,
    unit="sessions of volume",
    formula=(
        "shares / (MA_20(traded value) / close); shares restated for splits since the settlement "
        "date"
    ),
    source="Hong, Li, Ni, Scheinkman & Yan (2015), NBER Working Paper 21166.",
)
def short_interest_days(short_interest_shares_short_today: Array, traded_shares_20: Array) -> Array:
    """Sessions of volume that it would take to cover what is sold short."""
    return short_interest_shares_short_today / traded_shares_20


@feature(
    rows=SHORT_INTEREST_OLDEST + TWO_REPORTS - 1,
    unit="log ratio",
    requires=AS_TRADED,
    formula="ln((shares + 100) / (shares before + 100)), both in shares of the first day",
    source="Boehmer, Huszár & Jordan (2010), J. Financ. Econ. 96.",
)
def short_interest_chg(
    short_interest_shares_short: Array,
    short_interest_lag: Array,
    short_interest_age: Array,
    cum_volume_factor: Array,
) -> Array:
    """Growth of the open short positions since the report before, splits taken out."""
    shares = fresh(short_interest_shares_short, short_interest_age)
    today = restated(
        shares, cum_volume_factor, short_interest_lag, shares=True, limit=SHORT_INTEREST_OLDEST
    )
    # In shares of the market's first day a split between two reports does not show.
    last, before = _last_two(today * cum_volume_factor, TWO_REPORTS)
    return np.log((last + LOT) / (before + LOT))


@feature(rows=1, unit="sessions", source="common practice.")
def short_interest_age(short_interest_age: Array) -> Array:
    """Sessions since the report became known."""
    return short_interest_age.copy()
