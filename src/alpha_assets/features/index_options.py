"""Options on the index: what the market expects of its own volatility; the same for every symbol.

A surface that is carried over a day without a new one is known, but it is no new observation:
changes and windows count days with a new surface only.
"""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import fill_forward, shift, window_moments
from alpha_assets.features.base import SESSIONS_PER_YEAR, feature
from alpha_assets.features.observed import LEVEL_CARRIED, fresh, fresh_change, fresh_z

FAMILY = "opt"

YEAR = 252
MONTH = 20


@feature(
    rows=1,
    unit="fraction a year",
    source="Cboe (2019), Volatility Index methodology; at the money only.",
)
def opt_iv_30(index_options_iv_30: Array) -> Array:
    """Volatility that options on the index imply for the next 30 days, at the money."""
    return index_options_iv_30.copy()


@feature(
    rows=1,
    unit="fraction a year",
    source="Cboe (2019), Volatility Index methodology; at the money only.",
)
def opt_iv_60(index_options_iv_60: Array) -> Array:
    """Volatility that options on the index imply for the next 60 days, at the money."""
    return index_options_iv_60.copy()


@feature(
    rows=1,
    unit="fraction a year",
    formula="opt_iv_60 - opt_iv_30",
    source="Johnson (2017), J. Financ. Quant. Anal. 52.",
)
def opt_term_slope(index_options_iv_60: Array, index_options_iv_30: Array) -> Array:
    """Volatility implied for 60 days less that for 30; below zero in times of trouble."""
    return index_options_iv_60 - index_options_iv_30


@feature(
    rows=YEAR,
    unit="standard deviations",
    formula="(x - MA_252(x)) / SD_252(x)",
    source="common practice.",
)
def opt_iv_z(index_options_iv_30: Array, index_options_age: Array) -> Array:
    """How unusual the implied volatility is against its last 252 sessions."""
    return fresh_z(index_options_iv_30, index_options_age, YEAR)


@feature(
    rows=6,
    unit="fraction a year",
    formula="x[t] - x[t-5]",
    source="Ang, Hodrick, Xing & Zhang (2006), J. Finance 61.",
)
def opt_iv_chg_5(index_options_iv_30: Array, index_options_age: Array) -> Array:
    """Change of the implied volatility in five sessions."""
    return fresh_change(index_options_iv_30, index_options_age, 5)


# 20 changes; the oldest one starts at a level that may itself have been carried.
@feature(
    rows=MONTH + LEVEL_CARRIED + 1,
    unit="variance a year",
    formula="opt_iv_30² - 245 · VAR_20(ln(index / index before)), ddof 1",
    source="Bollerslev, Tauchen & Zhou (2009), Rev. Financ. Stud. 22.",
)
def opt_vrp(
    index_options_iv_30: Array, index_options_underlying: Array, index_options_age: Array
) -> Array:
    """Variance that is implied less variance that was realised: the price of insurance."""
    level = fresh(index_options_underlying, index_options_age)
    moves = np.log(level / shift(fill_forward(level, LEVEL_CARRIED), 1))
    realised = SESSIONS_PER_YEAR * window_moments(moves, MONTH).variance_DN
    return index_options_iv_30 * index_options_iv_30 - realised


@feature(
    rows=1,
    unit="log ratio",
    formula="ln(puts / calls)",
    source="Pan & Poteshman (2006), Rev. Financ. Stud. 19.",
)
def opt_pc_oi(index_options_put_call_oi: Array) -> Array:
    """Open puts over open calls on the index."""
    return index_options_put_call_oi.copy()


@feature(
    rows=1,
    unit="log ratio",
    formula="ln(puts / calls)",
    source="Pan & Poteshman (2006), Rev. Financ. Stud. 19.",
)
def opt_pc_vo(index_options_put_call_volume: Array) -> Array:
    """Traded puts over traded calls on the index."""
    return index_options_put_call_volume.copy()


@feature(rows=1, unit="log of contracts", source="Hong & Yogo (2012), J. Financ. Econ. 105.")
def opt_oi_sum(index_options_open_interest: Array) -> Array:
    """Open contracts on the index, of all expiries; drops at each special quotation."""
    return index_options_open_interest.copy()


@feature(
    rows=6,
    unit="log ratio",
    formula="x[t] - x[t-5], x in logs",
    source="Hong & Yogo (2012), J. Financ. Econ. 105.",
)
def opt_oi_chg_5(index_options_open_interest: Array, index_options_age: Array) -> Array:
    """Growth of the open contracts in five sessions."""
    return fresh_change(index_options_open_interest, index_options_age, 5)


@feature(
    rows=1,
    unit="fraction a year",
    formula=(
        "volatility of the put less that of the call at a delta of 0.25, expiry nearest 30 days"
    ),
    source="Xing, Zhang & Zhao (2010), J. Financ. Quant. Anal. 45.",
)
def opt_skew_25d(index_options_skew_25d: Array) -> Array:
    """How much dearer puts are than calls that are equally far out: fear of a fall."""
    return index_options_skew_25d.copy()


@feature(
    rows=1,
    unit="fraction a year per log moneyness",
    formula=(
        "least-squares slope of volatility on ln(strike / index) up to 10 %, expiry nearest 30 days"
    ),
    source="Xing, Zhang & Zhao (2010), J. Financ. Quant. Anal. 45; a line through all strikes.",
)
def opt_skew_slope(index_options_skew_slope: Array) -> Array:
    """How implied volatility falls with the strike."""
    return index_options_skew_slope.copy()


@feature(rows=1, unit="sessions", source="common practice.")
def opt_days_to_sq(index_options_days_to_sq: Array, index_options_age: Array) -> Array:
    """Sessions to the next special quotation, 0 on its day; null where a surface has none."""
    left = index_options_days_to_sq - index_options_age
    return np.where(left >= 0, left, np.nan)


@feature(rows=1, unit="flag", source="common practice.")
def opt_is_stale(index_options_age: Array, index_options_lag: Array) -> Array:
    """1 where the last surface known is older than that of the session before."""
    stale = (index_options_age > 0) | (index_options_lag > 1)
    return np.where(np.isnan(index_options_age), np.nan, stale)


@feature(
    rows=1,
    unit="flag",
    source="common practice: two ways to one number that disagree say that one is wrong.",
)
def opt_is_odd(index_options_is_odd: Array) -> Array:
    """1 where own and official volatility at the money are a point or more apart."""
    return index_options_is_odd.copy()
