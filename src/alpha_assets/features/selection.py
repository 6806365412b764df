"""Which features a recipe reads, and which a market cannot have."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

from alpha_assets.errors import SpecError, did_you_mean
from alpha_assets.features.base import REQUIREMENTS, Feature
from alpha_assets.spec import EACH_ONCE, Spec

WAY_OUT = "take it out of the recipe"
N_NAMED = 5
N_LISTED = 30  # more names than that are not read


class FeaturesSpec(Spec):
    """Declared under `[features]` in a recipe; without it, everything the market can have."""

    families: Annotated[tuple[str, ...], EACH_ONCE] | None = None
    """Families of the catalogue; none: every family, unless `names` are given."""
    names: Annotated[tuple[str, ...], EACH_ONCE] = ()
    """Single features, on top of the families."""
    without: Annotated[tuple[str, ...], EACH_ONCE] = ()
    """Single features left out."""


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
    catalog: Sequence[Feature],
    spec: FeaturesSpec,
    missing: Mapping[str, str],
    ways_on: Mapping[str, str] | None = None,
) -> tuple[Feature, ...]:
    """Return the features that a recipe reads, in the catalogue's order.

    Args:
        catalog: every feature.
        spec: what the recipe says.
        missing: features that the market cannot have, and why.
        ways_on: those of them that are missing since a feed is off, and how to switch it on. A
            family that is named goes without the others, and not without these.

    Raises:
        SpecError: an unknown name or family, a single feature or a family that the market
            cannot have, or nothing left.
    """
    ways_on = ways_on or {}
    by_name = {feature.name: feature for feature in catalog}
    by_family = {feature.family: feature for feature in catalog}
    _refuse_unknown("features.names", spec.names, by_name)
    _refuse_unknown("features.without", spec.without, by_name)
    _refuse_unknown("features.families", spec.families or (), by_family)
    for name in spec.names:
        if name in missing:
            raise SpecError(
                f"features.names: {name!r} {missing[name]}; {_way_out((name,), ways_on)}"
            )
    families = spec.families
    if families is None:
        families = () if spec.names else tuple(by_family)
    offered = [feature for feature in catalog if feature.name not in missing]
    for family in spec.families or ():
        _refuse_cut([f for f in catalog if f.family == family], spec, missing, ways_on)
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
            raise SpecError(f"{key}: there is no {name!r}; {_nearest(name, known)}")


def _nearest(name: str, known: Collection[str]) -> str:
    """Return the known names that are spelled most like one, or where all of them stand."""
    if len(known) <= N_LISTED:
        return f"want some of {', '.join(known)}"
    return f"{did_you_mean(name, known, N_NAMED)}docs/FEATURES.md lists all {len(known)}"


def _refuse_cut(
    family: Sequence[Feature],
    spec: FeaturesSpec,
    missing: Mapping[str, str],
    ways_on: Mapping[str, str],
) -> None:
    """Refuse a family that is named and that the market does not have, or has in part."""
    lost = [f.name for f in family if f.name in missing and f.name not in spec.without]
    cut = [name for name in lost if name in ways_on]
    is_gone = all(feature.name in missing for feature in family)
    if not cut and not is_gone:
        return
    named = cut or [feature.name for feature in family]
    some = ", ".join(named[:N_NAMED]) + (
        f" and {len(named) - N_NAMED} more" if len(named) > N_NAMED else ""
    )
    what = f"all of {family[0].family!r}" if is_gone else f"{family[0].family!r} with {some}"
    by_hand = "" if is_gone else "; or leave out what it costs: [features] without = [...]"
    raise SpecError(
        f"features.families: {what} {missing[named[0]]}; {_way_out(named, ways_on)}{by_hand}"
    )


def _way_out(names: Sequence[str], ways_on: Mapping[str, str]) -> str:
    """Return how to have these features, or that there is no way."""
    ways = dict.fromkeys(ways_on[name] for name in names if ways_on.get(name))
    is_off = any(name in ways_on for name in names)
    return "; ".join([*ways, f"or {WAY_OUT}" if is_off else WAY_OUT])
