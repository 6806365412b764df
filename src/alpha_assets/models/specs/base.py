"""What the declarations of all models have in common, and what those of networks have beside."""

from collections.abc import Collection
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.spec import Spec

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker

MEDIAN = 0.5  # the quantile that is the score

# Beyond, a count of weights or of their bytes may leave 64 bits, where torch has no words for it.
Width = Annotated[int, Field(gt=0, le=10_000_000)]
# Of layers, or of one width in another: each layer is made by itself, and a million take hours.
Depth = Annotated[int, Field(gt=0, le=1000)]


class BaseModelSpec(Spec):
    """What the declarations of all models have in common, networks and others.

    Attributes:
        estimator: what trains or fits them, in `training.estimators`.
        libraries: beside those that every model needs, by the names of their packages.
    """

    estimator: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]] = ()

    def check_installed(self) -> None:
        """Refuse a model whose library is not there; most need none."""

    def check_reads(
        self, families: Collection[str], columns: Collection[str], n_market: int
    ) -> None:
        """Refuse what the model reads by name and the recipe does not have; most read nothing so.

        Args:
            families: of the columns.
            columns: by name.
            n_market: market-wide series.

        Raises:
            BadInput: naming it, and the nearest names that there are.
        """
        return


class RankerSpec(BaseModelSpec):
    """What the declarations of all rankers have in common."""

    estimator: ClassVar[str] = "network"

    quantiles: tuple[float, ...] = ()
    """Levels of the target that are predicted, rising, 0.5 among them; none: scores alone."""
    # Absent where it is off, so that recipes without it keep their digests.
    linear_path: bool = Field(default=False, exclude_if=lambda on: not on)
    """Whether a linear function of the decision session's features is added to the scores."""
    linear_start: Literal["zero", "ridge"] = Field(
        default="zero", exclude_if=lambda start: start == "zero"
    )
    """Where that function starts, with `linear_path`: at 0, or at the ridge regression of the fold
    that is trained on, with scores of spread 1 and those of the network a tenth of theirs, so that
    it learns what a line leaves.
    """

    @model_validator(mode="after")
    def _median_is_among_quantiles(self) -> Self:
        levels = self.quantiles
        if not levels:
            return self
        if any(b <= a for a, b in pairwise((0.0, *levels, 1.0))):
            raise ValueError(
                f"quantiles = {list(levels)}: want levels between 0 and 1 that rise, "
                "such as [0.1, 0.5, 0.9]"
            )
        if MEDIAN not in levels:
            raise ValueError(
                f"quantiles = {list(levels)} have no median, which is the score: add 0.5"
            )
        return self

    @model_validator(mode="after")
    def _what_starts_is_there(self) -> Self:
        if self.linear_start != "zero" and not self.linear_path:
            raise ValueError(
                f'linear_start = "{self.linear_start}" says where the linear path starts, and '
                "there is none: set linear_path = true, or leave linear_start out"
            )
        return self

    @property
    def reads_graph(self) -> bool:
        """Whether the ranker sees the neighbours of each symbol."""
        return False

    @property
    def vectors_read(self) -> tuple[str, ...]:
        """Names of the inputs of raw vectors that the ranker sees."""
        return ()

    def check_window(self, steps: int) -> None:
        """Refuse windows that the ranker cannot be built for.

        Raises:
            BadInput: naming the keys, their values and what would fit.
        """
        return

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights, drawn from torch's generator, without a path."""
        raise NotImplementedError

    def ranker(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights, and with its linear path if it has one."""
        from alpha_assets.models.base import WithLinearPath

        trunk = self.build(sizes)
        return WithLinearPath(trunk, sizes) if self.linear_path else trunk
