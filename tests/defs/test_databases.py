"""Dagster's databases: one process at a time makes them."""

import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from alembic.config import Config
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy.engine import Connection

from alpha_assets.defs.databases import KEPT_OPEN, LOCK, EventLog

Stamp = Callable[[Config, Connection, str], None]
ROOT = Path(__file__).parents[2]


def is_locked(lock: Path) -> bool:
    """Whether another process would have to wait."""
    if not lock.exists():
        return False
    with lock.open("a") as other:
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def instance_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Give an instance as `dagster.yaml` describes it, in a folder."""
    home.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("ALPHA_DAGSTER_DIR", str(home))
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_each_database_is_made_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The version that two processes stamp at once is what spoils a database for good.
    home = tmp_path / "databases"
    stamped: list[tuple[str, bool]] = []
    for module in (sqlite_run_storage, sqlite_event_log, sqlite_schedule_storage):
        stamp = module.stamp_alembic_rev

        def watched(
            config: Config, conn: Connection, rev: str = "head", stamp: Stamp = stamp
        ) -> None:
            locked = any(is_locked(folder / LOCK) for folder in (home, home / "history" / "runs"))
            stamped.append((Path(conn.engine.url.database or "").name, locked))
            stamp(config, conn, rev)

        monkeypatch.setattr(module, "stamp_alembic_rev", watched)
    with instance_in(home, monkeypatch) as instance:
        assert instance.get_runs() == []
        assert instance.all_logs("one") == []  # each run has a database of its own
        assert instance.all_logs("one") == []
    names = ("runs.db", "index.db", "schedules.db", "one.db")
    assert stamped == [(name, True) for name in names]
    assert not is_locked(home / LOCK)
    assert not is_locked(home / "history" / "runs" / LOCK)


def stored(instance: dg.DagsterInstance, run_id: str, n: int) -> int:
    """Store events of a run, and return how many it has."""
    for number in range(n):
        step = StepMaterializationData(dg.AssetMaterialization("one", partition=str(number)))
        happened = DagsterEvent(
            DagsterEventType.ASSET_MATERIALIZATION.value, "job", event_specific_data=step
        )
        instance.store_event(
            EventLogEntry(None, logging.INFO, "", run_id, float(number), dagster_event=happened)
        )
    return len(instance.all_logs(run_id))


def test_a_database_is_opened_once_for_many_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    connect = sqlite3.connect

    def counted(path: str, **settings: Any) -> sqlite3.Connection:
        opened.append(Path(path).name)
        return connect(path, **settings)

    with instance_in(tmp_path, monkeypatch) as instance:
        assert stored(instance, "one", 1) == 1
        monkeypatch.setattr(sqlite3.dbapi2, "connect", counted)
        assert stored(instance, "one", 20) == 21
        assert not {"one.db", "index.db"} & set(opened)
        # SQLite waits for the disk at checkpoints (1), not at every event (2).
        with instance.event_log_storage.index_connection() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_a_database_that_was_removed_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance_in(tmp_path, monkeypatch) as instance:
        assert stored(instance, "one", 3) == 3
        for path in tmp_path.rglob("one.db*"):  # as another process removes a run
            path.unlink()
        assert stored(instance, "one", 2) == 2


def test_few_databases_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance_in(tmp_path, monkeypatch) as instance:
        for run_id in map(str, range(KEPT_OPEN + 3)):
            assert stored(instance, run_id, 1) == 1
        assert stored(instance, "0", 1) == 2  # was closed meanwhile
        log = instance.event_log_storage
        assert isinstance(log, EventLog)
        assert len(log._kept) == KEPT_OPEN
