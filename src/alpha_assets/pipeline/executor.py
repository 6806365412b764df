"""Tasks: months of some stages of a recipe, or folds of its study; what runs them.

A task is made by one process, which writes its outputs itself, under the store's locks and with its
manifests, as a run without workers does: content does not depend on what runs the tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from alpha_assets.errors import BadInput
from alpha_assets.pipeline.checks import require, scores_spread
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Stage
from alpha_assets.pipeline.stages import stage_of
from alpha_assets.pipeline.study import (
    STUDY,
    folds_due,
    make_fold,
    months_to_study,
    split_of_fold,
    usable_folds,
)
from alpha_assets.pipeline.train import shared_market
from alpha_assets.pipeline.windows import first_usable, split_of
from alpha_assets.progress import Pace, Progress
from alpha_assets.training.device import AUTO as AUTO_DEVICE
from alpha_assets.training.device import cores, device_count

# Asked about what a stage has just made of a month, before the next stage reads it.
CHECKED = {"predictions": scores_spread}
TRAINS = {"checkpoint", STUDY}  # stages that read the resident market
AUTO = "auto"  # as many workers as the device has places for
RAY = "ray"


@dataclass(frozen=True)
class Task:
    """Months of stages of a recipe, or folds of its study, to be made one after the other.

    Attributes:
        context: of the recipe.
        stages: by name; of each month in this order.
        parts: months in order, or folds by key.
    """

    context: RecipeContext
    stages: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """How lines of progress and errors name it."""
        first, last = self.parts[0], self.parts[-1]
        span = first if first == last else f"{first} to {last}"
        of = f" {STUDY}" if STUDY in self.stages else ""
        return f"{self.context.recipe.folder}{of} {span}"

    @property
    def unit(self) -> str:
        """What its parts are, for a count of them."""
        return "folds" if STUDY in self.stages else "months"

    def identity(self) -> dict[str, str]:
        """Return what decides the outputs of each stage beside their inputs: settings and code."""
        made_by = {name: stage_of(self.context, name).identity for name in self.stages}
        return {name: f"{one.digest}, code {one.code}" for name, one in made_by.items()}

    def refuse_others(self, identity: Mapping[str, str], where: str) -> None:
        """Refuse to make what is something else here than where the task was given out.

        Args:
            identity: of each stage, there.
            where: this is.

        Raises:
            BadInput: naming both.
        """
        here = self.identity()
        for name, asked in identity.items():
            if here[name] != asked:
                raise BadInput(
                    f"{self.name}: {name} is {here[name]} for {where}, and {asked} for who asked "
                    "for it: another version of the code, or a market that differs; give both the "
                    "same installation and run again"
                )

    def run(self) -> None:
        """Make what is missing or stale; what was made meanwhile is left as it is."""
        for part in self.parts:
            for name in self.stages:
                if name == STUDY:
                    make_fold(self.context, part)
                    continue
                stage_of(self.context, name).ensure(self.context, [part])
                if name in CHECKED:
                    require(CHECKED[name], self.context, [part])


def with_shared_market(context: RecipeContext, tasks: Sequence[Task]) -> RecipeContext:
    """Return the context of some tasks with the cross-sections that all of them train on.

    They are read once, here, and lie in memory that other processes of this host map.
    """
    parts = [part for task in tasks if TRAINS & {*task.stages} for part in task.parts]
    if not parts:
        return context
    if STUDY in tasks[0].stages:
        _, folds = usable_folds(context, months_to_study(context))
        splits = [split_of_fold(context, fold) for fold in folds if fold.key in parts]
    else:
        usable = first_usable(context)
        splits = [split_of(context, month, usable) for month in parts]
    return replace(context, shared=shared_market(context, splits))


class Executor(Protocol):
    """Runs tasks."""

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Return when every task is done.

        Args:
            tasks: in the order in which they begin; none needs what another makes.
            progress: where the lines of all of them go.

        Raises:
            AlphaAssetsError: of the first task, in order, that is refused: those before it are
                done, and those after it end.
            WorkerLost: the processes that made a task were killed, each time that it was tried.
        """


