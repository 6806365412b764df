"""From syntax to its normal form, with the names that it uses and the ones that it may change."""

import ast
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alpha_assets.code.bindings import bindings, import_bindings, modules_named_by
from alpha_assets.code.records import UNKNOWN, Change, Reading, Reference
from alpha_assets.code.syntax import (
    FUNCTIONS,
    MUTATORS,
    PACKAGE,
    PARTS,
    PURE_CALLS,
    PURE_METHODS,
    RUNTIME_NAMESPACE,
    WRITES,
    Comprehension,
    is_literal,
    is_prose,
    kinds_in,
    names_in,
    unpacked,
)

if TYPE_CHECKING:
    from alpha_assets.code.modules import Module


# Arguments that describe a definition and decide no number, by what takes them; the names are
# relative, since the whole name of a module in a string reaches it.
DESCRIPTION = frozenset(("about", "formula", "source", "unit"))
PROSE: Mapping[str, frozenset[str]] = {
    "features.base:feature": DESCRIPTION,
    "features.base:windowed": DESCRIPTION,
    "features.base:build_feature": DESCRIPTION,
    "features.cross_symbol:across": DESCRIPTION,
}


@dataclass
class _Scope:
    """The names that a function, a comprehension or a class binds.

    Attributes:
        names: bound in it.
        imports: names bound by imports in it.
        is_class: whether its names are unseen from the functions in it.
    """

    names: set[str]
    imports: dict[str, list[str]] = field(default_factory=dict)
    module_names: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    is_class: bool = False


