"""Out of memory: who asked for how much, what to lower, and by how much.

Nothing is made smaller silently: what fits is tried on the same data and named.
Shape letters: N symbols of a session, T steps, F features, B sessions of a batch.
"""

import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.errors import OutOfMemory
from alpha_assets.models import RankerSpec
from alpha_assets.models.base import Ranker

# What torch's allocators and CUDA's libraries say in a RuntimeError.
FAILURES = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
ASKED = re.compile(r"(?:tried to allocate|Unable to allocate) ([\d.]+) ?([KMGTP]i?B|bytes)", re.I)
UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")
OF_A_WEIGHT = 16  # bytes while it is learned: itself, its gradient, two moments of AdamW


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that an allocator of the host or of a device has no more."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in FAILURES)


@contextmanager
def within_memory(where: str, device: torch.device, way_out: Callable[[], str]) -> Iterator[None]:
    """Refuse, in words, what an allocator of a device or of the host has no memory for.

    Args:
        where: what asked for it.
        device: on which it is computed.
        way_out: returns what to lower; called once what the failure held is let go.

    Raises:
        OutOfMemory: with the bytes asked for, those that are free, and the way out.
    """
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        asked = _asked(error)
        is_of_device = isinstance(error, torch.OutOfMemoryError) or "CU" in str(error)
        traceback.clear_frames(error.__traceback__)  # they hold the tensors that were made
    let_go(device)
    full = device if is_of_device else torch.device("cpu")
    free = in_words(free_bytes(full))
    raise OutOfMemory(
        f"{where}: out of memory on {full}{asked}, {free} are free; {way_out()}"
    ) from None


def largest_that_fits(
    attempt: Callable[[int], None], sizes: Iterable[int], device: torch.device
) -> int | None:
    """Return the first of some sizes, largest first, that an attempt has memory for; else None."""
    for size in sizes:
        try:
            attempt(size)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)
        else:
            return size
        finally:
            let_go(device)
    return None


def halves(size: int, unit: int = 1) -> tuple[int, ...]:
    """Return half of a size, half of that and so on, each a multiple of `unit` and above 0."""
    found = list[int]()
    while size // 2 >= unit:
        size = size // 2 // unit * unit
        found.append(size)
    return tuple(found)


def smaller_session(model: Ranker, batch: Batch) -> str:
    """Return what to lower where one session alone does not fit, and how far.

    Args:
        model: whose weights are of no more use; they get gradients.
        batch: of one session.
    """
    device, n_symbols = batch.x_BNTF.device, batch.x_BNTF.shape[1]

    def attempt(n: int) -> None:
        model.zero_grad(set_to_none=True)
        model.infer(batch.select(torch.arange(n, device=device))).score_BNH.sum().backward()

    fits = largest_that_fits(attempt, halves(n_symbols), device)
    size = size_in_words(batch)
    if fits is None:
        return f"one session alone, {size}, does not fit, nor does a single symbol; {SMALLER}"
    return (
        f"one session alone, {size}, does not fit, and {fits} of its symbols do: bring symbols x "
        f"steps x width down to 1/{n_symbols // fits} of it; {SMALLER}"
    )


SMALLER = (
    "lower window.sequence or the widths and layers of [model], or choose a universe of fewer "
    "symbols"
)


def too_many_weights(spec: RankerSpec, sizes: Sizes, device: torch.device) -> str:
    """Return what to lower where a model's weights alone do not fit, and how far."""
    with torch.device("meta"):  # shapes without memory
        n_weights = sum(weight.numel() for weight in spec.build(sizes).parameters())
    needed, free = n_weights * OF_A_WEIGHT, free_bytes(device)
    settings = ", ".join(
        f"{name} = {value}"
        for name, value in spec
        if type(value) is int  # True is one, too
    )
    times = f", {needed / free:,.0f} times what is free" if needed > free > 0 else ""
    return (
        f"its {n_weights:,} weights take {in_words(needed)} while they are learned{times}: lower "
        f"the widths and layers of [model] ({settings})"
    )


def size_in_words(batch: Batch) -> str:
    """Return the size of a batch's windows."""
    _, n_symbols, n_steps, n_features = batch.x_BNTF.shape
    return f"{n_symbols:,} symbols x {n_steps} steps x {n_features} columns"


def free_bytes(device: torch.device) -> int:
    """Return the bytes that are free on a device, or on the host."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return _of_host()


def let_go(device: torch.device) -> None:
    """Give back what torch keeps of a device for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def in_words(n_bytes: float) -> str:
    """Return a number of bytes in the unit that gives it at most three digits before the point."""
    for unit in UNITS[:-1]:
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} {UNITS[-1]}"


def _asked(error: BaseException) -> str:
    found = ASKED.search(str(error))
    if found is None:
        return ""
    number, unit = float(found[1]), found[2]
    if unit == "bytes":
        return f": {in_words(number)} more were asked for"
    return f": {number:g} {unit} more were asked for"


def _of_host() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):  # not a name of this system
        return 0
