"""From roots to all that they reach."""

import ast
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alpha_assets.code.modules import Module, Statement, order_of
from alpha_assets.code.reader import Reader
from alpha_assets.code.records import Reading, Reference, Target
from alpha_assets.code.roots import Root, Select
from alpha_assets.code.syntax import PACKAGE, RESOURCE_CALLS, is_union, registry_entries
from alpha_assets.errors import BadInput

if TYPE_CHECKING:
    from alpha_assets.code.index import Code


class Walk:
    """From roots to all that they reach."""

    def __init__(self, code: "Code", select: Select) -> None:
        self._code = code
        self._names: set[tuple[str, str, bool]] = set()
        self._statements: dict[Statement, Reading] = {}
        self._whole: set[str] = set()
        self._touched: set[str] = set()
        self._data: set[Path] = set()
        self._waiting: list[tuple[str, str, bool]] = []
        self._bare: set[tuple[str, str]] = set()
        self._selected: dict[Statement, Reading] = {}
        self._left_out: set[tuple[str, str]] = set()
        for registry, keys in select.items():
            self._choose(registry, keys)

    def of(self, roots: Collection[Root], bare: Collection[Root]) -> "Walk":
        """Walk from roots to all that they reach; `bare`: without their decorators."""
        for root in (*bare, *roots):
            module = self._code.module(root) if isinstance(root, str) else None
            if module is not None:
                self._module(module)
                continue
            module, name = self._code.find(root)
            if root in bare:
                self._bare.add((module.name, name))
            self._waiting.append((module.name, name, False))
        while self._waiting:
            self._name(*self._waiting.pop())
        return self

    def labels(self) -> Iterator[str]:
        """Return what was reached, as `module:name`; data files by their path."""
        for module, name, _ in self._names:
            yield f"{module}:{name}"
        for statement in self._statements:
            yield statement.label
        for path in self._data:
            yield path.relative_to(self._code.root).as_posix()

    def lines(self) -> list[str]:
        """Return one line per statement and data file, in an order that layout does not change."""
        keyed = [
            (order_of(statement), self._code.line(statement, reading))
            for statement, reading in self._statements.items()
        ]
        data = [
            f"{path.relative_to(self._code.root).as_posix()} {self._code.data[path]}"
            for path in sorted(self._data)
        ]
        return [line for _, line in sorted(keyed, key=lambda pair: pair[0])] + data

    def _name(self, module_name: str, name: str, is_type: bool) -> None:
        key = (module_name, name, is_type)
        if key in self._names:
            return
        self._names.add(key)
        module = self._code.module(module_name)
        assert module is not None, module_name
        for statement in module.bound.get(name, ()):
            self._statement(statement)
            if is_type and statement.is_class and statement not in self._selected:
                self._kinds(statement)
        for target in module.imported.get(name, ()):
            self._reach(self._code.resolve(module, Reference("", (), target)), is_type=is_type)
        for statement in self._code.effects(module_name, name):
            self._statement(statement)

    def _kinds(self, statement: Statement) -> None:
        """Reach the classes whose instances a value of a class may be."""
        key = (statement.module.name, statement.names[0])
        found = list(self._code.subclasses.get(key, ()))
        if statement.reading.is_protocol:
            found += self._code.fitting(*key)
        for one in found:
            if one not in self._left_out:
                self._waiting.append((*one, True))

    def _statement(self, statement: Statement) -> None:
        if statement in self._statements:
            return
        module = statement.module
        reading = self._selected.get(statement)
        is_bare = any((module.name, name) in self._bare for name in statement.names)
        if reading is None and is_bare and statement.node is not None:
            reading = Reader(module).read(statement.node, bare=True)
        reading = reading or statement.reading
        self._statements[statement] = reading
        for name in statement.names:
            self._waiting.append((module.name, name, False))
        for targets, is_type in self._code.named_in(statement, reading):
            self._reach(targets, is_type=is_type)
            if any(t.name.startswith(RESOURCE_CALLS) for t in targets if not t.module):
                self._open(module, reading)
        if reading.is_open:
            self._module(module)
        if reading.reads_data:
            self._open(module, reading)
        for text in reading.strings:
            self._text(text)
        for part in reading.modules:
            self._modules_named(part)
        self._touch(module.name)
        for name in reading.imports:
            self._touch(name)

    def _reach(self, targets: Iterable[Target], *, is_type: bool) -> None:
        for target in targets:
            if target.is_definition:
                self._waiting.append((target.module, target.name, is_type))
            elif target.module:
                module = self._code.module(target.module)
                assert module is not None, target.module
                self._module(module)
            elif target.name in ("importlib.import_module", "__import__"):
                pass  # its argument is a string, which `_text` looks at

    def _module(self, module: Module) -> None:
        """Reach all of a module."""
        if module.name in self._whole:
            return
        self._whole.add(module.name)
        for statement in module.statements:
            self._statement(statement)
        for name in (*module.bound, *module.imported):
            self._waiting.append((module.name, name, False))
        for star in module.stars:
            below = self._code.module(star)
            if below is not None:
                self._module(below)

    def _text(self, text: str) -> None:
        """Reach the module, the definition or the data file that a string names."""
        if text.startswith(f"{PACKAGE}."):
            place, _, name = text.partition(":")
            module = self._code.module(place)
            if module is not None and name and module.has(name.partition(".")[0]):
                self._waiting.append((place, name.partition(".")[0], False))
            elif module is not None:
                self._module(module)
        elif "." in text and len(text) < 200:
            tail = text.rpartition("/")[2]
            self._data.update(path for path in self._code.data if path.name == tail)

    def _modules_named(self, part: str) -> None:
        """Reach the modules whose names begin with a text, or, with a dot in front, end with it."""
        for module in self._code.modules():
            is_named = module.name.startswith(part)
            if is_named or (part.startswith(".") and module.name.endswith(part)):
                self._module(module)

    def _open(self, module: Module, reading: Reading) -> None:
        """Reach the data files beside a module, and in the packages that its code names."""
        folders = {self._code.root / module.path.parent}
        for text in reading.strings:
            named = self._code.module(text)
            if named is not None:
                folders.add(self._code.root / named.path.parent)
        self._data.update(path for path in self._code.data if folders & set(path.parents))

    def _touch(self, name: str) -> None:
        """Count what importing a module does outside the package."""
        for one in self._code.imports_behind(name) - self._touched:
            self._touched.add(one)
            for statement in self._code.acting.get(one, ()):
                self._statement(statement)

    def _choose(self, registry: str, keys: Collection[str]) -> None:
        """Leave out the entries of a registry that are not among the keys."""
        module, name = self._code.find(registry)
        wanted = set(keys)
        seen: set[str] = set()
        named: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
        for statement in module.bound.get(name, ()):
            whole = Reading()
            entries: list[tuple[set[str], list[ast.expr]]] = []
            # Of a table none of which is wanted nothing need be known; the classes of a union
            # are left out one by one, or they would be reached as what a value may be.
            if wanted or is_union(statement.node):
                entries = [
                    (self._keys_of(module, key, value), [e for e in (key, value) if e is not None])
                    for key, value in registry_entries(statement.node, registry)
                ]
            for keys_of, parts in entries:
                is_chosen = bool(keys_of & wanted)
                seen |= keys_of
                for part in parts:
                    reading = Reader(module).read(part)
                    if is_chosen:
                        whole.take(reading)
                    for reference in reading.references:
                        for target in self._code.resolve(module, reference):
                            named[is_chosen].add((target.module, target.name))
            self._selected[statement] = whole
        unknown = sorted(wanted - seen)
        if unknown:
            raise BadInput(
                f"registry {registry}: no entry {unknown[0]!r}; it has {', '.join(sorted(seen))}"
            )
        # What only an entry that is left out builds, such as the model of a declaration, is no
        # class that a value may be.
        built = {is_chosen: self._named_by(entries) for is_chosen, entries in named.items()}
        self._left_out |= (named[False] | built[False]) - named[True] - built[True]

    def _named_by(self, entries: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return what the statements of entries name."""
        found = set()
        for module_name, name in entries:
            module = self._code.module(module_name)
            for statement in module.bound.get(name, ()) if module else ():
                for targets, _ in self._code.named_in(statement, statement.reading):
                    found |= {(target.module, target.name) for target in targets}
        return found

    def _keys_of(self, module: Module, key: ast.expr | None, value: ast.expr) -> set[str]:
        """Return what an entry may be called: its key, or its name or its class's `kind`."""
        if isinstance(key, ast.Constant):
            return {str(key.value)}
        expression = key or value
        if isinstance(expression, ast.Starred):
            expression = expression.value
        if isinstance(expression, ast.Constant):
            return {str(expression.value)}
        names = set()
        if isinstance(expression, ast.Name):
            names.add(expression.id)
        elif isinstance(expression, ast.Attribute):
            names.add(expression.attr)
        for reference in Reader(module).read(expression).references:
            for target in self._code.resolve(module, reference):
                place = self._code.module(target.module)
                for statement in place.bound.get(target.name, ()) if place else ():
                    names |= statement.reading.kinds
        return names
