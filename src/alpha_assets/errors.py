"""Everything that this package raises on purpose.

    AlphaAssetsError
    ├── BadInput (ValueError)        what the user gave cannot be right; the CLI exits with 2
    │   ├── SpecError                a market, a recipe or an override
    │   ├── FeedError                raw rows, or a folder that holds them
    │   │   └── Unreachable          a server gave no usable answer; worth another try later
    │   ├── RangeError               dates, sessions, months
    │   ├── TooFewNames              a month's window, too thin to train a model on
    │   ├── SourceMismatch           raw rows of another source are already stored there
    │   ├── MissingOutput            a stage that has not been made yet
    │   └── StaleOutput              a stage made from other inputs or another recipe
    ├── StorageError (OSError)       the disk: full, read-only, truncated
    │   └── LockHeld                 another run is writing the same output
    ├── WorkerLost                   processes that made a task were killed, again and again
    ├── DegenerateModel              the guard stopped a month of training
    └── CheckFailed                  a check ran and its answer is no; the CLI exits with 1

A message names the thing, its value, the rule, and the way out.
"""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches


class AlphaAssetsError(Exception):
    """Base of every error that this package raises on purpose."""


class BadInput(AlphaAssetsError, ValueError):
    """Something that the user gave cannot be right."""


class SpecError(BadInput):
    """A market, a recipe or an override that does not say what it must."""


class FeedError(BadInput):
    """Raw rows that cannot be right, or a folder of them that cannot be read."""


class Unreachable(FeedError):
    """No usable answer came from a server after the last try: the network, not the input."""


class RangeError(BadInput):
    """A date, session or month that does not exist or lies outside what is known."""


class TooFewNames(BadInput):
    """No session of a month's training or validation window has enough names to train on."""


class OutOfMemory(BadInput):
    """A training, or another computation, that this machine has not the memory for."""


class SourceMismatch(BadInput):
    """Raw rows of one source would be mixed with those of another."""


class MissingOutput(BadInput):
    """An output was asked for that has not been made."""


class StaleOutput(BadInput):
    """A stage is there, but made from other inputs or by another recipe."""


class StorageError(AlphaAssetsError, OSError):
    """The storage refused: full, read-only, truncated, gone."""


class LockHeld(StorageError):
    """Another living process is writing the same output.

    Attributes:
        owner: the process and since when it holds the lock, for messages; empty where unknown.
    """

    def __init__(self, message: str, owner: str = "") -> None:
        super().__init__(message)
        self.owner = owner


class WorkerLost(AlphaAssetsError):
    """The processes that made a task ended before it was made, each time that it was tried."""


class DegenerateModel(AlphaAssetsError):
    """Training was stopped because its result could not have meant anything."""


class CheckFailed(AlphaAssetsError):
    """A check ran to its end and its answer is no."""


def spelled(name: str) -> str:
    """Return a name in quotes, with the letters that only look like others by their names."""
    odd = dict.fromkeys(letter for letter in name if not letter.isascii())
    if not odd:
        return repr(name)
    letters = ", ".join(f"U+{ord(one):04X} {unicodedata.name(one, 'without name')}" for one in odd)
    return f"{name!r} (with {letters})"


def did_you_mean(name: str, known: Iterable[str], n: int = 3) -> str:
    """Return a question about the known names spelled most like one; empty where none is near.

    With a space behind it: what is wanted follows.
    """
    near = get_close_matches(name, list(known), n=n)
    return f"did you mean {', '.join(near)}? " if near else ""
