"""Options on the index: what the market expects of its own volatility; the same for every symbol.

A surface that is carried over a day without a new one is known, but it is no new observation:
changes and windows count days with a new surface only.
"""

import numpy as np

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import fill_forward, shift, window_moments
from alpha_assets.features.base import SESSIONS_PER_YEAR, feature
from alpha_assets.features.observed import fresh, fresh_change, fresh_z

FAMILY = "opt"

YEAR = 252
MONTH = 20


@feature(rows=1, unit="fraction a year")
def opt_iv_30(index_options_iv_30: Array) -> Array:
    """Volatility that options on the index imply for the next 30 days, at the money.

    Source: Cboe (2019), Volatility Index methodology; at the money only.
    """
    return index_options_iv_30.copy()


@feature(rows=1, unit="fraction a year")
def opt_iv_60(index_options_iv_60: Array) -> Array:
    """Volatility that options on the index imply for the next 60 days, at the money.

    Source: Cboe (2019), Volatility Index methodology; at the money only.
    """
    return index_options_iv_60.copy()


@feature(rows=1, unit="fraction a year")
def opt_term_slope(index_options_iv_60: Array, index_options_iv_30: Array) -> Array:
    """Volatility implied for 60 days less that for 30; below zero in times of trouble.

    opt_iv_60 - opt_iv_30

    Source: Johnson (2017), J. Financ. Quant. Anal. 52.
    """
    return index_options_iv_60 - index_options_iv_30


@feature(rows=YEAR, unit="standard deviations")
def opt_iv_z(index_options_iv_30: Array, index_options_age: Array) -> Array:
    """How unusual the implied volatility is against its last 252 sessions.

    (x - MA_252(x)) / SD_252(x)

    Source: common practice.
    """
    return fresh_z(index_options_iv_30, index_options_age, YEAR)


@feature(rows=6, unit="fraction a year")
def opt_iv_chg_5(index_options_iv_30: Array, index_options_age: Array) -> Array:
    """Change of the implied volatility in five sessions.

    x[t] - x[t-5]

    Source: Ang, Hodrick, Xing & Zhang (2006), J. Finance 61.
    """
    return fresh_change(index_options_iv_30, index_options_age, 5)


# 20 changes; the oldest one starts at a level that may itself have been carried.
@feature(rows=MONTH + MAX_STALE + 1, unit="variance a year")
def opt_vrp(
    index_options_iv_30: Array, index_options_underlying: Array, index_options_age: Array
) -> Array:
    """Variance that is implied less variance that was realised: the price of insurance.

    opt_iv_30² - 245 · VAR_20(ln(index / index before)), ddof 1

    Source: Bollerslev, Tauchen & Zhou (2009), Rev. Financ. Stud. 22.
    """
    level = fresh(index_options_underlying, index_options_age)
    moves = np.log(level / shift(fill_forward(level), 1))
    realised = SESSIONS_PER_YEAR * window_moments(moves, MONTH).variance_DN
    return index_options_iv_30 * index_options_iv_30 - realised


@feature(rows=1, unit="log ratio")
def opt_pc_oi(index_options_put_call_oi: Array) -> Array:
    """Open puts over open calls on the index.

    ln(puts / calls)

    Source: Pan & Poteshman (2006), Rev. Financ. Stud. 19.
    """
    return index_options_put_call_oi.copy()


@feature(rows=1, unit="log ratio")
def opt_pc_vo(index_options_put_call_volume: Array) -> Array:
    """Traded puts over traded calls on the index.

    ln(puts / calls)

    Source: Pan & Poteshman (2006), Rev. Financ. Stud. 19.
    """
    return index_options_put_call_volume.copy()


@feature(rows=1, unit="log of contracts")
def opt_oi_sum(index_options_open_interest: Array) -> Array:
    """Open contracts on the index, of all expiries; drops at each special quotation.

    Source: Hong & Yogo (2012), J. Financ. Econ. 105.
    """
    return index_options_open_interest.copy()


@feature(rows=6, unit="log ratio")
def opt_oi_chg_5(index_options_open_interest: Array, index_options_age: Array) -> Array:
    """Growth of the open contracts in five sessions.

    x[t] - x[t-5], x in logs

    Source: Hong & Yogo (2012), J. Financ. Econ. 105.
    """
    return fresh_change(index_options_open_interest, index_options_age, 5)


@feature(rows=1, unit="fraction a year")
def opt_skew_25d(index_options_skew_25d: Array) -> Array:
    """How much dearer puts are than calls that are equally far out: fear of a fall.

    volatility of the put less that of the call at a delta of 0.25, expiry nearest 30 days

    Source: Xing, Zhang & Zhao (2010), J. Financ. Quant. Anal. 45.
    """
    return index_options_skew_25d.copy()


@feature(rows=1, unit="fraction a year per log moneyness")
def opt_skew_slope(index_options_skew_slope: Array) -> Array:
    """How implied volatility falls with the strike.

    least-squares slope of volatility on ln(strike / index) up to 10 %, expiry nearest 30 days

    Source: Xing, Zhang & Zhao (2010), J. Financ. Quant. Anal. 45; a line through all strikes.
    """
    return index_options_skew_slope.copy()


@feature(rows=1, unit="sessions")
def opt_days_to_sq(index_options_days_to_sq: Array, index_options_age: Array) -> Array:
    """Sessions to the next special quotation; 0 on its day, null once a carried surface lacks one.

    Source: common practice.
    """
    left = index_options_days_to_sq - index_options_age
    return np.where(left >= 0, left, np.nan)


@feature(rows=1, unit="flag")
def opt_is_stale(index_options_age: Array, index_options_lag: Array) -> Array:
    """1 where the last surface known is older than that of the session before.

    Source: common practice.
    """
    stale = (index_options_age > 0) | (index_options_lag > 1)
    return np.where(np.isnan(index_options_age), np.nan, stale)


@feature(rows=1, unit="flag")
def opt_is_odd(index_options_is_odd: Array) -> Array:
    """1 where own and official volatility at the money are a point or more apart.

    Source: common practice: two ways to one number that disagree say that one is wrong.
    """
    return index_options_is_odd.copy()
