"""Sizes of a recipe: `[sizes.<name>]` holds the sections that a size changes.

One file declares an experiment; a smaller size of it runs on a laptop or in a test.  A size is
chosen like any override, by `size=<name>`, and makes a variant; other overrides go on top.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from alpha_assets.errors import SpecError

SIZES = "sizes"  # the section
SIZE = "size"  # the key of an override


def size_of(overrides: Sequence[str]) -> str:
    """Return the size that overrides choose, the last one where there are several; else empty."""
    chosen = [o.partition("=")[2] for o in overrides if o.partition("=")[0].strip() == SIZE]
    return chosen[-1].strip("\"' ") if chosen else ""


def at_size(
    tables: Mapping[str, Any], overrides: Sequence[str], origin: str
) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe's tables at the size that overrides choose, and the other overrides.

    Args:
        tables: what the file holds.
        overrides: `section.key=value`, or `size=<name>`.
        origin: the file, for the message.

    Raises:
        SpecError: no such size, or a size that is no table of sections.
    """
    sizes: Any = tables.get(SIZES, {})
    plain = {name: table for name, table in tables.items() if name != SIZES}
    others = [o for o in overrides if o.partition("=")[0].strip() != SIZE]
    if not isinstance(sizes, dict) or not all(isinstance(size, dict) for size in sizes.values()):
        raise SpecError(f"{origin}: {SIZES} = {sizes!r}; want one table for each, [sizes.<name>]")
    chosen = size_of(overrides)
    if not chosen:
        return plain, others
    if chosen not in sizes:
        near = get_close_matches(chosen, sizes, n=1)
        raise SpecError(
            f"{origin}: {SIZE} = {chosen!r} is no size of it; "
            + (f"it has {', '.join(sizes)}" if sizes else "it has one size only: leave it out")
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return _merged(plain, sizes[chosen]), others


def sizes_in(tables: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a recipe's sizes, in the file's order."""
    sizes = tables.get(SIZES, {})
    return tuple(sizes) if isinstance(sizes, dict) else ()


def _merged(tables: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with the keys of `changes` on top; a list is replaced as a whole."""
    found = dict(tables)
    for key, value in changes.items():
        old = found.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        found[key] = value
    return found
