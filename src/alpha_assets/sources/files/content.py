"""What a file is, by its first bytes, before anything reads it as a table.

A reader that is handed a packed file or another encoding names the wrong thing, or prints
binary.  What is no regular file (a pipe, a socket, a folder, a link that leads to none) is never
opened: a read of a pipe without a writer does not end.
"""

import codecs
import re
import stat
from pathlib import Path

from alpha_assets.errors import FeedError
from alpha_assets.feeds.problem import Example, Problem

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
# First bytes -> what the file is, and what to do.
UNPACK = "unpack it"
MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "gzip", UNPACK),
    (b"BZh", "bzip2", UNPACK),
    (b"\xfd7zXZ\x00", "xz", UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd", UNPACK),
    (b"\x04\x22\x4d\x18", "lz4", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "7z", UNPACK),
    (b"Rar!", "rar", UNPACK),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (b"PAR1", "Parquet", "name it .parquet"),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"FEA1", "a Feather file", "write it as Parquet"),
    (b"\x89HDF", "HDF5", "write it as Parquet"),
    (b"%PDF", "PDF", "deliver a table"),
    (b"SQLite format 3", "an SQLite database", "write the table as Parquet"),
)
MARKUP = re.compile(rb"\s*(<!doctype|<html|<\?xml)", re.IGNORECASE)
JSON = re.compile(rb"\s*[\[{]\s*[\[{\"\]}]")
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
HEAD = 4096  # bytes that are looked at
SEPARATORS = ";\t|,"
N_COLUMNS = 10_000  # a header with more is no header


def regular_file(path: Path) -> str | None:
    """Return why `path` cannot be read as a file; None: it is a regular file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        broken = path.is_symlink()
        return f"a broken link to {path.readlink()}" if broken else str(error.strerror)
    if stat.S_ISREG(mode):
        return None
    return KINDS.get(stat.S_IFMT(mode), "no regular file")


def require_regular(path: Path) -> None:
    """Refuse what is no regular file.

    Raises:
        FeedError: naming what it is.
    """
    why = regular_file(path)
    if why is not None:
        raise FeedError(
            f"{path} is {why}; a feed is a regular file: remove it, or deliver it again"
        )


def content_problems(head: bytes, shown: str, feed: str, *, is_text: bool) -> list[Problem]:
    """Return the format of a file by its first bytes, where it is no table that can be read.

    Args:
        head: its first bytes.
        shown: its name in messages.
        feed: whose file it is.
        is_text: whether it is named .csv; else .parquet.
    """
    if not head:
        return [_problem(feed, "empty_file", shown, "0 bytes", "deliver it again, or leave it out")]
    if not is_text:
        if head.startswith(b"PAR1"):
            return []
        wanted = "a .parquet file holds Parquet; write it again, or name text .csv"
        kind = _kind(head) or f"starts with {head[:8]!r}"
        return [_problem(feed, "not_parquet", shown, kind, wanted)]
    other = _kind(head)
    return [] if other is None else [_problem(feed, "not_csv", shown, other, CSV_WORDS)]


CSV_WORDS = "a .csv file is text in UTF-8"


def text_problems(content: bytes, shown: str, feed: str, separator: str) -> list[Problem]:
    """Return what stops a file from being read as text with this separator.

    Args:
        content: without the mark that UTF-8 may begin with.
        shown: its name in messages.
        feed: whose file it is.
        separator: of fields.
    """
    try:
        content.decode()
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start)
        line = content[: error.end + 40].rsplit(b"\n", row and 1)[-1] if row else content[:40]
        example = Example(shown, row, "", f"byte {content[error.start]:#04x} in {line[:80]!r}")
        wanted = f"{CSV_WORDS}; save it as UTF-8"
        return [Problem("error", feed, "not_utf8", wanted, 1, (example,))]
    if b"\n" not in content and b"\r" in content.rstrip(b"\r"):
        wanted = f"{CSV_WORDS}; its lines end with LF or CR LF"
        return [_problem(feed, "line_ends", shown, "lines end with CR alone", wanted)]
    header = content.split(b"\n", 1)[0].rstrip(b"\r").decode()
    n_columns = header.count(separator) + 1
    if n_columns > N_COLUMNS:
        wanted = f"a header names at most {N_COLUMNS:,} columns"
        return [_problem(feed, "too_many_columns", shown, f"{n_columns:,} columns", wanted)]
    other = max(SEPARATORS, key=header.count)
    if n_columns == 1 and header.count(other):
        wanted = (
            f"fields are parted by {separator!r}; write [source] separators = "
            f"{{ {feed} = {_toml(other)} }} in the market's file, or deliver commas"
        )
        return [_problem(feed, "wrong_separator", shown, f"the header is {header!r}", wanted)]
    return []


def _toml(separator: str) -> str:
    return '"\\t"' if separator == "\t" else f'"{separator}"'


def _kind(head: bytes) -> str | None:
    """Return what is no text in UTF-8, and the way out; None where it may be."""
    for magic, kind, way_out in MAGIC:
        if head.startswith(magic):
            return f"this is {kind}; {way_out}"
    if head.startswith(b"PK\x03\x04"):
        if b"xl/" in head or b"[Content_Types]" in head:
            return "this is an Excel workbook (.xlsx); save the sheet as CSV in UTF-8"
        return f"this is zip; {UNPACK}"
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "this is UTF-32; save it as UTF-8"
    # Text with a null in every other byte is UTF-16 without its mark; a stray one is a bad value.
    if head.startswith(UTF16) or head.count(b"\0") * 4 > len(head):
        return "this is UTF-16; save it as UTF-8"
    if MARKUP.match(head):
        return "this is HTML or XML, perhaps an error page; deliver the table"
    if JSON.match(head):
        return "this is JSON; write it as CSV or Parquet"
    return None


def _problem(feed: str, rule: str, shown: str, value: str, wanted: str) -> Problem:
    return Problem("error", feed, rule, wanted, 1, (Example(shown, None, "", value),))
