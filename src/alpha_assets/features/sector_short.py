"""Short sales of the symbol's sector, as a share of the day's sales; equal within a sector."""

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import as_known, build_feature, feature
from alpha_assets.features.ratio_statistics import COMMON, ratio_statistics
from alpha_assets.features.shares import trailing

FAMILY = "sector_short"

BJZ = "Boehmer, Jones & Zhang (2008), J. Finance 63."

sector_short_ratio = build_feature(
    "sector_short_ratio",
    FAMILY,
    as_known,
    ("sector_short_selling_ratio",),
    rows=1,
    unit="fraction",
    about="Short sales over all sales of the symbol's sector.",
    formula="(restricted + exempt) / (selling + restricted + exempt)",
    source=BJZ,
)


@feature(
    rows=1, unit="fraction", formula="restricted / (selling + restricted + exempt)", source=BJZ
)
def sector_short_restricted(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """Short sales under the price restriction, over all sales of the sector."""
    return sector_short_selling_restricted / (
        sector_short_selling_selling + sector_short_selling_restricted + sector_short_selling_exempt
    )


@feature(rows=1, unit="fraction", formula="exempt / (selling + restricted + exempt)", source=BJZ)
def sector_short_exempt(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """Short sales outside of the price restriction, over all sales of the sector."""
    return sector_short_selling_exempt / (
        sector_short_selling_selling + sector_short_selling_restricted + sector_short_selling_exempt
    )


@feature(
    rows=1,
    unit="fraction",
    formula="(restricted + exempt of the sector) / (restricted + exempt of all)",
    source=BJZ,
)
def sector_short_share(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
    short_selling_restricted: Array,
    short_selling_exempt: Array,
) -> Array:
    """The sector's part in all short sales of the market."""
    short = sector_short_selling_restricted + sector_short_selling_exempt
    whole = sector_short_selling_selling + short
    return short * (whole > 0) / (short_selling_restricted + short_selling_exempt)


statistics = ratio_statistics("sector_short", FAMILY, "sector_short_selling_ratio", "sector")


@feature(rows=1, unit="fraction", formula="sector_short_ratio - ss_ratio", source=BJZ)
def sector_short_rel(sector_short_selling_ratio: Array, short_selling_ratio: Array) -> Array:
    """The sector's short ratio less the market's."""
    return sector_short_selling_ratio - short_selling_ratio


@feature(
    rows=60,
    unit="standard deviations",
    formula="(x - MA_60(x)) / SD_60(x), x = sector_short_rel",
    source=COMMON,
)
def sector_short_rel_z_60(sector_short_selling_ratio: Array, short_selling_ratio: Array) -> Array:
    """How unusual that gap is against its last 60 sessions."""
    return trailing(sector_short_selling_ratio - short_selling_ratio, 60)
