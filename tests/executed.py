"""Which code of the package runs while something is done."""

import ast
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

from alpha_assets.code import installed

SOURCE = installed().root


def executed(run: Callable[[], object]) -> set[str]:
    """Return the definitions of this package, as `module:name`, whose code ran."""
    return {definition for definition, _ in executed_parts(run)}


def executed_parts(run: Callable[[], object]) -> set[tuple[str, str]]:
    """Return the same, and of each the name of the function or method in it that ran."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            codes.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    found = set()
    for code in codes:
        path = Path(code.co_filename)
        if path.is_relative_to(SOURCE) and code.co_name != "<module>":
            parts = path.relative_to(SOURCE.parent).with_suffix("").parts
            module = ".".join(parts).removesuffix(".__init__")
            name = code.co_qualname.partition(".")[0]
            definition = f"{module}:{_defined_at(module, name, code.co_firstlineno)}"
            found.add((definition, code.co_qualname))
    return found


def _defined_at(module: str, name: str, line: int) -> str:
    if not name.startswith("<"):
        return name
    place = installed().module(module)
    assert place is not None
    for node in ast.parse((SOURCE / place.path).read_bytes()).body:
        first = min([d.lineno for d in getattr(node, "decorator_list", [])], default=node.lineno)
        if first <= line <= (node.end_lineno or 0):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                return node.name
            return next(name.id for name in ast.walk(node) if isinstance(name, ast.Name))
    raise AssertionError((module, name, line))
