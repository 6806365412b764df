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

import ast
import builtins
import gc
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from alpha_assets.errors import BadInput
from alpha_assets.kept import read_kept, user_cache, write_kept

PACKAGE = "alpha_assets"
CODE_LENGTH = 32  # hexadecimal digits
FORMAT = "alpha-assets code 1"
CACHED_VERSIONS = 8  # of the package, the latest made; a file of some 100 KB each
_NO_SOURCE = ("__pycache__", ".pyc", ".pyo")

# Arguments that describe a definition and decide no number, by what takes them; the names are
# relative, since the whole name of a module in a string reaches it.
DESCRIPTION = frozenset(("about", "formula", "source", "unit"))
PROSE: Mapping[str, frozenset[str]] = {
    "features.base:feature": DESCRIPTION,
    "features.base:windowed": DESCRIPTION,
    "features.base:build_feature": DESCRIPTION,
    "features.cross_symbol:across": DESCRIPTION,
}

Root: TypeAlias = str | Callable[..., object] | type
Select: TypeAlias = Mapping[str, Collection[str]]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
_PARTS = (ast.Attribute, ast.Subscript, ast.Starred)
_WRITES = (ast.Store, ast.Del)
_Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_BUILTINS = frozenset(dir(builtins))
DISCRIMINATORS = ("kind", "rule")  # fields that say which class of a union a declaration is
# Methods that change no object, called on a package's constant while a module is imported.
_PURE_METHODS = _words(
    """
    get items keys values copy join split rsplit partition rpartition format replace lower
    upper strip lstrip rstrip startswith endswith index count union intersection difference
    encode decode model_copy model_dump isoformat total_seconds as_posix with_suffix
    """
)
# Calls that do not change their arguments.
_PURE_CALLS = _words(
    """
    abs all any bool bytes dict divmod enumerate filter float frozenset hash id int
    isinstance issubclass iter len list map max min next partial range repr replace reversed
    round set slice sorted str sum tuple type zip Field TypeVar MappingProxyType
    """
)
_MUTATORS = _words(
    """
    append appendleft add update pop popleft popitem setdefault extend insert remove discard
    clear register sort reverse __setitem__ __delitem__ __setattr__ __delattr__ write put
    """
)
_RUNTIME_NAMESPACE = frozenset(("globals", "eval", "exec", "locals", "vars", "__import__"))
_RESOURCE_CALLS = ("importlib.resources", "importlib_resources", "pkgutil")


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
    return Code(Path(__file__).parent, user_cache())


class _Reference(NamedTuple):
    """A name of a module's scope that code uses, and the attributes that it takes of it.

    Attributes:
        name: as the module binds it; empty where `target` is what an import in a function names.
        attributes: in order.
        target: `module` or `module:name`.
        is_type: whether values of it, and of what derives from it, may be met.
        counts: whether which name it is counts; not in an annotation that is left out.
    """

    name: str
    attributes: tuple[str, ...] = ()
    target: str = ""
    is_type: bool = True
    counts: bool = True


@dataclass
class _Reading:
    """What a piece of syntax holds.

    Attributes:
        text: its normal form.
        references: in the order of the text.
        changes: names that it may change, in part or whole.
        strings: texts in it.
        imports: modules that it imports from inside a function.
        modules: beginnings (or, with a dot in front, ends) of names of modules that it imports by
            a text which it puts together.
        aliases: what the names that it binds stand for, where it only gives something a name.
        called: names that are called, or decorate or are derived from, while it is imported.
        acts: what it changes while it is imported; None for what has no name.
        bases: of the class that it is.
        members: names that the body of the class that it is binds.
        own_attributes: attributes that its methods assign.
        kinds: values of the field `kind: Literal[...]` of the class that it is.
        reads_data: whether it opens files of the package.
        is_open: whether it can reach any name of its module.
        is_protocol: whether it is a class that others fit without being derived from it.
        changes_arguments: whether it assigns to a part of one of its parameters.
    """

    text: list[str] = field(default_factory=list)
    references: list[_Reference] = field(default_factory=list)
    changes: "list[_Change]" = field(default_factory=list)
    strings: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    aliases: list[_Reference] = field(default_factory=list)
    called: list[_Reference] = field(default_factory=list)
    acts: list[_Reference | None] = field(default_factory=list)
    bases: list[_Reference] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    own_attributes: set[str] = field(default_factory=set)
    kinds: frozenset[str] = frozenset()
    reads_data: bool = False
    is_open: bool = False
    is_protocol: bool = False
    changes_arguments: bool = False

    def take(self, other: "_Reading") -> None:
        """Add what another piece of syntax holds."""
        self.text += other.text
        self.references += other.references
        self.strings |= other.strings
        self.modules |= other.modules
        self.reads_data |= other.reads_data
        self.is_open |= other.is_open


