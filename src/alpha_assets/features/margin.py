"""What customers hold on margin: weekly balances and then daily ones, made comparable.

In the daily regime a year's comparison uses the last balance of each week, so that 52 values
always span a year.
"""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import fill_forward, shift, window_count, window_total
from alpha_assets.features.base import feature

FAMILY = "margin"

LOT = 100.0  # shares; added to both sides of a ratio so that an empty one has a logarithm
WEEK, SESSIONS = 5, 260  # the latter of 52 weeks
NEEDED_WEEKS = 42  # four fifths of 52
LEAST_SPREAD = 1e-9
STANDARD, LOANABLE, OTHER = 1, 2, 3  # types of issues


def _imbalance(long: Array, short: Array) -> Array:
    return (long - short) / np.where(long + short > 0, long + short, np.nan)


def _weekly(x: Array, age: Array, is_week_end: Array) -> Array:
    """Return x on the rows that first know a week's last balance; NaN on the others."""
    return np.where((age == 0) & (is_week_end == 1), x, np.nan)


def _weekly_z(x: Array) -> Array:
    """Return the latest weekly value in standard deviations of those of a year."""
    known = ~np.isnan(x)
    zero = np.where(known, x, 0.0)
    count = window_count(known, SESSIONS).astype(np.float64)
    total, squares = window_total(zero, SESSIONS), window_total(zero * zero, SESSIONS)
    n = np.maximum(count, 2)
    variance = np.maximum(squares - total * total / n, 0.0) / (n - 1)
    z = (_latest(x) - total / n) / np.maximum(np.sqrt(variance), LEAST_SPREAD)
    return np.asarray(np.where(count < NEEDED_WEEKS, np.nan, z))


def _latest(x: Array) -> Array:
    """Return the last known value of the last 20 rows."""
    return fill_forward(x, 19)


def _week_before(x: Array, age: Array, is_week_end: Array) -> Array:
    """Return the last weekly value that was known five rows before."""
    return shift(_latest(_weekly(x, age, is_week_end)), WEEK)


@feature(
    rows=1,
    unit="log ratio",
    formula="ln((long + 100) / (short + 100))",
    source="Hirose, Kato & Bremer (2009), Pac.-Basin Finance J. 17.",
)
def margin_ls_ratio(margin_long: Array, margin_short: Array) -> Array:
    """Bought on margin over sold short on margin; high: customers are long."""
    return np.log((margin_long + LOT) / (margin_short + LOT))


@feature(
    rows=1,
    unit="fraction",
    formula="(long - short) / (long + short)",
    source="Hirose, Kato & Bremer (2009), Pac.-Basin Finance J. 17.",
)
def margin_imbalance(margin_long: Array, margin_short: Array) -> Array:
    """Long less short balances over both."""
    return _imbalance(margin_long, margin_short)


@feature(
    rows=1,
    unit="sessions of volume",
    formula="long / (MA_20(traded value) / close); balances restated for splits since their day",
    source="common practice.",
)
def margin_long_adv(margin_long_days: Array) -> Array:
    """Sessions of volume that it would take to sell what is bought on margin."""
    return margin_long_days.copy()


@feature(
    rows=1,
    unit="sessions of volume",
    formula="short / (MA_20(traded value) / close); balances restated for splits since their day",
    source="common practice.",
)
def margin_short_adv(margin_short_days: Array) -> Array:
    """Sessions of volume that it would take to cover what is sold short on margin."""
    return margin_short_days.copy()


@feature(
    rows=WEEK + 21,
    unit="fraction",
    source="Hirose, Kato & Bremer (2009), Pac.-Basin Finance J. 17.",
)
def margin_chg_1w(
    margin_long: Array, margin_short: Array, margin_age: Array, margin_is_week_end: Array
) -> Array:
    """Change of the imbalance against the week's last balance known five sessions before."""
    imbalance = _imbalance(margin_long, margin_short)
    return imbalance - _week_before(imbalance, margin_age, margin_is_week_end)


