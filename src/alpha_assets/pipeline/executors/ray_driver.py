"""The process that speaks to a Ray cluster for the one that asked.

`python -m alpha_assets.pipeline.executors.ray_driver FD LEVEL`: it is given tasks over the
connection that it inherits, hands them to the cluster, and sends back lines and results.  Ray ends
the process that connected to it when the head of the cluster is gone: that is this one, and who
asked starts another.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

from alpha_assets.errors import BadInput, WorkerLost
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
from alpha_assets.pipeline.executors.ray_task import work
from alpha_assets.pipeline.executors.worker import LIBRARIES, THREADS, main, portable
from alpha_assets.training.device import AUTO

RETRIES = 2  # of a task whose worker or machine is gone
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_CALLS = 2.0  # at the address of the cluster
GONE = 3  # exit code: the cluster is
OURS = "ALPHA_"  # variables of the environment that workers get too


@contextmanager
def connected(ray: Any, address: str) -> Iterator[None]:  # noqa: ANN401
    """Be a driver of the cluster.

    Raises:
        BadInput: it does not take one.
    """
    ours = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
    threads = dict.fromkeys(LIBRARIES, str(THREADS))
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": {**threads, **ours}},
            log_to_driver=False,
            logging_level="warning",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BadInput(f"--workers ray: {ADDRESS} = {address!r}: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


@dataclass
class Run:
    """The tasks of a batch, and how far they are.

    Attributes:
        ray: the library.
        batch: the tasks.
        send: sends a message to who asked.
        makers: of tasks: process and host, in words.
        lost: how often a task was.
        first_refused: number of the first task that was refused.
        refs: what runs, and its task's number.
    """

    ray: Any
    batch: Batch
    send: Callable[[object], None]
    makers: dict[int, str] = field(default_factory=dict)
    lost: Counter[int] = field(default_factory=Counter)
    first_refused: float = float("inf")
    refs: dict[Any, int] = field(default_factory=dict)

    @contextmanager
    def running(self) -> "Iterator[Run]":
        """Hold the queue of lines; what still runs at the end is ended."""
        from ray.util.queue import Queue

        self._needs = self._refuse_small_cluster()
        self._lines = Queue(actor_options={"num_cpus": 0})
        try:
            self._packed = {key: self.ray.put(packed) for key, packed in self.batch.packed.items()}
            self._work = self.ray.remote(work)
            yield self
        finally:
            for ref in self.refs:
                with suppress(Exception):  # the cluster may be what is gone
                    self.ray.cancel(ref, force=True)
            with suppress(Exception):
                self._lines.shutdown(force=True)

    def run(self) -> None:
        """Hand out all tasks, and send results until all are done or the first one was refused."""
        for number in self.batch.sent:
            self._hand_out(number)
        while self.refs:
            ready, _ = self.ray.wait(list(self.refs), timeout=SECONDS_BETWEEN_LOOKS)
            self._report()
            for ref in ready:
                number = self.refs.pop(ref)
                try:
                    result = self.ray.get(ref)
                except self.ray.exceptions.RayTaskError as error:
                    self._refused(Failed(number, _not_loaded(error)))
                    continue
                except self.ray.exceptions.RayError as error:
                    self._take_over(number, error)
                    continue
                self._report()  # a task's last lines came before its result
                if isinstance(result, Failed):
                    self._refused(result)
                else:
                    self.send(Done(number))

    def _refuse_small_cluster(self) -> dict[str, float]:
        """Return what a task takes of a machine.

        Raises:
            BadInput: no machine has room for it: Ray would wait for ever.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if self.batch.device == AUTO:
            has_gpu = any(has.get("GPU", 0) >= 1 for has in nodes)
            self.batch = replace(self.batch, device="cuda" if has_gpu else "cpu")
        needs = {"CPU": float(self.batch.threads)}
        if self.batch.device.partition(":")[0] != "cpu":
            needs["GPU"] = 1.0
        if any(all(has.get(name, 0) >= n for name, n in needs.items()) for has in nodes):
            return needs
        wanted = " and ".join(f"{n:g} {name}" for name, n in needs.items())
        has = "; ".join(", ".join(f"{n.get(k, 0):g} {k}" for k in ("CPU", "GPU")) for n in nodes)
        raise BadInput(
            f"--workers ray: a task takes {wanted}, and no machine of the cluster has as much "
            f"({has}); choose --device cpu, a smaller training.threads, or another cluster"
        )

    def _hand_out(self, number: int) -> None:
        sent: Sent = replace(self.batch.sent[number], device=self.batch.device)
        options = self._work.options(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs.get("GPU", 0),
            max_retries=0,  # tried again here, where it can be named
            name=self.batch.names[number],
        )
        ref = options.remote(self.batch.home, sent, self._packed[sent.key], self._lines)
        self.refs[ref] = number

    def _report(self) -> None:
        """Send the lines that have come."""
        with suppress(self.ray.exceptions.RayError):  # with the cluster go its lines
            for number, stage, what in self._lines.get_nowait_batch(self._lines.qsize()):
                if stage == "worker":
                    self.makers[number] = what.partition(": ")[0]
                self.send(Line(stage, what))

    def _take_over(self, number: int, error: Exception) -> None:
        """Try a task again whose worker or machine is gone."""
        if number > self.first_refused:
            return  # it was ended here
        self._report()
        name = self.batch.names[number]
        maker = self.makers.pop(number, "a worker of Ray")
        self.lost[number] += 1
        what = f"{maker} was lost making {name} ({type(error).__name__})"
        if self.lost[number] > RETRIES:
            lost = WorkerLost(
                f"{self.lost[number]} workers of Ray were lost making {name}, the last one {maker}:"
                f" {str(error).splitlines()[0]}. What is stored stays: run again goes on from there"
            )
            self._refused(Failed(number, lost))
            return
        again = f"{what}; it is tried again, {self.lost[number]} of {RETRIES}"
        self.send(Line("worker", again))
        self._hand_out(number)

    def _refused(self, failed: Failed) -> None:
        """Send why a task is not done; those after it end."""
        self.send(failed)
        self.first_refused = min(self.first_refused, failed.number)
        for ref, other in list(self.refs.items()):
            if other > self.first_refused:
                self.ray.cancel(ref, force=True)


