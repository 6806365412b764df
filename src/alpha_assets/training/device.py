"""Which device trains, and who trains on it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import torch

from alpha_assets.errors import BadInput, LockHeld
from alpha_assets.store.owner import Owner
from alpha_assets.store.store import Store

SECONDS_BETWEEN_TRIES = 1.0
TRIES_BETWEEN_LINES = 60


def device_named(name: str) -> str:
    """Return a device by name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        BadInput: no such device on this machine.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise BadInput(f"--device {name}: nothing here trains on one; want cpu, cuda or auto")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"--device {name}: {error}; want cpu, cuda or auto") from None
    return name


@contextmanager
def device_alone(
    store: Store,
    device: str,
    progress: Callable[[str, str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Train alone on a device: of all processes that use a storage, one at a time.

    The others sleep, once a minute with a line of what they wait for; a signal ends the wait.  A
    process that is gone holds nothing.

    Args:
        store: whose locks are asked.
        device: by name; each device of each host has a lock of its own.
        progress: called with the stage and a line.
        sleep: waits, in seconds.
    """
    name = f"{device}:0" if device == "cuda" else device
    folder = f"device {name} of {Owner.current().host}"
    with ExitStack() as held:
        for tries in count():
            try:
                held.enter_context(store.lock(folder, wait_seconds=0))
                break
            except LockHeld as error:
                if tries % TRIES_BETWEEN_LINES == 0:
                    progress("checkpoint", f"waits for the {folder}, on which {error.owner} trains")
                sleep(SECONDS_BETWEEN_TRIES)
        yield
