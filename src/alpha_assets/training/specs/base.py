"""What the declarations of models that are no networks have in common."""

from collections.abc import Collection
from typing import ClassVar

from alpha_assets.spec import Spec


class BaselineSpec(Spec):
    """What the declarations of models that are no networks have in common.

    Attributes:
        estimator: what fits them, in `training.estimators`.
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
