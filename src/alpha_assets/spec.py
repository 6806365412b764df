"""Typed, frozen declarations read from TOML, and the digest that names them.

Every component declares its own `Spec` beside its code; `config.market` and `config.recipe`
only compose them.  Two specs with the same digest must give the same numbers.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, fields
from datetime import date, datetime, time
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, get_args, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from alpha_assets.errors import SpecError, did_you_mean, spelled

DIGEST_LENGTH = 12  # hexadecimal digits
NONE = "none"
LARGEST = 2**63  # of integers, by absolute value
OPENS_TOML = ("[", "{", '"', "'")  # begins of values that are never plain text
# What is wanted, in the words of TOML, by pydantic's name of the problem; it has those of JSON.
WANTED: Mapping[str, str] = {
    "dict_type": "want a section, or a table in braces",
    "model_type": "want a section, or a table in braces",
    "tuple_type": "want a list, in brackets",
    "list_type": "want a list, in brackets",
    "too_short": "want at least {min_length} of them",
}


class Spec(BaseModel):
    """Base of all declarations: frozen, strict about types, and without unknown keys.

    The text under a field is its description in docs/MARKETS.md or docs/RECIPES.md, whose program
    reads it: pydantic would look through every file whenever it is imported.  TOML has no null: the
    word `"none"` stands for it where a key is annotated with `OFF`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    @classmethod
    def switched_off(cls) -> frozenset[str]:
        """Return the keys that `"none"` switches off."""
        return frozenset(name for name, field in cls.model_fields.items() if OFF in field.metadata)


ValuesT = TypeVar("ValuesT", bound=tuple[Any, ...])


def _refuse_twice(values: ValuesT) -> ValuesT:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} stands twice; want each once")
    return values


EACH_ONCE = AfterValidator(_refuse_twice)  # of a list in which a value twice says nothing more


def _none_in_words(value: object) -> object:
    return None if value == NONE else value


OFF = BeforeValidator(_none_in_words)  # of a key that may be None and has another default


class PickledByFields:
    """Base of frozen dataclasses that keep what they compute.

    What is kept may be unfit to be pickled, or belong to one process; a copy in another process
    computes it again.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __getstate__(self) -> dict[str, object]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


P = ParamSpec("P")
KeeperT = TypeVar("KeeperT", bound=PickledByFields)
MadeT = TypeVar("MadeT")
KEPT = "_kept"  # on an object: what `kept` made of it


def kept(
    make: Callable[Concatenate[KeeperT, P], MadeT],
) -> Callable[Concatenate[KeeperT, P], MadeT]:
    """Make something of a frozen object and plain arguments once, and keep it with the object.

    Declarations are built from those below them: without this, each one builds all of them again.
    What is made must be frozen too.  It is neither pickled nor part of a comparison.
    """

    @wraps(make)
    def once(of: KeeperT, /, *args: P.args, **named: P.kwargs) -> MadeT:
        found: dict[object, Any] = of.__dict__.setdefault(KEPT, {})
        key = (make, *map(_plain, args), *((name, _plain(named[name])) for name in sorted(named)))
        if key not in found:
            found[key] = make(of, *args, **named)
        made: MadeT = found[key]
        return made

    return once


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Section = dict[str, Any] | list[Any]  # of a TOML file
SpecT = TypeVar("SpecT", bound=Spec)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        SpecError: the file is missing or is not TOML; the message names line and column.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin with a mark
    except FileNotFoundError:
        raise SpecError(f"{path}: there is no such file") from None
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number without end
        raise SpecError(f"{path}: not a TOML file: {error}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None


def parse_spec(tables: Mapping[str, Any], model: type[SpecT], origin: str) -> SpecT:
    """Return `tables` as a `model`.

    Args:
        tables: what a TOML file holds.
        model: the declaration wanted.
        origin: where the tables came from; every line of an error starts with it.

    Raises:
        SpecError: with one line per problem: file, key, what it got, what it wants.
    """
    _refuse_not_finite(tables, origin)
    try:
        # Through JSON, because strict JSON mode reads a list as a tuple and text as a date.
        return model.model_validate_json(json.dumps(tables, default=_as_text))
    except ValidationError as error:
        problems = _causes(error.errors(include_url=False))
        lines = [_problem(origin, problem, tables, model) for problem in problems]
        raise SpecError("\n".join(lines)) from None


def override(tables: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `tables` with each `section.key=value` applied, values read as TOML.

    In a list of sections the place stands for the key: `loss.0.kind=mse`.

    A value that is not TOML is taken as text, so that `model.kind=ridge` needs no quotes; one that
    opens a list, a table or a text in quotes is TOML or an error.

    Raises:
        SpecError: an assignment without `=`, a path through something that is no table, or a list,
            a table or a text in quotes that is not TOML.
    """
    changed: dict[str, Any] = json.loads(json.dumps(tables, default=_as_text))
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise SpecError(f"--set {assignment}: want section.key=value")
        table: Section = changed
        for key in keys[:-1]:
            table = _inside(table, key, assignment)
        value = _toml_value(text.strip(), assignment)
        if isinstance(table, list):
            table[_place(table, keys[-1], assignment)] = value
        else:
            table[keys[-1]] = value
    return changed


