"""What is known of a piece of syntax once it was read, and what names in it stand for."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Reference(NamedTuple):
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


class Change(NamedTuple):
    """A name that code changes: by assignment, by a method, or by giving it to a call."""

    what: Reference
    is_top: bool
    method: str = ""
    callee: Reference | None = None
    is_any_name: bool = False  # of a module, any of its names


UNKNOWN = Reference("", (), "unknown:call", False)  # what is called, where no name says it


@dataclass
class Reading:
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
    references: list[Reference] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    strings: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    aliases: list[Reference] = field(default_factory=list)
    called: list[Reference] = field(default_factory=list)
    acts: list[Reference | None] = field(default_factory=list)
    bases: list[Reference] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    own_attributes: set[str] = field(default_factory=set)
    kinds: frozenset[str] = frozenset()
    reads_data: bool = False
    is_open: bool = False
    is_protocol: bool = False
    changes_arguments: bool = False

    def take(self, other: "Reading") -> None:
        """Add what another piece of syntax holds."""
        self.text += other.text
        self.references += other.references
        self.strings |= other.strings
        self.modules |= other.modules
        self.reads_data |= other.reads_data
        self.is_open |= other.is_open


class Target(NamedTuple):
    """What a name stands for: a definition, a whole module, or (no module) something foreign."""

    module: str
    name: str = ""

    @property
    def is_definition(self) -> bool:
        """Whether it is a name of the package, not a whole module."""
        return bool(self.module and self.name)

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"
