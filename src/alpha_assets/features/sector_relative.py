"""A symbol against its sector: equal-weighted, without the symbol itself.

A sector needs five members with a value, the symbol's own counted; a smaller one of the
exchange's 33 gives way to the coarse one of 17 that it is part of.  Sums over members run in
symbol order.  The sector is the one known at the session, null where none is.
Shape letters: D sessions, N symbols.
"""

import numpy as np

from alpha_assets.arrays.types import Array, Index
from alpha_assets.arrays.windows import window_line
from alpha_assets.features.cross_symbol import across

FAMILY = "sec"

LEAST_MEMBERS = 5


@across(
    unit="fraction",
    formula="mean of ret_5 over the other members",
    source="Moskowitz & Grinblatt (1999), J. Finance 54.",
)
def sec_ret_5(ret_5: Array, sector: Index, coarse_sector: Index) -> Array:
    """Mean return of the rest of the sector over a week."""
    return rest_of_sector(ret_5, sector, coarse_sector)


@across(
    unit="fraction",
    formula="mean of ret_20 over the other members",
    source="Moskowitz & Grinblatt (1999), J. Finance 54.",
)
def sec_ret_20(ret_20: Array, sector: Index, coarse_sector: Index) -> Array:
    """Mean return of the rest of the sector over a month."""
    return rest_of_sector(ret_20, sector, coarse_sector)


@across(
    unit="fraction",
    formula="ret_5 - sec_ret_5",
    source="Da, Liu & Schaumburg (2014), Manag. Sci. 60: what reverses is within industries.",
)
def sec_rel_ret_5(ret_5: Array, sector: Index, coarse_sector: Index) -> Array:
    """Return over a week beyond that of the rest of the sector."""
    return ret_5 - rest_of_sector(ret_5, sector, coarse_sector)


@across(
    unit="fraction",
    formula="ret_20 - sec_ret_20",
    source="Da, Liu & Schaumburg (2014), Manag. Sci. 60: what reverses is within industries.",
)
def sec_rel_ret_20(ret_20: Array, sector: Index, coarse_sector: Index) -> Array:
    """Return over a month beyond that of the rest of the sector."""
    return ret_20 - rest_of_sector(ret_20, sector, coarse_sector)


@across(
    unit="fraction",
    formula="mom_12_1 - its mean over the other members",
    source="Moskowitz & Grinblatt (1999), J. Finance 54.",
)
def sec_rel_mom_12_1(mom_12_1: Array, sector: Index, coarse_sector: Index) -> Array:
    """Momentum beyond that of the rest of the sector."""
    return mom_12_1 - rest_of_sector(mom_12_1, sector, coarse_sector)


@across(
    unit="log return, sd a year",
    formula="vol_yz_20 - its mean over the other members",
    source="Yang & Zhang (2000), J. Business 73, compared within the sector.",
)
def sec_rel_vol_20(vol_yz_20: Array, sector: Index, coarse_sector: Index) -> Array:
    """Volatility over 20 sessions beyond that of the rest of the sector."""
    return vol_yz_20 - rest_of_sector(vol_yz_20, sector, coarse_sector)


@across(
    unit="standard deviations",
    formula="turn_z - its mean over the other members",
    source="common practice.",
)
def sec_rel_turn_z(turn_z: Array, sector: Index, coarse_sector: Index) -> Array:
    """How unusual the traded value is beyond what is unusual in the rest of the sector."""
    return turn_z - rest_of_sector(turn_z, sector, coarse_sector)


@across(
    unit="slope",
    rows=60,
    formula=(
        "least-squares slope of r on the mean r of the other members, with intercept; each session "
        "counts the sector of that session"
    ),
    source="Moskowitz & Grinblatt (1999), J. Finance 54.",
)
def sec_beta_60(session_return: Array, sector: Index, coarse_sector: Index) -> Array:
    """Move of the symbol per move of the rest of its sector over 60 sessions."""
    rest = rest_of_sector(session_return, sector, coarse_sector)
    return window_line(session_return, rest, 60).slope_DN


def rest_of_sector(x_DN: Array, sector_DN: Index, coarse_DN: Index) -> Array:
    """Return the mean of the other members of each cell's sector in the same session.

    Where the sector is unknown (-1) or has fewer than five members with a value, the mean of
    the other members of the coarse sector; NaN where that is unknown or small, too.
    """
    rest_DN = _rest_of(x_DN, sector_DN)
    return np.where(np.isnan(rest_DN), _rest_of(x_DN, coarse_DN), rest_DN)


def _rest_of(x_DN: Array, sector_DN: Index) -> Array:
    n_sectors = int(sector_DN.max(initial=-1)) + 1
    known_DN = ~np.isnan(x_DN) & (sector_DN >= 0)
    cell_DN = np.arange(len(x_DN))[:, None] * n_sectors + sector_DN
    size = len(x_DN) * n_sectors
    # Cell by cell in memory's order, so that each sum runs from symbol to symbol.
    total = np.bincount(cell_DN[known_DN], weights=x_DN[known_DN], minlength=size)
    count = np.bincount(cell_DN[known_DN], minlength=size)
    if not size:
        return np.full(x_DN.shape, np.nan)
    place_DN = np.where(sector_DN >= 0, cell_DN, 0)
    others_DN = count[place_DN] - known_DN
    mean_DN = (total[place_DN] - np.where(known_DN, x_DN, 0.0)) / np.maximum(others_DN, 1)
    return np.where((count[place_DN] >= LEAST_MEMBERS) & (sector_DN >= 0), mean_DN, np.nan)
