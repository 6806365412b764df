"""Read-only SQL over a market's stored tables, in a DuckDB that can reach nothing else.

A query is one SELECT over views.  The views it names are made over the Parquet files that the
manifests name, each hashed first; then the files are the only ones that DuckDB may open, nothing
can be installed, attached or written, and the configuration is locked.  Time, memory, room for
what is spilled, and rows of the answer are bounded: a query without an end ends.
"""

import json
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.errors import BadInput, MissingOutput, StorageError
from alpha_assets.store.backend import Listing
from alpha_assets.store.folder import MONTH, Folder
from alpha_assets.store.manifest import MANIFEST
from alpha_assets.store.store import Store

MAX_LEVELS = 600  # of the serialised query; each level of a call makes two
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]')
GENERATORS = ("generate_series", "range", "unnest")  # table functions that read no file
SECONDS = 120.0  # of a query
ROWS_SHOWN = 5_000_000  # of its answer
_SETTINGS = {
    "memory_limit": "'4GB'",
    "max_temp_directory_size": "'20GB'",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # a name is a view, never a variable of the caller
    "enable_external_access": False,
    "lock_configuration": True,
}


@dataclass
class Tables:
    """The tables that a query may name.

    Attributes:
        files: table -> folders and the name of the table in each; of a table in families, those of
            its months.
        damaged: errors of folders whose tables cannot be listed.
    """

    files: dict[str, list[tuple[Folder, str]]] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def tables(store: Store, market: str) -> Tables:
    """Return the tables of a market's folder; names that start with `_` are not among them.

    Every folder of months is a table: `panel`, `cross_section_all`, `raw_daily_bars`,
    `<recipe>_predictions`; those of a backtest are `<recipe>_positions` and so on.  A variant's
    name is no plain word: `"<recipe>@<digest>_predictions"`.
    """
    found = Tables()
    for parts in _folders(store, market):
        folder = store.folder(market, *parts)
        if parts[-1].startswith(MONTH):
            found.files.setdefault("_".join(parts[:-1]), []).append((folder, ""))
            continue
        try:
            manifest = folder.manifest()
        except StorageError as error:
            found.damaged.append(str(error))
            continue
        for name in manifest.files if manifest else ():
            if name.endswith(".parquet"):
                table = name.removesuffix(".parquet")
                found.files.setdefault("_".join([*parts[:-1], table]), []).append((folder, table))
    return found


def ask(store: Store, market: str, query: str) -> list[dict[str, Any]]:
    """Return the rows of one SELECT over the tables of a market.

    Raises:
        MissingOutput: nothing of the market is stored.
        BadInput: no single SELECT, a table that is none, a function that reads files, or SQL
            that DuckDB refuses.
        StorageError: a file of a table that is asked for is damaged.
    """
    root = store.folder(market)  # refuses what leads elsewhere
    if store.backend.list(root.name) == Listing():
        raise MissingOutput(
            f"{root.address} does not exist; alpha-assets run --market {market} makes it"
        )
    known = tables(store, market)
    with tempfile.TemporaryDirectory() as spill, duckdb.connect(":memory:") as connection:
        asked = _asked_for(connection, query, known)
        files = {name: _whole_files(known.files[name], Path(spill)) for name in asked}
        connection.execute(f"set temp_directory = {_text(spill)}")
        paths = [path for groups in files.values() for g in groups for path in g.paths]
        connection.execute(f"set allowed_paths = {_list(paths)}")
        for name, groups in files.items():
            quoted = name.replace('"', '""')
            rows = " union all by name ".join(f"({group.query})" for group in groups)
            connection.execute(f'create view "{quoted}" as {rows}')
        for setting, value in _SETTINGS.items():
            connection.execute(f"set {setting} = {value}")
        try:
            with _ended_after(connection, SECONDS):
                rows = connection.sql(query).limit(ROWS_SHOWN + 1).pl()
        except duckdb.InterruptException:
            raise BadInput(f"the query was ended after {SECONDS:g} seconds; ask for less") from None
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise BadInput(f"the query needs too much memory ({error}); ask for less") from None
        except duckdb.Error as error:
            raise BadInput(f"{error}\n{_offer(known)}") from None
        except pl.exceptions.PolarsError as error:
            raise BadInput(f"a column has a type that is not shown ({error}); cast it") from None
        if rows.height > ROWS_SHOWN:
            raise BadInput(f"the answer has more than {ROWS_SHOWN:,} rows; ask for less")
        shown: list[dict[str, Any]] = rows.to_dicts()
        return shown


