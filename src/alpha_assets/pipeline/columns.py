"""Which columns of a cross-section a model reads."""

from collections.abc import Sequence

from alpha_assets.features import Feature


def section_columns(features: Sequence[Feature]) -> tuple[str, ...]:
    """Return the columns of a cross-section that a model reads: z-scores and missing shares."""
    families = dict.fromkeys(item.family for item in features)
    return (
        *[f"{feature.name}_cs_z" for feature in features if feature.scope != "market"],
        *[f"{family}_missing" for family in families],
    )


def column_families(features: Sequence[Feature]) -> dict[str, str]:
    """Return the family of each column of a cross-section that differs between symbols."""
    scored = {f"{one.name}_cs_z": one.family for one in features if one.scope != "market"}
    return {**scored, **{f"{one.family}_missing": one.family for one in features}}


def market_columns(features: Sequence[Feature]) -> tuple[str, ...]:
    """Return the columns of the market-wide series that a model reads."""
    return tuple(f"{feature.name}_ts_z" for feature in features if feature.scope == "market")
