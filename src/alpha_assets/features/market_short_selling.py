"""Short sales of the whole market, as a share of the day's sales; the same for every symbol."""

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

FAMILY = "ss"


@feature(
    rows=1,
    unit="fraction",
    formula="(restricted + exempt) / (selling + restricted + exempt), all sectors",
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
)
def ss_ratio(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """Short sales over all sales of the market, sums before ratios."""
    return short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)


@feature(
    rows=6,
    unit="fraction",
    formula="x[t] - x[t-5]",
    source="Diether, Lee & Werner (2009), Rev. Financ. Stud. 22.",
)
def ss_ratio_mom_5(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """Change of the market's short ratio in five sessions."""
    ratio = short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)
    return ratio - shift(ratio, 5)


@feature(rows=20, unit="fraction", formula="MA_5(x) - MA_20(x)", source="common practice.")
def ss_ratio_ma_gap(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """Short mean of the market's short ratio less the long one."""
    ratio = short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)
    return window_mean(ratio, 5) - window_mean(ratio, 20)


@feature(
    rows=60,
    unit="standard deviations",
    formula="(x - MA_60(x)) / SD_60(x)",
    source="common practice.",
)
def ss_ratio_z_60(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """How unusual the market's short ratio is against its last 60 sessions."""
    return trailing(
        short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt), 60
    )


@feature(
    rows=PAST_YEAR,
    unit="fraction",
    formula="values at or below today's / values known",
    source="common practice.",
)
def ss_ratio_pct_252(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """Where the market's short ratio stands among its last 252 values."""
    return fraction_below(
        short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)
    )


@feature(
    rows=PAST_YEAR,
    unit="flag",
    formula="1 if ss_ratio_pct_252 >= 0.95",
    source="common practice.",
)
def ss_ratio_ext_hi(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """1 where the market's short ratio is extremely high for its last 252 values."""
    ratio = short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)
    return extremes(ratio).high_DN


@feature(
    rows=PAST_YEAR,
    unit="flag",
    formula="1 if ss_ratio_pct_252 <= 0.05",
    source="common practice.",
)
def ss_ratio_ext_lo(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """1 where the market's short ratio is extremely low for its last 252 values."""
    ratio = short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)
    return extremes(ratio).low_DN


@feature(rows=PAST_YEAR + 20, unit="sessions", source="common practice.")
def ss_ratio_ext_run(
    short_selling_selling: Array, short_selling_restricted: Array, short_selling_exempt: Array
) -> Array:
    """Sessions in a row of an extreme short ratio of the market, at most 20; low ones < 0."""
    return extreme_run(
        short_ratio(short_selling_selling, short_selling_restricted, short_selling_exempt)
    )
