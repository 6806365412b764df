"""Documentation and source use plain words; pages are wrapped at 100 columns."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for suffix in ("py", "pyi") for path in (ROOT / "src").rglob(f"*.{suffix}"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Words that a reference would not use of data and code; `docs/GLOSSARY.md` has the terms.
BANNED = ("told", "tells", "nobody", "nowhere", "merely", "aloud", "whoever")
# Likewise in the source, in whole words and in the parts of a name (`is_told`, `told_NF`).
BANNED_IN_SOURCE = {*BANNED, "said", "untold", "road", "honest"}
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


def banned_in_source(text: str) -> list[str]:
    """Return the lines that hold a banned word, alone or as a part of a name."""
    return [
        line
        for line in text.splitlines()
        if BANNED_IN_SOURCE & {word.lower() for word in re.findall(r"[A-Za-z]+", line)}
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_banned_word_and_no_long_line(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert banned_in(text) == []
    if page.name not in GENERATED:
        assert [line for line in prose(text) if len(line) > COLUMNS] == []


def test_a_banned_word_and_a_long_line_are_seen() -> None:
    assert banned_in("It is Told\nretold\n") == ["It is Told"]
    assert list(prose("# a\n| b |\n```\nc\n```\nd\n")) == ["d"]


def test_no_name_comment_or_message_of_the_source_has_a_banned_word() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := banned_in_source(path.read_text(encoding="utf-8")))
    }
    assert len(SOURCES) > 200
    assert found == {}


def test_a_banned_word_is_seen_in_a_name_and_in_a_sentence() -> None:
    seen = ["def _told(x_D): ...", "untold_S = 1", 'f"Nobody {x}"', "# said, and"]
    assert banned_in_source("\n".join([*seen, "retold = broad", '"MktOld"'])) == seen
