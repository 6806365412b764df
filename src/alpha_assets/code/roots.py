"""What a digest is asked of."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

Root: TypeAlias = str | Callable[..., object] | type
Select: TypeAlias = Mapping[str, Collection[str]]


def query_of(roots: Collection[Root], select: Select, bare: Collection[Root]) -> str:
    """Return what names a question for a digest."""
    chosen = [[registry, sorted(keys)] for registry, keys in select.items()]
    return json.dumps([[name_of(root) for root in roots], chosen, [name_of(root) for root in bare]])


def name_of(root: Root) -> str:
    """Return a root as `module:name`."""
    return root if isinstance(root, str) else f"{root.__module__}:{root.__qualname__}"
