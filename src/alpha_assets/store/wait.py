"""Waiting for a lock as long as it takes, with a line on whom one waits for."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count

from alpha_assets.errors import LockHeld

SECONDS_BETWEEN_TRIES = 1.0
TRIES_BETWEEN_LINES = 60


@contextmanager
def when_free(
    lock: Callable[[float], AbstractContextManager[None]],
    report: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold a lock as soon as it is free, however long that takes; a signal ends the wait.

    Args:
        lock: returns the right to be held, given the seconds to wait for it; raises LockHeld.
        report: called with the lock's owner, at once and then once a minute.
        sleep: waits, in seconds.
    """
    with ExitStack() as held:
        for tries in count():
            try:
                held.enter_context(lock(0.0))
                break
            except LockHeld as error:
                if tries % TRIES_BETWEEN_LINES == 0:
                    report(error.owner)
                sleep(SECONDS_BETWEEN_TRIES)
        yield
