"""`docs/ADDING.md` works as written: its edits apply to a copy of the tree, whose tests pass."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alpha_assets.code import installed

PAGE = Path(__file__).parents[1] / "docs" / "ADDING.md"
BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Return language, file and text of every block that names a file."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def edited(text: str, diff: str) -> str:
    """Return a text with a diff applied, whose parts are apart by lines of `@@`.

    Raises:
        ValueError: the lines that a part begins from do not stand exactly once in the text.
    """
    for part in diff.split("@@\n"):
        lines = part.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        if text.count(before) != 1:
            raise ValueError(f"{text.count(before)} places hold:\n{before}want one")
        text = text.replace(before, after)
    return text


def test_the_page_works_as_written(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(installed().root, tmp_path / "src" / "alpha_assets", ignore=ignored)
    tests = []
    for language, name, text in blocks():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if language == "diff":
            path.write_text(edited(path.read_text(encoding="utf-8"), text), encoding="utf-8")
        else:
            assert not path.exists(), name
            path.write_text(text, encoding="utf-8")
        if path.name.startswith("test_"):
            tests.append(name)
    assert len(tests) == 6
    where = f"import alpha_assets; assert alpha_assets.__file__.startswith({str(tmp_path)!r})\n"
    (tmp_path / "tests" / "adding" / "conftest.py").write_text(where, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_an_edit_of_what_is_not_there_is_refused() -> None:
    assert edited("a\nb\n", " a\n+x\n@@\n-b\n") == "a\nx\n"
    with pytest.raises(ValueError, match="0 places hold:\nc"):
        edited("a\nb\n", "-c\n+d\n")
    with pytest.raises(ValueError, match="2 places hold"):
        edited("a\na\n", "-a\n")
