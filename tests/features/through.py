"""A feature as a function of what its inputs are made of: what stands between is computed."""

from dataclasses import dataclass

from alpha_assets.arrays.types import Array
from alpha_assets.features import CATALOG, Feature
from alpha_assets.features.blocks import Block

BY_NAME = {feature.name: feature for feature in CATALOG}


@dataclass(frozen=True)
class Through:
    """A feature that is called with arrays of `inputs`, which its own inputs are made of."""

    feature: Feature
    inputs: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows of `inputs` behind one value; they have no look-back of their own."""
        return self.feature.lookback

    def __call__(self, *inputs_DN: Array) -> Array:
        """Return the feature, computed from the arrays by way of its inputs."""
        known = dict(zip(self.inputs, inputs_DN, strict=True))
        block = Block(_no_column, known=known)
        return self.feature(*[block[name] for name in self.feature.inputs])


def through(name: str, *inputs: str) -> Through:
    """Return a catalogued feature as a function of these inputs."""
    return Through(BY_NAME[name], inputs)


def _no_column(name: str) -> Array:
    raise AssertionError(f"the test gives no array behind the panel column {name}")
