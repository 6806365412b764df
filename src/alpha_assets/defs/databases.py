"""Dagster's SQLite databases, made by one process at a time.

Dagster makes them at the first use, without a lock.  Where `dagster job launch` starts beside a
`dagster dev` on a new storage, both stamp the schema's version, and from then on every command
fails for good with "alembic_version has more than one head".  `dagster.yaml` names this storage, so
the lock holds for all of Dagster's processes, not only for those that this project launches.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Engine

LOCK = "databases.lock"


@contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Wait until no other process makes databases in a folder, and keep others waiting."""
    with (Path(folder) / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class EventLog(SqliteEventLogStorage):
    """Events in one database per run, each made under the lock when it is first used."""

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        with alone(self._base_dir):
            super()._initdb(engine, for_index_shard)


class Databases(DagsterSqliteStorage):
    """Dagster's SQLite storage; the databases of runs, events and schedules come under a lock."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Open the databases; make those that are missing."""
        with alone(base_dir):
            super().__init__(base_dir, inst_data)
        self._event_log_storage = EventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> Self:
        """Open what `storage` of a `dagster.yaml` describes."""
        return cls.from_local(inst_data=inst_data, **config_value)
