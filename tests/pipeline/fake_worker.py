"""A worker that does at once what the months of a task say; see `test_executor.py`.

It loads no library, so that a test may start some of them.
"""

import os
import signal
import time
from pathlib import Path

from alpha_assets.errors import DegenerateModel
from alpha_assets.pipeline.executors.messages import Sent
from alpha_assets.pipeline.executors.worker import Worker, main

FOLDER = "FAKE_WORKER_FOLDER"  # where tasks leave files


class Fake(Worker):
    """Does what the first stage of a task names."""

    def load(self) -> None:
        """Leave the number of the process; end where no worker is to come up."""
        folder = Path(os.environ[FOLDER])
        (folder / f"pid-{os.getpid()}").touch()
        if (folder / "unfit").exists():
            raise SystemExit(3)

    def make(self, sent: Sent) -> None:
        """Do it."""
        folder, month = Path(os.environ[FOLDER]), sent.parts[0]
        name, _, count = sent.stages[0].partition(" ")
        tries = folder / f"tries-{month}"
        with tries.open("a") as file:
            file.write(f"{os.getpid()} {sent.device}\n")
        n_tries = len(tries.read_text().splitlines())
        self.progress("fake", f"{month}: {name}, {n_tries}")
        match name:
            case "killed" if n_tries <= int(count):
                os.kill(os.getpid(), signal.SIGKILL)
            case "refused":
                while not all((folder / f"tries-{other}").exists() for other in count.split()):
                    time.sleep(0.01)
                raise DegenerateModel(f"{month}: layer head is dead")
            case "broken":
                raise ZeroDivisionError(month)
            case "long":
                time.sleep(600)
        (folder / f"done-{month}").touch()


if __name__ == "__main__":
    main(Fake)
