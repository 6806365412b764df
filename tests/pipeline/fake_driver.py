"""A driver of a Ray cluster that is none: its n-th process does what the n-th word says.

See `test_cluster.py`; it loads no library, so that a test may start some of them.
"""

import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from alpha_assets.errors import BadInput
from alpha_assets.pipeline.executors.messages import Batch, Done, Line, Over, Refused

FOLDER = "FAKE_DRIVER_FOLDER"  # where each process leaves the numbers of its tasks
WORDS = "FAKE_DRIVER_WORDS"


def main() -> None:
    """Do it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    batch: Batch = connection.recv()
    folder = Path(os.environ[FOLDER])
    n_before = len(list(folder.iterdir()))
    (folder / str(n_before)).write_text(" ".join(map(str, batch.sent)))
    words = os.environ[WORDS].split()
    word, first = words[min(n_before, len(words) - 1)], min(batch.sent)
    if word == "refused":
        connection.send(Refused(BadInput("no machine has room")))
    elif word == "all":
        for number in batch.sent:
            connection.send(Done(number))
    elif word == "first":  # and the cluster goes
        connection.send(Line("worker", f"made {batch.names[first]}"))
        connection.send(Done(first))
    if word in ("first", "none"):
        os._exit(3)
    connection.send(Over())


if __name__ == "__main__":
    main()
