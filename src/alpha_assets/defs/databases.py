"""Dagster's SQLite databases, made by one process at a time.

Dagster makes them at the first use, without a lock.  Where `dagster job launch` starts beside a
`dagster dev` on a new storage, both stamp the schema's version, and from then on every command
fails for good with "alembic_version has more than one head".  `dagster.yaml` names this storage, so
the lock holds for all of Dagster's processes, not only for those that this project launches.

Dagster also opens the database anew for every event, and waits for the disk each time: 6 to 7 ms an
event.  Here a process keeps the databases of events open that it used last, and SQLite waits for
the disk when the write-ahead log is folded into the database (`synchronous = NORMAL`): a power cut
can cost the last events of a run, and never damages the database.  The months of an asset are
stored together, which Dagster offers and its SQLite storage does not use.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self

from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

LOCK = "databases.lock"
TOGETHER, AT_MOST = "DAGSTER_EVENT_BATCH_SIZE", "1000"  # events that Dagster stores together
KEPT_OPEN = 8  # databases of events: the index, and the runs used last


@contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Wait until no other process makes databases in a folder, and keep others waiting."""
    with (Path(folder) / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Open(NamedTuple):
    """A database that is kept open: its engine, by whom it was opened, and which file it is."""

    engine: Engine
    process: int
    file: tuple[int, int]


class EventLog(SqliteEventLogStorage):
    """Events in one database per run, each made under the lock when it is first used.

    The databases used last stay open.  One whose file was removed or replaced is opened anew.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Open the index of all runs; make it where there is none."""
        self._kept: dict[str, _Open] = {}  # the one used last at the end
        self._tables: set[str] = set()  # of the index, as far as it was asked for them
        super().__init__(base_dir, inst_data)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        with alone(self._base_dir):
            super()._initdb(engine, for_index_shard)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """Give a connection to a run's database, or to the index, in a transaction."""
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Engine:
        """Return the engine of a database that is open, and was not replaced since."""
        path = Path(self.path_for_shard(shard))
        kept = self._kept.pop(shard, None)
        if kept is not None and (kept.process, kept.file) != (os.getpid(), _file(path)):
            # The connections of a process that this one was forked from are its own.
            kept.engine.dispose(close=kept.process == os.getpid())
            self._initialized_dbs.discard(shard)
            kept = None
        if kept is None:
            engine = _engine_at(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect():
                file = _file(path)
            assert file is not None, "connecting makes it"
            kept = _Open(engine, os.getpid(), file)
        self._kept[shard] = kept
        while len(self._kept) > KEPT_OPEN:
            self._kept.pop(next(iter(self._kept))).engine.dispose()
        return kept.engine

    def has_table(self, table_name: str) -> bool:
        """Return whether the index has a table; one that it has stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events: those about assets in one transaction of a run's database and of the index.

        What is stored is what storing one after the other leaves; of what is known of an asset the
        last event of each kind decides.
        """
        for (run_id, of_assets), some in groupby(events, key=_kind):
            if of_assets:
                self._store_together(run_id, list(some))
            else:
                for entry in some:
                    self.store_event(entry)

    def _store_together(self, run_id: str, events: Sequence[EventLogEntry]) -> None:
        """Store events about assets of one run."""
        insert = SqlEventLogStorageTable.insert()
        rows = [self._event_to_row(entry) for entry in events]
        with self.run_connection(run_id) as connection:
            connection.execute(insert, rows)
        with self.index_transaction() as connection:
            ids = [_key(connection.execute(insert, row)) for row in rows]
            self._store_asset_event_tags(connection, events, ids)
            last = {
                (row["asset_key"], row["dagster_event_type"]): (entry, number)
                for row, entry, number in zip(rows, events, ids, strict=True)
            }
            for entry, number in last.values():
                self._store_asset_event(connection, entry, number)

    def dispose(self) -> None:
        """Close the databases, and stop watching them."""
        with self._db_lock:
            while self._kept:
                self._kept.popitem()[1].engine.dispose()
        super().dispose()


def _engine_at(url: str) -> Engine:
    """Return an engine that keeps its connection; see the module's docstring about the disk."""
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    return engine


def _kind(entry: EventLogEntry) -> tuple[str, bool]:
    """Return whose run an event is of, and whether it is about an asset."""
    return entry.run_id, entry.dagster_event_type in ASSET_EVENTS


def _key(inserted: CursorResult[Any]) -> int:
    """Return the number that a row was given."""
    found = inserted.inserted_primary_key
    assert found is not None, "one row was inserted"
    return int(found[0])


def _file(path: Path) -> tuple[int, int] | None:
    """Return what names a file on this host, whatever it is called; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Databases(DagsterSqliteStorage):
    """Dagster's SQLite storage; the databases of runs, events and schedules come under a lock."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Open the databases; make those that are missing."""
        os.environ.setdefault(TOGETHER, AT_MOST)
        with alone(base_dir):
            super().__init__(base_dir, inst_data)
        self._event_log_storage = EventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> Self:
        """Open what `storage` of a `dagster.yaml` describes."""
        return cls.from_local(inst_data=inst_data, **config_value)
