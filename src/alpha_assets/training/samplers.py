"""Which training sessions stand together in a batch.

Shape letters: D training sessions, B sessions of a batch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from alpha_assets.training.settings import TrainingSpec


class Places(NamedTuple):
    """The sessions of one batch.

    Attributes:
        place_B: on the dataset's session axis.
        follows_B: whether a session is the one after that before it in the batch; None where
            sessions stand in no order.
    """

    place_B: Tensor
    follows_B: Tensor | None = None


def batches(train_D: Tensor, spec: TrainingSpec, shuffle: torch.Generator) -> list[Places]:
    """Return the batches of one epoch, in a new random order.

    Args:
        train_D: places of the training sessions, rising.
        spec: the sampler and its sizes.
        shuffle: draws the order, on the host.
    """
    if spec.sampler == "sessions":
        order_D = train_D[torch.randperm(len(train_D), generator=shuffle).to(train_D.device)]
        return [Places(place_B) for place_B in order_D.split(spec.batch_sessions)]
    blocks = list(_blocks(train_D.cpu(), spec.block_sessions, shuffle))
    order = torch.randperm(len(blocks), generator=shuffle).tolist()
    per_batch = spec.batch_sessions // spec.block_sessions
    return [
        _of_blocks([blocks[i] for i in order[k : k + per_batch]], train_D.device)
        for k in range(0, len(order), per_batch)
    ]


def n_batches(train_D: Tensor, spec: TrainingSpec) -> int:
    """Return the batches of an epoch, for the schedule of the learning rate."""
    return -(-len(train_D) // spec.batch_sessions)


def _blocks(train_D: Tensor, length: int, shuffle: torch.Generator) -> Iterator[Tensor]:
    """Yield blocks of consecutive sessions that begin at a random one, so that no pair is lost.

    What stands before the first block of a run, and what is left at its end, joins the block beside
    it: a ratio to a standard deviation has a gradient without bound on the few sessions that a
    block of its own would have.
    """
    gaps = torch.nonzero(train_D.diff() != 1)[:, 0] + 1
    for run in torch.tensor_split(train_D, gaps):
        first = int(torch.randint(length, (1,), generator=shuffle))
        cuts = list(range(first + length, len(run) - length + 1, length))
        yield from torch.tensor_split(run, cuts)


def _of_blocks(blocks: list[Tensor], device: torch.device) -> Places:
    follows = [torch.arange(len(block)) > 0 for block in blocks]
    return Places(torch.cat(blocks).to(device), torch.cat(follows).to(device))