def _inside(table: Section, key: str, assignment: str) -> Section:
    """Return the section or the list that a key of a section or a list names."""
    if isinstance(table, list):
        inner: object = table[_place(table, key, assignment)]
    else:
        inner = table.setdefault(key, {})
    if not isinstance(inner, dict | list):
        raise SpecError(f"--set {assignment}: {key!r} is a value, not a section")
    return inner


def _place(table: list[Any], key: str, assignment: str) -> int:
    """Return the place in a list that a key names.

    Raises:
        SpecError: it is no place of the list.
    """
    if not key.isdecimal() or int(key) >= len(table):
        raise SpecError(
            f"--set {assignment}: {key!r} is no place in a list of {len(table)}; want a number "
            f"from 0 to {len(table) - 1}, or set the whole list"
        )
    return int(key)


def canonical_json(value: object) -> str:
    """Return one text for one value: sorted keys, no spaces, specs as their fields."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_as_text)


def digest(*parts: object) -> str:
    """Return 12 hexadecimal digits that name `parts`: specs, mappings, text, numbers."""
    text = canonical_json(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def _as_text(value: object) -> object:
    """Return what JSON has no word for: specs as their fields, dates and paths as text."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a digest cannot hold a {type(value).__name__}: {value!r}")


def _toml_value(text: str, assignment: str) -> object:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        if not text.startswith(OPENS_TOML):
            return text
        raise SpecError(
            f"--set {assignment}: {text} is not TOML; in a list, text stands in quotes, which a "
            'shell keeps inside of others: --set \'section.key=["one", "two"]\''
        ) from None
    return json.loads(json.dumps(value, default=_as_text))


