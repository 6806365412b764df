"""The lines of a CSV file: whether each is whole.

A reader fills what a short line lacks with nulls, and a bar without prices is a bar without
trade: the last line of a file that was cut would pass for one, perhaps of a symbol that does
not exist.
"""

import csv
import io
from collections import Counter

from alpha_assets.feeds.problem import N_EXAMPLES, Example, Problem


def line_problems(content: bytes, shown: str, feed: str, separator: str = ",") -> list[Problem]:
    """Return lines with more or fewer fields than the header, and a last line without end.

    Args:
        content: the file.
        shown: its name in messages.
        feed: whose file it is.
        separator: of fields.
    """
    if not content.strip():
        return []  # no table at all: the reader reports it
    problems: list[Problem] = []
    uneven, header = _uneven(content, separator)
    twice = [name for name, n in Counter(name.strip() for name in header).items() if n > 1]
    if twice:
        wanted = "a header names each column once; take out or rename the others"
        examples = tuple(Example(shown, None, "", f"{name!r}") for name in twice[:N_EXAMPLES])
        problems.append(Problem("error", feed, "column_twice", wanted, len(twice), examples))
    if uneven:
        examples = tuple(
            Example(shown, row, "", f"{n} fields: {line}") for row, n, line in uneven[:N_EXAMPLES]
        )
        wanted = (
            f"each line has the header's {len(header)} fields; "
            "the file is truncated or damaged: deliver it again"
        )
        problems.append(Problem("error", feed, "uneven_line", wanted, len(uneven), examples))
    if not content.endswith((b"\n", b"\r")):
        wanted = "a file ends with its last line; see that the last value was not cut"
        problems.append(
            Problem("warning", feed, "no_last_newline", wanted, 1, (Example(shown, None, "", ""),))
        )
    return problems


def without_trailer(content: bytes, shown: str, feed: str) -> tuple[bytes, list[Problem]]:
    """Return a file without its last line, which holds the number of rows before it.

    Args:
        content: the file, with a header.
        shown: its name in messages.
        feed: whose file it is.
    """
    lines = content.rstrip().splitlines(keepends=True)
    n_rows = sum(1 for line in lines[1:-1] if line.strip())
    trailer = lines[-1].strip().decode("utf-8", errors="replace") if len(lines) > 1 else ""
    if trailer == str(n_rows):
        return b"".join(lines[:-1]), []
    wanted = (
        "the last line holds the number of rows before it; the file is truncated: deliver it "
        "again, or take the feed out of [source] trailers"
    )
    example = (Example(shown, n_rows + 1, "", f"{n_rows} rows, and then {trailer!r}"),)
    return content, [Problem("error", feed, "wrong_trailer", wanted, 1, example)]


def _uneven(content: bytes, separator: str) -> tuple[list[tuple[int, int, str]], list[str]]:
    """Return row, number of fields and text of the lines that differ, and the header."""
    if b'"' not in content:
        first = content.splitlines()[0].decode("utf-8", errors="replace").split(separator)
        n_of_lines = {line.count(separator.encode()) + 1 for line in content.splitlines()}
        if n_of_lines == {len(first)}:
            return [], first
    lines = csv.reader(
        io.StringIO(content.decode("utf-8", errors="replace"), newline=""), delimiter=separator
    )
    uneven: list[tuple[int, int, str]] = []
    header: list[str] = []
    row = 0
    try:
        header = next(lines)
        for row, line in enumerate(lines, start=1):
            is_blank = not line or (len(line) == 1 and not line[0].strip())
            if len(line) != len(header) and not is_blank:
                uneven.append((row, len(line), separator.join(line)))
    except csv.Error as error:
        uneven.append((row + 1, 0, f"no line of a CSV file: {error}"))
    return uneven, header
