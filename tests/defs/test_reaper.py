"""Runs of dead processes: who is dead, what is freed, and who is left alone."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

from alpha_assets.defs.reaper import OWNER_TAG, SECONDS_BETWEEN, reap, reaper, sign
from alpha_assets.defs.resources import Storage
from alpha_assets.store.owner import Owner

POOL = "gpu"
FAILED, STARTED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        made.event_log_storage.set_concurrency_slots(POOL, 1)
        yield made


@pytest.fixture(scope="module")
def killed() -> Owner:
    """A process that was killed, as it named itself while it lived."""
    program = (
        "from alpha_assets.store.owner import Owner; print(Owner.current(), flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    owner = Owner.parse(child.stdout.readline().strip())
    assert owner is not None
    assert not owner.is_dead()
    child.kill()
    child.communicate()
    return owner


def walking(instance: dg.DagsterInstance, owner: str | None) -> str:
    """A run that is STARTED, holds the only slot of the pool and names a process."""

    @dg.op
    def train() -> None: ...

    @dg.job
    def month() -> None:
        train()

    tags = {} if owner is None else {OWNER_TAG: owner}
    run = instance.create_run_for_job(month, status=STARTED, tags=tags)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "train")
    return run.run_id


def slots(instance: dg.DagsterInstance) -> set[str]:
    return instance.event_log_storage.get_concurrency_info(POOL).active_run_ids


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_the_run_of_a_killed_process_fails_and_its_slot_is_free(
    instance: dg.DagsterInstance, killed: Owner
) -> None:
    run_id = walking(instance, str(killed))
    assert slots(instance) == {run_id}
    (line,) = reap(instance)
    assert f"process {killed.pid} on {killed.host} is gone" in line
    assert status(instance, run_id) == FAILED
    assert slots(instance) == set()
    assert reap(instance) == []


def test_a_number_that_another_process_has_by_now_is_no_sign_of_life(
    instance: dg.DagsterInstance,
) -> None:
    # This very process number, but of a process that started at another tick.
    run_id = walking(instance, str(replace(Owner.current(), start="0.1")))
    assert len(reap(instance)) == 1
    assert status(instance, run_id) == FAILED


@pytest.mark.parametrize("whose", ["mine", "of another host", "unsigned", "unreadable"])
def test_every_other_run_is_left_alone(
    instance: dg.DagsterInstance, killed: Owner, whose: str
) -> None:
    owners = {
        "mine": str(Owner.current()),
        "of another host": str(replace(killed, host="elsewhere")),
        "unsigned": None,
        "unreadable": "by hand",
    }
    run_id = walking(instance, owners[whose])
    assert reap(instance) == []
    assert status(instance, run_id) == STARTED
    assert slots(instance) == {run_id}


@pytest.mark.parametrize("state", ["lives", "is gone", "was removed", "has a port"])
def test_a_run_before_its_first_step_ends_with_the_server_that_started_it(
    instance: dg.DagsterInstance, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is at most 107 letters long
    server: dict[str, str | int] = {"host": "localhost", "socket": "server"}
    run_id = walking(instance, None)
    with socket.socket(socket.AF_UNIX) as listening:
        if state != "was removed":
            listening.bind("server")
        if state == "lives":
            listening.listen()
        if state == "has a port":
            server = {"host": "elsewhere", "port": 4000}
        instance.add_run_tags(run_id, {".dagster/grpc_info": json.dumps(server)})
        lines = reap(instance)
    dead = state in ("is gone", "was removed")
    assert status(instance, run_id) == (FAILED if dead else STARTED)
    assert ["code server server is gone" in line for line in lines] == [True] * dead
    assert slots(instance) == (set() if dead else {run_id})


def begun(instance: dg.DagsterInstance, pid: int, at: float, *, step: bool = False) -> str:
    """A run from the command line, without tags: its events name a process, the last at 1,010 s."""
    run_id = walking(instance, None)
    kinds = [(dg.DagsterEventType.RUN_START, at), (dg.DagsterEventType.ENGINE_EVENT, at + 10)]
    if step:
        kinds.insert(1, (dg.DagsterEventType.STEP_START, at + 5))
    for kind, instant in kinds:
        data = EngineEventData() if kind == dg.DagsterEventType.ENGINE_EVENT else None
        event = dg.DagsterEvent(kind.value, "month", event_specific_data=data, pid=pid)
        instance.event_log_storage.store_event(
            dg.EventLogEntry(
                error_info=None,
                level=20,
                user_message="",
                run_id=run_id,
                timestamp=instant,
                job_name="month",
                dagster_event=event,
            )
        )
    return run_id


def test_a_launch_that_died_before_its_first_step_ends_after_a_quiet_while(
    instance: dg.DagsterInstance, killed: Owner
) -> None:
    run_id = begun(instance, killed.pid, at=1000.0)
    # The last event is of 1,010 s: 19 s of quiet are too few (it may be a run of another host).
    assert reap(instance, clock=lambda: 1029) == []
    assert status(instance, run_id) == STARTED
    assert slots(instance) == {run_id}
    (line,) = reap(instance, clock=lambda: 1030)
    assert f"its process {killed.pid} is gone" in line
    assert status(instance, run_id) == FAILED
    assert slots(instance) == set()


def test_a_launch_whose_number_another_process_has_by_now_is_gone(
    instance: dg.DagsterInstance,
) -> None:
    run_id = begun(instance, os.getpid(), at=1000.0)  # in 1970: this process began later
    assert len(reap(instance, clock=lambda: 1030)) == 1
    assert status(instance, run_id) == FAILED


@pytest.mark.parametrize("whose", ["lives", "has come to a step"])
def test_a_launch_that_lives_or_has_come_to_a_step_is_left_alone(
    instance: dg.DagsterInstance, killed: Owner, whose: str
) -> None:
    at = time.time()
    pid = os.getpid() if whose == "lives" else killed.pid
    run_id = begun(instance, pid, at=at, step=whose != "lives")
    assert reap(instance, clock=lambda: at + 1e6) == []
    assert status(instance, run_id) == STARTED
    assert slots(instance) == {run_id}


def test_a_run_that_was_being_cancelled_counts_as_cancelled(
    instance: dg.DagsterInstance, killed: Owner
) -> None:
    run_id = walking(instance, str(killed))
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_canceling(run)
    reap(instance)
    assert status(instance, run_id) == dg.DagsterRunStatus.CANCELED


def test_the_sensor_asks_twice_a_minute(instance: dg.DagsterInstance, killed: Owner) -> None:
    assert SECONDS_BETWEEN <= 30
    assert reaper.minimum_interval_seconds == SECONDS_BETWEEN
    assert reaper.default_status == dg.DefaultSensorStatus.RUNNING
    run_id = walking(instance, str(killed))
    skipped = reaper(dg.build_sensor_context(instance=instance))
    assert isinstance(skipped, dg.SkipReason)
    assert run_id in str(skipped.skip_message)
    assert status(instance, run_id) == FAILED


def test_a_run_names_its_process_and_ends_those_of_dead_ones_as_it_starts(
    instance: dg.DagsterInstance, killed: Owner, tmp_path: Path
) -> None:
    dead = walking(instance, str(killed))

    @dg.asset
    def table(storage: Storage) -> None: ...

    made = dg.materialize(
        [table], instance=instance, resources={"storage": Storage(url=str(tmp_path))}
    )
    run = instance.get_run_by_id(made.run_id)
    assert run is not None
    assert run.tags[OWNER_TAG] == str(Owner.current())
    assert Owner.current().pid == os.getpid()
    assert status(instance, dead) == FAILED
    assert not sign(instance, made.run_id)  # once is enough
