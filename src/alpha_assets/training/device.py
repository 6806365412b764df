"""Which device trains, and that no more processes train on it than it has places, or on a model.

A GPU has one place, a host's processor one for each core.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from alpha_assets.errors import BadInput, LockHeld
from alpha_assets.store.folder import Folder
from alpha_assets.store.owner import Owner
from alpha_assets.store.store import Store
from alpha_assets.store.wait import when_free

AUTO = "auto"  # CUDA where there is one, else the CPU


def checked_device(name: str) -> str:
    """Return the name of a device that this machine has; `auto` is chosen when it is needed.

    Raises:
        BadInput: no such device on this machine.
    """
    return name if name == AUTO else device_named(name)


def device_named(name: str) -> str:
    """Return a device by name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        BadInput: no such device on this machine.
    """
    if name == "cpu":  # asked for by name, it loads nothing
        return name
    import torch

    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and name.partition(":")[0] != "cuda":  # cpu:0 would have a lock of its own
        raise BadInput(f"--device {name}: nothing here trains on one; want cpu, cuda or auto")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        there = f"{torch.cuda.device_count()} of CUDA" if torch.cuda.is_available() else "no CUDA"
        raise BadInput(
            f"--device {name}: there is no such device here, which has {there} ({error}); want "
            "cpu, or auto, which is CUDA where there is one"
        ) from None
    return name


def cores() -> int:
    """Return how many cores of this host the process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_count(device: str) -> int:
    """Return how many GPUs a device's name stands for: `cuda` for all, `cuda:1` for one."""
    if device != "cuda":
        return 1
    import torch

    return torch.cuda.device_count()


def places(device: str) -> list[str]:
    """Return the names of the locks of a device of this host: on one of each a process trains."""
    name = f"{device}:0" if device == "cuda" else device
    whole = f"device {name} of {Owner.current().host}"
    if device.partition(":")[0] != "cpu":
        return [whole]
    return [whole, *(f"{whole}, core {number}" for number in range(1, cores()))]


@contextmanager
def device_alone(
    store: Store,
    device: str,
    progress: Callable[[str, str], None],
    *,
    threads: int = 1,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Train on places of a device that no other process has, of all that use a storage.

    Args:
        store: whose locks are asked.
        device: by name; each device of each host has locks of its own.
        progress: called with the stage and a line, once a minute of waiting.
        threads: of the training: it takes a core for each, or all that there are.
        sleep: waits, in seconds.
    """
    named = places(device)
    wanted = min(threads, len(named))

    @contextmanager
    def lock(wait_seconds: float) -> Iterator[None]:
        owners: list[str] = []
        with ExitStack() as held:  # all that are wanted, or none: who waits keeps no other waiting
            n_held = 0
            for place in named:
                if n_held == wanted:
                    break
                try:
                    held.enter_context(store.lock(place, wait_seconds))
                    n_held += 1
                except LockHeld as error:
                    owners.append(error.owner)
            if n_held < wanted:
                raise LockHeld(
                    f"the {named[0]} is taken", owner=" and ".join(dict.fromkeys(owners))
                )
            yield

    def report(owner: str) -> None:
        verb = "train" if " and " in owner else "trains"
        progress("checkpoint", f"waits for the {named[0]}, on which {owner} {verb}")

    with when_free(lock, report, sleep=sleep):
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
