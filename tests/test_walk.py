"""The walks of docs/WALK.md name functions that exist."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "WALK.md"
NAMED = sorted(set(re.findall(r"`([a-z_.]+):([A-Za-z_.]+)`", PAGE.read_text(encoding="utf-8"))))
NAMED.remove(("module", "function"))


def test_the_page_names_what_a_value_passes() -> None:
    assert len(NAMED) > 25


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_what_the_page_names_exists_where_it_says(module: str, name: str) -> None:
    owner = importlib.import_module(f"alpha_assets.{module}")
    found = reduce(getattr, name.split("."), owner)
    assert callable(found)
    assert found.__module__ == owner.__name__  # defined there, not passed on
