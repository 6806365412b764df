"""The documentation speaks plainly, and is wrapped at 100 columns."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# Words that a reference would not use of data and code; `docs/GLOSSARY.md` has the terms.
BANNED = ("told", "tells", "nobody", "nowhere", "merely", "aloud", "whoever")
COLUMNS = 100
GENERATED = ("JQUANTS.md",)  # sentences of declarations, a paragraph each


def prose(text: str) -> Iterator[str]:
    """Return the lines outside code blocks, tables and headings."""
    is_code = False
    for line in text.splitlines():
        is_code ^= line.lstrip().startswith("```")
        if not is_code and not line.lstrip().startswith(("|", "#", "```")) and line[:4].strip():
            yield line


def banned_in(text: str) -> list[str]:
    """Return the lines that hold a banned word."""
    pattern = rf"\b({'|'.join(BANNED)})\b"
    return [line for line in text.splitlines() if re.search(pattern, line, flags=re.IGNORECASE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_banned_word_and_no_long_line(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert banned_in(text) == []
    if page.name not in GENERATED:
        assert [line for line in prose(text) if len(line) > COLUMNS] == []


def test_a_banned_word_and_a_long_line_are_seen() -> None:
    assert banned_in("It is Told\nretold\n") == ["It is Told"]
    assert list(prose("# a\n| b |\n```\nc\n```\nd\n")) == ["d"]
