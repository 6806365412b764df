"""A digest of the code that computes a number: what a function reaches, without its prose.

    code_digest("alpha_assets.backtest.simulator:simulate")

A root reaches the definitions (functions, classes, module constants) that it names, and those
that they name, through imports, inside the package; other libraries are recorded by version
elsewhere.  Comments, docstrings, formatting, the order of functions and the arguments that only
describe (`PROSE`) do not count.  What cannot be resolved reaches more, never less:

- a class counts whole, with its bases; where it is named as a type, so do its subclasses, and the
  classes that fit a protocol;
- annotations are followed, because a value of that type may be given and called;
- a module used as a value, or an attribute that it has not, reaches the whole module;
- statements of any module that change a reached name count, also by another name that it was
  given or by `setattr`, and functions that assign to it;
- statements of an imported module that change other libraries' state count;
- a string that names a module or a data file of the package reaches it; an import by a text that
  is put together reaches every module whose name begins as the text does.

The source files are read, not the imported objects, so that a copy can be digested too.  A digest
is computed from the bytes of the package's files alone: what was computed from equal bytes, by
this file under this Python, is kept in the user's cache, and then no file is parsed.
"""

from functools import cache
from pathlib import Path

from alpha_assets.code.index import Code
from alpha_assets.code.kept import CACHED_VERSIONS, CODE_LENGTH
from alpha_assets.code.roots import Root, Select
from alpha_assets.kept import user_cache


def code_digest(*roots: Root, select: Select | None = None) -> str:
    """Return hexadecimal digits that name the installed code that `roots` reach.

    Args:
        roots: as `alpha_assets.room.module:name`, or the function or class itself; a module's
            name alone reaches all of it.
        select: from a registry (`module:name` of a table or a union) to the keys of it that
            count; none of its entries count where the keys are empty.

    Raises:
        BadInput: a root, a registry or a key does not exist.
    """
    code = installed()
    found = code.digest(*roots, select=select)
    code.keep()
    return found


def reached(*roots: Root, select: Select | None = None) -> frozenset[str]:
    """Return the definitions, as `module:name`, that `roots` reach; see `code_digest`."""
    return installed().reached(*roots, select=select)


@cache
def installed() -> "Code":
    """Return the code of this package, read once in a process."""
    return Code(Path(__file__).parents[1], user_cache())


__all__ = [
    "CACHED_VERSIONS",
    "CODE_LENGTH",
    "Code",
    "Root",
    "Select",
    "code_digest",
    "installed",
    "reached",
]
