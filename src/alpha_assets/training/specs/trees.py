"""Declaration of `alpha_assets.training.trees`."""

from importlib import import_module
from types import ModuleType
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.errors import BadInput
from alpha_assets.models.specs.base import BaseModelSpec

LIBRARY = "lightgbm"


class TreesSpec(BaseModelSpec):
    """Declared under `[model]` in a recipe; needs the extra `trees`."""

    estimator: ClassVar[str] = "trees"
    libraries: ClassVar[tuple[str, ...]] = (LIBRARY,)

    kind: Literal["trees"] = "trees"
    """Name of the kind."""
    objective: Literal["rank", "regression"] = "rank"
    """What the trees are grown for: the order within each session (LambdaMART, one query per
    session), or the squared error of the target.
    """
    grades: int = Field(default=10, ge=2, le=100)
    """G of `rank`: a name with rank r of n by target has the relevance floor(G (r - 1/2) / n), and
    the gain is the relevance itself.
    """
    truncation: int = Field(default=100, gt=0)
    """Of `rank`: each pair of names that is compared has one among so many with the highest score.
    """
    num_leaves: int = Field(default=15, ge=2)
    """Leaves of a tree, at most."""
    min_data_in_leaf: int = Field(default=200, gt=0)
    """Rows of (session, symbol) in a leaf, at least."""
    learning_rate: float = Field(default=0.05, gt=0)
    """By which each tree is shrunk."""
    feature_fraction: float = Field(default=0.7, gt=0, le=1)
    """Share of the columns that a tree may split on, drawn afresh for each."""
    bagging_fraction: float = Field(default=0.7, gt=0, le=1)
    """Share of the rows that a tree is grown on, drawn afresh for each."""
    lambda_l2: float = Field(default=1.0, ge=0)
    """Penalty of squared leaf values."""
    max_rounds: int = Field(default=300, gt=0)
    """Trees of a horizon, at most; without validation sessions, exactly."""
    judge_every: int = Field(default=10, gt=0)
    """Rounds from one validation to the next."""
    patience_rounds: int = Field(default=50, gt=0)
    """Rounds without a better validation after which no more trees are grown."""
    min_names: int = Field(default=10, ge=2)
    """Sessions with fewer names with a label are left out."""

    @property
    def is_exact(self) -> bool:
        """Whether nothing is drawn, so that every seed gives the same trees."""
        return self.feature_fraction == self.bagging_fraction == 1

    def check_installed(self) -> None:
        """Refuse to grow trees without the library.

        Raises:
            BadInput: see `library`.
        """
        library()

    @model_validator(mode="after")
    def _is_judged_before_patience_ends(self) -> Self:
        if self.patience_rounds < self.judge_every:
            raise ValueError(
                f"patience_rounds = {self.patience_rounds} end before the next validation, which "
                f"is after judge_every = {self.judge_every} rounds; want at least as many"
            )
        return self


def library() -> ModuleType:
    """Return LightGBM.

    Raises:
        BadInput: it is not installed, or a system library that it needs is not.
    """
    try:
        return import_module(LIBRARY)
    except (ImportError, OSError) as error:
        raise BadInput(
            f'model.kind = "trees" needs LightGBM, which cannot be imported ({error}); install '
            "the extra with: pip install 'alpha-assets[trees]'"
        ) from error
