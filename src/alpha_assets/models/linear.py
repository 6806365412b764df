"""A straight line through the decision session's own features, trained by gradient steps.

With weight decay it is close to the ridge regression of the recipe's loss; `kind = "ridge"` solves
for squared error exactly.
Shape letters: B decision sessions, N symbols, T steps, F features, H horizons.
"""

from collections.abc import Mapping

from torch import Tensor

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.specs.linear import LinearSpec


class LinearRanker(Ranker):
    """Reads the last step alone.

    Market-wide series are left out: in a sum they move all symbols of a session alike.
    """

    def __init__(self, spec: LinearSpec, sizes: Sizes) -> None:
        super().__init__()
        self.quantiles = spec.quantiles
        self.head = Head(sizes.n_features, sizes.n_horizons, spec.quantiles)

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input` and `head`."""
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
        return {"input": x_BNF, "head": self.head(x_BNF)}
