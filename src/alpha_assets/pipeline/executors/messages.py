"""What a worker, or the driver of a Ray cluster, and the process that started it send."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alpha_assets.pipeline.executors.ray_task import Home


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
class Batch:
    """The tasks of a run on their way to the driver of a Ray cluster.

    Attributes:
        address: of the cluster.
        home: what each of them brings from who asked.
        sent: tasks by their numbers, without their contexts.
        names: of tasks, for lines and for Ray's own pages.
        packed: pickled contexts by the keys that tasks name.
        threads: that a task trains with.
        device: that tasks train on; `auto` is CUDA where a machine of the cluster has it.
    """

    address: str
    home: "Home"
    sent: Mapping[int, Sent]
    names: Mapping[int, str]
    packed: Mapping[int, bytes]
    threads: int
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


@dataclass(frozen=True)
class Refused:
    """The driver reached no cluster that can run the tasks; none was begun."""

    error: BaseException


@dataclass(frozen=True)
class Over:
    """The driver has nothing left to do."""
