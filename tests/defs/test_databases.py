"""Dagster's databases: one process at a time makes them."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from alembic.config import Config
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy.engine import Connection

from alpha_assets.defs.databases import LOCK

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


def test_each_database_is_made_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The version that two processes stamp at once is what spoils a database for good.
    home = tmp_path / "databases"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("ALPHA_DAGSTER_DIR", str(home))
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
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs() == []
        assert instance.all_logs("one") == []  # each run has a database of its own
        assert instance.all_logs("one") == []
    names = ("runs.db", "index.db", "schedules.db", "one.db")
    assert stamped == [(name, True) for name in names]
    assert not is_locked(home / LOCK)
    assert not is_locked(home / "history" / "runs" / LOCK)