@dataclass(eq=False)
class _Statement:
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

    module: "_Module"
    index: int
    names: tuple[str, ...]
    is_function: bool
    is_class: bool
    node: ast.stmt | None
    reading: _Reading = field(default_factory=_Reading)

    def read(self) -> None:
        """Read its syntax; every name of its module must be known."""
        node = self.node
        assert node is not None, self.label
        self.reading = _Reader(self.module).read(node)
        if isinstance(node, _FUNCTION):
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


class _Module:
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
        self.statements: list[_Statement] = []
        self.bound: dict[str, list[_Statement]] = defaultdict(list)
        self.imported: dict[str, list[str]] = defaultdict(list)
        self.stars: list[str] = []
        self.loaded: set[str] = set()  # by `import a.b`, which binds `a`
        for node in body:
            self._add(node)
        for statement in self.statements:
            statement.read()

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def _add(self, node: ast.stmt) -> None:
        if _is_prose(node) or _is_main(node):
            return
        bound = _bound([node], self.package, self.binds_inside)
        self.loaded |= bound.loaded
        for name, target in bound.imports:
            if name == "*":
                self.stars.append(target)
            else:
                self.imported[name].append(target)
        if isinstance(node, ast.Import | ast.ImportFrom):
            return
        statement = _Statement(
            self,
            len(self.statements),
            tuple(sorted(bound.names)),
            isinstance(node, _FUNCTION),
            isinstance(node, ast.ClassDef),
            node,
        )
        self.statements.append(statement)
        for name in statement.names:
            self.bound[name].append(statement)

    def has(self, name: str) -> bool:
        return name in self.bound or name in self.imported

    @cached_property
    def may_load(self) -> frozenset[str]:
        """The modules that importing it may import before it, those around it included."""
        imported = (target for targets in self.imported.values() for target in targets)
        named = (name for target in imported for name in _modules_of(target))
        return frozenset((self.name.rpartition(".")[0], *self.loaded, *self.stars, *named))


_modules: WeakValueDictionary[tuple[Path, bytes], _Module] = WeakValueDictionary()


def _read(path: Path, source: bytes) -> _Module:
    """Return a source file as a module; the same one for a file of equal bytes."""
    module = _modules.get((path, source))
    if module is None:
        name = ".".join((PACKAGE, *path.with_suffix("").parts)).removesuffix(".__init__")
        module = _modules[path, source] = _Module(name, path, source)
    return module


