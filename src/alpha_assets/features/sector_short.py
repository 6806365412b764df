"""Short sales of the symbol's sector, as a share of the day's sales; equal within a sector."""

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import shift, window_mean
from alpha_assets.features.base import feature
from alpha_assets.features.shares import (
    PAST_YEAR,
    extreme_run,
    extremes,
    fraction_below,
    short_ratio,
    trailing,
)

FAMILY = "sector_short"


@feature(
    rows=1,
    unit="fraction",
    formula="(restricted + exempt) / (selling + restricted + exempt)",
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
)
def sector_short_ratio(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """Short sales over all sales of the symbol's sector."""
    return short_ratio(
        sector_short_selling_selling, sector_short_selling_restricted, sector_short_selling_exempt
    )


@feature(
    rows=1,
    unit="fraction",
    formula="restricted / (selling + restricted + exempt)",
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
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


@feature(
    rows=1,
    unit="fraction",
    formula="exempt / (selling + restricted + exempt)",
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
)
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
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
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


@feature(
    rows=6,
    unit="fraction",
    formula="x[t] - x[t-5]",
    source="Diether, Lee & Werner (2009), Rev. Financ. Stud. 22.",
)
def sector_short_mom_5(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """Change of the sector's short ratio in five sessions."""
    ratio = short_ratio(
        sector_short_selling_selling, sector_short_selling_restricted, sector_short_selling_exempt
    )
    return ratio - shift(ratio, 5)


@feature(rows=20, unit="fraction", formula="MA_5(x) - MA_20(x)", source="common practice.")
def sector_short_ma_gap(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """Short mean of the sector's short ratio less the long one."""
    ratio = short_ratio(
        sector_short_selling_selling, sector_short_selling_restricted, sector_short_selling_exempt
    )
    return window_mean(ratio, 5) - window_mean(ratio, 20)


@feature(
    rows=60,
    unit="standard deviations",
    formula="(x - MA_60(x)) / SD_60(x)",
    source="common practice.",
)
def sector_short_z_60(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """How unusual the sector's short ratio is against its last 60 sessions."""
    return trailing(
        short_ratio(
            sector_short_selling_selling,
            sector_short_selling_restricted,
            sector_short_selling_exempt,
        ),
        60,
    )


@feature(
    rows=PAST_YEAR,
    unit="fraction",
    formula="values at or below today's / values known",
    source="common practice.",
)
def sector_short_pct_252(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """Where the sector's short ratio stands among its last 252 values."""
    return fraction_below(
        short_ratio(
            sector_short_selling_selling,
            sector_short_selling_restricted,
            sector_short_selling_exempt,
        )
    )


@feature(
    rows=PAST_YEAR,
    unit="flag",
    formula="1 if sector_short_pct_252 >= 0.95",
    source="common practice.",
)
def sector_short_ext_hi(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """1 where the sector's short ratio is extremely high for its last 252 values."""
    ratio = short_ratio(
        sector_short_selling_selling, sector_short_selling_restricted, sector_short_selling_exempt
    )
    return extremes(ratio).high_DN


@feature(
    rows=PAST_YEAR,
    unit="flag",
    formula="1 if sector_short_pct_252 <= 0.05",
    source="common practice.",
)
def sector_short_ext_lo(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """1 where the sector's short ratio is extremely low for its last 252 values."""
    ratio = short_ratio(
        sector_short_selling_selling, sector_short_selling_restricted, sector_short_selling_exempt
    )
    return extremes(ratio).low_DN


@feature(
    rows=PAST_YEAR + 20,
    unit="sessions",
    formula="sessions in the upper or lower 5 % of the last 252",
    source="common practice.",
)
def sector_short_ext_run(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
) -> Array:
    """Sessions in a row of an extreme short ratio of the sector, at most 20; low ones < 0."""
    return extreme_run(
        short_ratio(
            sector_short_selling_selling,
            sector_short_selling_restricted,
            sector_short_selling_exempt,
        )
    )


@feature(
    rows=1,
    unit="fraction",
    formula="sector_short_ratio - ss_ratio",
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
)
def sector_short_rel(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
    short_selling_selling: Array,
    short_selling_restricted: Array,
    short_selling_exempt: Array,
) -> Array:
    """The sector's short ratio less the market's."""
    sector = short_ratio(
        sector_short_selling_selling, sector_short_selling_restricted, sector_short_selling_exempt
    )
    market = short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)
    return sector - market


@feature(
    rows=60,
    unit="standard deviations",
    formula="(x - MA_60(x)) / SD_60(x), x = sector_short_rel",
    source="common practice.",
)
def sector_short_rel_z_60(
    sector_short_selling_selling: Array,
    sector_short_selling_restricted: Array,
    sector_short_selling_exempt: Array,
    short_selling_selling: Array,
    short_selling_restricted: Array,
    short_selling_exempt: Array,
) -> Array:
    """How unusual that gap is against its last 60 sessions."""
    sector = short_ratio(
        sector_short_selling_selling, sector_short_selling_restricted, sector_short_selling_exempt
    )
    market = short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)
    return trailing(sector - market, 60)
