"""Products of two features, each already comparable across symbols: the family `x`.

    x_a__b = a_z · b_z, then standardised across the symbols of the session again (in a universe
             whose scale is the history, clipped alone)

A market-wide partner enters with its z-score in time.  Products are made in the cross-section,
since a product of raw values would mix units; the table `features` has no column for them.
"""

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import Feature

FAMILY = "x"


def _product(a: Array, b: Array) -> Array:
    return a * b


def interaction(a: Feature, b: Feature, about: str) -> Feature:
    """Return the product of two features as a feature of its own."""
    return Feature(
        name=f"{FAMILY}_{a.name}__{b.name}",
        family=FAMILY,
        inputs=(a.name, b.name),
        rows=1,
        lookback=max(a.lookback, b.lookback),
        max_stale=a.max_stale,
        unit="standard deviations",
        about=about,
        formula=f"{a.name} · {b.name}, both as z-scores",
        source="common practice.",
        requires=tuple(dict.fromkeys((*a.requires, *b.requires))),
        fn=_product,
        feeds=tuple(dict.fromkeys((*a.feeds, *b.feeds))),
    )


def is_interaction(feature: Feature) -> bool:
    """Return whether a feature is made in the cross-section, of two others."""
    return feature.family == FAMILY