def _not_loaded(error: Exception) -> BadInput:
    """Return what it means that a task raised, since `work` raises nothing."""
    lines = str(error).strip().splitlines()
    return BadInput(
        f"a worker of Ray cannot load what a task needs ({lines[0]} … {lines[-1]}); install the "
        "same packages as here, alpha-assets with them, on every machine of the cluster"
    )


class Driver:
    """Hands the tasks that come over a connection to a cluster."""

    def __init__(self, connection: Connection) -> None:
        """Begin with none."""
        self._connection = connection
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Run one batch, and send how it went."""
        try:
            batch: Batch = self._connection.recv()
        except (EOFError, OSError):
            return
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        import ray

        try:
            with connected(ray, batch.address):
                threading.Thread(target=_end_with, args=(batch.address,), daemon=True).start()
                with Run(ray, batch, self._send).running() as run:
                    run.run()
        except BaseException as error:
            if silence(batch.address) is not None:
                os._exit(GONE)  # whatever it was that Ray raised
            self._send(Refused(portable(error)))
        self._send(Over())

    def _send(self, message: object) -> None:
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:
                os._exit(0)  # who asked is gone

    def _end_with_parent(self) -> None:
        """End where who asked is gone; Ray ends what this one started."""
        with suppress(EOFError, OSError):
            self._connection.recv()
        os._exit(0)


def _end_with(address: str) -> None:
    """End where the cluster does not answer: Ray would find out after a minute."""
    while silence(address) is None:
        time.sleep(SECONDS_BETWEEN_CALLS)
    os._exit(GONE)


if __name__ == "__main__":
    main(Driver)
