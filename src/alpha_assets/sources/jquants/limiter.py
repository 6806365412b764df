"""Never more requests a minute than the plan allows, over all threads and processes.

A bucket of tokens: a request takes one, and each token comes back a minute after it was
taken, so no minute, wherever it begins, holds more than the bucket.  (A bucket that refills at
a steady rate lets through twice its size in its first minute.)  The tokens lie in a file under
a kernel lock, for everyone who shares the folder.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from alpha_assets.sources.jquants.clock import Clock
from alpha_assets.sources.jquants.plans import FINS_ASK_PER_MINUTE, TERMS, Plan
from alpha_assets.store.os_errors import disk_errors

# A little more than a minute: two requests may be on their way for different times.
MINUTE = 61.0  # seconds

ALL, FINS = "all", "fins"

State = dict[str, list[float]]


class Limiter:
    """Hands out the right to make a request."""

    def __init__(self, folder: Path, limits: Mapping[str, int], clock: Clock) -> None:
        """Share the tokens of a folder.

        Args:
            folder: where their file lies; one per account.
            limits: tokens per bucket; every request takes one of `all`.
            clock: the time, and waiting.
        """
        self.folder = folder
        self.limits = dict(limits)
        self.clock = clock

    @classmethod
    def of_plan(cls, plan: Plan, folder: Path, clock: Clock) -> "Limiter":
        """Return the limiter of a plan, with a margin below what the vendor accepts."""
        most = TERMS[plan].ask_per_minute
        return cls(folder, {ALL: most, FINS: min(most, FINS_ASK_PER_MINUTE)}, clock)

    def take(self, path: str) -> None:
        """Wait until a request for `path` may be made, and count it."""
        while (wait := self.try_take(path)) > 0:
            self.clock.sleep(wait)

    def try_take(self, path: str) -> float:
        """Take the tokens of a request if they are there; else return the seconds to wait."""
        buckets = [ALL, FINS] if path.startswith("/fins/") else [ALL]
        with self._state() as state:
            now = self.clock.now().timestamp()
            # A clock that was put back must not close the bucket for hours.
            taken = {
                name: [min(stamp, now) for stamp in state.get(name, []) if stamp > now - MINUTE]
                for name in self.limits
            }
            pause = _pause_left(state, now)
            waits = [pause]
            for name in buckets:
                if len(taken[name]) >= self.limits[name]:
                    waits.append(sorted(taken[name])[-self.limits[name]] + MINUTE - now)
            wait = max(waits)
            if wait <= 0:
                for name in buckets:
                    taken[name].append(now)
            state.update(taken)
            if pause <= 0:
                state.pop("pause", None)
            return wait

    def pause(self, seconds: float) -> None:
        """After HTTP 429, block every process that shares this rate limiter for `seconds`."""
        with self._state() as state:
            now = self.clock.now().timestamp()
            if seconds > _pause_left(state, now):
                state["pause"] = [now + seconds, now]

    @contextmanager
    def _state(self) -> Iterator[State]:
        """Hold the file alone; what is changed inside is written at the end."""
        path = self.folder / "requests.json"
        with disk_errors(path, "write"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "requests.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                state = _read(path)
                yield state
                draft = path.with_suffix(f".{os.getpid()}.draft")
                draft.write_text(json.dumps(state), encoding="utf-8")
                draft.replace(path)


def _pause_left(state: State, now: float) -> float:
    """Return the seconds that are left of a pause: of its own length at most.

    A clock that was put back makes a pause begin anew; it makes none longer.
    """
    until, since = (*state.get("pause", []), 0.0, 0.0)[:2]
    return max(min(until - now, until - since), 0.0)


def _read(path: Path) -> State:
    """Return the tokens that were taken; none where the file is new or not whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [float(stamp) for stamp in stamps] for name, stamps in found.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}
