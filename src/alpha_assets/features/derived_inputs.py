"""Functions behind inputs that are made of side feeds: `inputs.py` lists them by name.

Numbers of shares and amounts a share are restated for the splits since the day that they
describe, so that they can stand beside the price of the row's last bar.
"""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.features.estimators import mean_traded_value
from alpha_assets.features.shares import short_ratio
from alpha_assets.features.split_adjust import LONGEST, restated

VOLUME_WINDOW = 20  # sessions whose mean volume a balance is measured by


def amount_today(
    amount: Array, age: Array, lag: Array, cum_factor: Array, *, limit: int = LONGEST
) -> Array:
    """Return money a share of an earlier day in the shares of the row's last bar.

    Args:
        amount: money a share, of the day that it describes.
        age: sessions since it became known.
        lag: sessions from that day to the one on which it became known.
        cum_factor: product of the factors known at each row.
        limit: rows looked back; an older amount is restated as if it were of that age.
    """
    return restated(amount, cum_factor, age + lag, shares=False, limit=limit)


def shares_today(
    shares: Array, age: Array, lag: Array, cum_volume_factor: Array, *, limit: int = LONGEST
) -> Array:
    """Return a number of shares of an earlier day in the shares of the row's last bar.

    Args:
        shares: number of shares, of the day that it describes.
        age: sessions since it became known.
        lag: sessions from that day to the one on which it became known.
        cum_volume_factor: product of the factors known that change the number of shares.
        limit: rows looked back; an older number is restated as if it were of that age.
    """
    return restated(shares, cum_volume_factor, age + lag, shares=True, limit=limit)


def market_value(
    statements_shares: Array,
    statements_age: Array,
    statements_shares_lag: Array,
    cum_volume_factor: Array,
    raw_close: Array,
) -> Array:
    """Price times shares outstanding, without those that the company holds, money."""
    shares = shares_today(
        statements_shares, statements_age, statements_shares_lag, cum_volume_factor
    )
    return shares * raw_close


def traded_shares_20(dollar_volume: Array, stale: Array, raw_close: Array) -> Array:
    """Mean shares traded in a session of the last 20, in shares of the row's last bar."""
    price = np.where(raw_close > 0, raw_close, np.nan)
    return mean_traded_value(dollar_volume, stale, VOLUME_WINDOW) / price


def days_of_volume(shares: Array, traded_shares_20: Array) -> Array:
    """Return for how many sessions of mean volume a number of shares lasts."""
    return shares / traded_shares_20


def short_selling_ratio(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """Short sales over all sales of the market, a fraction."""
    return short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)


def sector_short_selling_ratio(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """Short sales over all sales of the symbol's sector, a fraction."""
    return short_ratio(
        sector_short_selling_selling, sector_short_selling_restricted, sector_short_selling_exempt
    )


def short_volume_share(short_volume_short_volume: Array, short_volume_total_volume: Array) -> Array:
    """Reported short volume over all reported volume, a fraction; null where none was."""
    total = np.where(short_volume_total_volume > 0, short_volume_total_volume, np.nan)
    return short_volume_short_volume / total
