"""Rows as they came, kept before anything is read into them: one file per query.

What has landed is not asked for again, so a fetch that was interrupted goes on where it
stopped.  A record of each query is appended to a log *after* its file is in place: a file
without a record is asked for again, a torn last line is ignored.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from alpha_assets.errors import FeedError
from alpha_assets.store.os_errors import disk_errors

EMPTY = ""


@dataclass(frozen=True)
class Landed:
    """What one query brought."""

    fetched_at: datetime
    rows: int
    content: str  # names the rows; empty where there are none
    unknown: tuple[str, ...] = ()  # columns that are not declared; kept


class Landing:
    """The folder of one endpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "log.jsonl"

    def records(self) -> dict[str, Landed]:
        """Return what has landed, by the name of its query; the latest record counts."""
        if not self._log.exists():
            return {}
        found: dict[str, Landed] = {}
        with disk_errors(self._log, "read"):
            lines = self._log.read_text(encoding="utf-8").split("\n")
        for line in lines:
            try:
                record = json.loads(line)
                found[record["unit"]] = Landed(
                    datetime.fromisoformat(record["fetched_at"]),
                    int(record["rows"]),
                    str(record["content"]),
                    tuple(record["unknown"]),
                )
            except (ValueError, KeyError, TypeError):
                continue  # torn by a crash; its query is asked again
        return found

    def put(
        self,
        unit: str,
        rows: Sequence[Mapping[str, str | None]],
        fetched_at: datetime,
        unknown: Iterable[str] = (),
    ) -> None:
        """Keep the rows of a query in place of those that it brought before."""
        path = self._path(unit)
        content = _content(rows)
        with disk_errors(path, "write"):
            self.folder.mkdir(parents=True, exist_ok=True)
            if rows:
                names = list(dict.fromkeys(name for row in rows for name in row))
                frame = pl.DataFrame(
                    {name: [row.get(name) for row in rows] for name in names},
                    schema={name: pl.String for name in names},
                )
                draft = path.with_suffix(f".{os.getpid()}.draft")
                frame.write_parquet(draft)
                with draft.open("rb+") as file:
                    os.fsync(file.fileno())
                draft.replace(path)
            record = {
                "unit": unit,
                "fetched_at": fetched_at.isoformat(),
                "rows": len(rows),
                "content": content,
                "unknown": sorted(unknown),
            }
            with self._log.open("a", encoding="utf-8") as log:
                # The newline comes first: it ends whatever a crash left of the line before.
                log.write("\n" + json.dumps(record))
                log.flush()
                os.fsync(log.fileno())

    def read(self, units: Iterable[str], columns: Sequence[str]) -> pl.DataFrame:
        """Return the rows of some queries, all text, in the order of the queries.

        Args:
            units: names of queries that brought rows.
            columns: wanted; null where a query's rows lack one.

        Raises:
            FeedError: a file cannot be read.
        """
        schema = dict.fromkeys(columns, pl.String())
        parts = [pl.DataFrame(schema=schema)]
        for unit in units:
            path = self._path(unit)
            try:
                there = pl.read_parquet_schema(path)
                part = pl.read_parquet(path, columns=[name for name in columns if name in there])
            except (OSError, pl.exceptions.PolarsError):
                raise FeedError(
                    f"{path}: cannot be read; delete it together with {self._log} and run again: "
                    "what it held is asked for again"
                ) from None
            absent = [pl.lit(None, pl.String).alias(name) for name in columns if name not in there]
            parts.append(part.with_columns(absent).select(columns))
        return pl.concat(parts)

    def _path(self, unit: str) -> Path:
        return self.folder / f"{unit}.parquet"


def _content(rows: Sequence[Mapping[str, str | None]]) -> str:
    """Return a name of rows that does not depend on their order."""
    if not rows:
        return EMPTY
    lines = sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
