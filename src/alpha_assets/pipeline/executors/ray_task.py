"""What a worker of Ray runs: a task, once packages and storage are those of who asked."""

import os
import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from alpha_assets.errors import AlphaAssetsError, BadInput
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.executor import Task
from alpha_assets.pipeline.executors.messages import Done, Failed, Sent
from alpha_assets.pipeline.executors.versions import difference, versions
from alpha_assets.pipeline.executors.worker import portable
from alpha_assets.store.owner import Owner
from alpha_assets.store.scratch import Document
from alpha_assets.store.store import Store

_contexts: dict[str, RecipeContext] = {}  # of a worker, by the run that they came with


@dataclass(frozen=True)
class Home:
    """What a task of Ray brings from the process that asked for it.

    Attributes:
        run: names the run.
        folder: that it works in.
        versions: of its packages.
        storage: its address.
    """

    run: str
    folder: str
    versions: Mapping[str, str]
    storage: str

    @property
    def probe(self) -> Document:
        """What was put into the storage, to be found there."""
        return Store(self.storage).scratch("ray", self.run).document("probe")

    def refuse_strangers(self) -> None:
        """Refuse to work on a machine with other packages, or that does not see the storage.

        Raises:
            BadInput: naming both sides.
        """
        here = Owner.current().words
        odd = difference(versions(), self.versions)
        if odd:
            raise BadInput(
                f"{here}, a worker of Ray, has other packages than who asked: {odd}; install the "
                "same on every machine of the cluster"
            )
        try:
            seen = self.probe.read()
        except AlphaAssetsError as error:
            raise BadInput(f"{here}, a worker of Ray, cannot read the storage: {error}") from None
        if seen != self.run.encode():
            raise BadInput(
                f"{here}, a worker of Ray, does not see the storage {self.storage} as who asked "
                "does; put it on a disk that every machine mounts there, or into an object store"
            )


def work(home: Home, sent: Sent, context: bytes, lines: Any) -> Done | Failed:  # noqa: ANN401
    """Run a task on a machine of the cluster; what it raises is returned.

    Args:
        home: of who asked.
        sent: the task; its context comes beside it, since Ray keeps that once a machine.
        context: pickled.
        lines: the queue of Ray for lines of progress.
    """

    def progress(stage: str, what: str) -> None:
        lines.put((sent.number, stage, what))

    try:
        with suppress(OSError):  # the same disks may not be there; the storage is asked for below
            os.chdir(home.folder)
        here = Owner.current().words
        progress("worker", f"{here}: {'/'.join(sent.stages)} {sent.parts[0]}")
        home.refuse_strangers()
        key = f"{home.run} {sent.key}"
        if key not in _contexts:
            _contexts.clear()  # those of earlier runs
            _contexts[key] = pickle.loads(context)
        opened = replace(_contexts[key], progress=progress, device=sent.device)
        task = Task(opened, sent.stages, sent.parts)
        task.refuse_others(sent.identity, here)
        task.run()
    except BaseException as error:
        return Failed(sent.number, portable(error))
    return Done(sent.number)
