"""A branch for the columns and one for each raw vector, read out together by a straight line.

A symbol without a vector has a learned one in its place, behind the branch.
Shape letters: B decision sessions, N symbols, T steps, F features, V numbers of a vector,
E width of a branch, H horizons.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch, Sizes
from alpha_assets.models.base import Head, Ranker, RankerSpec, known


class BranchesSpec(RankerSpec):
    """Declared under `[model]` in a recipe that has an input of kind `vectors`."""

    reads_vectors: ClassVar[bool] = True

    kind: Literal["branches"] = "branches"
    """Name of the kind."""
    width: int = Field(default=32, ge=1)
    """Of each branch."""

    def build(self, sizes: Sizes) -> Ranker:
        """Return the ranker with fresh weights."""
        return BranchesRanker(self, sizes)


class BranchesRanker(Ranker):
    """Reads the columns of the last step, and the newest vectors."""

    def __init__(self, spec: BranchesSpec, sizes: Sizes) -> None:
        super().__init__()
        self.quantiles = spec.quantiles
        self.columns = nn.Linear(sizes.n_features, spec.width)
        self.vectors = nn.ModuleDict(
            {name: nn.Linear(length, spec.width) for name, length in sizes.vectors.items()}
        )
        self.missing = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(spec.width)) for name in sizes.vectors}
        )
        n_branches = 1 + len(sizes.vectors)
        self.head = Head(n_branches * spec.width, sizes.n_horizons, spec.quantiles)

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `columns`, a stage for each vector by its name, and `head`."""
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
        branches = {"columns": torch.relu(self.columns(x_BNF))}
        for name, branch in self.vectors.items():
            has_BN1 = batch.has_vector_BN[name][..., None] & batch.mask_BN[..., None]
            vector_BNV = batch.vectors_BNV[name].masked_fill(~has_BN1, 0.0)
            made_BNE = torch.relu(branch(vector_BNV))
            branches[f"vector {name}"] = torch.where(has_BN1, made_BNE, self.missing[name])
        read_BNE = torch.cat(list(branches.values()), dim=-1)
        return {"input": x_BNF, **branches, "head": self.head(read_BNE)}
