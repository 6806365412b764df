"""A process that runs tasks one after the other, and ends with the process that started it.

`python -m alpha_assets.pipeline.executors.worker FD`: tasks come over the connection that it
inherits as this file descriptor, lines of progress and results go back over it.
"""

import logging
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Protocol

from alpha_assets.pipeline.executors.messages import Done, Failed, Line, Ready, Sent

THREADS = 1  # of every library: each core has a worker of its own
LIBRARIES = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment() -> dict[str, str]:
    """Return the environment of a worker: one thread per library, unless it names a number."""
    return {**dict.fromkeys(LIBRARIES, str(THREADS)), **os.environ}


def portable(error: BaseException) -> BaseException:
    """Return an error that can be pickled; where it is a bug's, with the lines that led to it."""
    from alpha_assets.errors import AlphaAssetsError

    text = "".join(traceback.format_exception(error))
    if not isinstance(error, AlphaAssetsError):
        error.add_note(f"in a worker:\n{text}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an error of some library cannot do
        return RuntimeError(f"a worker raised {type(error).__name__}:\n{text}")
    return error


class Worker:
    """Runs the tasks that come over a connection."""

    def __init__(self, connection: Connection) -> None:
        """Begin with no context."""
        self._connection = connection
        self._lock = threading.Lock()
        self._tasks: SimpleQueue[Sent] = SimpleQueue()
        self._contexts: dict[int, Any] = {}

    def load(self) -> None:
        """Import what tasks need."""
        import alpha_assets.pipeline.executor
        import alpha_assets.training.month
        import alpha_assets.training.predict  # noqa: F401

    def make(self, sent: Sent) -> None:
        """Run a task."""
        from alpha_assets.pipeline.executor import Task
        from alpha_assets.store.owner import Owner

        if sent.context:
            self._contexts[sent.key] = pickle.loads(sent.context)
        context = replace(self._contexts[sent.key], progress=self.progress, device=sent.device)
        task = Task(context, sent.stages, sent.parts)
        here = Owner.current().words
        self.progress("worker", f"{here}: {task.name}")
        task.refuse_others(sent.identity, here)
        task.run()

    def serve(self) -> None:
        """Run tasks for as long as the process lives."""
        threading.Thread(target=self._receive, daemon=True).start()
        self.load()
        self._send(Ready())
        while True:
            sent = self._tasks.get()
            try:
                self.make(sent)
            except BaseException as error:
                self._send(Failed(sent.number, portable(error)))
            else:
                self._send(Done(sent.number))

    def progress(self, stage: str, what: str) -> None:
        """Send a line of progress."""
        self._send(Line(stage, what))

    def _send(self, message: object) -> None:
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:
                os._exit(0)  # as where nothing can be received

    def _receive(self) -> None:
        """Take tasks as they come; where the other end is gone, so is who wants the results."""
        while True:
            try:
                self._tasks.put(self._connection.recv())
            except (EOFError, OSError):
                os._exit(0)  # in the middle of whatever is computed: the store stays as it is


class Serves(Protocol):
    """What a child runs: whatever comes over the connection that it was made with."""

    def serve(self) -> None:
        """Serve it."""


def main(child: Callable[[Connection], Serves] = Worker) -> None:
    """Serve the connection whose descriptor the command line names, beside the level of logs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this one
    descriptor, level = map(int, sys.argv[1:])
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    child(Connection(descriptor)).serve()


if __name__ == "__main__":
    main()