class Reader:
    """From syntax to its normal form, with the names of the module that it uses."""

    def __init__(self, module: "Module") -> None:
        self._module = module
        self._scopes: list[_Scope] = []
        self._is_top = True  # whether what is read runs where it stands, not when called
        self._out = Reading()
        self._is_quiet = False
        self._is_annotation = False
        self._aliases: dict[str, list[Reference]] = defaultdict(list)  # of the statement's names

    def read(self, node: ast.AST, *, bare: bool = False) -> Reading:
        """Return what a piece of syntax holds; `bare`: without its decorators."""
        if bare and isinstance(node, FUNCTIONS):
            self._function(node, is_bare=True)
        else:
            self._visit(node)
        if isinstance(node, ast.ClassDef):
            self._out.members = self._members(node)
            self._out.kinds = frozenset(kinds_in(node))
            self._out.is_protocol = any(
                base.name == "Protocol" or base.attributes[-1:] == ("Protocol",)
                for base in self._out.bases
            )
        return self._out

    def _say(self, text: str) -> None:
        if not self._is_quiet:
            self._out.text.append(text)

    def _visit(self, node: ast.AST) -> None:
        read = _READERS.get(type(node))
        if read is None:
            self._generic(node)
        else:
            read(self, node)

    def _named(self, node: ast.Name) -> None:
        self._say(f"N {node.id}")
        self._use(node, ())

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name, target in import_bindings(node, self._module.package):
            self._say(f"import {name} {target}")
            self._out.imports.update(modules_named_by(target))
        if isinstance(node, ast.Import):
            self._out.imports.update(alias.name for alias in node.names)

    def _global(self, node: ast.Global) -> None:
        for name in node.names:
            self._say(f"global {name}")
            self._change(ast.Name(name, ast.Store()))

    def _expression(self, node: ast.Expr) -> None:
        if not is_prose(node):
            self._generic(node)

    def _subscript(self, node: ast.Subscript) -> None:
        if self._is_annotation and is_literal(node):
            self._is_annotation = False  # its strings are values, not names of types
            self._generic(node)
            self._is_annotation = True
        else:
            self._generic(node)

    def _generic(self, node: ast.AST) -> None:
        self._acts(node)
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for one, given in unpacked(target, node.value):
                    self._alias(one, given)
        if isinstance(node, ast.For):
            self._alias(node.target, node.iter)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            self._change(node)
        if isinstance(node, ast.AugAssign):
            self._change(node.target)
        self._say(type(node).__name__)
        for name in node._fields:
            if name in ("ctx", "type_comment"):
                continue
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                self._visit(value)
            elif isinstance(value, list):
                self._say("[")
                for item in value:
                    if isinstance(item, ast.AST):
                        self._visit(item)
                    else:
                        self._say(repr(item))
                self._say("]")
            else:
                self._say(repr(value))

    def _alias(self, target: ast.expr, value: ast.expr) -> None:
        """Note that a name is given to what may be changed by it, or to what changes it."""
        values = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
        targets = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
        names = [one.id for one in targets if isinstance(one, ast.Name)]
        for one in values:
            base = self._base(one) if isinstance(one, ast.Name | ast.Attribute) else None
            if base is None or not names:
                continue
            if isinstance(one, ast.Attribute) and one.attr in MUTATORS:
                self._change(one.value, method=one.attr, is_top=False)
            for name in names:
                self._aliases[name].append(base)
            if not self._scopes:
                self._out.aliases.append(base)

    def _acts(self, node: ast.AST) -> None:
        """Note a statement of the top level that changes something foreign."""
        if not self._is_top:
            return
        if isinstance(node, ast.Expr):
            self._out.acts.append(None)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
            targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
            for target in targets:
                reference = self._base(target)
                if reference is not None and not isinstance(target, ast.Name):
                    self._out.acts.append(reference)

    def _lookup(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return what a name refers to beyond the functions around it; empty where local.

        Either the name itself, of the module, or what each import of it in a function names.
        """
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.module_names:
                break
            if name in scope.imports and (not scope.is_class or depth == 0):
                return tuple(("", target) for target in scope.imports[name])
            if scope.is_class:
                if depth == 0 and name in scope.names and not self._module.has(name):
                    return ()
                continue
            if name in scope.names:
                return ()
        return ((name, ""),)

    def _use(self, node: ast.Name, attributes: tuple[str, ...], *, is_type: bool = True) -> None:
        for name, target in self._lookup(node.id):
            self._out.references.append(
                Reference(name, attributes, target, is_type, not self._is_quiet)
            )
            if not target:
                self._out.is_open |= name in RUNTIME_NAMESPACE and not self._module.has(name)
                self._out.reads_data |= name in ("__file__", "__path__", "__spec__")

    def _constant(self, node: ast.Constant) -> None:
        self._say(f"C {type(node.value).__name__} {node.value!r}")
        if not isinstance(node.value, str):
            return
        self._out.strings.add(node.value)
        if self._is_annotation:
            try:
                expression = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return
            quiet, self._is_quiet = self._is_quiet, True
            self._visit(expression)
            self._is_quiet = quiet

    def _attribute(self, node: ast.Attribute, *, is_called: bool = False) -> None:
        if isinstance(node.ctx, WRITES):
            self._change(node)
            if isinstance(node.value, ast.Name) and not self._lookup(node.value.id):
                self._out.own_attributes.add(node.attr)
        names = [node.attr]
        base: ast.expr = node.value
        while isinstance(base, ast.Attribute):
            names.append(base.attr)
            base = base.value
        attributes = tuple(reversed(names))
        if isinstance(base, ast.Name):
            self._say(f"N {base.id}")
            is_type = not is_called or "__subclasses__" in attributes
            self._use(base, attributes, is_type=is_type)
            self._out.is_open |= (base.id, attributes[0]) == ("sys", "modules")
        else:
            self._visit(base)
        self._say(f"A {'.'.join(attributes)}")

    def _call(self, node: ast.Call) -> None:
        self._say("Call")
        callee = self._base(node.func, is_callee=True)
        if callee is not None and self._is_top:
            self._out.called.append(callee)
        if isinstance(node.func, ast.Attribute):
            self._change(node.func.value, method=node.func.attr)
        prose = self._prose(node.func)
        keywords = [keyword for keyword in node.keywords if keyword.arg not in prose]
        given = [*node.args, *[keyword.value for keyword in keywords]]
        word = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        word = node.func.id if isinstance(node.func, ast.Name) else word
        if word in ("setattr", "delattr", "__setattr__", "__delattr__") and node.args:
            self._set_attribute(*node.args)
        elif self._is_top and word not in (PURE_CALLS if callee else PURE_CALLS | PURE_METHODS):
            for argument in given:
                value = argument.value if isinstance(argument, ast.Starred) else argument
                self._change(value, callee=callee or UNKNOWN)
        if word == "import_module" and node.args:
            self._module_named(node.args[0])
        if self._is_top and (
            word.startswith(("set_", "sete", "setl", "filterw", "simplef")) or word.endswith("seed")
        ):
            self._out.acts.append(None)
        if isinstance(node.func, ast.Name):
            was_open = self._out.is_open
            self._say(f"N {node.func.id}")
            self._use(node.func, (), is_type=False)
            if node.func.id == "vars" and node.args:  # of an object, which is reached itself
                self._out.is_open = was_open
        elif isinstance(node.func, ast.Attribute):
            self._attribute(node.func, is_called=True)
        else:
            self._visit(node.func)
        is_cast = word == "cast" and isinstance(node.func, ast.Name)
        annotation, self._is_annotation = self._is_annotation, is_cast
        for argument in node.args:
            self._visit(argument)
        self._is_annotation = annotation
        for keyword in keywords:
            self._say(f"= {keyword.arg}")
            self._visit(keyword.value)
        self._say(")")

    def _set_attribute(self, of: ast.expr, name: ast.expr | None = None, *_: ast.expr) -> None:
        """Note the call `setattr(of, name, ...)`."""
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            self._change(ast.Attribute(of, name.value, ast.Store()))
        else:
            self._change(of, is_any_name=True)

    def _module_named(self, text: ast.expr) -> None:
        """Note what a module is called that is imported by a text.

        A whole name is a string like others; so is the constant that a name stands for.
        """
        if isinstance(text, ast.Name) and self._lookup(text.id):
            return
        is_whole = isinstance(text, ast.Constant)
        while isinstance(text, ast.BinOp):
            text = text.left
        if isinstance(text, ast.JoinedStr) and text.values:
            text = text.values[0]
        begins = str(text.value) if isinstance(text, ast.Constant) else ""
        if not is_whole or begins.startswith("."):
            self._out.modules.add(begins)

    def _prose(self, callee: ast.expr) -> frozenset[str]:
        """Return the arguments of a call that only describe; none unless it is plainly known."""
        if not isinstance(callee, ast.Name) or callee.id in self._module.bound:
            return frozenset()
        if self._lookup(callee.id) != ((callee.id, ""),):
            return frozenset()
        targets = self._module.imported.get(callee.id, [])
        if len(targets) != 1:
            return frozenset()
        return PROSE.get(targets[0].removeprefix(f"{PACKAGE}."), frozenset())

    def _base(self, node: ast.AST, *, is_callee: bool = False) -> Reference | None:
        """Return the module's name that an expression is a part of, with plain attributes."""
        attributes: list[str] = []
        while isinstance(node, PARTS):
            if isinstance(node, ast.Attribute):
                attributes.append(node.attr)
            else:
                attributes.clear()
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        found = self._lookup(node.id)
        if not found:
            return None
        name, target = found[0]
        return Reference(name, tuple(reversed(attributes)), target, False)

    def _change(
        self,
        node: ast.AST,
        *,
        method: str = "",
        callee: Reference | None = None,
        is_top: bool | None = None,
        is_any_name: bool = False,
    ) -> None:
        base = self._base(node)
        # An attribute of a module is the name itself; of anything else, a part.
        changed = [base] if base is not None else []
        attributes: list[str] = []
        while isinstance(node, PARTS):
            if isinstance(node, ast.Attribute):
                attributes.insert(0, node.attr)
            else:
                attributes.clear()
            node = node.value
        if isinstance(node, ast.Name):
            changed += [
                one._replace(attributes=(*one.attributes, *attributes))
                for one in self._aliases.get(node.id, ())
            ]
        is_top = self._is_top if is_top is None else is_top
        for one in changed:
            self._out.changes.append(Change(one, is_top, method, callee, is_any_name))
        if base is not None:
            return
        if isinstance(node, ast.Name) and (not method or method in MUTATORS):
            inner = [scope for scope in self._scopes if not scope.is_class]
            self._out.changes_arguments |= any(node.id in scope.parameters for scope in inner)

    def _annotation(self, node: ast.expr | None, *, is_kept: bool) -> None:
        if node is None:
            return
        quiet, annotation = self._is_quiet, self._is_annotation
        self._is_quiet, self._is_annotation = quiet or not is_kept, True
        self._visit(node)
        self._is_quiet, self._is_annotation = quiet, annotation

    def _annotated(self, node: ast.AnnAssign) -> None:
        self._say("Assign")
        is_kept = bool(self._scopes) and self._scopes[-1].is_class
        self._visit(node.target)
        self._annotation(node.annotation, is_kept=is_kept)
        if node.value is not None:
            self._visit(node.value)

    def _arguments(self, arguments: ast.arguments, *, is_kept: bool) -> None:
        """Read defaults and annotations, which belong to the scope around."""
        self._say("args")
        for group in (arguments.posonlyargs, arguments.args, arguments.kwonlyargs):
            self._say("[")
            for argument in group:
                self._say(argument.arg)
                self._annotation(argument.annotation, is_kept=is_kept)
            self._say("]")
        for extra in (arguments.vararg, arguments.kwarg):
            self._say(extra.arg if extra else "-")
            if extra:
                self._annotation(extra.annotation, is_kept=is_kept)
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is None:
                self._say("-")
            else:
                self._visit(default)

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, *, is_bare: bool = False
    ) -> None:
        decorators = [] if is_bare else node.decorator_list
        self._say(f"{type(node).__name__} {node.name}")
        self._decorators(decorators)
        self._arguments(node.args, is_kept=bool(decorators))
        self._annotation(node.returns, is_kept=bool(decorators))
        self._body(node.args, node.body)

    def _decorators(self, decorators: list[ast.expr]) -> None:
        for decorator in decorators:
            self._say("@")
            self._visit(decorator)
            base = self._base(decorator)
            if base is not None and self._is_top:
                self._out.called.append(base)
            if isinstance(decorator, ast.Attribute):
                self._change(decorator.value, method=decorator.attr)

    def _lambda(self, node: ast.Lambda) -> None:
        self._say("Lambda")
        self._arguments(node.args, is_kept=False)
        self._body(node.args, [node.body])

    def _body(self, arguments: ast.arguments, body: list[ast.stmt] | list[ast.expr]) -> None:
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra]
        parameters = {argument.arg for argument in every}
        bound = bindings(body, self._module.package, self._module.binds_inside)
        imports: dict[str, list[str]] = defaultdict(list)
        for name, target in bound.imports:
            if name != "*":
                imports[name].append(target)
        names = parameters | (bound.names - bound.declared)
        self._scopes.append(_Scope(names, imports, bound.declared, parameters))
        is_top, self._is_top = self._is_top, False
        self._say("{")
        for item in body:
            self._visit(item)
        self._say("}")
        self._is_top = is_top
        self._scopes.pop()

    def _comprehension(self, node: Comprehension) -> None:
        names = {name for part in node.generators for name in names_in(part.target)}
        self._say(type(node).__name__)
        self._visit(node.generators[0].iter)
        self._scopes.append(_Scope(names))
        for place, part in enumerate(node.generators):
            self._say(f"for {part.is_async}")
            self._visit(part.target)
            if place:
                self._visit(part.iter)
            for condition in part.ifs:
                self._say("if")
                self._visit(condition)
        if isinstance(node, ast.DictComp):
            self._visit(node.key)
            self._visit(node.value)
        else:
            self._visit(node.elt)
        self._scopes.pop()

    def _members(self, node: ast.ClassDef) -> set[str]:
        return bindings(node.body, "", self._module.binds_inside).names

    def _class(self, node: ast.ClassDef) -> None:
        self._say(f"Class {node.name}")
        self._decorators(node.decorator_list)
        for expression in node.bases:
            base = self._base(expression)
            plain = len(self._out.references)
            self._visit(expression)
            if base is not None:
                if not self._scopes:
                    self._out.bases.append(base)
                if self._is_top:
                    self._out.called.append(base)
                if not isinstance(expression, ast.Subscript):
                    self._out.references[plain:] = [base]
        for keyword in node.keywords:
            self._say(f"= {keyword.arg}")
            self._visit(keyword.value)
        self._scopes.append(_Scope(self._members(node), is_class=True))
        self._say("{")
        for item in node.body:
            self._visit(item)
        self._say("}")
        self._scopes.pop()


# By kind of syntax; a match statement would try them one after the other at each of 160,000 nodes.
_READERS: Mapping[type[ast.AST], Callable[[Reader, Any], None]] = {
    ast.Name: Reader._named,
    ast.Constant: Reader._constant,
    ast.Attribute: Reader._attribute,
    ast.Call: Reader._call,
    ast.FunctionDef: Reader._function,
    ast.AsyncFunctionDef: Reader._function,
    ast.Lambda: Reader._lambda,
    ast.ListComp: Reader._comprehension,
    ast.SetComp: Reader._comprehension,
    ast.DictComp: Reader._comprehension,
    ast.GeneratorExp: Reader._comprehension,
    ast.ClassDef: Reader._class,
    ast.AnnAssign: Reader._annotated,
    ast.Import: Reader._import,
    ast.ImportFrom: Reader._import,
    ast.Global: Reader._global,
    ast.Expr: Reader._expression,
    ast.Subscript: Reader._subscript,
}
