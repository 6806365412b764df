"""Source files and the statements of their top level."""

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from weakref import WeakValueDictionary

from alpha_assets.code.bindings import bindings, modules_named_by
from alpha_assets.code.reader import Reader
from alpha_assets.code.records import Reading
from alpha_assets.code.syntax import FUNCTIONS, PACKAGE, is_main, is_prose
from alpha_assets.errors import BadInput


@dataclass(eq=False)
class Statement:
    """One statement of a module's top level.

    Attributes:
        module: that it stands in.
        index: place among the module's statements.
        names: that it binds.
        is_function: whether it defines one.
        is_class: whether it defines one.
        node: its syntax; once it is read only where it may be read in another way: a table of
            which entries are chosen, a function of which the decorators are left out.  All of it
            would be half of the objects of a process, which each collection goes through.
        reading: what it holds.
    """

    module: "Module"
    index: int
    names: tuple[str, ...]
    is_function: bool
    is_class: bool
    node: ast.stmt | None
    reading: Reading = field(default_factory=Reading)

    def read(self) -> None:
        """Read its syntax; every name of its module must be known."""
        node = self.node
        assert node is not None, self.label
        self.reading = Reader(self.module).read(node)
        if isinstance(node, FUNCTIONS):
            is_kept = bool(node.decorator_list)
        else:
            is_kept = isinstance(node, ast.Assign | ast.AnnAssign)
        if not is_kept:
            self.node = None

    @property
    def label(self) -> str:
        """What it is called in a list of what is reached."""
        name = self.names[0] if self.names else f"<{self.index}>"
        return f"{self.module.name}:{name}"


class Module:
    """One source file: which names its top level binds, and by what."""

    def __init__(self, name: str, path: Path, source: bytes) -> None:
        self.name = name
        self.path = path  # below the package's folder
        self.is_package = path.name == "__init__.py"
        self.binds_inside = b":=" in source  # whether expressions may bind names
        try:
            body = ast.parse(source, filename=str(path)).body
        except SyntaxError as error:
            raise BadInput(f"{path}: line {error.lineno}: not Python: {error.msg}") from None
        self.statements: list[Statement] = []
        self.bound: dict[str, list[Statement]] = defaultdict(list)
        self.imported: dict[str, list[str]] = defaultdict(list)
        self.stars: list[str] = []
        self.loaded: set[str] = set()  # by `import a.b`, which binds `a`
        for node in body:
            self._add(node)
        for statement in self.statements:
            statement.read()

    @property
    def package(self) -> str:
        """The package from which its relative imports count."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def _add(self, node: ast.stmt) -> None:
        if is_prose(node) or is_main(node):
            return
        bound = bindings([node], self.package, self.binds_inside)
        self.loaded |= bound.loaded
        for name, target in bound.imports:
            if name == "*":
                self.stars.append(target)
            else:
                self.imported[name].append(target)
        if isinstance(node, ast.Import | ast.ImportFrom):
            return
        statement = Statement(
            self,
            len(self.statements),
            tuple(sorted(bound.names)),
            isinstance(node, FUNCTIONS),
            isinstance(node, ast.ClassDef),
            node,
        )
        self.statements.append(statement)
        for name in statement.names:
            self.bound[name].append(statement)

    def has(self, name: str) -> bool:
        """Return whether its top level binds a name."""
        return name in self.bound or name in self.imported

    @cached_property
    def may_load(self) -> frozenset[str]:
        """The modules that importing it may import before it, those around it included."""
        imported = (target for targets in self.imported.values() for target in targets)
        named = (name for target in imported for name in modules_named_by(target))
        return frozenset((self.name.rpartition(".")[0], *self.loaded, *self.stars, *named))


_modules: WeakValueDictionary[tuple[Path, bytes], Module] = WeakValueDictionary()


def read_module(path: Path, source: bytes) -> Module:
    """Return a source file as a module; the same one for a file of equal bytes."""
    module = _modules.get((path, source))
    if module is None:
        name = ".".join((PACKAGE, *path.with_suffix("").parts)).removesuffix(".__init__")
        module = _modules[path, source] = Module(name, path, source)
    return module


def order_of(statement: Statement) -> tuple[str, int, str, int]:
    """Order statements so that the place of a function or class in its file does not count."""
    name = statement.names[0] if statement.names else ""
    is_alone = (statement.is_function or statement.is_class) and (
        len(statement.module.bound[name]) == 1
    )
    return (
        (statement.module.name, 0, name, 0)
        if is_alone
        else (statement.module.name, 1, "", statement.index)
    )
