"""One writer per output in an object store.

A lock is a small object under `_tmp/locks/` that names its owner; it is created on condition that
it does not exist, and replaced on condition of the e-tag that was read, so that of two processes
one has it.  It is a lease: its owner renews it once a minute.  Who waits measures by its own
steady clock how long the object has stayed as it is, and takes the lock over after five minutes;
no two clocks are compared.  An owner that is known to be gone, a process of this host, is not
waited for.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from obstore.exceptions import AlreadyExistsError, PreconditionError

from alpha_assets.errors import LockHeld, StorageError
from alpha_assets.store.lease import LEASE, Place, lease, own
from alpha_assets.store.objects import Objects
from alpha_assets.store.owner import Owner

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.2
_LOCKS = "_tmp/locks"

Seconds = Callable[[], float]


@dataclass
class _Held:
    """A lock of this process.

    Attributes:
        nonce: names this taking of it.
        token: of the object as this process wrote it last, see `Found.token`.
    """

    nonce: str
    token: str
    lock: threading.Lock = field(default_factory=threading.Lock)


# (process, thread, URL, output): what this process has.
_held: dict[Place, _Held] = {}
# (URL, output): e-tag of another owner's lock, and since when it was seen.
_observed: dict[tuple[str, str], tuple[str, float]] = {}
_probed: set[str] = set()
_probing = threading.Lock()  # of threads that write side by side, one asks
# Names of the locks that this process has, is taking, or is giving back.
_living: set[str] = set()


@contextmanager
def object_lock(
    objects: Objects, name: str, wait_seconds: float, *, clock: Seconds = time.monotonic
) -> Iterator[None]:
    """Hold the only right to write an output.

    Args:
        objects: where the lock lies.
        name: of the output.
        wait_seconds: how long to wait for another living owner; infinite for ever.
        clock: seconds that only grow.

    Raises:
        LockHeld: the other owner did not finish in time; the message names it.
        StorageError: the store cannot write on a condition, or refuses.
    """

    def take() -> _Held:
        check_conditional(objects)
        return _acquire(objects, name, wait_seconds, clock)

    def prolong(held: _Held) -> bool:
        return renew(objects, name, held)

    def give_back(held: _Held) -> None:
        try:
            if not _write(objects, name, held, free=True):
                log.warning("%s: the lock was taken over by another process", name)
        except StorageError as error:
            # What was written is whole: the lock alone is left, for this process to take at once.
            log.warning("%s: the lock could not be given back (%s)", name, error)
        finally:
            _living.discard(held.nonce)

    with lease(_held, own(objects.url, name), name, take, prolong, give_back):
        yield


def check_held(objects: Objects, name: str) -> None:
    """Refuse to go on where the lease of this thread ran out and another process took it.

    Raises:
        LockHeld: naming the other process.
    """
    held = _held.get(own(objects.url, name))
    found = objects.get(_key(name))
    record = _parse(found.content) if found else {}
    if held is None or record.get("nonce") != held.nonce:
        owner = _owner(record)
        raise LockHeld(
            f"{name}: {owner.words if owner else 'another process'} took over the lock, since this "
            f"process did not renew it for {LEASE}; nothing was written: run again"
        )


def check_conditional(objects: Objects) -> None:
    """Refuse a store that writes in spite of a condition that does not hold, once a process.

    Raises:
        StorageError: it does.
    """
    with _probing:
        if objects.url not in _probed:
            _probe(objects)
            _probed.add(objects.url)


def _probe(objects: Objects) -> None:
    key = f"_tmp/probe-{uuid4().hex}"
    try:
        objects.put(key, b"1", create=True)
        objects.put(key, b"2", create=True)
    except AlreadyExistsError:
        return
    finally:
        objects.delete(key)
    raise StorageError(
        f"{objects.url}: the store writes over what a conditional write must leave, so that "
        "two writers would mix; choose a store with conditional writes, or a local folder"
    )


def renew(objects: Objects, name: str, held: _Held) -> bool:
    """Prolong the lease of this process; False where the lock is no longer its own."""
    return _write(objects, name, held, free=False)


def _acquire(objects: Objects, name: str, wait_seconds: float, clock: Seconds) -> _Held:
    held = _Held(uuid4().hex, "")
    _living.add(held.nonce)
    try:
        before = _wait(objects, name, held, wait_seconds, clock)
    except BaseException:
        _living.discard(held.nonce)
        raise
    _observed.pop((objects.url, name), None)
    if before is not None:
        gone = f"silent for {LEASE}"
        if before.is_dead():
            gone = "which is gone"
        elif before == Owner.current():
            gone = "which is this one and no longer holds it"
        log.warning("%s: took over the lock of %s, %s", name, before.words, gone)
    return held


def _wait(
    objects: Objects, name: str, held: _Held, wait_seconds: float, clock: Seconds
) -> Owner | None:
    """Take a lock as soon as it is free; return who had it and did not give it back."""
    deadline = time.monotonic() + wait_seconds
    while True:
        found = objects.get(_key(name))
        record = _parse(found.content) if found else {}
        if found is not None and record.get("nonce") == held.nonce:
            held.token = found.token  # a try took effect, and its answer was lost
            return None
        owner = _owner(record)
        is_silent = found is not None and _is_silent(objects, name, found.tag, clock)
        is_left = owner == Owner.current() and record.get("nonce") not in _living
        if owner is None or owner.is_dead() or is_left or is_silent:
            try:
                text = _text(name, held.nonce)
                held.token = objects.put(
                    _key(name), text, create=found is None, token=found.token if found else ""
                )
                return owner
            except (AlreadyExistsError, PreconditionError):
                continue  # another process was faster: look whose it is
        if time.monotonic() >= deadline:
            raise LockHeld(
                f"{name} is being written by {owner.words} since {record.get('since')}; waited "
                f"{wait_seconds:g} s. Let it finish and run again; if that process is gone, its "
                f"lock runs out {LEASE} after its last sign of life",
                owner=f"{owner.words} since {record.get('since')}",
            )
        time.sleep(_PAUSE_SECONDS)


def _is_silent(objects: Objects, name: str, tag: str, clock: Seconds) -> bool:
    """Whether another owner's lock has stayed as it is for as long as a lease."""
    place = (objects.url, name)
    seen, since = _observed.get(place, ("", 0.0))
    if seen != tag:
        _observed[place] = (tag, clock())
        return False
    return clock() - since >= LEASE.total_seconds()


