"""Returns over several spans, and how a session's move splits into night and day."""

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import shift, window_sum
from alpha_assets.features.base import feature, windowed

FAMILY = "price"

WEEK = 5  # sessions
MONTH = 21  # sessions
HALF_YEAR = 126  # sessions
YEAR = 252  # sessions


@windowed(
    windows=(1, 2, 3, 5, 10, 20, 60, 120),
    rows=lambda n: n + 1,
    unit="fraction",
    formula="C / C[-{n}] - 1",
    source="short spans reverse (Jegadeesh 1990), long ones persist (Jegadeesh & Titman 1993).",
)
def ret(close: Array, last_close: Array, *, n: int) -> Array:
    """Return over {n} sessions, from the last close known then; null without a bar now."""
    return close / shift(last_close, n) - 1


@feature(
    rows=WEEK + 1,
    unit="fraction",
    formula="-ret_5",
    source="Jegadeesh (1990), J. Finance 45.",
)
def rev_5(close: Array, last_close: Array) -> Array:
    """Return over a week with its sign turned: what a buyer of losers looks for."""
    return 1 - close / shift(last_close, WEEK)


@feature(
    rows=YEAR + 1,
    unit="fraction",
    formula="C[-21] / C[-252] - 1",
    source="Jegadeesh & Titman (1993), J. Finance 48.",
)
def mom_12_1(last_close: Array) -> Array:
    """Return over the past year, leaving out the last month, which tends to reverse."""
    return shift(last_close, MONTH) / shift(last_close, YEAR) - 1


@feature(
    rows=HALF_YEAR + 1,
    unit="fraction",
    formula="C[-21] / C[-126] - 1",
    source="Jegadeesh & Titman (1993), J. Finance 48.",
)
def mom_6_1(last_close: Array) -> Array:
    """Return over the past half year, leaving out the last month."""
    return shift(last_close, MONTH) / shift(last_close, HALF_YEAR) - 1


@feature(
    rows=1,
    unit="log return",
    formula="ln(O / C[-1])",
    source="Lou, Polk & Skouras (2019), J. Financ. Econ. 134.",
)
def gap_on(overnight: Array) -> Array:
    """Move from the close before to the open: what came in overnight."""
    return overnight


@feature(
    rows=1,
    unit="log return",
    formula="ln(C / O)",
    source="Lou, Polk & Skouras (2019), J. Financ. Econ. 134.",
)
def intraday(intraday: Array) -> Array:
    """Move from open to close: what the session itself did."""
    return intraday


@feature(
    rows=20,
    unit="log return",
    formula="sum of ln(O / C[-1])",
    source="Lou, Polk & Skouras (2019), J. Financ. Econ. 134.",
)
def gap_on_20(overnight: Array) -> Array:
    """Sum of the overnight moves of 20 sessions."""
    return window_sum(overnight, 20)


@feature(
    rows=20,
    unit="log return",
    formula="sum of ln(C / O)",
    source="Lou, Polk & Skouras (2019), J. Financ. Econ. 134.",
)
def intraday_20(intraday: Array) -> Array:
    """Sum of the open-to-close moves of 20 sessions."""
    return window_sum(intraday, 20)
