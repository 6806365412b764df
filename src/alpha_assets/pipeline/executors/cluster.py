"""Runs tasks on a Ray cluster: each is a task of Ray, and takes the cores that it trains with.

The extra `ray` brings the library, which a process of its own loads (`ray_driver.py`).  The
machines of the cluster need the same packages, and the storage at the same address.
"""

import importlib.util
import os
import pickle
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from alpha_assets.errors import AlphaAssetsError, BadInput, WorkerLost
from alpha_assets.pipeline.context import RecipeContext, silent
from alpha_assets.pipeline.executor import Task, with_shared_market
from alpha_assets.pipeline.executors.child import Child
from alpha_assets.pipeline.executors.messages import (
    Batch,
    Done,
    Failed,
    Line,
    Over,
    Refused,
    Sent,
)
from alpha_assets.pipeline.executors.ray_address import ADDRESS, silence
from alpha_assets.pipeline.executors.ray_task import Home
from alpha_assets.pipeline.executors.versions import versions
from alpha_assets.progress import Pace, Progress

LOSSES = 3  # of the cluster, without a task done between them
SECONDS_TO_COME_BACK = 600.0  # for a cluster that is gone
SECONDS_BETWEEN_CALLS = 1.0
MODULE = "alpha_assets.pipeline.executors.ray_driver"


class Cluster:
    """Runs tasks on the Ray cluster that the environment names."""

    def __init__(self, module: str = MODULE) -> None:
        """Find the library and the address.

        Args:
            module: that the process which speaks to the cluster runs.

        Raises:
            BadInput: one of them is missing.
        """
        if not _is_installed("ray"):
            raise BadInput("--workers ray: ray is not installed; pip install 'alpha-assets[ray]'")
        self._module, self._address = module, os.environ.get(ADDRESS, "")
        if not self._address:
            raise BadInput(
                f"--workers ray: {ADDRESS} names no cluster; set it to the address of one, such as "
                "127.0.0.1:6379, or ask for --workers N: processes of this machine"
            )

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Return when every task is done; see `Executor`."""
        if not tasks:
            return
        error = silence(self._address)  # Ray would ask for minutes
        if error is not None:
            raise BadInput(
                f"--workers ray: {ADDRESS} = {self._address!r}: no cluster answers there ({error});"
                " start one with `ray start --head`, or name the address of another"
            )
        run = _Run(self._address, self._module, tasks, progress)
        try:
            run.run()
        finally:
            run.end()


class _Lost(Exception):
    """The cluster went, and with it the process that spoke to it; says how that ended."""


class _Run:
    """The tasks of one call, and how far they are."""

    def __init__(
        self, address: str, module: str, tasks: Sequence[Task], progress: Progress
    ) -> None:
        self._address, self._module = address, module
        self._tasks, self._progress = tasks, progress
        self._left = dict.fromkeys(range(len(tasks)))  # numbers of tasks, in order
        self._errors: dict[int, BaseException] = {}
        self._pace = Pace(progress, "run")
        self._store = tasks[0].context.store
        self._home = Home(uuid4().hex, str(Path.cwd()), versions(), self._store.address)
        self._child: Child | None = None
        self._losses = 0  # of the cluster, since a task was done
        self._deadline = 0.0  # for a cluster that was lost to take tasks again

    def run(self) -> None:
        """Give the tasks to a driver, and to another one where the cluster was lost."""
        self._home.probe.write(self._home.run.encode())
        contexts = {id(task.context): task.context for task in self._tasks}
        self._packed = {key: self._pack(context) for key, context in contexts.items()}
        self._report_pace()
        while self._left:
            n_left = len(self._left)
            try:
                if self._is_over():
                    break
            except _Lost as lost:
                if len(self._left) < n_left:
                    self._losses = 0
                self._wait(str(lost))
        if self._errors:
            raise self._errors[min(self._errors)]

    def end(self) -> None:
        """End the driver, and take back what was put into the storage."""
        if self._child is not None:
            self._child.end()
        with suppress(AlphaAssetsError):
            self._store.scratch("ray", self._home.run).remove()

    def _is_over(self) -> bool:
        """Run what is left with a driver of its own; False where a lost cluster is not back yet.

        Raises:
            AlphaAssetsError: the cluster refuses, and was not lost.
            _Lost: it went meanwhile.
        """
        self._child = child = Child.started(self._module)
        with suppress(OSError):  # it is gone: its connection says so when it is read
            child.connection.send(self._batch())
        while True:
            try:
                message = child.connection.recv()
            except (EOFError, OSError):
                raise _Lost(child.how_it_ended()) from None
            match message:
                case Line(stage, what):
                    self._progress(stage, what)
                case Done(number):
                    del self._left[number]
                    self._report_pace()
                case Failed(number, error):
                    self._errors[number] = error
                    self._left = {other: None for other in self._left if other < number}
                case Refused(error):
                    child.end()
                    if time.monotonic() >= self._deadline:
                        raise error
                    time.sleep(SECONDS_BETWEEN_CALLS)
                    return False
                case Over():
                    child.end()
                    return True

    def _wait(self, how: str) -> None:
        """Return when a cluster that was lost answers again; `how` its driver ended.

        Raises:
            WorkerLost: it does not, or was lost too often.
        """
        self._losses += 1
        stays = "What is stored stays: run again goes on from there"
        here = f"the Ray cluster at {self._address}"
        if self._losses >= LOSSES:
            raise WorkerLost(
                f"{here} was lost {self._losses} times with no task done between; the process that "
                f"spoke to it {how}. {stays}"
            )
        minutes = f"{SECONDS_TO_COME_BACK / 60:g} minutes"
        self._progress(
            "worker",
            f"{here} was lost (the process that spoke to it {how}); what is not done is handed out "
            f"again once it answers; it has {minutes}",
        )
        self._deadline = time.monotonic() + SECONDS_TO_COME_BACK
        while (error := silence(self._address)) is not None:
            if time.monotonic() >= self._deadline:
                raise WorkerLost(
                    f"{here} did not come back within {minutes} ({error}); start it with "
                    f"`ray start`. {stays}"
                )
            time.sleep(SECONDS_BETWEEN_CALLS)
        self._progress("worker", f"{here} answers again; {len(self._left)} tasks are left")

    def _batch(self) -> Batch:
        context = self._tasks[0].context
        return Batch(
            address=self._address,
            home=self._home,
            sent={number: self._sent(number) for number in self._left},
            names={number: self._tasks[number].name for number in self._left},
            packed=self._packed,
            threads=context.recipe.spec.training.threads,
            device=context.device,
        )

    def _sent(self, number: int) -> Sent:
        task = self._tasks[number]
        return Sent(
            number=number,
            key=id(task.context),
            context=b"",
            identity=task.identity(),
            stages=task.stages,
            parts=task.parts,
            device=task.context.device,
        )

    def _pack(self, context: RecipeContext) -> bytes:
        tasks = [task for task in self._tasks if task.context is context]
        shared = with_shared_market(context, tasks)
        # A relative path names another folder on another machine.
        store = replace(context.store, url=context.store.address)
        return pickle.dumps(replace(shared, progress=silent, store=store))

    def _report_pace(self) -> None:
        total = sum(len(task.parts) for task in self._tasks)
        left = sum(len(self._tasks[number].parts) for number in self._left)
        self._pace(self._tasks[0].unit, total - left, total)


def _is_installed(name: str) -> bool:
    return sys.modules.get(name) is not None or importlib.util.find_spec(name) is not None
