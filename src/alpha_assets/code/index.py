"""All modules of a package: what each name stands for, and what changes it from elsewhere."""

import gc
import hashlib
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from alpha_assets.code.kept import CODE_LENGTH, KeptDigests
from alpha_assets.code.modules import Module, Statement, read_module
from alpha_assets.code.records import Change, Reading, Reference, Target
from alpha_assets.code.roots import Root, Select, name_of, query_of
from alpha_assets.code.syntax import (
    BUILTINS,
    MUTATORS,
    PACKAGE,
    PURE_CALLS,
    PURE_METHODS,
    is_immutable,
)
from alpha_assets.code.walk import Walk
from alpha_assets.errors import BadInput

FORMAT = "alpha-assets code 1"
_NO_SOURCE = (".pyc", ".pyo")


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
        for parts in sorted(_files_below(root)):
            name = "/".join(parts)
            content = Path(f"{root}/{name}").read_bytes()
            if name.endswith(".py"):
                self._sources[Path(name)] = content
            elif parts[-1] != "py.typed":
                self.data[root / name] = hashlib.sha256(content).hexdigest()
        if Path("__init__.py") not in self._sources:
            raise BadInput(f"{root}: no package: it has no __init__.py")
        self._kept = KeptDigests(cache, self._content()) if cache is not None else KeptDigests()
        self._resolved: dict[tuple[str, Reference], tuple[Target, ...]] = {}
        self._named: dict[Statement, Mapping[tuple[tuple[Target, ...], bool], None]] = {}
        self._lines: dict[Statement, str] = {}

    def _content(self) -> str:
        """Return what names all that digests are computed from, and by what."""
        ours = sorted(Path(__file__).parent.glob("*.py"))
        by = hashlib.sha256(b"".join(path.read_bytes() for path in ours)).hexdigest()
        files = {
            **{name: hashlib.sha256(source).hexdigest() for name, source in self._sources.items()},
            **{path.relative_to(self.root): name for path, name in self.data.items()},
        }
        lines = [f"{name} {path.as_posix()}" for path, name in files.items()]
        return hashlib.sha256("\n".join([sys.version, by, *lines]).encode()).hexdigest()

    @cached_property
    def _modules(self) -> dict[str, Module]:
        with no_collections():
            modules = [read_module(path, source) for path, source in self._sources.items()]
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
        query = query_of(roots, select or {}, bare)
        found = self._kept.get(query)
        if found is None:
            lines = Walk(self, select or {}).of(roots, bare).lines()
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
        return frozenset(Walk(self, select or {}).of(roots, bare).labels())

    def statements(self) -> Iterator[Statement]:
        """Return every statement of a top level."""
        for module in self._modules.values():
            yield from module.statements

    def modules(self) -> Collection[Module]:
        """Return the modules of the package."""
        return self._modules.values()

    def module(self, name: str) -> Module | None:
        """Return a module of the package, if there is one of the name."""
        return self._modules.get(name)

    def find(self, root: Root) -> tuple[Module, str]:
        """Return the module and the name of a root.

        Raises:
            BadInput: there is none.
        """
        text = name_of(root)
        place, _, name = text.partition(":")
        name = name.partition(".")[0]
        module = self._modules.get(place)
        if module is None or not module.has(name):
            raise BadInput(f"code {text!r}: {self.root} has no such definition; want module:name")
        return module, name

    def resolve(self, module: Module, reference: Reference) -> tuple[Target, ...]:
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
        self, statement: Statement, reading: Reading
    ) -> Mapping[tuple[tuple[Target, ...], bool], None]:
        """Return what a reading of a statement names, and whether as a type, each once."""
        if reading is not statement.reading:
            return self._named_in(statement.module, reading)
        if statement not in self._named:
            self._named[statement] = self._named_in(statement.module, reading)
        return self._named[statement]

    def _named_in(
        self, module: Module, reading: Reading
    ) -> dict[tuple[tuple[Target, ...], bool], None]:
        return dict.fromkeys(
            (self.resolve(module, reference), reference.is_type) for reference in reading.references
        )

    def line(self, statement: Statement, reading: Reading) -> str:
        """Return what names a reading of a statement: its text, and what foreign names mean."""
        if reading is not statement.reading:
            return self._line(statement, reading)
        if statement not in self._lines:
            self._lines[statement] = self._line(statement, reading)
        return self._lines[statement]

    def _line(self, statement: Statement, reading: Reading) -> str:
        text = hashlib.sha256("\n".join(reading.text).encode()).hexdigest()
        meant = sorted(self._meanings(statement.module, reading))
        names = ",".join(statement.names)
        return f"{statement.module.name}:{names} {text} {' '.join(meant)}"

    def _meanings(self, module: Module, reading: Reading) -> Iterator[str]:
        for reference in set(reading.references):
            if not reference.counts:
                continue
            if reference.target or reference.name not in module.bound:
                targets = self.resolve(module, reference)
                dotted = ".".join((reference.name, *reference.attributes))
                yield f"{dotted}={'|'.join(sorted(map(str, targets)))}"

    def _dotted(
        self, target: str, attributes: tuple[str, ...], seen: frozenset[tuple[str, ...]]
    ) -> list[Target]:
        place, _, name = target.partition(":")
        parts = (name, *attributes) if name else attributes
        if place.partition(".")[0] != PACKAGE:
            return [Target("", ".".join((place, *parts)))]
        if place in self._modules:
            return self._inside(self._modules[place], parts, seen)
        above, _, last = place.rpartition(".")
        return self._dotted(above, (last, *parts), seen)

    def _inside(
        self,
        module: Module,
        parts: tuple[str, ...],
        seen: frozenset[tuple[str, ...]],
        *,
        is_bare: bool = False,
    ) -> list[Target]:
        if not parts:
            return [Target(module.name)]
        name, *rest = parts
        asked = (module.name, *parts)
        if asked in seen:  # a package's import of its own module, or a circle
            return []
        seen |= {asked}
        found: list[Target] = []
        below = self._modules.get(f"{module.name}.{name}") if module.is_package else None
        is_own = False
        if name in module.bound:
            found.append(Target(module.name, name))
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
                found.append(Target("", f"{star}.{name}"))
            else:
                found += self._inside(source, parts, seen)
        if found:
            return found
        if (is_bare and name in BUILTINS) or (name.startswith("__") and name.endswith("__")):
            return [Target("", name)]
        return [Target(module.name)]

    @cached_property
    def _effects(self) -> dict[tuple[str, str], list[Statement]]:
        """By definition, the statements that change it from elsewhere."""
        with no_collections():
            return self._effects_of_all()

    def _effects_of_all(self) -> dict[tuple[str, str], list[Statement]]:
        effects: dict[tuple[str, str], list[Statement]] = defaultdict(list)
        writers: dict[Statement, list[tuple[str, str]]] = defaultdict(list)
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
        writers: Mapping[Statement, list[tuple[str, str]]],
        effects: dict[tuple[str, str], list[Statement]],
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
        writers: Mapping[Statement, list[tuple[str, str]]],
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

    def _changed(self, statement: Statement, change: Change) -> Iterator[tuple[str, str]]:
        """Return the definitions that a change in a statement changes."""
        waiting = list(self.resolve(statement.module, change.what))
        seen: set[Target] = set()
        while waiting:
            target = waiting.pop(0)
            if target in seen:
                continue
            seen.add(target)
            if not target.is_definition:
                if target.module and change.is_any_name:
                    bound = self._modules[target.module].bound
                    waiting += [Target(target.module, name) for name in bound]
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
                unsure = change.method not in PURE_METHODS and not is_made
                if change.method not in MUTATORS and not (change.is_top and unsure):
                    continue
            if change.callee is not None and (
                is_made
                or all(is_immutable(s.node) for s in makers)
                or not self._may_change_arguments(statement.module, change.callee)
            ):
                continue
            yield key

    def _may_change_arguments(self, module: Module, callee: Reference) -> bool:
        for target in self.resolve(module, callee):
            if target.is_definition:
                makers = self._modules[target.module].bound[target.name]
                if any(s.reading.changes_arguments for s in makers):
                    return True
            elif target.name.rpartition(".")[2] not in PURE_CALLS:
                return True
        return False

    def effects(self, module: str, name: str) -> list[Statement]:
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
    def acting(self) -> dict[str, list[Statement]]:
        """By module, its statements that change what is outside the package."""
        found: dict[str, list[Statement]] = defaultdict(list)
        for statement in self.statements():
            if self._acts(statement):
                found[statement.module.name].append(statement)
        return found

    def _acts(self, statement: Statement) -> bool:
        if statement.is_function or statement.is_class:
            return False
        for change in statement.reading.acts:
            if change is None:
                return True
            if any(not target.module for target in self.resolve(statement.module, change)):
                return True
        return False


def _files_below(root: Path) -> Iterator[tuple[str, ...]]:
    """Yield the files below a folder, each as the parts of its name; but what Python compiled."""
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name != "__pycache__"]
        below = Path(folder).relative_to(root).parts
        for name in files:
            if not name.endswith(_NO_SOURCE) and os.path.isfile(f"{folder}/{name}"):  # noqa: PTH113
                yield (*below, name)


@contextmanager
def no_collections() -> Iterator[None]:
    """Leave out the collector: syntax holds no cycles, and scanning it doubles the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