class Code:
    """The source files of a package, and what each definition in them reaches."""

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        """Read every file below `root`, the folder of the package `alpha_assets`.

        Args:
            root: the folder.
            cache: where digests are kept for other processes, by the content of all files; none:
                they are computed.  Modules are parsed when a digest is not there.
        """
        self.root = root
        self._sources: dict[Path, bytes] = {}
        self.data: dict[Path, str] = {}  # the hash of each file of the package that is no module
        for path in sorted(root.rglob("*")):
            if path.suffix in _NO_SOURCE or "__pycache__" in path.parts or not path.is_file():
                continue
            if path.suffix == ".py":
                self._sources[path.relative_to(root)] = path.read_bytes()
            elif path.name != "py.typed":
                self.data[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        if Path("__init__.py") not in self._sources:
            raise BadInput(f"{root}: no package: it has no __init__.py")
        self._kept = _Kept(cache, self._content()) if cache is not None else _Kept()
        self._resolved: dict[tuple[str, _Reference], tuple[_Target, ...]] = {}
        self._named: dict[_Statement, Mapping[tuple[tuple[_Target, ...], bool], None]] = {}
        self._lines: dict[_Statement, str] = {}

    def _content(self) -> str:
        """Return what names all that digests are computed from, and by what."""
        by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        files = {
            **{name: hashlib.sha256(source).hexdigest() for name, source in self._sources.items()},
            **{path.relative_to(self.root): name for path, name in self.data.items()},
        }
        lines = [f"{name} {path.as_posix()}" for path, name in files.items()]
        return hashlib.sha256("\n".join([sys.version, by, *lines]).encode()).hexdigest()

    @cached_property
    def _modules(self) -> "dict[str, _Module]":
        with _no_collections():
            modules = [_read(path, source) for path, source in self._sources.items()]
        return {module.name: module for module in modules}

    def digest(
        self, *roots: Root, select: Select | None = None, bare: Collection[Root] = ()
    ) -> str:
        """Return hexadecimal digits that name the code that `roots` reach; see `code_digest`.

        Args:
            roots: definitions.
            select: from a registry to the keys that count.
            bare: roots of which the decorators do not count, because what they made of the
                function is recorded in another way.
        """
        query = _query(roots, select or {}, bare)
        found = self._kept.get(query)
        if found is None:
            lines = _Walk(self, select or {}).of(roots, bare).lines()
            whole = hashlib.sha256("\n".join([FORMAT, *lines]).encode())
            found = self._kept[query] = whole.hexdigest()[:CODE_LENGTH]
        return found

    def keep(self) -> None:
        """Keep the digests for other processes, where there is a cache that can be written."""
        self._kept.write()

    def reached(
        self, *roots: Root, select: Select | None = None, bare: Collection[Root] = ()
    ) -> frozenset[str]:
        """Return the definitions, as `module:name`, that `roots` reach."""
        return frozenset(_Walk(self, select or {}).of(roots, bare).labels())

    def statements(self) -> Iterator[_Statement]:
        """Return every statement of a top level."""
        for module in self._modules.values():
            yield from module.statements

    def modules(self) -> Collection[_Module]:
        """Return the modules of the package."""
        return self._modules.values()

    def module(self, name: str) -> _Module | None:
        """Return a module of the package, if there is one of the name."""
        return self._modules.get(name)

    def find(self, root: Root) -> tuple[_Module, str]:
        """Return the module and the name of a root.

        Raises:
            BadInput: there is none.
        """
        text = _named(root)
        place, _, name = text.partition(":")
        name = name.partition(".")[0]
        module = self._modules.get(place)
        if module is None or not module.has(name):
            raise BadInput(f"code {text!r}: {self.root} has no such definition; want module:name")
        return module, name

    def resolve(self, module: _Module, reference: _Reference) -> "tuple[_Target, ...]":
        """Return what a name stands for, seen from a module."""
        key = (module.name, reference)
        if key not in self._resolved:
            if reference.target:
                found = self._dotted(reference.target, reference.attributes, frozenset())
            else:
                parts = (reference.name, *reference.attributes)
                found = self._inside(module, parts, frozenset(), is_bare=True)
            self._resolved[key] = tuple(dict.fromkeys(found))
        return self._resolved[key]

    def named_in(
        self, statement: _Statement, reading: _Reading
    ) -> "Mapping[tuple[tuple[_Target, ...], bool], None]":
        """Return what a reading of a statement names, and whether as a type, each once."""
        if reading is not statement.reading:
            return self._named_in(statement.module, reading)
        if statement not in self._named:
            self._named[statement] = self._named_in(statement.module, reading)
        return self._named[statement]

    def _named_in(
        self, module: _Module, reading: _Reading
    ) -> "dict[tuple[tuple[_Target, ...], bool], None]":
        return dict.fromkeys(
            (self.resolve(module, reference), reference.is_type) for reference in reading.references
        )

    def line(self, statement: _Statement, reading: _Reading) -> str:
        """Return what names a reading of a statement: its text, and what foreign names mean."""
        if reading is not statement.reading:
            return self._line(statement, reading)
        if statement not in self._lines:
            self._lines[statement] = self._line(statement, reading)
        return self._lines[statement]

    def _line(self, statement: _Statement, reading: _Reading) -> str:
        text = hashlib.sha256("\n".join(reading.text).encode()).hexdigest()
        meant = sorted(self._meanings(statement.module, reading))
        names = ",".join(statement.names)
        return f"{statement.module.name}:{names} {text} {' '.join(meant)}"

    def _meanings(self, module: _Module, reading: _Reading) -> Iterator[str]:
        for reference in set(reading.references):
            if not reference.counts:
                continue
            if reference.target or reference.name not in module.bound:
                targets = self.resolve(module, reference)
                dotted = ".".join((reference.name, *reference.attributes))
                yield f"{dotted}={'|'.join(sorted(map(str, targets)))}"

    def _dotted(
        self, target: str, attributes: tuple[str, ...], seen: frozenset[tuple[str, ...]]
    ) -> "list[_Target]":
        place, _, name = target.partition(":")
        parts = (name, *attributes) if name else attributes
        if place.partition(".")[0] != PACKAGE:
            return [_Target("", ".".join((place, *parts)))]
        if place in self._modules:
            return self._inside(self._modules[place], parts, seen)
        above, _, last = place.rpartition(".")
        return self._dotted(above, (last, *parts), seen)

    def _inside(
        self,
        module: _Module,
        parts: tuple[str, ...],
        seen: frozenset[tuple[str, ...]],
        *,
        is_bare: bool = False,
    ) -> "list[_Target]":
        if not parts:
            return [_Target(module.name)]
        name, *rest = parts
        asked = (module.name, *parts)
        if asked in seen:  # a package's import of its own module, or a circle
            return []
        seen |= {asked}
        found: list[_Target] = []
        below = self._modules.get(f"{module.name}.{name}") if module.is_package else None
        is_own = False
        if name in module.bound:
            found.append(_Target(module.name, name))
        for target in module.imported.get(name, ()):
            found += self._dotted(target, tuple(rest), seen)
            is_own |= below is not None and target.startswith(f"{below.name}:")
        if below is not None and not is_own:
            found += self._inside(below, tuple(rest), seen)
        if found:
            return found
        for star in module.stars:
            source = self._modules.get(star)
            if source is None:
                found.append(_Target("", f"{star}.{name}"))
            else:
                found += self._inside(source, parts, seen)
        if found:
            return found
        if (is_bare and name in _BUILTINS) or (name.startswith("__") and name.endswith("__")):
            return [_Target("", name)]
        return [_Target(module.name)]

    @cached_property
    def _effects(self) -> "dict[tuple[str, str], list[_Statement]]":
        """By definition, the statements that change it from elsewhere."""
        with _no_collections():
            return self._effects_of_all()

    def _effects_of_all(self) -> "dict[tuple[str, str], list[_Statement]]":
        effects: dict[tuple[str, str], list[_Statement]] = defaultdict(list)
        writers: dict[_Statement, list[tuple[str, str]]] = defaultdict(list)
        for statement in self.statements():
            for change in statement.reading.changes:
                for key in self._changed(statement, change):
                    effects[key].append(statement)
                    if not change.is_top:
                        writers[statement].append(key)
        if writers:
            self._add_calls_of(writers, effects)
        return effects

    @cached_property
    def subclasses(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """By class, the classes that derive from it."""
        found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for statement in self.statements():
            if statement.is_class:
                for base in statement.reading.bases:
                    for target in self.resolve(statement.module, base):
                        if target.is_definition:
                            own = (statement.module.name, statement.names[0])
                            found[target.module, target.name].append(own)
        return found

    def _add_calls_of(
        self,
        writers: "Mapping[_Statement, list[tuple[str, str]]]",
        effects: "dict[tuple[str, str], list[_Statement]]",
    ) -> None:
        """Add statements that run, while a module is imported, a function that changes names."""
        behind: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}
        for statement in self.statements():
            for called in statement.reading.called:
                for target in self.resolve(statement.module, called):
                    if not target.is_definition:
                        continue
                    key = (target.module, target.name)
                    if key not in behind:
                        behind[key] = self._written_behind(key, writers)
                    for changed in behind[key]:
                        if statement not in effects[changed]:
                            effects[changed].append(statement)

    def _written_behind(
        self,
        start: tuple[str, str],
        writers: "Mapping[_Statement, list[tuple[str, str]]]",
    ) -> frozenset[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        seen = {start}
        waiting = [start]
        while waiting:
            module, name = waiting.pop()
            for statement in self._modules[module].bound[name]:
                found.update(writers.get(statement, ()))
                for targets, _ in self.named_in(statement, statement.reading):
                    for target in targets:
                        key = (target.module, target.name)
                        if target.is_definition and key not in seen:
                            seen.add(key)
                            waiting.append(key)
        return frozenset(found)

    def _changed(self, statement: _Statement, change: "_Change") -> Iterator[tuple[str, str]]:
        """Return the definitions that a change in a statement changes."""
        waiting = list(self.resolve(statement.module, change.what))
        seen: set[_Target] = set()
        while waiting:
            target = waiting.pop(0)
            if target in seen:
                continue
            seen.add(target)
            if not target.is_definition:
                if target.module and change.is_any_name:
                    bound = self._modules[target.module].bound
                    waiting += [_Target(target.module, name) for name in bound]
                continue
            for maker in self._modules[target.module].bound[target.name]:
                for alias in maker.reading.aliases:
                    waiting += self.resolve(maker.module, alias)
            key = (target.module, target.name)
            if target.module == statement.module.name and target.name in statement.names:
                continue
            makers = self._modules[target.module].bound[target.name]
            is_made = all(s.is_function or s.is_class for s in makers)
            if change.method:
                unsure = change.method not in _PURE_METHODS and not is_made
                if change.method not in _MUTATORS and not (change.is_top and unsure):
                    continue
            if change.callee is not None and (
                is_made
                or all(_is_immutable(s.node) for s in makers)
                or not self._may_change_arguments(statement.module, change.callee)
            ):
                continue
            yield key

    def _may_change_arguments(self, module: _Module, callee: _Reference) -> bool:
        for target in self.resolve(module, callee):
            if target.is_definition:
                makers = self._modules[target.module].bound[target.name]
                if any(s.reading.changes_arguments for s in makers):
                    return True
            elif target.name.rpartition(".")[2] not in _PURE_CALLS:
                return True
        return False

    def effects(self, module: str, name: str) -> "list[_Statement]":
        """Return the statements that change a definition from elsewhere."""
        return self._effects.get((module, name), [])

    @cached_property
    def _members(self) -> dict[tuple[str, str], frozenset[str]]:
        """By class, the names of what its instances have, bases in the package included."""
        own: dict[tuple[str, str], set[str]] = {}
        above: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for base, below in self.subclasses.items():
            for one in below:
                above[one].append(base)
        for statement in self.statements():
            if statement.is_class:
                members = statement.reading.members | statement.reading.own_attributes
                own[statement.module.name, statement.names[0]] = members
        whole: dict[tuple[str, str], frozenset[str]] = {}
        for key, members in own.items():
            waiting, found, seen = list(above[key]), set(members), {key}
            while waiting:
                base = waiting.pop()
                if base not in seen:
                    seen.add(base)
                    found |= own.get(base, set())
                    waiting += above[base]
            whole[key] = frozenset(found)
        return whole

    def fitting(self, module: str, name: str) -> list[tuple[str, str]]:
        """Return the classes that fit a protocol by the names that they have."""
        wanted = {item for item in self._members[module, name] if not item.startswith("__")}
        wanted |= self._members[module, name] & {"__call__", "__getitem__", "__iter__", "__len__"}
        if not wanted:
            return []
        return [key for key, members in self._members.items() if wanted <= members]

    def imports_behind(self, name: str) -> frozenset[str]:
        """Return the modules of the package that importing one imports, itself included."""
        if name not in self._import_closure:
            seen: set[str] = set()
            waiting = [name]
            while waiting:
                one = waiting.pop()
                if one in seen or one not in self._modules:
                    continue
                seen.add(one)
                waiting += self._modules[one].may_load
            self._import_closure[name] = frozenset(seen)
        return self._import_closure[name]

    @cached_property
    def _import_closure(self) -> dict[str, frozenset[str]]:
        return {}

    @cached_property
    def acting(self) -> dict[str, list[_Statement]]:
        """By module, its statements that change what is outside the package."""
        found: dict[str, list[_Statement]] = defaultdict(list)
        for statement in self.statements():
            if self._acts(statement):
                found[statement.module.name].append(statement)
        return found

    def _acts(self, statement: _Statement) -> bool:
        if statement.is_function or statement.is_class:
            return False
        for change in statement.reading.acts:
            if change is None:
                return True
            if any(not target.module for target in self.resolve(statement.module, change)):
                return True
        return False


class _Kept(dict[str, str]):
    """Digests by what was asked for, in a file that processes over equal files share.

    See `kept`: one that is damaged, or of other content, is not read.
    """

    def __init__(self, folder: Path | None = None, content: str = "") -> None:
        super().__init__()
        self._file = folder / f"code-{content[:CODE_LENGTH]}.json" if folder else None
        self._content = content
        self.update(self._read())
        self._n_written = len(self)

    def _read(self) -> dict[str, str]:
        text = None if self._file is None else read_kept(self._file, self._content)
        found: dict[str, str] = json.loads(text) if text is not None else {}
        return found

    def write(self) -> None:
        """Add what is new to the file, which readers see before or after; nothing is waited for."""
        if self._file is None or len(self) == self._n_written:
            return
        self.update(self._read())
        self._n_written = len(self)
        write_kept(self._file, self._content, json.dumps(self, sort_keys=True))
        with suppress(OSError):
            files = sorted(self._file.parent.glob("code-*"), key=lambda path: path.stat().st_mtime)
            for path in files[:-CACHED_VERSIONS]:
                path.unlink(missing_ok=True)


def _query(roots: Collection[Root], select: Select, bare: Collection[Root]) -> str:
    """Return what names a question for a digest."""
    chosen = [[registry, sorted(keys)] for registry, keys in select.items()]
    return json.dumps([[_named(root) for root in roots], chosen, [_named(root) for root in bare]])


def _named(root: Root) -> str:
    return root if isinstance(root, str) else f"{root.__module__}:{root.__qualname__}"


@contextmanager
def _no_collections() -> Iterator[None]:
    """Leave out the collector: syntax holds no cycles, and scanning it doubles the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class _Target(NamedTuple):
    """What a name stands for: a definition, a whole module, or (no module) something foreign."""

    module: str
    name: str = ""

    @property
    def is_definition(self) -> bool:
        return bool(self.module and self.name)

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


class _Walk:
    """From roots to all that they reach."""

    def __init__(self, code: Code, select: Select) -> None:
        self._code = code
        self._names: set[tuple[str, str, bool]] = set()
        self._statements: dict[_Statement, _Reading] = {}
        self._whole: set[str] = set()
        self._touched: set[str] = set()
        self._data: set[Path] = set()
        self._waiting: list[tuple[str, str, bool]] = []
        self._bare: set[tuple[str, str]] = set()
        self._selected: dict[_Statement, _Reading] = {}
        self._left_out: set[tuple[str, str]] = set()
        for registry, keys in select.items():
            self._choose(registry, keys)

    def of(self, roots: Collection[Root], bare: Collection[Root]) -> "_Walk":
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
        for module, name, _ in self._names:
            yield f"{module}:{name}"
        for statement in self._statements:
            yield statement.label
        for path in self._data:
            yield path.relative_to(self._code.root).as_posix()

    def lines(self) -> list[str]:
        """Return one line per statement and data file, in an order that layout does not change."""
        keyed = [
            (_place(statement), self._code.line(statement, reading))
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
            self._reach(self._code.resolve(module, _Reference("", (), target)), is_type=is_type)
        for statement in self._code.effects(module_name, name):
            self._statement(statement)

    def _kinds(self, statement: _Statement) -> None:
        """Reach the classes whose instances a value of a class may be."""
        key = (statement.module.name, statement.names[0])
        found = list(self._code.subclasses.get(key, ()))
        if statement.reading.is_protocol:
            found += self._code.fitting(*key)
        for one in found:
            if one not in self._left_out:
                self._waiting.append((*one, True))

    def _statement(self, statement: _Statement) -> None:
        if statement in self._statements:
            return
        module = statement.module
        reading = self._selected.get(statement)
        is_bare = any((module.name, name) in self._bare for name in statement.names)
        if reading is None and is_bare and statement.node is not None:
            reading = _Reader(module).read(statement.node, bare=True)
        reading = reading or statement.reading
        self._statements[statement] = reading
        for name in statement.names:
            self._waiting.append((module.name, name, False))
        for targets, is_type in self._code.named_in(statement, reading):
            self._reach(targets, is_type=is_type)
            if any(t.name.startswith(_RESOURCE_CALLS) for t in targets if not t.module):
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

    def _reach(self, targets: Iterable[_Target], *, is_type: bool) -> None:
        for target in targets:
            if target.is_definition:
                self._waiting.append((target.module, target.name, is_type))
            elif target.module:
                module = self._code.module(target.module)
                assert module is not None, target.module
                self._module(module)
            elif target.name in ("importlib.import_module", "__import__"):
                pass  # its argument is a string, which `_text` looks at

    def _module(self, module: _Module) -> None:
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

    def _open(self, module: _Module, reading: _Reading) -> None:
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
            whole = _Reading()
            entries: list[tuple[set[str], list[ast.expr]]] = []
            # Of a table none of which is wanted nothing need be known; the classes of a union
            # are left out one by one, or they would be reached as what a value may be.
            if wanted or _is_union(statement.node):
                entries = [
                    (self._keys_of(module, key, value), [e for e in (key, value) if e is not None])
                    for key, value in _entries(statement.node, registry)
                ]
            for keys_of, parts in entries:
                is_chosen = bool(keys_of & wanted)
                seen |= keys_of
                for part in parts:
                    reading = _Reader(module).read(part)
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

    def _keys_of(self, module: _Module, key: ast.expr | None, value: ast.expr) -> set[str]:
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
        for reference in _Reader(module).read(expression).references:
            for target in self._code.resolve(module, reference):
                place = self._code.module(target.module)
                for statement in place.bound.get(target.name, ()) if place else ():
                    names |= statement.reading.kinds
        return names


class _Change(NamedTuple):
    """A name that code changes: by assignment, by a method, or by giving it to a call."""

    what: _Reference
    is_top: bool
    method: str = ""
    callee: _Reference | None = None
    is_any_name: bool = False  # of a module, any of its names


_UNKNOWN = _Reference("", (), "unknown:call", False)  # what is called, where no name says it


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


class _Reader:
    """From syntax to its normal form, with the names of the module that it uses."""

    def __init__(self, module: "_Module") -> None:
        self._module = module
        self._scopes: list[_Scope] = []
        self._is_top = True  # whether what is read runs where it stands, not when called
        self._out = _Reading()
        self._is_quiet = False
        self._is_annotation = False
        self._aliases: dict[str, list[_Reference]] = defaultdict(list)  # of the statement's names

    def read(self, node: ast.AST, *, bare: bool = False) -> _Reading:
        """Return what a piece of syntax holds; `bare`: without its decorators."""
        if bare and isinstance(node, _FUNCTION):
            self._function(node, is_bare=True)
        else:
            self._visit(node)
        if isinstance(node, ast.ClassDef):
            self._out.members = self._members(node)
            self._out.kinds = frozenset(_kinds_in(node))
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
        for name, target in _imports(node, self._module.package):
            self._say(f"import {name} {target}")
            self._out.imports.update(_modules_of(target))
        if isinstance(node, ast.Import):
            self._out.imports.update(alias.name for alias in node.names)

    def _global(self, node: ast.Global) -> None:
        for name in node.names:
            self._say(f"global {name}")
            self._change(ast.Name(name, ast.Store()))

    def _expression(self, node: ast.Expr) -> None:
        if not _is_prose(node):
            self._generic(node)

    def _subscript(self, node: ast.Subscript) -> None:
        if self._is_annotation and _is_literal(node):
            self._is_annotation = False  # its strings are values, not names of types
            self._generic(node)
            self._is_annotation = True
        else:
            self._generic(node)

    def _generic(self, node: ast.AST) -> None:
        self._acts(node)
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for one, given in _unpacked(target, node.value):
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
            if isinstance(one, ast.Attribute) and one.attr in _MUTATORS:
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
                _Reference(name, attributes, target, is_type, not self._is_quiet)
            )
            if not target:
                self._out.is_open |= name in _RUNTIME_NAMESPACE and not self._module.has(name)
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
        if isinstance(node.ctx, _WRITES):
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
        elif self._is_top and word not in (_PURE_CALLS if callee else _PURE_CALLS | _PURE_METHODS):
            for argument in given:
                value = argument.value if isinstance(argument, ast.Starred) else argument
                self._change(value, callee=callee or _UNKNOWN)
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

    def _base(self, node: ast.AST, *, is_callee: bool = False) -> _Reference | None:
        """Return the module's name that an expression is a part of, with plain attributes."""
        attributes: list[str] = []
        while isinstance(node, _PARTS):
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
        return _Reference(name, tuple(reversed(attributes)), target, False)

    def _change(
        self,
        node: ast.AST,
        *,
        method: str = "",
        callee: _Reference | None = None,
        is_top: bool | None = None,
        is_any_name: bool = False,
    ) -> None:
        base = self._base(node)
        # An attribute of a module is the name itself; of anything else, a part.
        changed = [base] if base is not None else []
        attributes: list[str] = []
        while isinstance(node, _PARTS):
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
            self._out.changes.append(_Change(one, is_top, method, callee, is_any_name))
        if base is not None:
            return
        if isinstance(node, ast.Name) and (not method or method in _MUTATORS):
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

    def _body(self, arguments: ast.arguments, body: "list[ast.stmt] | list[ast.expr]") -> None:
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra]
        parameters = {argument.arg for argument in every}
        bound = _bound(body, self._module.package, self._module.binds_inside)
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

    def _comprehension(self, node: _Comprehension) -> None:
        names = {name for part in node.generators for name in _names_in(part.target)}
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
        return _bound(node.body, "", self._module.binds_inside).names

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
_READERS: Mapping[type[ast.AST], Callable[[_Reader, Any], None]] = {
    ast.Name: _Reader._named,
    ast.Constant: _Reader._constant,
    ast.Attribute: _Reader._attribute,
    ast.Call: _Reader._call,
    ast.FunctionDef: _Reader._function,
    ast.AsyncFunctionDef: _Reader._function,
    ast.Lambda: _Reader._lambda,
    ast.ListComp: _Reader._comprehension,
    ast.SetComp: _Reader._comprehension,
    ast.DictComp: _Reader._comprehension,
    ast.GeneratorExp: _Reader._comprehension,
    ast.ClassDef: _Reader._class,
    ast.AnnAssign: _Reader._annotated,
    ast.Import: _Reader._import,
    ast.ImportFrom: _Reader._import,
    ast.Global: _Reader._global,
    ast.Expr: _Reader._expression,
    ast.Subscript: _Reader._subscript,
}


@dataclass
class _Bound:
    """What a body binds in its own scope, not what the functions and classes in it do."""

    names: set[str] = field(default_factory=set)
    imports: list[tuple[str, str]] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)  # modules of `import a.b`
    declared: set[str] = field(default_factory=set)  # global


