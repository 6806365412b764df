"""Memory that lies in a file: the rooms above give it, from the storage's scratch."""

import mmap
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


class Space(Protocol):
    """Memory that grows."""

    def mapped(self, n_bytes: int) -> mmap.mmap:
        """Return the first so many bytes, 0 where nothing was written."""


class Shareable(Space, Protocol):
    """Memory that grows, and that other processes of this host may map."""

    def shared(self) -> Space:
        """Return the same memory for another process; picklable."""


def array_in(space: Space | None, shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
    """Return the array at the start of a space, 0 where nothing was written.

    Args:
        space: that grows to hold it; None: plain memory.
        shape: of the array.
        dtype: of its numbers.
    """
    count = int(np.prod(shape))
    if space is None or not count:
        return np.zeros(shape, dtype=dtype)
    mapped = space.mapped(count * np.dtype(dtype).itemsize)
    return np.frombuffer(mapped, dtype=dtype, count=count).reshape(shape)
