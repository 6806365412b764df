"""What a folder delivers: which files make up each feed, and their rows put together."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from alpha_assets.errors import FeedError
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.problem import Example, Problem, raise_errors
from alpha_assets.sources.files.tables import Form, read_file, table_of

REQUIRED = "daily_bars"
LAY_BARS = f"lay {REQUIRED}.parquet, {REQUIRED}.csv or a folder {REQUIRED}/ there"


@dataclass(frozen=True)
class Delivered:
    """One feed of a folder, its values typed, its rows as they lie in the files."""

    feed: str
    frame: pl.DataFrame  # no rows where nothing could be read
    problems: tuple[Problem, ...]
    unknown: Mapping[str, str] = field(default_factory=dict)  # column -> first file with it

    def sound(self, folder: Path) -> pl.DataFrame:
        """Return the rows.

        Raises:
            FeedError: naming everything that is wrong with the files.
        """
        raise_errors(self.problems, f"{folder}: {self.feed}")
        return self.frame


def files_of(folder: Path, feed: str) -> list[Path]:
    """Return the files of a feed: `<feed>.parquet`, `<feed>.csv` or those of `<feed>/`.

    A folder holds files of one kind.  A pipe, a socket, a folder or a broken link of such a name
    is among them: opening it refuses it.

    Raises:
        FeedError: it is there in two forms, or the folder cannot be looked into.
    """
    try:
        inside = sorted((folder / feed).iterdir()) if (folder / feed).is_dir() else []
        inside = [path for path in inside if not path.name.startswith(".")]  # of the system
    except OSError as error:
        raise FeedError(f"{folder / feed}: it cannot be listed: {error.strerror}") from None
    forms = {
        f"{feed}.parquet": [p for p in (folder / f"{feed}.parquet",) if os.path.lexists(p)],
        f"{feed}.csv": [p for p in (folder / f"{feed}.csv",) if os.path.lexists(p)],
        f"{feed}/*.parquet": [path for path in inside if path.suffix == ".parquet"],
        f"{feed}/*.csv": [path for path in inside if path.suffix == ".csv"],
    }
    there = [form for form, files in forms.items() if files]
    if len(there) > 1:
        raise FeedError(f"{folder}: {feed} is there as {' and as '.join(there)}; keep one of them")
    return forms[there[0]] if there else []


def read_delivery(folder: Path, feed: str, form: Form, own: Feed | None = None) -> Delivered:
    """Return all rows of a feed of a folder, and what is wrong with its files.

    Args:
        folder: where it lies.
        feed: its name.
        form: how its files are written.
        own: its declaration, where it is the market's own.

    Raises:
        FeedError: the folder lacks the feed, or has it in two forms.
    """
    files = files_of(folder, feed)
    if not files:
        raise FeedError(f"{folder}: there is no {feed}.parquet, {feed}.csv or folder {feed}/")
    table = table_of(feed, own)
    read = [read_file(path, str(path.relative_to(folder)), table, form) for path in files]
    frames = [part.frame for part in read if part.frame is not None]
    problems = [problem for part in read for problem in part.problems]
    unknown: dict[str, str] = {}
    for path, part in zip(files, read, strict=True):
        for name in part.unknown:
            unknown.setdefault(name, str(path.relative_to(folder)))
    frame = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
    is_read = not any(problem.severity == "error" for problem in problems)
    if is_read and frame.is_empty():
        example = (Example(str(files[0].relative_to(folder)), None, "", "no rows"),)
        wanted = "a table has rows; leave the file out where it has none"
        problems.append(Problem("error", feed, "empty_table", wanted, 1, example))
    return Delivered(feed, frame, tuple(problems), unknown)


def why_no_folder(folder: Path) -> str:
    """Return what to do about a path that is no folder."""
    if folder.is_file():
        return f"this is a file; name the folder that it lies in, {folder.absolute().parent}"
    if folder.parts and folder.parts[0].endswith(":"):  # s3://bucket, as a path spells it
        return "this is a URL; raw rows are read from a folder of this machine: copy them to one"
    return "there is no such folder; name one that holds feeds"


def folder_problems(folder: Path, readable: Sequence[str]) -> list[Problem]:
    """Return the errors and warnings about a folder before anything in it is read.

    Args:
        folder: what is looked at.
        readable: the feeds that it may hold.

    Raises:
        FeedError: it cannot be listed.
    """
    try:
        here = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise FeedError(f"{folder}: it cannot be listed: {error.strerror}") from None
    if not here:
        wanted = f"nothing lies in it; {LAY_BARS}"
        return [Problem("error", "(folder)", "empty_folder", wanted)]
    problems = []
    names = {path.name.split(".")[0] for path in here if _is_form(path, readable)}
    if REQUIRED not in names:
        wanted = f"there are no bars, without which nothing works; {LAY_BARS}"
        problems.append(Problem("error", REQUIRED, "missing_feed", wanted))
    unknown = [path for path in here if not _is_form(path, readable)]
    if unknown:
        examples = tuple(Example(path.name, None, "", _why_not(path, readable)) for path in unknown)
        wanted = "these are not read"
        problems.append(
            Problem("warning", "(folder)", "unknown_file", wanted, len(unknown), examples)
        )
    return problems


def _is_form(path: Path, feeds: Sequence[str]) -> bool:
    """Return whether a file or folder is one of the forms of a feed."""
    if path.is_dir() and path.name in feeds:
        return any((*path.glob("*.parquet"), *path.glob("*.csv")))
    return path.suffix in (".parquet", ".csv") and path.stem in feeds


def _why_not(path: Path, readable: Sequence[str]) -> str:
    if path.is_dir() and path.name in readable:
        return "a folder without .parquet or .csv files"
    if path.suffix not in (".parquet", ".csv"):
        return "no table of a feed"
    return "neither a feed that this version reads nor one that the market declares"
