"""A straight line through the decision session's own features: what every model must beat.

With weight decay it is the ridge regression of the recipe's loss.
Shape letters: B decision sessions, N symbols, T steps, F features, H horizons.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from alpha_assets.dataset.batch import Batch
from alpha_assets.models.base import Head, Ranker, Sizes, known
from alpha_assets.spec import Spec


class LinearSpec(Spec):
    """Declared under `[model]` in a recipe."""

    kind: Literal["linear"] = "linear"
    """Name of the kind."""


class LinearRanker(Ranker):
    """Reads the last step alone.

    Market-wide series are left out: in a sum they move all symbols of a session alike.
    """

    def __init__(self, spec: LinearSpec, sizes: Sizes) -> None:
        super().__init__()
        self.head = Head(sizes.n_features, sizes.n_horizons)

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input` and `head`."""
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
        return {"input": x_BNF, "head": self.head(x_BNF)}
