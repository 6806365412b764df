"""Answers that take long to compute, kept in the user's cache for the next process.

A file names what its answer was computed from, and the hash of the answer: one that is damaged, or
that was computed from something else, is not read.  A cache that cannot be read or written is none.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

CACHE_VARIABLE = "XDG_CACHE_HOME"
CACHE_FOLDER = "alpha-assets"


def user_cache() -> Path | None:
    """Return the folder of this package in the user's cache; None where there is no home."""
    named = Path(os.environ.get(CACHE_VARIABLE, ""))
    if named.is_absolute():
        return named / CACHE_FOLDER
    with suppress(RuntimeError):
        return Path.home() / ".cache" / CACHE_FOLDER
    return None


def read_kept(path: Path, content: str) -> str | None:
    """Return the answer that a file holds; None where it has none to this question.

    Args:
        path: of the file.
        content: names, in one line, all that the answer follows from.
    """
    try:
        found, name, text = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return None
    return text if found == content and name == _hash(text) else None


def write_kept(path: Path, content: str, text: str) -> None:
    """Keep an answer, a line of text; readers see the file before or after, and wait for nothing.

    Args:
        path: of the file; its folder is made.
        content: names, in one line, all that the answer follows from.
        text: the answer.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f"{path.stem}-", delete=False
        ) as file:
            file.write("\n".join((content, _hash(text), text)))
        Path(file.name).replace(path)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
