"""Runs whose process is gone: they are marked as failed, and what they held is freed.

Dagster itself never asks: a run that was killed stays STARTED and keeps its place in a pool.
So each run carries the process that walks it, and the next that looks (the next run, `launch`, a
sensor of the daemon) ends the runs of processes that are gone.  Those of other hosts are left
alone.

A queued run that has not come to its first step has no such tag yet.  It is ended where the
code server that started it is gone (a server that lives ends a run whose process died by itself).
A run from the command line that has not come there names the number of its process in its first
event, but no host: it is ended where this host has no such process and nothing has been logged for
a while.
"""

import json
import socket
import time
from collections.abc import Callable

import dagster as dg
from dagster import DagsterInstance
from dagster._core.storage.tags import GRPC_INFO_TAG

from alpha_assets.defs import NOTHING_DEAD
from alpha_assets.store.owner import Owner, lived

OWNER_TAG = "alpha_assets/process"
SECONDS_BETWEEN = 30  # of the sensor: a slot is free within a minute
QUIET_SECONDS = 20  # that a run from the command line may log nothing before its first step

WALKING = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def sign(instance: DagsterInstance, run_id: str) -> bool:
    """Write into a run which process walks it; False where that stood there already."""
    mine = str(Owner.current())
    run = instance.get_run_by_id(run_id)
    if run is None or run.tags.get(OWNER_TAG) == mine:
        return False
    instance.add_run_tags(run_id, {OWNER_TAG: mine})
    return True


def reap(instance: DagsterInstance, clock: Callable[[], float] = time.time) -> list[str]:
    """End the runs whose process is gone; return what was done, a line each."""
    lines = []
    for run in instance.get_runs(dg.RunsFilter(statuses=WALKING)):
        gone = _who_is_gone(instance, run, clock())
        if gone is None:
            continue
        # The process may have written its last words between our two looks; now it cannot.
        now = instance.get_run_by_id(run.run_id)
        if now is not None and now.status in WALKING:
            words = f"its {gone} is gone: killed, or out of memory or power; launch it again"
            if now.status == dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(now, words)
            else:
                instance.report_run_failed(now, words)
            lines.append(f"run {run.run_id} of {run.job_name}: {words}")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return lines


def _who_is_gone(instance: DagsterInstance, run: dg.DagsterRun, now: float) -> str | None:
    """Return which process of a run is gone, in words; None where it may still be walked."""
    if OWNER_TAG in run.tags:
        owner = Owner.parse(run.tags[OWNER_TAG])
        return owner.words if owner is not None and owner.is_dead() else None
    if GRPC_INFO_TAG not in run.tags:
        return _launch_that_is_gone(instance, run.run_id, now)
    try:
        server = json.loads(run.tags[GRPC_INFO_TAG])["socket"]  # a server with a port may be
    except (KeyError, ValueError):  # on another host
        return None
    return f"code server {server}" if _refuses(server) else None


def _launch_that_is_gone(instance: DagsterInstance, run_id: str, now: float) -> str | None:
    """Return the process of a run from the command line that died before the first step."""
    kind = dg.DagsterEventType

    def one(of: dg.DagsterEventType | None) -> dg.EventLogRecord | None:
        found = instance.get_records_for_run(run_id, of_type=of, limit=1, ascending=False)
        return next(iter(found.records), None)

    begun, latest = one(kind.RUN_START), one(None)
    if begun is None or latest is None or one(kind.STEP_START) is not None:
        return None
    pid = begun.event_log_entry.get_dagster_event().pid
    if pid is None or now - latest.timestamp < QUIET_SECONDS or lived(pid, begun.timestamp):
        return None
    return f"process {pid}"


def _refuses(path: str) -> bool:
    """Return whether no process listens at a socket of this host."""
    with socket.socket(socket.AF_UNIX) as ours:
        try:
            ours.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            return False
    return False


@dg.sensor(
    name="runs_of_dead_processes",
    minimum_interval_seconds=SECONDS_BETWEEN,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="End runs whose process is gone, so that others need not wait for them.",
)
def reaper(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """End runs whose process is gone."""
    found = reap(context.instance)
    for line in found:
        context.log.warning(line)
    return dg.SkipReason("; ".join(found) or NOTHING_DEAD)
