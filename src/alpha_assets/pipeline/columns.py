"""Which columns of a cross-section a model reads."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from alpha_assets.dataset.space import Shareable
from alpha_assets.features import Feature

if TYPE_CHECKING:
    from alpha_assets.dataset.resident import Resident


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


def resident_of(
    features: Sequence[Feature], new_space: Callable[[], Shareable], memory: int
) -> "Resident":
    """Return an empty resident market of the columns that a model reads.

    Args:
        features: that the model reads.
        new_space: returns memory for a new array.
        memory: bytes that one array may take.
    """
    from alpha_assets.dataset.resident import Resident

    return Resident(section_columns(features), market_columns(features), new_space, memory)
