"""Declaration of `alpha_assets.models.atft_gat_fan`."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.errors import BadInput
from alpha_assets.models.specs.base import Depth, RankerSpec, Width

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class AtftGatFanSpec(RankerSpec):
    """Declared under `[model]` in a recipe; with `graph = true` it has `[inputs.graph]`."""

    kind: Literal["atft_gat_fan"] = "atft_gat_fan"
    """Name of the kind."""
    d_model: Width = 32
    """Width of the model; a multiple of `heads` and of `graph_heads`."""
    heads: int = Field(default=4, gt=0)
    """Heads of the attention over steps."""
    feed_forward: Depth = 2
    """Hidden units behind it, as a multiple of `d_model`."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of activations dropped in training."""
    selection: Literal["shared", "per_feature"] = "shared"
    """Networks of the variable selection: one for all features, or one for each."""
    norm: Literal["none", "causal", "fan"] = "causal"
    """Of the series before the encoder: none, z-scores over trailing windows beside the series
    itself, or without its strongest frequencies, which are given back behind the encoder."""
    windows: tuple[int, ...] = Field(default=(5, 10, 20), min_length=1)
    """Steps of the trailing windows of `causal`."""
    frequencies: int = Field(default=1, gt=0)
    """Frequencies that `fan` removes of each series."""
    graph: bool = True
    """Whether symbols attend to their neighbours."""
    graph_heads: int = Field(default=4, gt=0)
    """Heads of that attention."""
    graph_layers: Depth = 1
    """Layers of it: how far along the graph a symbol sees."""
    graph_values: Literal["inputs", "steps", "state"] = "steps"
    """What the first layer gathers: a line through the features of all steps of the neighbours,
    nothing at the start, or a line through the tokens of those steps, a random one at the start,
    or the encoded states of the symbol and its neighbours, at the length of its own. Attention to
    either line starts as the plain mean."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        for name in ("heads", "graph_heads"):
            if self.d_model % getattr(self, name):
                raise ValueError(
                    f"d_model = {self.d_model} is not a multiple of {name} = {getattr(self, name)}"
                )
        if min(self.windows) < 2:
            raise ValueError(f"windows = {list(self.windows)}: want at least 2 steps in each")
        return self

    @property
    def reads_graph(self) -> bool:
        """Whether the ranker sees the neighbours of each symbol."""
        return self.graph

    def check_window(self, steps: int) -> None:
        """Refuse windows of which `fan` would remove every frequency.

        Raises:
            BadInput: naming them.
        """
        n_frequencies = steps // 2 + 1
        if self.norm == "fan" and self.frequencies >= n_frequencies:
            raise BadInput(
                f"model.frequencies = {self.frequencies}: a window of {steps} steps has "
                f"{n_frequencies}, and nothing would be left; want fewer, or a longer "
                "window.sequence"
            )

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights."""
        from alpha_assets.models.atft_gat_fan import AtftGatFanRanker

        self.check_window(sizes.steps)
        return AtftGatFanRanker(self, sizes)
