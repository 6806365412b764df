"""What the locks of every backend have in common inside their process.

A thread may take again what it has, and what is held is renewed until it is given back.
"""

import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from alpha_assets.errors import StorageError

T = TypeVar("T")
Place = tuple[Hashable, ...]  # process, thread, and what is locked

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)  # from the last renewal by a process of another host
RENEW_SECONDS = 60.0


def own(*what: Hashable) -> Place:
    """Return the place of what this thread of this process locks."""
    return (os.getpid(), threading.get_ident(), *what)


@contextmanager
def lease(
    held: MutableMapping[Place, T],
    place: Place,
    name: str,
    take: Callable[[], T],
    renew: Callable[[T], bool],
    give_back: Callable[[T], None],
) -> Iterator[None]:
    """Hold a lock, and renew it once a minute; where the thread has it already, just go on.

    Args:
        held: what threads have, by place; this one's stands in it while it is held.
        place: see `own`.
        name: of what is locked, for the log.
        take: returns the lock once it is this thread's, or raises.
        renew: prolongs it; False where another process took it over.
        give_back: called at the end.
    """
    if place in held:
        yield
        return
    taken = held[place] = take()
    over = threading.Event()
    renewal = threading.Thread(target=_keep, args=(name, taken, renew, over), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        over.set()
        renewal.join()
        del held[place]
        give_back(taken)


def _keep(name: str, taken: T, renew: Callable[[T], bool], over: threading.Event) -> None:
    """Renew a lock until it is given back."""
    while not over.wait(RENEW_SECONDS):
        try:
            if not renew(taken):
                log.warning("%s: the lock was taken over by another process", name)
                return
        except StorageError as error:
            log.warning("%s: the lock could not be renewed (%s)", name, error)
