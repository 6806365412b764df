"""One small network for each group of inputs, read out together.

A branch reads some columns of the decision session, or the newest raw vector of each symbol; it
is Linear - activation - dropout - Linear - activation, and its output times `scale` stands beside
those of the others before Linear - activation - dropout - Linear.
Shape letters: B decision sessions, N symbols, T steps, F features, C inputs of a branch, E width,
H horizons.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.specs.multi_branch import BranchSpec, MultiBranchSpec, not_there


class MultiBranchRanker(Ranker):
    """Reads the columns of the last step, and the newest vectors, each in its branch."""

    def __init__(self, spec: MultiBranchSpec, sizes: Sizes) -> None:
        super().__init__()
        spec.check_reads(sizes.families, sizes.columns, sizes.n_market)
        self.quantiles = spec.quantiles
        self.names = tuple(spec.present)
        self.branches = nn.ModuleList(
            Branch(name, one, spec, sizes) for name, one in spec.present.items()
        )
        width = sum(one.latent for one in spec.present.values())
        self.hidden = nn.Sequential(*_layer(width, spec.hidden, spec), nn.Dropout(spec.dropout))
        self.head = Head(spec.hidden, sizes.n_horizons, spec.quantiles)

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, a stage for each branch, `hidden` and `head`."""
        x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
        branches = {
            f"branch {name}": branch(x_BNF, batch)
            for name, branch in zip(self.names, self.branches, strict=True)
        }
        hidden_BNE = self.hidden(torch.cat(list(branches.values()), dim=-1))
        return {"input": x_BNF, **branches, "hidden": hidden_BNE, "head": self.head(hidden_BNE)}


class Branch(nn.Module):
    """The network of one branch."""

    def __init__(self, name: str, one: BranchSpec, spec: MultiBranchSpec, sizes: Sizes) -> None:
        super().__init__()
        self.scale = one.scale
        self.vectors = one.vectors
        if one.vectors and one.vectors not in sizes.vectors:
            raise not_there(name, "vectors", one.vectors, tuple(sizes.vectors))
        place_C = () if one.vectors else _places(one, sizes)
        self.register_buffer("place_C", torch.tensor(place_C, dtype=torch.long), persistent=False)
        n_inputs = sizes.vectors[one.vectors] if one.vectors else len(place_C)
        self.layers = nn.Sequential(
            *_layer(n_inputs, one.hidden, spec),
            nn.Dropout(one.dropout),
            *_layer(one.hidden, one.latent, spec),
        )
        is_learned = bool(one.vectors) and spec.missing == "learned"
        self.missing_E = nn.Parameter(torch.zeros(one.latent)) if is_learned else None

    def forward(self, x_BNF: Tensor, batch: Batch) -> Tensor:
        """Return what the branch makes of its inputs, [B, N, E].

        Args:
            x_BNF: columns of the decision session, 0 where not known.
            batch: whose vectors are read.
        """
        if not self.vectors:
            assert isinstance(self.place_C, Tensor)
            of_columns_BNE: Tensor = self.scale * self.layers(x_BNF[..., self.place_C])
            return of_columns_BNE
        has_BN1 = (batch.has_vector_BN[self.vectors] & batch.mask_BN)[..., None]
        vector_BNC = batch.vectors_BNV[self.vectors].masked_fill(~has_BN1, 0.0)
        latent_BNE: Tensor = self.layers(vector_BNC)
        if self.missing_E is not None:
            latent_BNE = torch.where(has_BN1, latent_BNE, self.missing_E.to(latent_BNE.dtype))
        return self.scale * latent_BNE


def _layer(n_in: int, n_out: int, spec: MultiBranchSpec) -> list[nn.Module]:
    """Return a linear layer and what follows it; fresh ones keep the spread of what comes in."""
    linear = nn.Linear(n_in, n_out)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    norm = [nn.LayerNorm(n_out)] if spec.norm else []
    return [linear, *norm, nn.ReLU() if spec.activation == "relu" else nn.GELU()]


def _places(one: BranchSpec, sizes: Sizes) -> tuple[int, ...]:
    """Return the places in F of the columns that a branch reads, rising, each once."""
    places: set[int] = set()
    for family in one.families:
        places.update(sizes.families[family])
    places.update(sizes.columns.index(column) for column in one.columns)
    return tuple(sorted(places))