class InProcess:
    """Runs tasks in this process, one after the other."""

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Return when every task is done; see `Executor`."""
        pace, done = Pace(progress, "run"), 0
        total = sum(len(task.parts) for task in tasks)
        for task in tasks:
            pace(task.unit, done, total)
            replace(task, context=replace(task.context, progress=progress)).run()
            done += len(task.parts)


def tasks_of(
    context: RecipeContext, stages: Sequence[Stage[RecipeContext]], months: Sequence[str]
) -> list[Task]:
    """Return the tasks that make what is missing or stale of months.

    Months whose models start from, or point to, another one's are one task, in order.

    Args:
        context: of the recipe.
        stages: that are made month by month; each reads no more of its own than those before it.
        months: to be made.
    """
    seen, due = Seen(), set[str]()
    for stage in stages:
        due.update(stage.stale(context, months, seen))
    chains: dict[str, list[str]] = {}
    for month in sorted(due):
        starts = [lean[0] for stage in stages if (lean := stage.leans_on(context, month, seen))]
        chains.setdefault(min([month, *starts]), []).append(month)
    names = tuple(stage.name for stage in stages)
    return [Task(context, names, tuple(chain)) for chain in chains.values()]


def tasks_of_study(context: RecipeContext) -> list[Task]:
    """Return a task for each fold of the recipe's study that has no models yet.

    Raises:
        BadInput: the recipe asks for none.
        RangeError: the purge leaves nothing of a fold.
    """
    return [Task(context, (STUDY,), (key,)) for key in folds_due(context)]


def in_order(context: RecipeContext, tasks: Sequence[Task]) -> str:
    """Return why months of a task are made one after the other; empty where each is alone."""
    longest = max(tasks, key=lambda task: len(task.parts))
    if len(longest.parts) == 1:
        return ""
    training = context.recipe.spec.training
    why = "warm_start: a month's model starts from the one before"
    if not training.warm_start:
        why = f"retrain_every = {training.retrain_every}: months share a model"
    n_months = sum(len(task.parts) for task in tasks)
    return (
        f"{n_months} months are {len(tasks)} tasks, up to {len(longest.parts)} months in order "
        f"each, by training.{why}"
    )


def executor_named(workers: int | str, context: RecipeContext) -> Executor:
    """Return what runs tasks, as asked for on the command line.

    Args:
        workers: `auto`, `ray`, or a number of processes; 1 is this process alone.
        context: whose device and threads say how many there is room for.

    Raises:
        BadInput: none of these, more processes than GPUs, or Ray is not installed.
    """
    word = str(workers).strip()
    if word == RAY:
        from alpha_assets.pipeline.executors.cluster import Cluster

        return Cluster()
    is_number = word.isascii() and word.isdecimal()
    if word != AUTO and (not is_number or int(word) < 1):
        raise BadInput(
            f"--workers {word!r} is no number of workers; want 1 or more (1: this process alone), "
            f"{AUTO}: as many as the device has places for, or {RAY}: a cluster"
        )
    if word == AUTO and context.device == AUTO_DEVICE:
        return AsThereIsRoom(context)
    if word != AUTO and int(word) == 1:
        return InProcess()
    room = _room(context)
    if _on_gpu(context) and word != AUTO and int(word) > room:
        raise BadInput(
            f"--workers {word}: --device {context.on_device} has {room} GPU"
            f"{'s' if room > 1 else ''} here, and one process at a time trains on each; want "
            f"--workers {room}, or --device cpu"
        )
    return _of(room if word == AUTO else int(word))


class AsThereIsRoom:
    """Runs tasks in as many processes as the device has places; asked once there are tasks.

    Which device `auto` is only torch knows, and a run with nothing to do loads none.
    """

    def __init__(self, context: RecipeContext) -> None:
        """Take whose device and threads say how many there is room for."""
        self._context = context

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Return when every task is done; see `Executor`."""
        if tasks:
            _of(_room(self._context)).run(tasks, progress)


def _on_gpu(context: RecipeContext) -> bool:
    return context.on_device.partition(":")[0] != "cpu"


def _room(context: RecipeContext) -> int:
    """Return how many trainings a context's device has places for."""
    if _on_gpu(context):
        return device_count(context.on_device)
    return max(1, cores() // context.recipe.spec.training.threads)


def _of(n_processes: int) -> Executor:
    if n_processes == 1:
        return InProcess()
    from alpha_assets.pipeline.executors.processes import Processes

    return Processes(n_processes)
