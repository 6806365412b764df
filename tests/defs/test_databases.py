"""Dagster's databases: one process at a time makes them."""

import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
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

from alpha_assets.defs.databases import KEPT_OPEN, LOCK, TOGETHER, EventLog
from alpha_assets.defs.metadata import months_made
from alpha_assets.defs.partitions import RANGE_END, RANGE_START
from alpha_assets.pipeline.stage import Made

Stamp = Callable[[Config, Connection, str], None]
ROOT = Path(__file__).parents[2]
VERSION = "dagster/data_version"
MATERIALISED = DagsterEventType.ASSET_MATERIALIZATION


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


def entry(run_id: str, number: int, asset: str = "one") -> EventLogEntry:
    """Return the event of a month of an asset."""
    tags = {VERSION: f"v{number}"}
    month = dg.AssetMaterialization(asset, partition=str(number), tags=tags)
    happened = DagsterEvent(
        DagsterEventType.ASSET_MATERIALIZATION.value,
        "job",
        event_specific_data=StepMaterializationData(month),
    )
    return EventLogEntry(None, logging.INFO, "", run_id, float(number), dagster_event=happened)


def stored(instance: dg.DagsterInstance, run_id: str, n: int) -> int:
    """Store events of a run, and return how many it has."""
    for number in range(n):
        instance.store_event(entry(run_id, number))
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


def test_events_stored_together_are_those_stored_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = EventLogEntry(None, logging.INFO, "a line", "b", 9.0)
    events = [entry("a", 0), entry("a", 1), entry("b", 2, "two"), said, entry("a", 3)]
    found = []
    for home, together in ((tmp_path / "alone", False), (tmp_path / "together", True)):
        with instance_in(home, monkeypatch) as instance:
            log = instance.event_log_storage
            if together:
                log.store_event_batch(events)
            else:
                for event in events:
                    log.store_event(event)
            keys = [dg.AssetKey("one"), dg.AssetKey("two")]
            tags = [log.get_latest_tags_by_partition(key, MATERIALISED, [VERSION]) for key in keys]
            last = log.get_latest_materialization_events(keys)
            runs = [[e.timestamp for e in instance.all_logs(run_id)] for run_id in "ab"]
            months = [log.get_materialized_partitions(key) for key in keys]
            found.append((tags, last, runs, months))
    assert found[0] == found[1]
    tags, last, runs, months = found[1]
    assert tags[0]["3"] == {VERSION: "v3"}
    assert last[dg.AssetKey("one")].timestamp == 3.0
    assert runs == [[0.0, 1.0, 3.0], [2.0, 9.0]]
    assert months == [{"0", "1", "3"}, {"2"}]


def test_the_months_of_an_asset_are_stored_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOGETHER, raising=False)
    sizes: list[int] = []
    store = EventLog.store_event_batch

    def watched(log: EventLog, events: Sequence[EventLogEntry]) -> None:
        sizes.append(len(events))
        store(log, events)

    monkeypatch.setattr(EventLog, "store_event_batch", watched)
    keys = ["2020-01-01", "2020-02-01", "2020-03-01"]
    months = dg.StaticPartitionsDefinition(keys)

    @dg.asset(partitions_def=months, backfill_policy=dg.BackfillPolicy.single_run())
    def one(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        made = [
            Made("one", key[:7], "one", "complete", 1, f"hash {key}", "digest")
            for key in context.partition_keys
        ]
        yield from months_made(context, made)

    with instance_in(tmp_path, monkeypatch) as instance:
        span = {RANGE_START: keys[0], RANGE_END: keys[-1]}
        assert dg.materialize([one], instance=instance, tags=span).success
        assert sizes == [3, 3, 3]  # planned, as Dagster records a range, and each with its own hash
        found = instance.event_log_storage.get_latest_tags_by_partition(
            dg.AssetKey("one"), MATERIALISED, [VERSION]
        )
        assert found == {key: {VERSION: f"hash {key}"} for key in keys}
