"""Which names a body binds in its own scope, and what its imports name."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from alpha_assets.code.syntax import WRITES


@dataclass
class Bound:
    """What a body binds in its own scope, not what the functions and classes in it do."""

    names: set[str] = field(default_factory=set)
    imports: list[tuple[str, str]] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)  # modules of `import a.b`
    declared: set[str] = field(default_factory=set)  # global


def bindings(body: Iterable[ast.AST], package: str, binds_inside: bool) -> Bound:
    """Return the names that a body binds, its imports and what it declares global.

    Args:
        body: statements, or an expression.
        package: of the module, from which its relative imports count.
        binds_inside: whether expressions may bind names; most modules have none that do.
    """
    found = Bound()
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        kind = type(node)
        if kind is ast.Constant or kind is ast.Lambda:
            continue
        if kind in _BINDS:
            match node:
                case ast.Name():
                    if not isinstance(node.ctx, ast.Load):
                        found.names.add(node.id)
                    continue
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    found.names.add(node.name)
                    continue
                case ast.Import() | ast.ImportFrom():
                    found.imports += import_bindings(node, package)
                    if isinstance(node, ast.Import):
                        found.loaded.update(alias.name for alias in node.names)
                    continue
                case ast.Global():
                    found.declared.update(node.names)
                    continue
                case ast.NamedExpr():
                    found.names.add(node.target.id)
                    waiting.append(node.value)
                    continue
                case ast.comprehension():
                    waiting += (node.iter, *node.ifs)  # its targets are its own
                    continue
                case ast.ExceptHandler() if node.name:
                    found.names.add(node.name)
                case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                    found.names.add(name)
                case ast.MatchMapping(rest=str(name)):
                    found.names.add(name)
        for name in node._fields:
            if name in _LEAVES:
                continue
            value = getattr(node, name, None)
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, ast.AST) and (
                    binds_inside
                    or not isinstance(item, ast.expr)
                    or isinstance(getattr(item, "ctx", None), WRITES)
                ):
                    waiting.append(item)
    found.names.update(name for name, _ in found.imports if name != "*")
    return found


_BINDS = frozenset(
    (
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Import,
        ast.ImportFrom,
        ast.Global,
        ast.ExceptHandler,
        ast.MatchAs,
        ast.MatchStar,
        ast.MatchMapping,
        ast.Name,
        ast.NamedExpr,
        ast.comprehension,
    )
)
_LEAVES = frozenset(("ctx", "op", "annotation", "returns", "slice"))


def import_bindings(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str]]:
    """Return the names that an import binds, and what each names."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (first, first)
        return
    source = node.module or ""
    if node.level:
        parts = package.split(".")
        above = parts[: len(parts) - node.level + 1]
        source = ".".join((*above, source) if source else above)
    for alias in node.names:
        if alias.name == "*":
            yield "*", source
        else:
            yield alias.asname or alias.name, f"{source}:{alias.name}"


def modules_named_by(target: str) -> tuple[str, str]:
    """Return what an import may load: the module that it names, or that with the name in it."""
    return target.partition(":")[0], target.replace(":", ".")
