"""Runs tasks on a Ray cluster: each is a task of Ray, and takes the cores that it trains with.

The extra `ray` brings the library, which is imported where a cluster is asked for.  Its machines
need the same packages, and the storage at the same address.
"""

import os
import pickle
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from alpha_assets.errors import AlphaAssetsError, BadInput, WorkerLost
from alpha_assets.pipeline.context import RecipeContext, silent
from alpha_assets.pipeline.executor import Task, with_shared_market
from alpha_assets.pipeline.executors.messages import Done, Failed, Sent
from alpha_assets.pipeline.executors.versions import difference, versions
from alpha_assets.pipeline.executors.worker import LIBRARIES, THREADS, portable
from alpha_assets.progress import Pace, Progress
from alpha_assets.store.owner import Owner
from alpha_assets.store.scratch import Document
from alpha_assets.store.store import Store

ADDRESS = "RAY_ADDRESS"
RETRIES = 2  # of a task whose worker or machine is gone
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_ANSWER = 10.0  # for the address of a cluster
OURS = "ALPHA_"  # variables of the environment that workers get too

_contexts: dict[str, RecipeContext] = {}  # of a worker, by the run that they came with


@dataclass(frozen=True)
class Home:
    """What a task of Ray brings from the process that asked for it.

    Attributes:
        run: names the run.
        folder: that it works in.
        versions: of its packages.
        storage: its address.
    """

    run: str
    folder: str
    versions: Mapping[str, str]
    storage: str

    @property
    def probe(self) -> Document:
        """What was put into the storage, to be found there."""
        return Store(self.storage).scratch("ray", self.run).document("probe")

    def refuse_strangers(self) -> None:
        """Refuse to work on a machine with other packages, or that does not see the storage.

        Raises:
            BadInput: naming both sides.
        """
        here = Owner.current().words
        odd = difference(versions(), self.versions)
        if odd:
            raise BadInput(
                f"{here}, a worker of Ray, has other packages than who asked: {odd}; install the "
                "same on every machine of the cluster"
            )
        try:
            seen = self.probe.read()
        except AlphaAssetsError as error:
            raise BadInput(f"{here}, a worker of Ray, cannot read the storage: {error}") from None
        if seen != self.run.encode():
            raise BadInput(
                f"{here}, a worker of Ray, does not see the storage {self.storage} as who asked "
                "does; put it on a disk that every machine mounts there, or into an object store"
            )


def work(home: Home, sent: Sent, context: bytes, lines: Any) -> Done | Failed:  # noqa: ANN401
    """Run a task on a machine of the cluster; what it raises is returned.

    Args:
        home: of who asked.
        sent: the task; its context comes beside it, since Ray keeps that once a machine.
        context: pickled.
        lines: the queue of Ray for lines of progress.
    """

    def progress(stage: str, what: str) -> None:
        lines.put((sent.number, stage, what))

    try:
        with suppress(OSError):  # the same disks may not be there; the storage is asked for below
            os.chdir(home.folder)
        here = Owner.current().words
        progress("worker", f"{here}: {'/'.join(sent.stages)} {sent.parts[0]}")
        home.refuse_strangers()
        key = f"{home.run} {sent.key}"
        if key not in _contexts:
            _contexts.clear()  # those of earlier runs
            _contexts[key] = pickle.loads(context)
        opened = replace(_contexts[key], progress=progress)
        task = Task(opened, sent.stages, sent.parts)
        task.refuse_others(sent.identity, here)
        task.run()
    except BaseException as error:
        return Failed(sent.number, portable(error))
    return Done(sent.number)


