"""Short sales of the symbol in a session, as a share of what was reported off exchange."""

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import feature
from alpha_assets.features.observed import fresh_change, fresh_z

FAMILY = "short_volume"


@feature(
    rows=1,
    unit="fraction",
    formula="short / total",
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
)
def short_volume_ratio(short_volume_share: Array) -> Array:
    """Part of the reported volume that was sold short."""
    return short_volume_share.copy()


@feature(
    rows=6,
    unit="fraction",
    formula="x[t] - x[t-5]",
    source="Diether, Lee & Werner (2009), Rev. Financ. Stud. 22.",
)
def short_volume_mom_5(short_volume_share: Array, short_volume_age: Array) -> Array:
    """Change of that part in five sessions; null unless both sessions were reported."""
    return fresh_change(short_volume_share, short_volume_age, 5)


@feature(
    rows=60,
    unit="standard deviations",
    formula="(x - MA_60(x)) / SD_60(x)",
    source="common practice.",
)
def short_volume_z_60(short_volume_share: Array, short_volume_age: Array) -> Array:
    """How unusual that part is against the sessions reported in the last 60."""
    return fresh_z(short_volume_share, short_volume_age, 60)
