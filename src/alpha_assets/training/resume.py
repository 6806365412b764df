"""An interrupted fit, put down after every epoch so that at most one is lost.

One file per seed, replaced at once: tensors and their JSON cannot belong to different epochs.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from alpha_assets.errors import StorageError
from alpha_assets.store.scratch import Document
from alpha_assets.training.estimator import Epoch, Weights
from alpha_assets.training.fit import Fitting

LOG = logging.getLogger(__name__)


def save_state(
    state: Document,
    identity: str,
    fitting: Fitting,
    best: Mapping[str, Tensor],
    epochs: list[Epoch],
) -> None:
    """Write a fit and its best weights so far, atomically.

    Args:
        state: where it is kept.
        identity: names all that may change the result; another one's state is not taken up.
        fitting: as its last epoch left it.
        best: weights of the best epoch.
        epochs: all so far.

    Raises:
        StorageError: the disk refused.
    """
    tensors = {f"model.{name}": value for name, value in fitting.model.state_dict().items()}
    if fitting.average is not None:
        averaged = fitting.average.state_dict()
        tensors |= {f"average.{name}": value for name, value in averaged.items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for number, slots in fitting.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in slots.items()}
    tensors |= {f"randomness.{i}": value for i, value in enumerate(fitting.randomness)}
    tensors["shuffle"] = fitting.shuffle.get_state()
    facts = {
        "identity": identity,
        "epochs": [asdict(epoch) for epoch in epochs],
        "steps": fitting.steps,
        "norms": fitting.watch.norms,
        "dead_looks": fitting.watch.dead_looks,
        "watched": fitting.watch.steps,
    }
    host = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = json.dumps(facts)
    content = save(host, metadata={"state": text, "seal": _seal(text, host)})
    try:
        state.write(content)
    except StorageError as error:
        raise StorageError(f"the state of training could not be written: {error}") from error


def load_state(
    state: Document, identity: str, fitting: Fitting
) -> tuple[Weights, list[Epoch]] | None:
    """Put a fresh fit where an earlier run left it; return the best weights and all epochs.

    Returns:
        None if nothing was put down there, or by another run: other recipe, data, seed, month.

    Raises:
        StorageError: the file cannot be read, or is not what was written.
    """
    content = state.read()
    if content is None:
        return None
    path, way_out = state.address, "delete it to train the month from its start"
    try:
        metadata = _metadata(content)
        tensors = load(content)
        facts = json.loads(metadata["state"])
        named = facts["identity"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise StorageError(
            f"{path}: the state of training cannot be read ({what}); {way_out}"
        ) from error
    if named != identity:
        LOG.warning("%s: the state of another run is not taken up; training starts afresh", path)
        return None
    if metadata.get("seal") != _seal(metadata["state"], tensors):
        raise StorageError(
            f"{path}: the state of training is not what was written (its seal is "
            f"{metadata.get('seal')!r}): it is corrupt or was changed by hand; {way_out}"
        )
    fitting.model.load_state_dict(_part(tensors, "model."))
    if fitting.average is not None:
        fitting.average.load_state_dict(_part(tensors, "average."))
    fitting.optimizer.load_state_dict(_optimizer_state(fitting, _part(tensors, "optimizer.")))
    fitting.randomness = list(_part(tensors, "randomness.").values())
    fitting.shuffle.set_state(tensors["shuffle"])
    fitting.epochs, fitting.steps = len(facts["epochs"]), facts["steps"]
    fitting.watch.norms, fitting.watch.dead_looks = facts["norms"], facts["dead_looks"]
    fitting.watch.steps = facts["watched"]
    return _part(tensors, "best."), [_epoch(fields) for fields in facts["epochs"]]


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file: its JSON header follows its length, 8 bytes."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def _seal(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the hash of a state: its JSON, and name, type, shape and bytes of every tensor."""
    whole = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items()):
        whole.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        whole.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> Weights:
    return {
        name.removeprefix(prefix): value
        for name, value in sorted(tensors.items())
        if name.startswith(prefix)
    }


def _optimizer_state(fitting: Fitting, slots: Mapping[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in slots.items():
        number, slot = name.split(".")
        state.setdefault(int(number), {})[slot] = value
    return {"state": state, "param_groups": fitting.optimizer.state_dict()["param_groups"]}


def _epoch(fields: Mapping[str, Any]) -> Epoch:
    """Return an epoch from its JSON, lists as tuples again."""
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Epoch(**{**fields, **lists})


def host_copy(model: torch.nn.Module) -> Weights:
    """Return a copy of a model's weights on the host."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