class Cluster:
    """Runs tasks on the Ray cluster that the environment names."""

    def __init__(self) -> None:
        """Find the library and the address.

        Raises:
            BadInput: one of them is missing.
        """
        try:
            import ray
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            raise BadInput(
                "--workers ray: ray is not installed; pip install 'alpha-assets[ray]'"
            ) from None
        self._ray = ray
        self._address = os.environ.get(ADDRESS, "")
        if not self._address:
            raise BadInput(
                f"--workers ray: {ADDRESS} names no cluster; set it to the address of one, such as "
                "127.0.0.1:6379, or ask for --workers N: processes of this machine"
            )

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Return when every task is done; see `Executor`."""
        if tasks:
            with self._connected(), _Run(self._ray, tasks, progress).running() as run:
                run.run()

    def _refuse_silence(self) -> None:
        """Refuse an address at which nothing listens: Ray would ask for minutes."""
        host, _, port = self._address.removeprefix("ray://").rpartition(":")
        if not (host and port.isdecimal()):
            return  # a word of Ray's, such as auto
        try:
            socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
        except (OSError, OverflowError) as error:
            raise BadInput(
                f"--workers ray: {ADDRESS} = {self._address!r}: no cluster answers there ({error});"
                " start one with `ray start --head`, or name the address of another"
            ) from None

    @contextmanager
    def _connected(self) -> Iterator[None]:
        self._refuse_silence()
        ours = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
        threads = dict.fromkeys(LIBRARIES, str(THREADS))
        try:
            self._ray.init(
                address=self._address,
                runtime_env={"env_vars": {**threads, **ours}},
                log_to_driver=False,
                logging_level="warning",
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BadInput(f"--workers ray: {ADDRESS} = {self._address!r}: {error}") from None
        try:
            yield
        finally:
            self._ray.shutdown()


@dataclass
class _Run:
    """The tasks of one call, and how far they are."""

    ray: Any
    tasks: Sequence[Task]
    progress: Progress
    makers: dict[int, str] = field(default_factory=dict)  # of tasks: process and host, in words
    lost: Counter[int] = field(default_factory=Counter)
    errors: dict[int, BaseException] = field(default_factory=dict)
    refs: dict[Any, int] = field(default_factory=dict)  # what runs, and its task's number

    @contextmanager
    def running(self) -> "Iterator[_Run]":
        """Hold the queue of lines; what still runs at the end is ended."""
        from ray.util.queue import Queue

        context = self.tasks[0].context
        home = Home(uuid4().hex, str(Path.cwd()), versions(), context.store.address)
        self._home = home
        home.probe.write(home.run.encode())
        self._lines = Queue(actor_options={"num_cpus": 0})
        try:
            self._refuse_small_cluster(context)
            self._packed = {
                key: self.ray.put(self._pack(context))
                for key, context in {id(t.context): t.context for t in self.tasks}.items()
            }
            self._work = self.ray.remote(work)
            yield self
        finally:
            for ref in self.refs:
                with suppress(Exception):  # the cluster may be what is gone
                    self.ray.cancel(ref, force=True)
            with suppress(Exception):
                self._lines.shutdown(force=True)
            with suppress(AlphaAssetsError):
                context.store.scratch("ray", home.run).remove()

    def run(self) -> None:
        """Hand out all tasks, and take results until all are done or the first one was refused."""
        pace, n_done = Pace(self.progress, "run"), 0
        total = sum(len(task.parts) for task in self.tasks)
        for number in range(len(self.tasks)):
            self._hand_out(number)
        pace(self.tasks[0].unit, 0, total)
        while self.refs:
            ready, _ = self.ray.wait(list(self.refs), timeout=SECONDS_BETWEEN_LOOKS)
            self._report()
            for ref in ready:
                number = self.refs.pop(ref)
                try:
                    result = self.ray.get(ref)
                except self.ray.exceptions.RayError as error:
                    self._take_over(number, error)
                    continue
                self._report()  # a task's last lines came before its result
                if isinstance(result, Failed):
                    self._refused(number, result.error)
                else:
                    n_done += len(self.tasks[number].parts)
                    pace(self.tasks[0].unit, n_done, total)
        if self.errors:
            raise self.errors[min(self.errors)]

    def _refuse_small_cluster(self, context: RecipeContext) -> None:
        """Refuse tasks for which no machine has room: Ray would wait for ever."""
        needs = _needs(context)
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if any(all(has.get(name, 0) >= n for name, n in needs.items()) for has in nodes):
            return
        wanted = " and ".join(f"{n:g} {name}" for name, n in needs.items())
        has = "; ".join(", ".join(f"{n.get(k, 0):g} {k}" for k in ("CPU", "GPU")) for n in nodes)
        raise BadInput(
            f"--workers ray: a task takes {wanted}, and no machine of the cluster has as much "
            f"({has}); choose --device cpu, a smaller training.threads, or another cluster"
        )

    def _pack(self, context: RecipeContext) -> bytes:
        tasks = [task for task in self.tasks if task.context is context]
        shared = with_shared_market(context, tasks)
        # A relative path names another folder on another machine.
        store = replace(context.store, url=context.store.address)
        return pickle.dumps(replace(shared, progress=silent, store=store))

    def _hand_out(self, number: int) -> None:
        task = self.tasks[number]
        needs = _needs(task.context)
        sent = Sent(
            number=number,
            key=id(task.context),
            context=b"",
            identity=task.identity(),
            stages=task.stages,
            parts=task.parts,
            device=task.context.device,
        )
        options = self._work.options(
            num_cpus=needs["CPU"],
            num_gpus=needs.get("GPU", 0),
            max_retries=0,  # tried again here, where it can be named
            name=task.name,
        )
        ref = options.remote(self._home, sent, self._packed[sent.key], self._lines)
        self.refs[ref] = number

    def _report(self) -> None:
        """Report the lines that have come."""
        with suppress(self.ray.exceptions.RayError):  # with the cluster go its lines
            for number, stage, what in self._lines.get_nowait_batch(self._lines.qsize()):
                if stage == "worker":
                    self.makers[number] = what.partition(": ")[0]
                self.progress(stage, what)

    def _take_over(self, number: int, error: Exception) -> None:
        """Try a task again whose worker or machine is gone."""
        if self.errors and number > min(self.errors):
            return  # it was ended here
        self._report()
        name = self.tasks[number].name
        maker = self.makers.pop(number, "a worker of Ray")
        self.lost[number] += 1
        what = f"{maker} was lost making {name} ({type(error).__name__})"
        if self.lost[number] > RETRIES:
            lost = WorkerLost(
                f"{self.lost[number]} workers of Ray were lost making {name}, the last one {maker}:"
                f" {str(error).splitlines()[0]}. What is stored stays: run again goes on from there"
            )
            self._refused(number, lost)
            return
        self.progress("worker", f"{what}; it is tried again, {self.lost[number]} of {RETRIES}")
        self._hand_out(number)

    def _refused(self, number: int, error: BaseException) -> None:
        """Note why a task is not done; those after it end."""
        self.errors[number] = error
        first = min(self.errors)
        for ref, other in list(self.refs.items()):
            if other > first:
                self.ray.cancel(ref, force=True)


def _needs(context: RecipeContext) -> dict[str, float]:
    """Return what a task takes of a machine."""
    needs = {"CPU": float(context.recipe.spec.training.threads)}
    return needs if context.device.partition(":")[0] == "cpu" else {**needs, "GPU": 1.0}
