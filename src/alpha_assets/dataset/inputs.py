"""What a recipe reads beside the columns of its features."""

from pydantic import Field

from alpha_assets.spec import Spec

MOST_NEIGHBOURS = 20  # of one symbol in a stored graph


class GraphSpec(Spec):
    """Declared under `[inputs.graph]` in a recipe: whose neighbours its model sees.

    The graph is that of the recipe's universe, made on the first session of each ISO week.
    """

    neighbours: int = Field(ge=1, le=MOST_NEIGHBOURS)
    """The nearest ones of each symbol that a model sees, by correlation of residual returns."""


class InputsSpec(Spec):
    """Declared under `[inputs]` in a recipe: what its model reads beside its features."""

    graph: GraphSpec | None = None
    """Neighbours of each symbol; none: the model sees no graph."""
