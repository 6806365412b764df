"""Principal components of the vectors that symbols had on training sessions.

A vector that stays the newest for weeks counts once for each session and symbol that has it, as
the rows of a table would; it is read once.
Shape letters: R distinct vectors, V numbers of one, K components.

Source: Pearson (1901), On lines and planes of closest fit, Philosophical Magazine 2(11).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from alpha_assets.arrays.types import Array, Array32, Index
from alpha_assets.errors import BadInput
from alpha_assets.training.fit import reproducible

ROWS_AT_ONCE = 4096
LEAST_SHARE = 1e-10  # of the largest variance: a direction below it is rounding
MEAN, COMPONENTS = "mean_V", "component_KV"
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Pca:
    """What is fitted: a mean and orthogonal directions of length 1, the widest first.

    Attributes:
        mean_V: Float64.
        component_KV: Float64; the loading of each that is largest by absolute value is positive.
        explained_K: share of the total variance.
    """

    mean_V: Array
    component_KV: Array
    explained_K: tuple[float, ...] = ()

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """What is stored, by name."""
        return {
            MEAN: torch.from_numpy(self.mean_V),
            COMPONENTS: torch.from_numpy(self.component_KV),
        }

    def stored(self) -> bytes:
        """Return its file."""
        return save(dict(self.tensors))

    @classmethod
    def of(cls, content: bytes, explained_K: tuple[float, ...] = ()) -> "Pca":
        """Return what a file holds."""
        tensors = load(content)
        return cls(tensors[MEAN].numpy(), tensors[COMPONENTS].numpy(), explained_K)

    def scores(self, vector_RV: Array32) -> Array:
        """Return the components of some vectors, [R, K] in Float64.

        Each is a sum of its own row alone, in a fixed order: which other rows stand beside it
        changes no bit, as it would in a product of matrices.
        """
        centred_RV = vector_RV.astype(np.float64) - self.mean_V
        made = np.empty((len(vector_RV), len(self.component_KV)))
        for k, direction_V in enumerate(self.component_KV):
            made[:, k] = (centred_RV * direction_V).sum(axis=1)
        return made


def fit_pca(vector_RV: Array32, count_R: Index, components: int, name: str) -> Pca:
    """Return the leading principal components of vectors that count several times each.

    Args:
        vector_RV: distinct vectors.
        count_R: how many sessions and symbols have each, at least 1.
        components: K.
        name: of the input, for errors.

    Raises:
        BadInput: the vectors vary in fewer directions than K.
    """
    with reproducible(1, CPU):
        weight_R = torch.from_numpy(np.asarray(count_R, dtype=np.float64))
        total = weight_R.sum()
        width = vector_RV.shape[1]
        mean_V = torch.zeros(width, dtype=torch.float64)
        parts = range(0, len(vector_RV), ROWS_AT_ONCE)
        for start in parts:
            part = slice(start, start + ROWS_AT_ONCE)
            mean_V += weight_R[part] @ torch.from_numpy(vector_RV[part]).double()
        mean_V /= total
        covariance_VV = torch.zeros(width, width, dtype=torch.float64)
        for start in parts:
            part = slice(start, start + ROWS_AT_ONCE)
            centred_RV = torch.from_numpy(vector_RV[part]).double() - mean_V
            covariance_VV += centred_RV.T @ (centred_RV * weight_R[part, None])
        covariance_VV /= total
        variance_V, direction_VV = torch.linalg.eigh(covariance_VV)
    variance_V, direction_VV = variance_V.flip(0), direction_VV.flip(1)
    n_varying = int((variance_V > LEAST_SHARE * variance_V[0].clamp(min=0)).sum())
    if n_varying < components:
        raise BadInput(
            f"[inputs.{name}] components = {components}: the {len(vector_RV)} distinct vectors of "
            f"the training sessions vary in {n_varying} directions; want fewer components, or "
            "more training sessions with vectors"
        )
    component_KV = direction_VV[:, :components].T.contiguous().numpy()
    largest_K = np.abs(component_KV).argmax(axis=1)
    sign_K = np.sign(component_KV[np.arange(components), largest_K])
    share_V = variance_V / variance_V.clamp(min=0).sum()
    return Pca(
        mean_V.numpy(),
        np.ascontiguousarray(component_KV * sign_K[:, None]),
        tuple(float(share) for share in share_V[:components]),
    )
