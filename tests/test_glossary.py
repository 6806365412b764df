"""`docs/GLOSSARY.md` defines each term once, and every place that it names exists."""

import ast
from pathlib import Path

import pytest

from alpha_assets.code import installed

PAGE = Path(__file__).parents[1] / "docs" / "GLOSSARY.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| term "))
]


def defined(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """Return the names that a body binds, each with the body of its class."""
    found: dict[str, list[ast.stmt]] = {}
    for node in body:
        match node:
            case ast.ClassDef():
                found[node.name] = node.body
            case ast.FunctionDef():
                found[node.name] = []
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = []
    return found


def exists(place: str) -> bool:
    """Return whether a file, or a name in it, exists below the package."""
    file, _, dotted = place.partition(":")
    path = installed().root / file
    if not path.is_file():
        return False
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for name in filter(None, dotted.split(".")):
        names = defined(body)
        if name not in names:
            return False
        body = names[name]
    return True


@pytest.mark.parametrize(("term", "place"), [(row[0], row[2].strip("`")) for row in ROWS])
def test_a_term_is_declared_where_the_page_says(term: str, place: str) -> None:
    assert exists(place), (term, place)


def test_every_term_has_one_definition() -> None:
    terms = [row[0] for row in ROWS]
    assert len(terms) == len(set(terms)) > 60
    assert all(len(row) == 3 and row[1].endswith(".") for row in ROWS)


@pytest.mark.parametrize(
    "place", ["nothing.py", "calendar.py:Nothing", "calendar.py:Calendar.nothing"]
)
def test_a_place_that_is_not_there_is_seen(place: str) -> None:
    assert not exists(place)
