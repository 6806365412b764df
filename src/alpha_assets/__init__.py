"""Raw market feeds to a cost-aware portfolio backtest that cannot see the future.

    import alpha_assets as aa
    project = aa.open("rolling_transformer", market="sim")
    project.run(first_month="2023-07")

The verbs are those of the command line; `project.py` documents them.
"""

from importlib import import_module
from typing import Any

__version__ = "0.3.0"

# Loaded when first asked for, so that importing the package costs nothing.  `__init__.pyi` is what
# type checkers and editors read.
VERBS = (
    "Project",
    "audit",
    "catalog",
    "compare",
    "components",
    "copy",
    "import_check",
    "importance",
    "init",
    "market_toml",
    "markets",
    "open",
    "predict",
    "recipe_toml",
    "recipes",
    "report",
    "restamp",
    "results",
    "run",
    "sql",
    "status",
    "study",
    "why",
)

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- what a verb is differs by name
    """Return a verb."""
    if name in VERBS:
        verbs = import_module("alpha_assets.project")  # keeps them from rooms called like a verb
        globals().update({verb: getattr(verbs, verb) for verb in VERBS})
        return globals()[name]
    raise AttributeError(f"module 'alpha_assets' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return what there is to complete in a notebook."""
    return sorted([*globals(), *VERBS])