@contextmanager
def _ended_after(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt the connection's query after `seconds`."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _asked_for(connection: duckdb.DuckDBPyConnection, query: str, known: Tables) -> tuple[str, ...]:
    """Return the tables that a query names; refuse all but one SELECT over stored tables."""
    try:
        statements = connection.extract_statements(query.encode().decode())
    except UnicodeEncodeError as error:
        raise BadInput(f"the query is not valid text: {error}") from None
    except duckdb.Error as error:
        raise BadInput(f"{error}\n{_offer(known)}") from None
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise BadInput(
            f"the query is {' and '.join(kinds) or 'empty'}; want one SELECT: stored tables are "
            f"read here, never written, and no file is opened\n{_offer(known)}"
        )
    row = connection.execute("select json_serialize_sql(?)", [query]).fetchone()
    text = str(row[0]) if row else '{"error": true}'
    if _levels(text) > MAX_LEVELS:
        raise BadInput("the query is nested too deeply; use fewer levels")
    tree: dict[str, Any] = json.loads(text)
    if tree["error"]:
        raise BadInput(f"the query is no plain SELECT: {tree.get('error_message')}")
    nodes = list(_nodes(tree))
    of_query = {str(node["key"]) for node in nodes if "key" in node}  # WITH name AS …
    wanted: dict[str, None] = {}
    for node in nodes:
        kind, name = node.get("type"), str(node.get("table_name", ""))
        if kind == "TABLE_FUNCTION":
            function = str(node["function"]["function_name"])
            if function.lower() not in GENERATORS:
                raise BadInput(
                    f"{function}() is not offered: a query reads the stored tables alone, and of "
                    f"table functions {', '.join(GENERATORS)}\n{_offer(known)}"
                )
        elif kind in ("BASE_TABLE", "SHOW_REF") and name:
            match = next((table for table in known.files if table.lower() == name.lower()), None)
            if match and not node.get("schema_name"):
                wanted[match] = None
            elif name not in of_query:
                damaged = "".join(f"\n{words}" for words in known.damaged)
                whole = ".".join(filter(None, (str(node.get("schema_name") or ""), name)))
                raise BadInput(f"there is no table {whole!r}{damaged}\n{_offer(known)}")
    return tuple(wanted)


def _levels(text: str) -> int:
    """Return how deep a JSON text is nested, without parsing it: interpreters differ in theirs."""
    level = deepest = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in "[{":
            level += 1
            deepest = max(deepest, level)
        elif token[0] in "]}":
            level -= 1
    return deepest


def _nodes(tree: object) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a JSON tree."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield node
        if isinstance(node, dict | list):
            left += reversed(list(node.values()) if isinstance(node, dict) else node)


@dataclass
class _Group:
    """Months of a table that hold the same families; of any other table, all its files.

    Attributes:
        aligned: whether the families of each month have the same rows in the same order.
        files: of each family, a file a month.
    """

    aligned: bool
    files: dict[str, list[str]] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        return [path for of_family in self.files.values() for path in of_family]

    @property
    def query(self) -> str:
        """A SELECT of its rows: families side by side, row by row or, where rows differ, by key."""
        first, *others = [
            f"read_parquet({_list(of_family)}, hive_partitioning = false, union_by_name = true)"
            for of_family in self.files.values()
        ]
        keys = ", ".join(KEYS)
        if self.aligned:
            beside = [f"positional join (select * exclude ({keys}) from {one})" for one in others]
        else:
            beside = [f"full join {o} f{n} using ({keys})" for n, o in enumerate(others, 1)]
        return " ".join([f"select * from {first}", *beside])


def _whole_files(of_table: Sequence[tuple[Folder, str]], spill: Path) -> list[_Group]:
    """Return the Parquet files of a table, after verifying the bytes of each.

    A backend without paths has its files copied into `spill`.
    """
    groups: dict[tuple[bool, tuple[str, ...]], _Group] = {}
    for folder, table in of_table:
        manifest = folder.manifest()
        families = tuple(manifest.families) if manifest is not None else ()
        of_keys = {held.key_hash for held in manifest.families.values()} if manifest else set()
        aligned = len(of_keys) <= 1
        group = groups.setdefault((aligned, families), _Group(aligned))
        for name in families or (table,):
            group.files.setdefault(name, []).append(_whole_file(folder, name, spill))
    return list(groups.values())


def _whole_file(folder: Folder, table: str, spill: Path) -> str:
    """Return the path of a Parquet file whose bytes were verified."""
    _, file = folder.opened(table)
    with file:
        path = folder.backend.path(f"{folder.holder().name}/{folder.file(table)}")
        if path is None:
            path = spill / f"{len(list(spill.iterdir()))}.parquet"
            path.write_bytes(file.read())
    return str(path)


def _folders(store: Store, market: str, *below: str) -> Iterator[tuple[str, ...]]:
    """Yield the finished folders of a market, and months of rows without a manifest, by parts."""
    listed = store.backend.list("/".join((market, *below)))
    is_month = bool(below) and below[-1].startswith(MONTH)
    rows = is_month and any(name.endswith(".parquet") for name in listed.files)
    if below and (MANIFEST in listed.files or rows):
        yield below
    for name in sorted(listed.folders):
        if name[0] not in "_.":
            yield from _folders(store, market, *below, name)


def _offer(known: Tables) -> str:
    return f"tables: {', '.join(sorted(known.files))}"


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(_text(word) for word in words)}]"


def _text(word: str) -> str:
    quoted = word.replace("'", "''")
    return f"'{quoted}'"
