"""What a recipe reads beside the columns of its features."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from alpha_assets.spec import Spec

MOST_NEIGHBOURS = 20  # of one symbol in a stored graph
NAME = re.compile(r"[a-z][a-z0-9_]*")


class GraphSpec(Spec):
    """Declared under `[inputs.graph]` in a recipe: whose neighbours its model sees.

    The graph is that of the recipe's universe, made on the first session of each ISO week.
    """

    neighbours: int = Field(ge=1, le=MOST_NEIGHBOURS)
    """The nearest ones of each symbol that a model sees, by correlation of residual returns."""


class VectorInputSpec(Spec):
    """What inputs that are made from the vectors of a feed have in common."""

    feed: str
    """Whose vectors; a feed by symbol."""
    column: str = ""
    """Which of its columns of vectors; empty: the one that it has."""
    max_age: int = Field(default=20, ge=0)
    """Sessions since a vector became effective after which it counts as missing."""


class PcaSpec(VectorInputSpec):
    """Declared under `[inputs.<name>]` in a recipe: principal components of a feed's vectors.

    Fitted for each checkpoint on its training sessions alone; columns `<name>_01` and so on.
    """

    kind: Literal["pca"] = "pca"
    """Name of the kind."""
    components: int = Field(ge=1, le=999)
    """Leading components, each a column; and `<name>_present`."""

    @property
    def n_digits(self) -> int:
        """Digits of a component's number in the name of its column."""
        return max(2, len(str(self.components)))


class VectorsSpec(VectorInputSpec):
    """Declared under `[inputs.<name>]` in a recipe: the newest vector of each symbol, as it is.

    For models with a branch that reads it.
    """

    kind: Literal["vectors"] = "vectors"
    """Name of the kind."""


NamedInputSpec = Annotated[PcaSpec | VectorsSpec, Field(discriminator="kind")]


class InputsSpec(Spec):
    """Declared under `[inputs]` in a recipe: what its model reads beside its features.

    Beside `graph`, any number of `[inputs.<name>]` with a `kind`.
    """

    # Inputs by name are extra keys, so that recipes without them keep their digests.
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, NamedInputSpec] = Field(init=False)

    graph: GraphSpec | None = None
    """Neighbours of each symbol; none: the model sees no graph."""

    @model_validator(mode="after")
    def _names_are_plain(self) -> Self:
        for name in self.named:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"[inputs.{name}]: want a name of small letters, digits and _ that starts "
                    "with a letter, since columns and files are called by it"
                )
        return self

    @property
    def named(self) -> Mapping[str, PcaSpec | VectorsSpec]:
        """The inputs that are made from vectors, in order of name."""
        return dict(sorted((self.__pydantic_extra__ or {}).items()))

    @property
    def fitted(self) -> Mapping[str, PcaSpec]:
        """Those that are fitted for each checkpoint."""
        return {name: one for name, one in self.named.items() if isinstance(one, PcaSpec)}

    @property
    def vectors(self) -> Mapping[str, VectorsSpec]:
        """Those that a model reads as they are."""
        return {name: one for name, one in self.named.items() if isinstance(one, VectorsSpec)}


def columns_of(name: str, spec: PcaSpec) -> tuple[str, ...]:
    """Return the columns of a fitted input, the presence of a vector last."""
    numbers = range(1, spec.components + 1)
    return (*[f"{name}_{k:0{spec.n_digits}d}" for k in numbers], f"{name}_present")


def family_of(name: str) -> str:
    """Return the family of a fitted input's columns, which no family of features is called by."""
    return f"inputs.{name}"