def _wrong_tag(key: str, context: Mapping[str, Any]) -> str:
    """Return which kinds a section may be of, with a guess at the one that was meant."""
    known = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
    near = get_close_matches(str(context["tag"]), known, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    name = str(context["discriminator"]).strip("'")
    return f"{key}.{name} = {spelled(str(context['tag']))}: want one of {', '.join(known)}{guess}"


def _written(location: Sequence[str | int], tables: object) -> str:
    """Return the path of a key as a file has it: without the kinds by which a section is read."""
    path, inside = list[str](), tables
    for place, part in enumerate(location, 1):
        if isinstance(inside, Mapping):
            if part not in inside and (part in inside.values() or place < len(location)):
                continue  # pydantic names the kind of a section after the section
            inside = inside.get(part)
        elif isinstance(inside, list) and isinstance(part, int) and part < len(inside):
            inside = inside[part]
        path.append(str(part))
    return ".".join(path)


def _nearest_choice(problem: Mapping[str, Any]) -> str:
    """Return a guess at the word that was meant; empty where none is near."""
    known = str(problem.get("ctx", {}).get("expected", "")).split("'")[1::2]
    near = get_close_matches(str(problem["input"]), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _refuse_not_finite(value: object, origin: str, key: str = "") -> None:
    """Refuse a number that is infinite, none, or larger than 64 bits, which TOML can write.

    Raises:
        SpecError: naming the key.
    """
    if isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, inner in items:
            _refuse_not_finite(inner, origin, f"{key}.{name}" if key else str(name))
    elif isinstance(value, int) and abs(value) >= LARGEST:
        raise SpecError(f"{origin}: {key} = {value}; want a number below {LARGEST:,}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"{origin}: {key} = {value}; want a finite number")


def _causes(problems: Sequence[Any]) -> list[Any]:
    """Return problems without those of lists that are too short since an item of them is wrong."""
    places = [problem["loc"] for problem in problems]

    def follows(at: tuple[str | int, ...]) -> bool:
        return any(len(place) > len(at) and place[: len(at)] == at for place in places)

    return [one for one in problems if one["type"] != "too_short" or not follows(one["loc"])]


def _unknown_key(key: str, problem: Mapping[str, Any], model: type[Spec]) -> str:
    """Return that there is no such key, and the nearest one: of its section, or of another."""
    section, _, name = key.rpartition(".")
    known = _keys_at(model, problem["loc"][:-1])
    near = did_you_mean(name, known, 1)
    if not near:
        others = [
            f"{other}.{name}"
            for other in model.model_fields
            if other != section and name in _keys_at(model, (other,))
        ]
        near = f"did you mean {' or '.join(others)}? " if others else ""
    odd = spelled(key).removeprefix(repr(key))
    return f"unknown key {key!r}{odd} (it holds {problem['input']!r}); {near}remove or rename it"


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the keys that a section may have, by the path under which pydantic names it."""
    specs = [model]
    for part in location:
        types = [found for spec in specs if (found := _type_of(spec, part)) is not None]
        if types:
            specs = [one for found in types for one in specs_in(found)]
        else:  # a place in a list, or the kind of a section that may be of several
            specs = [one for one in specs if part in _kinds(one)] or specs
    return list(dict.fromkeys(name for spec in specs for name in spec.model_fields))


def _type_of(spec: type[BaseModel], part: str | int) -> Any:  # noqa: ANN401 -- any type
    """Return the type of a key, or of what a section holds by names of its own; None if neither."""
    if part in spec.model_fields:
        return spec.model_fields[str(part)].annotation
    if spec.model_config.get("extra") != "allow":
        return None
    return get_type_hints(spec, include_extras=True)["__pydantic_extra__"]


def _kinds(spec: type[BaseModel]) -> list[object]:
    """Return the words that stand in fields of few words, by which a kind is chosen."""
    return [word for field in spec.model_fields.values() for word in get_args(field.annotation)]


def specs_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 -- any type
    """Return the declarations that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for part in get_args(annotation):
        yield from specs_in(part)


def _problem(
    origin: str, problem: Mapping[str, Any], tables: Mapping[str, Any], model: type[Spec]
) -> str:
    key = _written(problem["loc"], tables)
    reason = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{origin}: {_unknown_key(key, problem, model)}"
    if problem["type"] == "union_tag_invalid":
        return f"{origin}: {_wrong_tag(key, problem['ctx'])}"
    if problem["type"] == "missing":
        return f"{origin}: key {key!r} is missing"
    if problem["type"] == "union_tag_not_found":
        name = str(problem["ctx"]["discriminator"]).strip("'")
        return f"{origin}: key '{key}.{name}' is missing"
    if problem["type"] == "literal_error":
        reason += _nearest_choice(problem)
    if problem["type"] in WANTED:
        reason = WANTED[problem["type"]].format(**problem.get("ctx", {}))
    if problem["type"] == "value_error":
        section, _, name = key.rpartition(".")
        if isinstance(problem["input"], Mapping):  # a section, or the whole file: it names keys
            return f"{origin}: {key}: {reason}" if key else f"{origin}: {reason}"
        if reason.startswith(f"{name} = "):  # it names the key and its value
            return f"{origin}: {section}.{reason}" if section else f"{origin}: {reason}"
    return f"{origin}: {key} = {_shown(problem['input'])}: {reason}"


def _shown(value: object) -> str:
    """Return a value as a file has it, as far as that differs from Python."""
    return str(value).lower() if isinstance(value, bool) else repr(value)
