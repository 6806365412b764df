"""Runs tasks in processes of this machine, each with one thread."""

import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait

from alpha_assets.errors import WorkerLost
from alpha_assets.pipeline.context import RecipeContext, silent
from alpha_assets.pipeline.executor import InProcess, Task, with_shared_market
from alpha_assets.pipeline.executors.child import Child
from alpha_assets.pipeline.executors.messages import Done, Failed, Line, Ready, Sent
from alpha_assets.progress import Pace, Progress

RETRIES = 2  # of a task whose worker was killed
MODULE = "alpha_assets.pipeline.executors.worker"


@dataclass(eq=False)
class _Process(Child):
    """A worker as its parent sees it.

    Attributes:
        place: among the workers; of GPUs, the one that it trains on.
        given: keys of the contexts that it holds.
        is_ready: whether it has loaded what tasks need.
        task: number of what it makes; None: nothing.
    """

    place: int = 0
    given: set[int] = field(default_factory=set)
    is_ready: bool = False
    task: int | None = None

    @classmethod
    def at(cls, place: int, module: str) -> "_Process":
        """Return a new worker; it loads what tasks need meanwhile."""
        worker = cls.started(module)
        worker.place = place
        return worker


class Processes:
    """Runs tasks in some processes at a time."""

    def __init__(self, n_workers: int, module: str = MODULE) -> None:
        """Take how many at most.

        Args:
            n_workers: at a time.
            module: that a worker runs.
        """
        self.n_workers, self._module = n_workers, module

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Return when every task is done; see `Executor`."""
        if len(tasks) == 1:
            InProcess().run(tasks, progress)  # nothing is side by side: a worker's start is saved
        elif tasks:
            n_workers = min(self.n_workers, len(tasks))
            with _Pool(tasks, n_workers, self._module, progress).running() as pool:
                pool.run()


class _Pool:
    """The workers of one call, and how far its tasks are."""

    def __init__(
        self, tasks: Sequence[Task], n_workers: int, module: str, progress: Progress
    ) -> None:
        self._tasks, self._progress = tasks, progress
        self._n_workers, self._module = n_workers, module
        self._waiting = list(range(len(tasks)))  # in order
        self._workers: list[_Process] = []
        self._lost: Counter[str] = Counter()  # workers, by what they did
        self._errors: dict[int, BaseException] = {}
        self._packed: dict[int, bytes] = {}  # contexts, by their keys
        self._pace = Pace(progress, "run")
        self._n_done, self._n_parts = 0, sum(len(task.parts) for task in tasks)

    @contextmanager
    def running(self) -> "Iterator[_Pool]":
        """Hold the workers; none outlives this, whatever ends it."""
        try:
            for place in range(self._n_workers):
                self._workers.append(_Process.at(place, self._module))
            yield self
        finally:
            for worker in self._workers:
                worker.connection.close()  # all of them at once, so that one wait is enough
            for worker in self._workers:
                worker.end()

    def run(self) -> None:
        """Give out tasks and take results until all are done, or the first one was refused."""
        for task in self._tasks:  # while workers load what they need
            if id(task.context) not in self._packed:
                self._pack(task.context)
        while self._waiting or any(worker.task is not None for worker in self._workers):
            self._give_out()
            by_connection = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(by_connection)):
                assert isinstance(connection, Connection)
                worker = by_connection[connection]
                if worker in self._workers:  # it may have ended since, for an error of another
                    self._take(worker)
        if self._errors:
            raise self._errors[min(self._errors)]

    def _give_out(self) -> None:
        """Give each worker that has none the first task that waits."""
        for worker in self._workers:
            if not (worker.is_ready and worker.task is None and self._waiting):
                continue
            worker.task = self._waiting.pop(0)
            with suppress(OSError):  # it is gone: its connection says so when it is read
                worker.connection.send(self._sent(worker, worker.task))

    def _sent(self, worker: _Process, number: int) -> Sent:
        task = self._tasks[number]
        key = id(task.context)
        is_new = key not in worker.given
        worker.given.add(key)
        return Sent(
            number=number,
            key=key,
            context=self._packed[key] if is_new else b"",
            identity=task.identity(),
            stages=task.stages,
            parts=task.parts,
            device=_device(task.context, worker.place),
        )

    def _pack(self, context: RecipeContext) -> None:
        """Pickle a context, with the market that its tasks share."""
        tasks = [task for task in self._tasks if task.context is context]
        shared = with_shared_market(context, tasks)
        self._packed[id(context)] = pickle.dumps(replace(shared, progress=silent))

    def _take(self, worker: _Process) -> None:
        """Take one message of a worker, or that it is gone."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._take_over(worker)
            return
        match message:
            case Ready():
                worker.is_ready = True
                self._pace(
                    self._tasks[0].unit, self._n_done, self._n_parts
                )  # start-up is no rate of months
            case Line(stage, what):
                self._progress(stage, what)
            case Done(number):
                worker.task = None
                self._n_done += len(self._tasks[number].parts)
                self._pace(self._tasks[0].unit, self._n_done, self._n_parts)
            case Failed(number, error):
                worker.task = None
                self._refused(number, error)

    def _take_over(self, worker: _Process) -> None:
        """Try the task of a worker that is gone again, in a new one."""
        how, number = worker.how_it_ended(), worker.task
        worker.connection.close()
        self._workers.remove(worker)
        if number is not None:
            what = f"making {self._tasks[number].name}"
            self._waiting = sorted([*self._waiting, number])
        else:
            what = "with nothing to do" if worker.is_ready else "at start-up"
        self._lost[what] += 1
        n_lost = self._lost[what]
        if n_lost > RETRIES and self._waiting and (number is not None or not worker.is_ready):
            error = WorkerLost(
                f"{n_lost} workers ended {what}; the last, {worker.words}, {how}. SIGKILL often "
                "means that memory ran out: ask for fewer --workers, or --workers 1, which is "
                "this process alone. What is stored stays: run again goes on from there"
            )
            self._refused(min(self._waiting) if number is None else number, error)
            return
        again = "" if number is None else f"; it is tried again, {n_lost} of {RETRIES}"
        self._progress("worker", f"{worker.words} {how} {what}{again}")
        if self._waiting:
            self._workers.append(_Process.at(worker.place, self._module))

    def _refused(self, number: int, error: BaseException) -> None:
        """Note why a task is not done; of those after it none is begun, and those begun end."""
        self._errors[number] = error
        first = min(self._errors)
        self._waiting = [other for other in self._waiting if other < first]
        for worker in [w for w in self._workers if w.task is not None and w.task > first]:
            self._workers.remove(worker)
            worker.end()


def _device(context: RecipeContext, place: int) -> str:
    """Return the device of a worker: of several GPUs, each has its own."""
    return f"cuda:{place}" if context.on_device == "cuda" else context.on_device
