"""Which features a recipe reads, and which a market cannot have."""

from collections.abc import Collection, Mapping, Sequence

from alpha_assets.errors import SpecError
from alpha_assets.features.base import REQUIREMENTS, Feature
from alpha_assets.spec import Spec

WAY_OUT = (
    "take it out of the recipe, or switch the feed on in the market's file "
    "([feeds.<name>] on = true, a wider [source] plan, or its table in the folder)"
)


class FeaturesSpec(Spec):
    """Declared under `[features]` in a recipe; without it, everything the market can have."""

    families: tuple[str, ...] | None = None  # None: every family, unless `names` are given
    names: tuple[str, ...] = ()  # single features, on top of the families
    without: tuple[str, ...] = ()  # single features left out


def missing_features(
    catalog: Sequence[Feature], offered: Collection[str], feeds_off: Mapping[str, str]
) -> dict[str, str]:
    """Return each feature that a market cannot have, and why.

    Args:
        catalog: every feature.
        offered: the keys of `REQUIREMENTS` that the market meets.
        feeds_off: feeds that the market does not have, and why.
    """
    reasons = {
        feature.name: [REQUIREMENTS[item] for item in feature.requires if item not in offered]
        + [
            f"needs the feed {feed!r}, which is off: {feeds_off[feed]}"
            for feed in feature.feeds
            if feed in feeds_off
        ]
        for feature in catalog
    }
    return {name: "; ".join(lacking) for name, lacking in reasons.items() if lacking}


def select(
    catalog: Sequence[Feature], spec: FeaturesSpec, missing: Mapping[str, str]
) -> tuple[Feature, ...]:
    """Return the features that a recipe reads, in the catalogue's order.

    Args:
        catalog: every feature.
        spec: what the recipe says.
        missing: features that the market cannot have, and why; a family goes without them.

    Raises:
        SpecError: an unknown name or family, a single feature or a whole family that the
            market cannot have, or nothing left.
    """
    by_name = {feature.name: feature for feature in catalog}
    by_family = {feature.family: feature for feature in catalog}
    _refuse_unknown("features.names", spec.names, by_name)
    _refuse_unknown("features.without", spec.without, by_name)
    _refuse_unknown("features.families", spec.families or (), by_family)
    for name in spec.names:
        if name in missing:
            raise SpecError(f"features.names: {name!r} {missing[name]}; {WAY_OUT}")
    families = spec.families
    if families is None:
        families = () if spec.names else tuple(by_family)
    offered = [feature for feature in catalog if feature.name not in missing]
    for family in spec.families or ():
        if all(feature.family != family for feature in offered):
            reason = missing[by_family[family].name]
            raise SpecError(f"features.families: all of {family!r} {reason}; {WAY_OUT}")
    chosen = tuple(
        feature
        for feature in offered
        if (feature.family in families or feature.name in spec.names)
        and feature.name not in spec.without
    )
    if not chosen:
        raise SpecError("[features] leaves no feature; want at least one")
    return chosen


def _refuse_unknown(key: str, wanted: Sequence[str], known: Mapping[str, Feature]) -> None:
    for name in wanted:
        if name not in known:
            raise SpecError(f"{key}: there is no {name!r}; want some of {', '.join(known)}")
