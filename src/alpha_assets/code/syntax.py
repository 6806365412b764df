"""What the syntax of a definition says by itself, without names being looked up."""

import ast
import builtins
from collections.abc import Iterator
from typing import TypeAlias

from alpha_assets.errors import BadInput

PACKAGE = "alpha_assets"
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
PARTS = (ast.Attribute, ast.Subscript, ast.Starred)
WRITES = (ast.Store, ast.Del)
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
BUILTINS = frozenset(dir(builtins))
DISCRIMINATORS = ("kind", "rule")  # fields that say which class of a union a declaration is


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# Methods that change no object, called on a package's constant while a module is imported.
PURE_METHODS = words(
    """
    get items keys values copy join split rsplit partition rpartition format replace lower
    upper strip lstrip rstrip startswith endswith index count union intersection difference
    encode decode model_copy model_dump isoformat total_seconds as_posix with_suffix
    """
)
# Calls that do not change their arguments.
PURE_CALLS = words(
    """
    abs all any bool bytes dict divmod enumerate filter float frozenset hash id int
    isinstance issubclass iter len list map max min next partial range repr replace reversed
    round set slice sorted str sum tuple type zip Field TypeVar MappingProxyType
    """
)
MUTATORS = words(
    """
    append appendleft add update pop popleft popitem setdefault extend insert remove discard
    clear register sort reverse __setitem__ __delitem__ __setattr__ __delattr__ write put
    """
)
RUNTIME_NAMESPACE = frozenset(("globals", "eval", "exec", "locals", "vars", "__import__"))
RESOURCE_CALLS = ("importlib.resources", "importlib_resources", "pkgutil")


def unpacked(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Return what is given to what by an assignment: part by part where both are written out."""
    written = (ast.Tuple, ast.List)
    if not isinstance(target, written) or not isinstance(value, written):
        return [(target, value)]
    parts = [*target.elts, *value.elts]
    if len(target.elts) != len(value.elts) or any(isinstance(one, ast.Starred) for one in parts):
        return [(target, value)]
    pairs = zip(target.elts, value.elts, strict=True)
    return [pair for one, of in pairs for pair in unpacked(one, of)]


def names_in(target: ast.expr) -> Iterator[str]:
    """Return the names in an expression."""
    for node in ast.walk(target):
        if isinstance(node, ast.Name):
            yield node.id


def is_prose(node: ast.AST) -> bool:
    """Whether a statement is a docstring, or text under a field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str | type(...))
    )


def is_literal(node: ast.Subscript) -> bool:
    """Whether an annotation is a `Literal`."""
    base = node.value
    return (isinstance(base, ast.Name) and base.id == "Literal") or (
        isinstance(base, ast.Attribute) and base.attr == "Literal"
    )


def is_main(node: ast.AST) -> bool:
    """Whether a statement runs only when its file is the program."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.left, ast.Name)
        and node.test.left.id == "__name__"
        and not node.orelse
    )


def is_immutable(node: ast.AST | None) -> bool:
    """Whether a statement binds a name to text, a number, or a tuple of such."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if value is None:
        return False
    kinds = (ast.Constant, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.JoinedStr, ast.expr_context)
    parts = (*kinds, ast.unaryop, ast.operator, ast.FormattedValue)
    return all(isinstance(part, parts) for part in ast.walk(value))


def is_union(node: ast.stmt | None) -> bool:
    """Return whether a statement declares an annotated union."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return isinstance(value, ast.Subscript)


def registry_entries(
    node: ast.stmt | None, registry: str
) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    """Return key and value of each entry of a registry.

    Raises:
        BadInput: it is no table, sequence or union that is written out.
    """
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if isinstance(value, ast.Subscript):  # Annotated[A | B, ...]
        inner = value.slice
        value = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
    while isinstance(value, ast.Call) and len(value.args) == 1:
        value = value.args[0]
    if isinstance(value, ast.Dict):
        yield from zip(value.keys, value.values, strict=True)
    elif isinstance(value, ast.Tuple | ast.List | ast.Set):
        for item in value.elts:
            yield None, item
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
        arms: list[ast.expr] = [value]
        while isinstance(first := arms[0], ast.BinOp):
            arms[:1] = [first.left, first.right]
        for arm in arms:
            yield None, arm
    elif isinstance(value, ast.Name | ast.Attribute):
        yield None, value
    else:
        raise BadInput(
            f"registry {registry}: it is no table that is written out, so that its "
            "entries cannot be distinguished; select none of it, or all"
        )


def kinds_in(node: ast.ClassDef) -> Iterator[str]:
    """Return the values of a class's field `kind: Literal[...]`, or `rule`."""
    for item in node.body:
        if (
            isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and item.target.id in DISCRIMINATORS
        ):
            for part in ast.walk(item.annotation):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value