def _write(objects: Objects, name: str, held: _Held, *, free: bool) -> bool:
    """Put the lock of this process anew, or free; False where it is no longer its own."""
    with held.lock:
        text = _text(name, "" if free else held.nonce)
        for _ in range(2):
            try:
                held.token = objects.put(_key(name), text, token=held.token)
                return True
            except (PreconditionError, FileNotFoundError):
                # Another process took it over; or a write of this one took effect, and its
                # answer was lost.
                found = objects.get(_key(name))
                if found is None or found.content == text:
                    return found is not None
                if _parse(found.content).get("nonce") != held.nonce:
                    return False
                held.token = found.token
    return False


def _key(name: str) -> str:
    return f"{_LOCKS}/{hashlib.sha256(name.encode()).hexdigest()[:24]}.lock"


def _text(name: str, nonce: str) -> bytes:
    """Return the content of a lock; without a nonce it is free."""
    owner = Owner.current()
    record = {
        "folder": name,
        "nonce": nonce,
        "host": owner.host,
        "pid": owner.pid,
        "start": owner.start,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "written": uuid4().hex,  # so that no two contents, and no two e-tags, are equal
    }
    return json.dumps(record).encode()


def _parse(content: bytes) -> dict[str, str]:
    try:
        record = json.loads(content)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _owner(record: dict[str, str]) -> Owner | None:
    """Return who has a lock; None where it is free, or the object names no owner."""
    if not record.get("nonce"):
        return None
    try:
        return Owner(str(record["host"]), int(record["pid"]), str(record["start"]))
    except (KeyError, ValueError):
        return None
