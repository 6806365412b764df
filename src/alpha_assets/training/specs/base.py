"""What the declarations of models that are no networks have in common."""

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
