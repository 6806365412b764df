"""Short sales of the symbol in a session, as a share of what was reported off exchange."""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import feature
from alpha_assets.features.observed import fresh_change, fresh_z

FAMILY = "short_volume"


def _ratio(short: Array, total: Array) -> Array:
    """Return short over all; NaN where nothing was reported."""
    return short / np.where(total > 0, total, np.nan)


@feature(
    rows=1,
    unit="fraction",
    formula="short / total",
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
)
def short_volume_ratio(short_volume_short_volume: Array, short_volume_total_volume: Array) -> Array:
    """Part of the reported volume that was sold short."""
    return _ratio(short_volume_short_volume, short_volume_total_volume)


@feature(
    rows=6,
    unit="fraction",
    formula="x[t] - x[t-5]",
    source="Diether, Lee & Werner (2009), Rev. Financ. Stud. 22.",
)
def short_volume_mom_5(
    short_volume_short_volume: Array, short_volume_total_volume: Array, short_volume_age: Array
) -> Array:
    """Change of that part in five sessions; null unless both sessions were reported."""
    ratio = _ratio(short_volume_short_volume, short_volume_total_volume)
    return fresh_change(ratio, short_volume_age, 5)


@feature(
    rows=60,
    unit="standard deviations",
    formula="(x - MA_60(x)) / SD_60(x)",
    source="common practice.",
)
def short_volume_z_60(
    short_volume_short_volume: Array, short_volume_total_volume: Array, short_volume_age: Array
) -> Array:
    """How unusual that part is against the sessions reported in the last 60."""
    ratio = _ratio(short_volume_short_volume, short_volume_total_volume)
    return fresh_z(ratio, short_volume_age, 60)
