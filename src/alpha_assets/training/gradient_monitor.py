"""What is watched while gradients flow: read back once in many steps, in one piece."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn

from alpha_assets.arrays.types import Dates
from alpha_assets.training.degeneracy import verdict
from alpha_assets.training.specs.degeneracy import GuardSpec

LOOK_EVERY = 50  # steps between two reads of the device
DEAD_LOOKS = 4  # looks in a row, hence 200 steps
REMEMBERED = 200  # gradient norms behind the running median
LEAST_REMEMBERED = 20  # norms before an explosion can be recognised


@dataclass(eq=False)
class GradientWatch:
    """Losses and gradients of one fit.

    Attributes:
        model: its children are the blocks that are reported separately.
        guard: the limits.
        sessions: of the dataset's first axis, to name a bad batch by.
        norms: recent gradient norms, before clipping.
        dead_looks: how often in a row each block had no gradient.
        steps: steps seen.
    """

    model: nn.Module
    guard: GuardSpec
    sessions: Dates
    norms: list[float] = field(default_factory=list)
    dead_looks: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    _waiting: list[Tensor] = field(default_factory=list)
    _sessions: list[Tensor] = field(default_factory=list)

    def step(self, loss: Tensor, norm: Tensor, place_B: Tensor) -> None:
        """Take note of one step, before the optimiser moves; look now and then.

        Args:
            loss: of the batch.
            norm: of all gradients, before clipping.
            place_B: the batch's sessions, for the message.
        """
        self._waiting.append(torch.stack([loss.detach(), norm.detach()]))
        self._sessions.append(place_B)
        if len(self._waiting) == LOOK_EVERY:
            self.look()
            self._look_at_blocks()

    def look(self) -> None:
        """Read what waits; stop at the first step that was no number or exploded."""
        if not self._waiting:
            return
        read: Sequence[tuple[float, float]] = torch.stack(self._waiting).tolist()
        sessions, self._waiting, self._sessions = self._sessions, [], []
        for (loss, norm), place_B in zip(read, sessions, strict=True):
            where = f"step {self.steps + 1}, sessions {self._names(place_B)}"
            for name, value in (("loss", loss), ("gradient norm", norm)):
                if not torch.isfinite(torch.tensor(value)):
                    layer = first_nonfinite(self.model)
                    raise verdict(
                        where + (f", layer {layer!r}" if layer else ""),
                        name,
                        value,
                        "a finite number",
                        "look for values that are not finite in these sessions; lower "
                        "optimiser.learning_rate or optimiser.clip",
                    )
            usual = median(self.norms) if len(self.norms) >= LEAST_REMEMBERED else None
            if usual and norm > self.guard.exploding_gradient * usual:
                raise verdict(
                    where,
                    "gradient norm",
                    norm,
                    f"at most {self.guard.exploding_gradient:g} times its median {usual:.3g}",
                    "lower optimiser.learning_rate or optimiser.clip",
                )
            self.norms = [*self.norms, norm][-REMEMBERED:]
            self.steps += 1

    def _names(self, place_B: Tensor) -> str:
        return ", ".join(str(session) for session in self.sessions[place_B.cpu().numpy()])

    def _look_at_blocks(self) -> None:
        """Stop if one block has had no gradient for long while another has."""
        shares = gradient_shares(self.model)
        alive = any(share >= self.guard.dead_gradient for share in shares.values())
        for name, share in shares.items():
            is_dead = alive and share < self.guard.dead_gradient
            self.dead_looks[name] = self.dead_looks.get(name, 0) + 1 if is_dead else 0
            if self.dead_looks[name] >= DEAD_LOOKS:
                raise verdict(
                    f"step {self.steps}, layer {name!r}",
                    "gradient norm / weight norm",
                    share,
                    f"at least {self.guard.dead_gradient:.3g} once in {DEAD_LOOKS * LOOK_EVERY} "
                    "steps",
                    "look for a layer whose output is not used, or is saturated",
                )


def gradient_shares(model: nn.Module) -> dict[str, float]:
    """Return gradient norm / weight norm of each block of a model."""
    blocks = _blocks(model)
    pairs = []
    for parameters in blocks.values():
        gradients = [p.grad for p in parameters if p.grad is not None]
        pairs.append(
            torch.stack([_norm(gradients, parameters[0]), _norm(parameters, parameters[0])])
        )
    read = torch.stack(pairs).tolist()
    return {
        name: gradient / weight if weight else 0.0
        for name, (gradient, weight) in zip(blocks, read, strict=True)
    }


def first_nonfinite(model: nn.Module) -> str | None:
    """Return the first block with a weight or gradient that is not finite."""
    for name, parameters in _blocks(model).items():
        tensors = [*parameters, *(p.grad for p in parameters if p.grad is not None)]
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
            return name
    return None


def _blocks(model: nn.Module) -> Mapping[str, list[nn.Parameter]]:
    """Return the parameters of each child of the model, and of each child of a list of layers.

    A model's own bare parameters are no block: one that stands in for what is missing has no
    gradient where nothing is.  The trunk beside a linear path is no block, but its children are.
    """
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        words = name.removeprefix("trunk.").split(".")
        if len(words) == 1:
            continue
        depth = 2 if len(words) > 1 and words[1].isdigit() else 1
        found.setdefault(".".join(words[:depth]), []).append(parameter)
    return found


def _norm(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    if not tensors:
        return torch.zeros((), device=like.device)
    each: list[Tensor] = [tensor.detach().float().norm() for tensor in tensors]
    whole: Tensor = torch.stack(each).norm()
    return whole
