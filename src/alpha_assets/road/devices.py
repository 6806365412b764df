"""Which device trains."""

import torch

from alpha_assets.errors import BadInput


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
