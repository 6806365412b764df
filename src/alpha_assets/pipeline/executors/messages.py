"""What a worker and the process that started it send to each other."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sent:
    """A task on its way to a worker.

    Attributes:
        number: among the tasks of the run.
        key: of the context; a worker keeps those that it was given.
        context: pickled; empty where the worker has it.
        identity: of its stages, as they must be where it runs; see `Task.identity`.
        stages: by name.
        parts: months in order, or folds.
        device: to train on.
    """

    number: int
    key: int
    context: bytes
    identity: Mapping[str, str]
    stages: tuple[str, ...]
    parts: tuple[str, ...]
    device: str


@dataclass(frozen=True)
class Ready:
    """The worker has loaded what tasks need."""


@dataclass(frozen=True)
class Line:
    """A line of progress."""

    stage: str
    what: str


@dataclass(frozen=True)
class Done:
    """A task is done."""

    number: int


@dataclass(frozen=True)
class Failed:
    """A task raised."""

    number: int
    error: BaseException
