"""Whether and how the symbol could be traded: missing bars, price limits, ticks."""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import window_sum
from alpha_assets.features.base import feature

FAMILY = "trading"

# Tokyo's ticks for issues outside the TOPIX 500, in yen: prices up to the bound, the tick.
# Source: Tokyo Stock Exchange, tick sizes since 2023-06-05.
TSE_TICKS = (
    (3e3, 1), (5e3, 5), (3e4, 10), (5e4, 50), (3e5, 100), (5e5, 500), (3e6, 1e3),
    (5e6, 5e3), (3e7, 1e4), (5e7, 5e4), (np.inf, 1e5),
)  # fmt: skip


@feature(rows=1, unit="sessions", source="Tokyo Stock Exchange, daily price limits.")
def stale(stale: Array) -> Array:
    """Sessions since the last bar; 0 where the last session has one."""
    return stale


@feature(rows=20, unit="sessions", source="common practice.")
def n_stale_20(stale: Array) -> Array:
    """Sessions without a bar among the last 20 in which the symbol was listed."""
    return window_sum(np.where(np.isnan(stale), np.nan, np.minimum(stale, 1.0)), 20)


@feature(rows=20, unit="sessions", source="common practice.")
def limit_up_20(upper_limit: Array) -> Array:
    """Sessions of the last 20 in which the upper price limit was touched; null without limits."""
    return window_sum(upper_limit, 20)


@feature(rows=20, unit="sessions", source="common practice.")
def limit_dn_20(lower_limit: Array) -> Array:
    """Sessions of the last 20 in which the lower price limit was touched; null without limits."""
    return window_sum(lower_limit, 20)


@feature(
    rows=1,
    unit="fraction of the price",
    requires=("raw_price_level", "tse_ticks"),
    formula="tick(C) / C with the ticks of issues outside the TOPIX 500",
    source="Tokyo Stock Exchange, tick sizes since 2023-06-05.",
)
def tick_rel(raw_close: Array) -> Array:
    """Smallest price step against the price: twice the least half-spread."""
    bounds = np.array([bound for bound, _ in TSE_TICKS])
    ticks = np.array([tick for _, tick in TSE_TICKS], dtype=np.float64)
    place_DN = np.searchsorted(bounds, raw_close).clip(max=len(bounds) - 1)  # NaN sorts last
    share_DN: Array = ticks[place_DN] / raw_close
    return share_DN
