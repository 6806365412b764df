"""Large short positions that their holders must report: a stock, known with a lag of days."""

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import shift
from alpha_assets.features.base import feature

FAMILY = "ssp"


@feature(
    rows=1,
    unit="fraction of shares outstanding",
    source="Jank, Roling & Smajlbegovic (2021), J. Financ. Econ. 139.",
)
def ssp_total(short_positions_total: Array) -> Array:
    """Sum of the reported short positions that still stand; 0 once all have fallen silent."""
    return short_positions_total.copy()


@feature(rows=1, unit="holders", source="Jank, Roling & Smajlbegovic (2021), J. Financ. Econ. 139.")
def ssp_n_holders(short_positions_n_holders: Array) -> Array:
    """Holders with a position of 0.5 % and more."""
    return short_positions_n_holders.copy()


@feature(
    rows=1,
    unit="fraction of shares outstanding",
    source="Jank, Roling & Smajlbegovic (2021), J. Financ. Econ. 139.",
)
def ssp_max_holder(short_positions_max_holder: Array) -> Array:
    """Largest position of one holder."""
    return short_positions_max_holder.copy()


@feature(
    rows=21,
    unit="fraction of shares outstanding",
    formula="x[t] - x[t-20]",
    source="Jank, Roling & Smajlbegovic (2021), J. Financ. Econ. 139.",
)
def ssp_chg_20(short_positions_total: Array) -> Array:
    """Change of the reported positions in 20 sessions."""
    return short_positions_total - shift(short_positions_total, 20)


@feature(rows=1, unit="sessions", source="common practice.")
def ssp_days_since(short_positions_idle: Array, short_positions_age: Array) -> Array:
    """Sessions since the last report became known."""
    return short_positions_idle + short_positions_age


@feature(
    rows=1,
    unit="sessions of volume",
    formula=(
        "shares / (MA_20(traded value) / close); shares restated for splits since the last report"
    ),
    source="common practice.",
)
def ssp_to_adv(short_positions_shares_today: Array, traded_shares_20: Array) -> Array:
    """Reported positions over what is traded in a session: days to cover."""
    return short_positions_shares_today / traded_shares_20
