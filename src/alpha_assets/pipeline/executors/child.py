"""A fresh interpreter that runs a module of ours, and a connection to it.

It is no fork: threads and locks of libraries do not survive one.
"""

import logging
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Self

from alpha_assets.pipeline.executors.worker import environment
from alpha_assets.store.owner import Owner

SECONDS_TO_END = 5.0  # for a child that was asked to, before it is killed
STDERR = 2


@dataclass(eq=False)
class Child:
    """A process as its parent sees it.

    Attributes:
        process: the interpreter.
        connection: to it.
    """

    process: "subprocess.Popen[bytes]"
    connection: Connection

    @classmethod
    def started(cls, module: str) -> Self:
        """Return a new process that runs a module, given its descriptor and the level of logs."""
        ours, theirs = Pipe()
        level = logging.getLogger().getEffectiveLevel()
        options = [word for option in sys.warnoptions for word in ("-W", option)]
        with theirs:
            process = subprocess.Popen(
                [sys.executable, *options, "-m", module, str(theirs.fileno()), str(level)],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # what a library prints is no part of a result
                pass_fds=[theirs.fileno()],
            )
        return cls(process, ours)

    @property
    def words(self) -> str:
        """How lines of progress name it."""
        return replace(Owner.current(), pid=self.process.pid).words

    def how_it_ended(self) -> str:
        """Return what ended a process that is gone."""
        code = self.process.wait()
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def end(self) -> None:
        """End it, whatever it does."""
        self.connection.close()  # it ends by itself where its connection is gone
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_END)
            return
        self.process.kill()
        self.process.wait()
