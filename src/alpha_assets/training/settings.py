"""What a recipe declares of a training: its windows, its optimiser and its loop."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from alpha_assets.models import LossSpec
from alpha_assets.spec import EACH_ONCE, Spec
from alpha_assets.training.specs.degeneracy import GuardSpec

if TYPE_CHECKING:
    import torch

Seed = Annotated[int, Field(ge=0, lt=2**31)]  # what every library takes
Selection = Literal["rank_ic", "icir", "loss", "net_sharpe"]


class WindowSpec(Spec):
    """Declared under `[window]` in a recipe."""

    sequence: int = Field(default=5, gt=0)
    """T: decision sessions of an input window."""
    min_span: float = Field(default=0.0, ge=0, le=1)
    """Share of the training sessions that a column must span, or the month goes without it."""

    @property
    def sessions_before(self) -> int:
        """Sessions of an input window before the one that is scored."""
        return self.sequence - 1


class OptimiserSpec(Spec):
    """Declared under `[optimiser]` in a recipe: AdamW and its learning rate; of networks."""

    learning_rate: float = Field(default=5e-4, ge=1e-12)
    """Peak learning rate; smaller ones move no weight in Float32."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """From the peak over all steps: half a cosine to 0, a line to 0, or no change."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps over which the learning rate rises to its peak."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay, of matrices alone."""
    clip: float = Field(default=1.0, ge=1e-4)
    """Largest norm of all gradients together; below, AdamW takes them for rounding."""

    @model_validator(mode="after")
    def _decay_leaves_something(self) -> Self:
        taken = self.learning_rate * self.weight_decay
        if taken >= 1:
            raise ValueError(
                f"learning_rate = {self.learning_rate:g} times weight_decay = "
                f"{self.weight_decay:g} is {taken:g}, the share of every weight that a step takes "
                "off; want a product below 1"
            )
        return self


class TrainingSpec(Spec):
    """Declared under `[training]` in a recipe."""

    batch_sessions: int = Field(default=4, gt=0)
    """Sessions in one step of the optimiser."""
    sampler: Literal["sessions", "blocks"] = "sessions"
    """Which sessions stand together in a batch: any, or blocks of consecutive ones."""
    block_sessions: int = Field(default=4, gt=1)
    """Consecutive sessions of a block, no more than a month is trained on; `batch_sessions` is a
    multiple of it.
    """
    max_epochs: int = Field(default=8, gt=0)
    """Passes over the training sessions, at most; without validation sessions, exactly."""
    patience: int = Field(default=2, gt=0)
    """Epochs without a better validation after which training stops."""
    selection: Selection = "rank_ic"
    """What validation selects by: mean rank IC, its ratio to its standard deviation, minus the
    loss, or the Sharpe ratio of rank-proportional weights after commission and half-spread.
    """
    selection_smoothing: int = Field(default=1, gt=0)
    """Epochs, each with those right before it, over which what selects is averaged; none before so
    many have run is kept while others are left.
    """
    average: Literal["none", "ema", "swa"] = "none"
    """Of weights, which validation judges and which is kept: none, an exponential moving average
    over steps, or the mean of the weights at the end of each epoch.
    """
    average_decay: float = Field(default=0.99, ge=0, lt=1)
    """Share of the average that a step leaves; of `ema`."""
    average_from: int = Field(default=1, gt=0)
    """First epoch whose weights are averaged; those before are judged by their own."""
    seeds: Annotated[tuple[Seed, ...], EACH_ONCE] = Field(default=(0,), min_length=1)
    """Seeds of the models whose scores are averaged."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Of the forward pass; `auto`: bf16 on CUDA, else float32."""
    resident: Literal["float32", "float16"] = "float32"
    """Of the tensor that holds the panel; float16 on CUDA only."""
    threads: int = Field(default=1, gt=0, le=1024)
    """CPU threads of the training process."""
    warm_start: bool = False
    """Whether a month starts from the weights of the month before; cold each January."""
    warm_shrink: float = Field(default=0.5, ge=0, le=1)
    """Share of the weights it starts from that a month keeps; the rest is drawn afresh."""
    retrain_every: int = Field(default=1, gt=0)
    """Months from one training to the next; those between use the last model."""
    parent: str = ""
    """Recipe whose model of the same month training starts from, as a second stage; or none."""

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.sampler == "blocks" and self.batch_sessions % self.block_sessions:
            raise ValueError(
                f"batch_sessions = {self.batch_sessions} is not a multiple of block_sessions = "
                f"{self.block_sessions}"
            )
        for name, epochs in (
            ("selection_smoothing", self.selection_smoothing),
            ("average_from", self.average_from if self.average != "none" else 1),
        ):
            if epochs > self.max_epochs:
                raise ValueError(
                    f"{name} = {epochs} is more than max_epochs = {self.max_epochs}, so that no "
                    "epoch comes to it; want fewer, or more epochs"
                )
        if self.parent and self.warm_start:
            raise ValueError(
                f"a month starts from the model of {self.parent!r} (parent) or from that of the "
                "month before (warm_start), not from both; leave one out"
            )
        return self

    def autocasts(self, device: "torch.device") -> bool:
        """Return whether the forward pass runs in bf16 on a device."""
        return self.precision == "bf16" or (self.precision == "auto" and device.type == "cuda")

    @property
    def resident_dtype(self) -> "torch.dtype":
        """Return what features are held in: what `Dataset.build` takes."""
        import torch

        return torch.float16 if self.resident == "float16" else torch.float32


class Plan(Spec):
    """All that decides a training beside the model's kind and the data.

    Attributes:
        cost_bps: of traded notional, for `selection = "net_sharpe"`.
    """

    loss: tuple[LossSpec, ...] = ()
    window: WindowSpec = WindowSpec()
    optimiser: OptimiserSpec = OptimiserSpec()
    training: TrainingSpec = TrainingSpec()
    guard: GuardSpec = GuardSpec()
    cost_bps: float = 0.0
