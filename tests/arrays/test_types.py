"""Array types, keys and defaults are defined on the shelf and in no other room."""

import ast
from collections.abc import Iterator
from pathlib import Path

import alpha_assets
from alpha_assets.arrays import types
from alpha_assets.arrays.keys import KEYS

ROOT = Path(alpha_assets.__file__).parent
SHELF = {name for name in vars(types) if name[0].isupper()} - {"NDArray"}


def assignments() -> Iterator[tuple[str, str, str]]:
    """Return file, name and value of each assignment at the top of a module above the shelf."""
    for path in sorted(ROOT.rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if file.startswith("arrays/"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                yield file, node.targets[0].id, ast.unparse(node.value)


def test_no_room_defines_an_array_type_of_its_own() -> None:
    copies = [
        f"{file}: {name} = {value}"
        for file, name, value in assignments()
        if name in SHELF or value.startswith("NDArray[")
    ]
    assert not copies, "take it from alpha_assets.arrays.types"


def test_no_room_spells_the_key_or_the_default_of_max_stale_again() -> None:
    keys = ast.unparse(ast.parse(repr(KEYS)))
    copies = [
        f"{file}: {name} = {value}"
        for file, name, value in assignments()
        if value == keys or name in ("MAX_STALE", "DAYS_A_YEAR")
    ]
    assert not copies, "take it from alpha_assets.arrays"
