"""A digest per feature of the code that computes it, and one of what computes all of them.

A feature is its function with the arguments that its factory gave it, the kernels that the
function reaches, and its inputs likewise.  Its decorator does not count: what that made of the
function is in the `Feature`.  What it means, its unit and its source are prose.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType

import numpy as np

from alpha_assets.code import Code, installed
from alpha_assets.errors import BadInput
from alpha_assets.features import CATALOG, INTERACTIONS
from alpha_assets.features.base import Feature
from alpha_assets.features.correlation import weekly_graphs
from alpha_assets.features.cross_symbol import OWN, Across
from alpha_assets.features.inputs import INPUTS, Input
from alpha_assets.spec import digest

# What computes all features holds these tables, whose entries count per feature.
TABLES: Mapping[str, tuple[str, ...]] = {
    "alpha_assets.features:CATALOG": (),
    "alpha_assets.features:INTERACTIONS": (),
    "alpha_assets.features.compute_cross_symbol:ACROSS": (),
    "alpha_assets.features.cross_symbol:OWN": (),
    "alpha_assets.features.inputs:INPUTS": (),
}


def feature_digests(
    code: Code | None = None,
    catalog: Iterable[Feature] = (*CATALOG, *INTERACTIONS),
    inputs: Mapping[str, Input] = INPUTS,
) -> dict[str, str]:
    """Return by name of each feature a digest of the code that its values depend on.

    Args:
        code: whose source counts, by default the installed package's.
        catalog: the features; an interaction needs the two that it multiplies in it.
        inputs: all that they read, those of the market's own feeds too.
    """
    features = {item.name: item for item in catalog}
    code = code or installed()
    reader = _Reader(code, features, inputs)
    digests = {name: reader.feature(item) for name, item in features.items()}
    code.keep()
    return digests


def compute_digest(code: Code | None = None) -> str:
    """Return a digest of what computes all features from a panel, but for the features."""
    root = "alpha_assets.features.compute:compute_features"
    return (code or installed()).digest(root, select=TABLES)


class _Reader:
    """The digests of features and inputs, each made once."""

    def __init__(
        self, code: Code, features: Mapping[str, Feature], inputs: Mapping[str, Input]
    ) -> None:
        self._code = code
        self._features = features
        self._inputs = inputs
        self._made: dict[object, str] = {}

    def feature(self, item: Feature) -> str:
        """Return the digest of a feature."""
        key = ("feature", item.name)
        if key not in self._made:
            needs = item.needs if isinstance(item, Across) else item.inputs
            self._made[key] = digest(
                self._source(f"{type(item).__module__}:{type(item).__name__}"),
                [item.name, item.rows, item.lookback, item.scope],
                self._value(item.fn),
                [[name, self._need(name)] for name in needs],
            )
        return self._made[key]

    def _need(self, name: str) -> str:
        if name in self._inputs:
            return self._input(self._inputs[name])
        if name in OWN:
            return self.feature(OWN[name])
        if name in self._features:
            return self.feature(self._features[name])
        # The number of a sector, or a graph: made by what computes all features.
        return self._source(f"{weekly_graphs.__module__}:{weekly_graphs.__name__}")

    def _input(self, item: Input) -> str:
        key = ("input", item.name)
        if key not in self._made:
            self._made[key] = digest(
                self._source(f"{Input.__module__}:{Input.__name__}"),
                [item.name, list(item.columns), item.lookback, item.scope],
                self._value(item.fn),
                [self._input(self._inputs[name]) for name in item.inputs],
            )
        return self._made[key]

    def _value(self, value: object) -> object:
        """Return what names a function with all that it was made with, or a plain value."""
        if isinstance(value, partial):
            arguments = [self._value(item) for item in value.args]
            return ["partial", self._value(value.func), arguments, self._value(value.keywords)]
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return ["class", self._source(f"{value.__module__}:{value.__qualname__}")]
        if isinstance(value, BuiltinFunctionType | np.ufunc):
            return ["foreign", getattr(value, "__module__", None), value.__name__]
        if value is None or isinstance(value, bool | int | float | str):
            return [type(value).__name__, repr(value)]
        if isinstance(value, tuple | list):
            return [type(value).__name__, [self._value(item) for item in value]]
        if isinstance(value, Mapping):
            return ["mapping", [[str(key), self._value(value[key])] for key in value]]
        raise BadInput(
            f"feature made with a {type(value).__name__}: {value!r}; its digest can name "
            "functions, classes, numbers, text, and tuples or mappings of them"
        )

    def _function(self, function: FunctionType) -> object:
        first, *inner = function.__qualname__.split(".")
        is_nameless = first == "<lambda>"
        source = self._source(
            function.__module__ if is_nameless else f"{function.__module__}:{first}"
        )
        if not inner:
            return ["function", source]
        made_with = [cell.cell_contents for cell in function.__closure__ or ()]
        defaults = [function.__defaults__ or (), function.__kwdefaults__ or {}]
        return [
            "function",
            function.__qualname__,
            source,
            [self._value(item) for item in (*made_with, *defaults)],
        ]

    def _source(self, root: str) -> str:
        if root not in self._made:
            is_foreign = not root.startswith("alpha_assets")
            self._made[root] = f"foreign {root}" if is_foreign else self._code.digest(bare=[root])
        return self._made[root]
