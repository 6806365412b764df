"""Declarations of `alpha_assets.models.multi_branch`."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.errors import BadInput, did_you_mean
from alpha_assets.models.specs.base import RankerSpec, Width
from alpha_assets.spec import Spec

if TYPE_CHECKING:
    from alpha_assets.models.base import Ranker


class BranchSpec(Spec):
    """Declared under `[model.branches.<name>]`: what one branch reads, and its sizes."""

    families: tuple[str, ...] = ()
    """Families whose columns it reads: of features, or inputs with columns."""
    columns: tuple[str, ...] = ()
    """Further columns that it reads, by name, such as `rev_5_cs_z`."""
    vectors: str = ""
    """The input of kind `vectors` that it reads, instead of columns."""
    absent: bool = False
    """Whether the branch is left out, for its feed is not there."""
    hidden: Width = 32
    """Hidden units."""
    latent: Width = 16
    """Width of what comes out."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of hidden activations dropped in training."""
    scale: float = Field(default=1.0, gt=0)
    """By which what comes out is multiplied."""

    @model_validator(mode="after")
    def _reads_one_thing(self) -> Self:
        if bool(self.vectors) == bool(self.families or self.columns):
            raise ValueError(
                f"families = {list(self.families)}, columns = {list(self.columns)}, vectors = "
                f"{self.vectors!r}: want columns (by families or columns) or vectors, one of them"
            )
        return self


class MultiBranchSpec(RankerSpec):
    """Declared under `[model]` in a recipe, with a section `[model.branches.<name>]` a branch."""

    kind: Literal["multi_branch"] = "multi_branch"
    """Name of the kind."""
    branches: dict[str, BranchSpec] = Field(min_length=1)
    """By name; their order means nothing."""
    hidden: Width = 32
    """Hidden units behind the branches."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of those dropped in training."""
    norm: bool = False
    """Whether each hidden layer is normalised before its activation (LayerNorm)."""
    activation: Literal["relu", "gelu"] = "relu"
    """Of every layer."""
    missing: Literal["learned", "zeros"] = "learned"
    """What stands for a symbol without a vector: a learned output of the branch, or zeros in
    its input."""

    @model_validator(mode="after")
    def _some_branch_is_there(self) -> Self:
        if not self.present:
            raise ValueError(
                f"branches = {sorted(self.branches)} are all absent; want one that is there"
            )
        return self

    @property
    def present(self) -> Mapping[str, BranchSpec]:
        """The branches that are not absent, in order of name."""
        return {name: one for name, one in sorted(self.branches.items()) if not one.absent}

    @property
    def vectors_read(self) -> tuple[str, ...]:
        """Names of the inputs of raw vectors that the ranker sees."""
        return tuple(sorted({one.vectors for one in self.present.values() if one.vectors}))

    def check_reads(
        self, families: Collection[str], columns: Collection[str], n_market: int
    ) -> None:
        """Refuse a branch that reads a family or a column which the recipe does not have.

        Raises:
            BadInput: naming the branch, what it reads, and the nearest names.
        """
        for name, one in self.present.items():
            for key, wanted, offered in (
                ("families", one.families, families),
                ("columns", one.columns, columns),
            ):
                for value in wanted:
                    if value not in offered:
                        raise not_there(name, key, value, offered)

    def build(self, sizes: Sizes) -> "Ranker":
        """Return the ranker with fresh weights.

        Raises:
            BadInput: a branch reads a family, a column or a vector that is not there.
        """
        from alpha_assets.models.multi_branch import MultiBranchRanker

        return MultiBranchRanker(self, sizes)


def not_there(name: str, key: str, value: str, offered: Collection[str]) -> BadInput:
    """Return the error of a branch whose input is not there."""
    some = ", ".join(list(offered)[:20]) + (" ..." if len(offered) > 20 else "")
    return BadInput(
        f"[model.branches.{name}] {key}: {value!r} is not among the recipe's inputs "
        f"({some or 'none'}); {did_you_mean(value, offered)}name one of them, or leave the branch "
        "out by absent = true"
    )
