"""Declarations: what a TOML file may say, and the digest that names it."""

import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field

from alpha_assets.errors import SpecError
from alpha_assets.spec import (
    EACH_ONCE,
    OFF,
    PickledByFields,
    Spec,
    digest,
    kept,
    override,
    parse_spec,
    read_toml,
)


class Inner(Spec):
    size: int = Field(default=3, gt=0)
    names: Annotated[tuple[str, ...], EACH_ONCE] = ()


class OfName(Spec):
    kind: str = "plain"


def _refuse_even(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"odd = {number} is even; want an odd one")
    return number


class Outer(Spec):
    about: str
    start: date
    rate: float = 0.1
    inner: Inner = Inner()
    one: dict[str, OfName] = Field(default_factory=dict)
    counts: tuple[int, ...] = Field(default=(1,), min_length=1)
    odd: Annotated[int, AfterValidator(_refuse_even)] = 1


GOOD = 'about = "x"\nstart = 2020-01-06\nrate = 1\n[inner]\nsize = 4\nnames = ["a", "b"]\n'


def read_spec(path: Path, model: type[Any]) -> Any:
    return parse_spec(read_toml(path), model, origin=str(path))


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_with_its_types(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, GOOD), Outer)

    assert spec == Outer(
        about="x", start=date(2020, 1, 6), rate=1.0, inner=Inner(size=4, names=("a", "b"))
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "sizes = 3\n", r"recipe\.toml: unknown key 'inner\.sizes' \(it holds 3\)"),
        (GOOD + "sizes = 3\n", r"\(it holds 3\); did you mean size\? remove or rename it"),
        (GOOD + "about = 3\n", r"'inner\.about' \(it holds 3\); remove or rename it"),
        (GOOD + "rate = 3\n", r"'inner\.rate' \(it holds 3\); remove or rename it"),
        ("size = 3\n" + GOOD, r"'size' \(it holds 3\); did you mean inner\.size\? remove"),
        (
            GOOD + '"s\u0456ze" = 3\n',
            r"'inner\.s\u0456ze' \(with U\+0456 CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I\) "
            r"\(it holds 3\); did you mean size\?",
        ),
        (
            GOOD.replace('"a", "b"', '"a", "a"'),
            r"inner\.names = .*'a' stands twice; want each once",
        ),
        (GOOD + "[one.a]\nkidn = 3\n", r"'one\.a\.kidn' \(it holds 3\); did you mean kind\?"),
        (GOOD.replace("4", '"4"'), r"recipe\.toml: inner\.size = '4': .*valid integer"),
        (GOOD.replace("4", "{a = 1}"), r"inner\.size = {'a': 1}: .*valid integer"),
        (GOOD.replace("4", "true"), r"inner\.size = true: .*valid integer"),
        (GOOD.replace('["a", "b"]', '"a"'), r"inner\.names = 'a': want a list, in brackets"),
        (GOOD.replace('["a", "b"]', "{}"), r"inner\.names = {}: want a list, in brackets"),
        ('inner = 3\nabout = "x"\nstart = 2020-01-06\n', r"inner = 3: want a section, or a table"),
        ("counts = []\n" + GOOD, r"counts = \[\]: want at least 1 of them"),
        ("odd = 4\n" + GOOD, r"recipe\.toml: odd = 4 is even; want an odd one$"),
        (GOOD.replace("4", "0"), r"recipe\.toml: inner\.size = 0: .*greater than 0"),
        (GOOD.replace("2020-01-06", '"soon"'), r"recipe\.toml: start = 'soon': .*date"),
        (GOOD.replace('about = "x"', ""), r"recipe\.toml: key 'about' is missing"),
        (GOOD.replace("2020-01-06", "2020-02-30"), r"recipe\.toml: not a TOML file"),
        (GOOD.replace("4", "9" * 5000), r"recipe\.toml: not a TOML file: .*4300 digits"),
        (GOOD.replace("4", "9" * 30), r"inner\.size = 9{30}; want a number below 9,223,372"),
        ("about = 1 2\n", r"recipe\.toml: not a TOML file: .*line 1"),
    ],
)
def test_a_mistake_names_file_key_value_and_rule(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        read_spec(write(tmp_path, text), Outer)


def test_a_list_is_not_called_short_where_an_item_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(write(tmp_path, "counts = [1.5]\n" + GOOD), Outer)
    assert re.fullmatch(r".*: counts\.0 = 1\.5: [^\n]*", str(caught.value))
    with pytest.raises(SpecError, match=r"counts = \[\]: want at least 1"):
        read_spec(write(tmp_path, "counts = []\n" + GOOD), Outer)


def test_a_file_may_begin_with_the_mark_that_some_editors_write(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("\ufeff" + GOOD, encoding="utf-8")
    assert read_spec(path, Outer) == read_spec(write(tmp_path, GOOD), Outer)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("4", "0").replace("rate = 1", 'rate = "high"')
    with pytest.raises(SpecError) as caught:
        read_spec(write(tmp_path, text), Outer)
    assert "rate" in str(caught.value)
    assert "inner.size" in str(caught.value)


class Limited(Spec):
    limit: Annotated[float | None, OFF] = Field(default=0.1, gt=0)
    name: str | None = None


def test_none_in_words_switches_off_what_has_another_default(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, 'limit = "none"\nname = "none"\n'), Limited)

    assert (Limited().limit, spec.limit) == (0.1, None)
    assert spec.name == "none"
    with pytest.raises(SpecError, match=r"limit = 'off': .*valid number"):
        read_spec(write(tmp_path, 'limit = "off"\n'), Limited)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.toml: there is no such file"):
        read_spec(tmp_path / "nowhere.toml", Outer)


def test_an_override_is_read_as_toml_or_else_as_text() -> None:
    tables = override({"about": "x"}, ["inner.size=7", "about=two words", "start=2020-01-06"])
    assert tables == {"about": "two words", "inner": {"size": 7}, "start": "2020-01-06"}
    assert parse_spec(tables, Outer, "here").inner.size == 7


@pytest.mark.parametrize("wrong", ["inner.size", "=3", "inner..size=3", "about.more=3"])
def test_an_override_that_names_nothing_is_refused(wrong: str) -> None:
    with pytest.raises(SpecError, match="--set"):
        override({"about": "x"}, [wrong])


def test_the_digest_sees_every_value_and_no_order() -> None:
    one = Outer(about="x", start=date(2020, 1, 6))

    assert len(digest(one)) == 12
    assert digest(one) == digest(Outer(start=date(2020, 1, 6), about="x"))
    assert digest(one) != digest(one.model_copy(update={"rate": 0.2}))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest("a", "b") != digest("ab")


def test_a_digest_refuses_what_has_no_text() -> None:
    with pytest.raises(TypeError, match="a digest cannot hold a object"):
        digest(object())


@dataclass(frozen=True)
class Keeper(PickledByFields):
    """Something frozen that others are made of."""

    name: str


def test_what_is_kept_is_made_once_for_each_object_and_arguments() -> None:
    calls = []

    @kept
    def made(of: Keeper, some: Sequence[str] = (), *, more: int = 0) -> str:
        calls.append((of.name, tuple(some), more))
        return f"{of.name} {some} {more}"

    one, other = Keeper("one"), Keeper("one")
    assert made(one, ["a"]) == made(one, ("a",)) == "one ['a'] 0"
    assert made(one, ["a"], more=1) != made(one, ["b"])
    made(other, ["a"])
    assert calls == [("one", ("a",), 0), ("one", ("a",), 1), ("one", ("b",), 0), ("one", ("a",), 0)]
    # A copy in another process, or with another field, starts with nothing.
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert made(again, ["a"]) == made(replace(one, name="two"), ["a"]).replace("two", "one")
    assert len(calls) == 6


class Small(Spec):
    kind: Literal["small"] = "small"
    size: int = Field(default=1, gt=0)


class Big(Spec):
    kind: Literal["big"] = "big"
    size: int = Field(default=9, gt=0)


class Chosen(Spec):
    box: Small | Big = Field(discriminator="kind")


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ({"kind": "bigg"}, "here: box.kind = 'bigg': want one of small, big; did you mean 'big'?"),
        ({"kind": "round"}, "here: box.kind = 'round': want one of small, big"),
        ({}, "here: key 'box.kind' is missing"),
        ({"kind": "big", "size": 0}, "here: box.size = 0: Input should be greater than 0"),
        ({"kind": "big", "sise": 1}, "here: unknown key 'box.sise' (it holds 1)"),
    ],
)
def test_a_section_of_a_kind_is_named_by_the_keys_that_the_file_has(
    box: dict[str, object], words: str
) -> None:
    with pytest.raises(SpecError) as raised:
        parse_spec({"box": box}, Chosen, "here")
    assert str(raised.value).startswith(words)


@pytest.mark.parametrize("value", ["[ret_5]", '"ret_5', "{a=}", "['ret_5]"])
def test_an_override_that_opens_a_list_or_a_text_is_toml_or_an_error(value: str) -> None:
    with pytest.raises(SpecError) as raised:
        override({}, [f"features.names={value}"])
    assert str(raised.value) == (
        f"--set features.names={value}: {value} is not TOML; in a list, text stands in quotes, "
        """which a shell keeps inside of others: --set 'section.key=["one", "two"]'"""
    )