def _bound(body: Iterable[ast.AST], package: str, binds_inside: bool) -> _Bound:
    """Return the names that a body binds, its imports and what it declares global.

    Args:
        body: statements, or an expression.
        package: of the module, from which its relative imports count.
        binds_inside: whether expressions may bind names; most modules have none that do.
    """
    found = _Bound()
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
                    found.imports += _imports(node, package)
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
                    or isinstance(getattr(item, "ctx", None), _WRITES)
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


def _imports(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str]]:
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


def _modules_of(target: str) -> tuple[str, str]:
    """Return what an import may load: the module that it names, or that with the name in it."""
    return target.partition(":")[0], target.replace(":", ".")


def _unpacked(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Return what is given to what by an assignment: part by part where both are written out."""
    written = (ast.Tuple, ast.List)
    if not isinstance(target, written) or not isinstance(value, written):
        return [(target, value)]
    parts = [*target.elts, *value.elts]
    if len(target.elts) != len(value.elts) or any(isinstance(one, ast.Starred) for one in parts):
        return [(target, value)]
    pairs = zip(target.elts, value.elts, strict=True)
    return [pair for one, of in pairs for pair in _unpacked(one, of)]


def _names_in(target: ast.expr) -> Iterator[str]:
    for node in ast.walk(target):
        if isinstance(node, ast.Name):
            yield node.id


def _is_prose(node: ast.AST) -> bool:
    """Whether a statement is a docstring, or text under a field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str | type(...))
    )


def _is_literal(node: ast.Subscript) -> bool:
    base = node.value
    return (isinstance(base, ast.Name) and base.id == "Literal") or (
        isinstance(base, ast.Attribute) and base.attr == "Literal"
    )


def _is_main(node: ast.AST) -> bool:
    """Whether a statement runs only when its file is the program."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.left, ast.Name)
        and node.test.left.id == "__name__"
        and not node.orelse
    )


def _is_immutable(node: ast.AST | None) -> bool:
    """Whether a statement binds a name to text, a number, or a tuple of such."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if value is None:
        return False
    kinds = (ast.Constant, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.JoinedStr, ast.expr_context)
    parts = (*kinds, ast.unaryop, ast.operator, ast.FormattedValue)
    return all(isinstance(part, parts) for part in ast.walk(value))


def _place(statement: _Statement) -> tuple[str, int, str, int]:
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


def _is_union(node: ast.stmt | None) -> bool:
    """Return whether a statement declares an annotated union."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return isinstance(value, ast.Subscript)


def _entries(node: ast.stmt | None, registry: str) -> Iterator[tuple[ast.expr | None, ast.expr]]:
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


def _kinds_in(node: ast.ClassDef) -> Iterator[str]:
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
