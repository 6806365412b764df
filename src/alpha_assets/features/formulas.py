"""The formula of a feature: the one that it declares, or its code as one expression.

A feature that is an input as it was known is described by that input.
"""

import ast
import inspect
import re
import textwrap
from typing import Any

from alpha_assets.features.base import Feature
from alpha_assets.features.inputs import INPUTS

LONGEST = 200  # letters of an expression that still reads as a formula


def formula_of(feature: Feature) -> str:
    """Return the formula; empty where none is declared and the code is longer than one."""
    if feature.formula:
        return feature.formula
    expression = _expression(feature)
    only = feature.inputs[0] if len(feature.inputs) == 1 else ""
    if only in INPUTS and expression in ("", only, f"{only}.copy()"):
        return f"as known: {INPUTS[only].about}"
    return f"`{expression}`" if expression else ""


def _expression(feature: Feature) -> str:
    """Return a feature's code as one expression of its inputs; empty where it is longer."""
    fn: Any = feature.fn
    plain = getattr(fn, "func", fn)
    tree = ast.parse(textwrap.dedent(inspect.getsource(plain))).body[0]
    if not isinstance(tree, ast.FunctionDef) or len(tree.args.args) != len(feature.inputs):
        return ""
    names = [argument.arg for argument in tree.args.args]
    known: dict[str, ast.expr] = {
        name: ast.Name(item) for name, item in zip(names, feature.inputs, strict=True)
    }
    known |= {name: ast.Constant(n) for name, n in getattr(fn, "keywords", {}).items()}
    for part in tree.body:
        match part:
            case ast.Expr():
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                known[name] = _Inlined(known).visit(value)
            case ast.Return(value=ast.expr() as value):
                text = ast.unparse(_Inlined(known).visit(value))
                text = re.sub(r"\b_(?=\w+\()", "", text)
                return text if len(text) <= LONGEST else ""
            case _:
                return ""
    return ""


class _Inlined(ast.NodeTransformer):
    """Puts what a name stands for in its place."""

    def __init__(self, known: dict[str, ast.expr]) -> None:
        self.known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.known.get(node.id, node)
