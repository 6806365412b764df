"""Features of a market's own feeds: each number of a feed that was declared in a TOML file."""

from collections.abc import Iterable

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.arrays.types import Array
from alpha_assets.features.base import Feature
from alpha_assets.features.inputs import joined
from alpha_assets.panel.joins import Join


def own_features(joins: Iterable[Join], max_stale: int = MAX_STALE) -> tuple[Feature, ...]:
    """Return one feature per number of each feed, as it was known; the family is the feed."""
    return tuple(
        Feature(
            name=item.name,
            family=join.name,
            inputs=(item.name,),
            rows=1,
            lookback=1,
            unit="as delivered",
            about=item.about,
            source="the market's own feed.",
            requires=(),
            fn=_copy,
            scope=join.scope,
            feeds=(join.feed,),
            max_stale=max_stale,
        )
        for join in joins
        for item in joined(join)
    )


def _copy(x_DN: Array) -> Array:
    return x_DN.copy()