@feature(
    rows=WEEK + 21,
    unit="log ratio",
    formula="ln(long / long of the week before), both in shares of the first day",
    source="common practice.",
)
def margin_long_chg_1w(
    margin_long_today: Array,
    margin_age: Array,
    margin_is_week_end: Array,
    cum_volume_factor: Array,
) -> Array:
    """Growth of what is bought on margin in a week, splits taken out."""
    # In shares of the market's first day a split between two balances does not show.
    long = margin_long_today * cum_volume_factor
    before = _week_before(long, margin_age, margin_is_week_end)
    return np.log((long + LOT) / (before + LOT))


@feature(rows=1, unit="fraction", source="common practice.")
def margin_long_std_share(margin_long: Array, margin_long_standard: Array) -> Array:
    """Part of the long balance that is on the exchange's terms."""
    return margin_long_standard / np.where(margin_long > 0, margin_long, np.nan)


@feature(rows=1, unit="fraction", source="common practice.")
def margin_short_std_share(margin_short: Array, margin_short_standard: Array) -> Array:
    """Part of the short balance that is on the exchange's terms."""
    return margin_short_standard / np.where(margin_short > 0, margin_short, np.nan)


@feature(rows=SESSIONS + 21, unit="standard deviations", source="common practice.")
def margin_long_z_52w(
    margin_long_days: Array, margin_age: Array, margin_is_week_end: Array
) -> Array:
    """How unusual the long balance, in sessions of volume, is against its last 52 weeks."""
    return _weekly_z(_weekly(margin_long_days, margin_age, margin_is_week_end))


@feature(rows=SESSIONS + 21, unit="standard deviations", source="common practice.")
def margin_short_z_52w(
    margin_short_days: Array, margin_age: Array, margin_is_week_end: Array
) -> Array:
    """How unusual the short balance, in sessions of volume, is against its last 52 weeks."""
    return _weekly_z(_weekly(margin_short_days, margin_age, margin_is_week_end))


@feature(rows=22, unit="fraction", source="common practice.")
def margin_chg_1d(
    margin_long: Array, margin_short: Array, margin_age: Array, margin_is_daily: Array
) -> Array:
    """Change of the imbalance since the session before; unknown in the weekly regime."""
    imbalance = np.where(margin_is_daily == 1, _imbalance(margin_long, margin_short), np.nan)
    return np.where(margin_age == 0, imbalance - shift(imbalance, 1), np.nan)


@feature(rows=1, unit="sessions", source="common practice.")
def margin_days_since(margin_age: Array) -> Array:
    """Sessions since the balance became known."""
    return margin_age.copy()


@feature(rows=1, unit="sessions", source="common practice.")
def margin_balance_age(margin_age: Array, margin_lag: Array) -> Array:
    """Sessions since the day of the balance."""
    return margin_age + margin_lag


@feature(rows=1, unit="flag", source="common practice.")
def margin_is_daily_regime(margin_is_daily: Array) -> Array:
    """1 where balances are published daily."""
    return margin_is_daily.copy()


@feature(rows=1, unit="flag", source="common practice.")
def margin_is_borrowable(margin_issue_type: Array) -> Array:
    """1 where the issue is loanable: it can be sold short on the exchange's terms."""
    return _is_type(margin_issue_type, LOANABLE)


@feature(rows=1, unit="flag", source="common practice.")
def margin_is_buy_only(margin_issue_type: Array) -> Array:
    """1 where the issue can be bought on the exchange's terms, and is not lent to short sellers."""
    return _is_type(margin_issue_type, STANDARD)


@feature(rows=1, unit="flag", source="common practice.")
def margin_is_negotiable_only(margin_issue_type: Array) -> Array:
    """1 where the issue has no margin trading on the exchange's terms, only on the brokers'."""
    return _is_type(margin_issue_type, OTHER)


def _is_type(issue_type: Array, wanted: int) -> Array:
    known = ~np.isnan(issue_type)
    return np.where(known, (issue_type == wanted).astype(np.float64), np.nan)
