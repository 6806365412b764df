"""Statistics of a ratio in time, as features: the same seven of every ratio, beside its level.

    statistics = ratio_statistics("ss_ratio", "ss", "short_selling_ratio", "market")

`STATISTICS` is the table of them; a new one is a row of it.
"""

from collections.abc import Callable
from typing import NamedTuple

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import shift, window_mean
from alpha_assets.features.base import Feature, build_feature
from alpha_assets.features.shares import (
    LONGEST_RUN,
    PAST_YEAR,
    extreme_run,
    extremes,
    fraction_below,
    trailing,
)

COMMON = "common practice."


def change_5(ratio: Array) -> Array:
    """Return the change of five rows."""
    return ratio - shift(ratio, 5)


def mean_gap(ratio: Array) -> Array:
    """Return the mean of 5 rows less that of 20."""
    return window_mean(ratio, 5) - window_mean(ratio, 20)


def z_60(ratio: Array) -> Array:
    """Return the ratio in standard deviations of the last 60 rows."""
    return trailing(ratio, 60)


def share_below(ratio: Array) -> Array:
    """Return the share of the last 252 values that are at or below the current one."""
    return fraction_below(ratio)


def is_high(ratio: Array) -> Array:
    """Return 1 where the ratio is in the upper end of its last 252 values, else 0."""
    return extremes(ratio).high_DN


def is_low(ratio: Array) -> Array:
    """Return 1 where the ratio is in the lower end of its last 252 values, else 0."""
    return extremes(ratio).low_DN


def run_of_extremes(ratio: Array) -> Array:
    """Return for how many rows the ratio has been in its upper (lower: negative) end."""
    return extreme_run(ratio)


class Statistic(NamedTuple):
    """One statistic of a ratio; `{x}` in its words is the ratio, `{name}` the features' prefix."""

    name: str
    fn: Callable[[Array], Array]
    rows: int
    unit: str
    about: str
    formula: str
    source: str = COMMON


STATISTICS = (
    Statistic(
        "mom_5", change_5, 6, "fraction",
        "Change of {x} in five sessions.",
        "x[t] - x[t-5]",
        "Diether, Lee & Werner (2009), Rev. Financ. Stud. 22.",
    ),
    Statistic(
        "ma_gap", mean_gap, 20, "fraction",
        "Short mean of {x} less the long one.",
        "MA_5(x) - MA_20(x)",
    ),
    Statistic(
        "z_60", z_60, 60, "standard deviations",
        "How unusual {x} is against its last 60 sessions.",
        "(x - MA_60(x)) / SD_60(x)",
    ),
    Statistic(
        "pct_252", share_below, PAST_YEAR, "fraction",
        "Where {x} stands among its last 252 values.",
        "values at or below today's / values known",
    ),
    Statistic(
        "ext_hi", is_high, PAST_YEAR, "flag",
        "1 where {x} is extremely high for its last 252 values.",
        "1 if {name}_pct_252 >= 0.95",
    ),
    Statistic(
        "ext_lo", is_low, PAST_YEAR, "flag",
        "1 where {x} is extremely low for its last 252 values.",
        "1 if {name}_pct_252 <= 0.05",
    ),
    Statistic(
        "ext_run", run_of_extremes, PAST_YEAR + LONGEST_RUN, "sessions",
        "Sessions in a row of an extreme {x_of}, at most 20; low ones < 0.",
        "sessions in the upper or lower 5 % of the last 252",
    ),
)  # fmt: skip


def ratio_statistics(name: str, family: str, ratio: str, of: str) -> tuple[Feature, ...]:
    """Return the statistics of a ratio, `<name>_mom_5` to `<name>_ext_run`.

    Args:
        name: prefix of the features' names.
        family: of the features.
        ratio: the input that they are statistics of.
        of: whose short ratio it is: "market", "sector".
    """
    words = {"name": name, "x": f"the {of}'s short ratio", "x_of": f"short ratio of the {of}"}
    return tuple(
        build_feature(
            f"{name}_{item.name}",
            family,
            item.fn,
            (ratio,),
            rows=item.rows,
            unit=item.unit,
            about=item.about.format(**words),
            formula=item.formula.format(**words),
            source=item.source,
        )
        for item in STATISTICS
    )
