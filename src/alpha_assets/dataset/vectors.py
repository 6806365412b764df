"""The newest vector of each symbol at each session: distinct vectors once, in half the bytes.

A vector stays the newest for weeks; sessions hold its place, never a copy of it.
Shape letters: R distinct vectors, V numbers of one, D sessions, N symbols, B sessions of a batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alpha_assets.arrays.types import Array32, Places
from alpha_assets.dataset.space import Space, array_in
from alpha_assets.errors import BadInput

LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of one input on the axes of a dataset.

    Attributes:
        table_RV: distinct vectors in Float16, on the host.
        row_DN: place of each symbol's newest vector; -1 where there is none or it is too old.
    """

    table_RV: Tensor
    row_DN: Tensor

    @classmethod
    def of(
        cls, vector_RV: Array32, row_DN: Places, name: str, space: Space | None = None
    ) -> "Vectors":
        """Return the vectors of an input.

        Args:
            vector_RV: distinct ones.
            row_DN: places in them, -1 for none.
            name: of the input, for errors.
            space: where they are held; None: in plain memory.

        Raises:
            BadInput: a number beyond what Float16 holds.
        """
        largest = float(np.abs(vector_RV).max(initial=0.0))
        if not largest <= LARGEST:
            raise BadInput(
                f"[inputs.{name}]: a vector holds {largest:g}, and Float16, in which raw vectors "
                f"are held, ends at {LARGEST:g}: bring them on a smaller scale"
            )
        rows = torch.from_numpy(row_DN.astype(np.int64))
        table_RV = array_in(space, vector_RV.shape, np.float16)
        table_RV[:] = vector_RV
        return cls(torch.from_numpy(table_RV), rows)

    def at(self, place_B: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return vectors_BNV in Float32, 0 where there is none, and has_vector_BN.

        Args:
            place_B: of the session axis.
            device: where they go.
        """
        row_BN = self.row_DN[place_B.cpu()]
        has_BN = row_BN >= 0
        if not len(self.table_RV):
            shape = (*row_BN.shape, self.table_RV.shape[1])
            return torch.zeros(shape, device=device), has_BN.to(device)
        vector_BNV = self.table_RV[row_BN.clamp(min=0)].float()
        return vector_BNV.masked_fill(~has_BN[..., None], 0.0).to(device), has_BN.to(device)
