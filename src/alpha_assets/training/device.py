"""Which device trains, and that one process at a time trains on it, or one model."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from alpha_assets.errors import BadInput
from alpha_assets.store.folder import Folder
from alpha_assets.store.owner import Owner
from alpha_assets.store.store import Store
from alpha_assets.store.wait import when_free


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

    Args:
        store: whose locks are asked.
        device: by name; each device of each host has a lock of its own.
        progress: called with the stage and a line, once a minute of waiting.
        sleep: waits, in seconds.
    """
    name = f"{device}:0" if device == "cuda" else device
    folder = f"device {name} of {Owner.current().host}"

    def report(owner: str) -> None:
        progress("checkpoint", f"waits for the {folder}, on which {owner} trains")

    with when_free(partial(store.lock, folder), report, sleep=sleep):
        yield


@contextmanager
def model_alone(
    folder: Folder,
    progress: Callable[[str, str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Train a model alone, whatever the devices: who waited takes over what was stored meanwhile.

    Args:
        folder: of the model's checkpoint.
        progress: called with the stage and a line, once a minute of waiting.
        sleep: waits, in seconds.
    """

    def report(owner: str) -> None:
        progress("checkpoint", f"waits for {folder.name}, which {owner} trains")

    with when_free(folder.lock, report, sleep=sleep):
        yield
