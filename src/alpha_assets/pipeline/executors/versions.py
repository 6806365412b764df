"""Which packages compute, so that two machines can be compared before one works for the other."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

# What a number may come from; the others draw, serve or test.
PACKAGES = (
    "alpha-assets", "numpy", "polars", "scipy", "torch", "lightgbm", "cvxpy", "clarabel",
    "exchange_calendars", "safetensors",
)  # fmt: skip
NONE = "none"


def versions() -> dict[str, str]:
    """Return the version of Python and of each package that computes; `none` where it is absent."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = NONE
    return found


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Return what differs, as `torch 2.1 here, 2.2 there`; empty where nothing does."""
    return ", ".join(
        f"{name} {here.get(name, NONE)} here, {wanted} there"
        for name, wanted in there.items()
        if here.get(name, NONE) != wanted
    )
