"""Options on the symbol itself, from one line a day: level, slope, skew, and who trades them.

A line that is carried over a day without a new one is no new observation: changes and windows
count days with a new line only.
"""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import SESSIONS_PER_YEAR, feature
from alpha_assets.features.observed import fresh_change, fresh_z

FAMILY = "iv"


def _put_call(puts: Array, calls: Array) -> Array:
    """Return ln((puts + 1) / (calls + 1)); NaN where there are neither."""
    return np.where(puts + calls > 0, np.log((puts + 1) / (calls + 1)), np.nan)


@feature(
    rows=1,
    unit="fraction a year",
    source="Cboe (2019), Volatility Index methodology; at the money only.",
)
def iv_30(option_summary_iv_30: Array) -> Array:
    """Volatility that the symbol's options imply for the next 30 days."""
    return option_summary_iv_30.copy()


@feature(
    rows=1,
    unit="fraction a year",
    formula="iv_60 - iv_30",
    source="Vasquez (2017), J. Financ. Quant. Anal. 52.",
)
def iv_term_slope(option_summary_iv_60: Array, option_summary_iv_30: Array) -> Array:
    """Volatility implied for 60 days less that for 30."""
    return option_summary_iv_60 - option_summary_iv_30


@feature(
    rows=6,
    unit="fraction a year",
    formula="x[t] - x[t-5]",
    source="An, Ang, Bali & Cakici (2014), J. Finance 69.",
)
def iv_chg_5(option_summary_iv_30: Array, option_summary_age: Array) -> Array:
    """Change of the implied volatility in five sessions."""
    return fresh_change(option_summary_iv_30, option_summary_age, 5)


@feature(
    rows=60,
    unit="standard deviations",
    formula="(x - MA_60(x)) / SD_60(x)",
    source="common practice.",
)
def iv_z_60(option_summary_iv_30: Array, option_summary_age: Array) -> Array:
    """How unusual the implied volatility is against its last 60 sessions."""
    return fresh_z(option_summary_iv_30, option_summary_age, 60)


@feature(
    rows=1,
    unit="variance a year",
    formula="iv_30² - 245 · yz_20²",
    source="Bollerslev, Tauchen & Zhou (2009), Rev. Financ. Stud. 22; of one symbol.",
)
def iv_vrp(option_summary_iv_30: Array, yang_zhang_20: Array) -> Array:
    """Variance that is implied less variance that was realised."""
    realised = SESSIONS_PER_YEAR * yang_zhang_20 * yang_zhang_20
    return option_summary_iv_30 * option_summary_iv_30 - realised


@feature(
    rows=1,
    unit="fraction a year",
    formula="volatility of the put less that of the call at a delta of 0.25",
    source="Xing, Zhang & Zhao (2010), J. Financ. Quant. Anal. 45.",
)
def iv_skew_25d(option_summary_skew_25d: Array) -> Array:
    """How much dearer puts are than calls that are equally far out."""
    return option_summary_skew_25d.copy()


@feature(
    rows=1,
    unit="log ratio",
    formula="ln((puts + 1) / (calls + 1))",
    source="Pan & Poteshman (2006), Rev. Financ. Stud. 19.",
)
def iv_pc_volume(option_summary_put_volume: Array, option_summary_call_volume: Array) -> Array:
    """Traded puts over traded calls; null where nothing was traded."""
    return _put_call(option_summary_put_volume, option_summary_call_volume)


@feature(
    rows=1,
    unit="log ratio",
    formula="ln((puts + 1) / (calls + 1))",
    source="Pan & Poteshman (2006), Rev. Financ. Stud. 19.",
)
def iv_pc_oi(
    option_summary_put_open_interest: Array, option_summary_call_open_interest: Array
) -> Array:
    """Open puts over open calls; null where nothing is open."""
    return _put_call(option_summary_put_open_interest, option_summary_call_open_interest)
