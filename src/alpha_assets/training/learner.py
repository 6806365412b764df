"""What is trained and how: the sections of a recipe that meet in this room."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from alpha_assets.dataset import InputsSpec
from alpha_assets.models import (
    ALSTMSpec,
    AtftGatFanSpec,
    DeepMomentumSpec,
    LinearSpec,
    LossSpec,
    LSTMSpec,
    MasterSpec,
    MultiBranchSpec,
    NeighbourMeanSpec,
    PatchTransformerSpec,
    RankerSpec,
    TFTSpec,
    TransformerSpec,
)
from alpha_assets.training.settings import Plan, TrainingSpec, WindowSpec
from alpha_assets.training.specs.ridge import RidgeSpec
from alpha_assets.training.specs.trees import TreesSpec
from alpha_assets.training.specs.weighted_sum import WeightedSumSpec

ModelSpec = Annotated[
    TransformerSpec
    | PatchTransformerSpec
    | TFTSpec
    | MasterSpec
    | LSTMSpec
    | ALSTMSpec
    | LinearSpec
    | NeighbourMeanSpec
    | MultiBranchSpec
    | DeepMomentumSpec
    | AtftGatFanSpec
    | RidgeSpec
    | TreesSpec
    | WeightedSumSpec,
    Field(discriminator="kind"),
]


class Learner(Plan):
    """All that decides the weights of a model beside its data."""

    model: ModelSpec

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        check_learner(self.model, self.loss, self.window, self.training)
        return self


def check_learner(
    model: ModelSpec, loss: tuple[LossSpec, ...], window: WindowSpec, training: TrainingSpec
) -> None:
    """Refuse sections that do not fit each other.

    Raises:
        ValueError: naming the two keys, their values, and what would fit.
    """
    if training.warm_start and window.min_span > 0:
        raise ValueError(
            f"training.warm_start takes up the weights of another month, and window.min_span = "
            f"{window.min_span:g} may give it other columns; leave one of them out"
        )
    if not isinstance(model, RankerSpec):
        _check_baseline(model, loss, window, training)
        return
    model.check_window(window.sequence)
    if not loss:
        raise ValueError(
            f'model.kind = "{model.kind}" learns from a loss: add a section [[loss]] with a kind'
        )
    for term in loss:
        if term.needs_order and training.sampler != "blocks":
            raise ValueError(
                f'loss "{term.kind}" compares a session with the one before it, and '
                f'training.sampler = "{training.sampler}" shuffles them: set '
                'training.sampler = "blocks"'
            )
        if term.needs_quantiles and not model.quantiles:
            raise ValueError(
                f'loss "{term.kind}" reads quantiles, and model.quantiles is empty: set, for '
                "example, model.quantiles = [0.1, 0.5, 0.9]"
            )
    if model.quantiles and not any(term.needs_quantiles for term in loss):
        raise ValueError(
            f"model.quantiles = {list(model.quantiles)} are learned by no term of [[loss]]: add "
            'one of kind "pinball", or take them out'
        )


def check_inputs(model: ModelSpec, inputs: InputsSpec) -> None:
    """Refuse a model that lacks an input, and an input that the model does not read.

    Raises:
        ValueError: naming the two sections, and what would fit.
    """
    kind = f'model.kind = "{model.kind}"'
    reads_graph = isinstance(model, RankerSpec) and model.reads_graph
    if reads_graph and inputs.graph is None:
        raise ValueError(
            f"{kind} reads the neighbours of each symbol: add a section [inputs.graph] with, for "
            "example, neighbours = 10"
        )
    if inputs.graph is not None and not reads_graph:
        raise ValueError(f"{kind} reads no graph: take [inputs.graph] out")
    read = model.vectors_read if isinstance(model, RankerSpec) else ()
    for name in read:
        if name not in inputs.vectors:
            raise ValueError(
                f"{kind} has a branch for the raw vectors {name!r}: add a section "
                f'[inputs.{name}] with kind = "vectors" and the feed that has them, or set '
                "absent = true for the branch"
            )
    for name in inputs.vectors:
        if name not in read:
            raise ValueError(
                f"{kind} reads no raw vectors {name!r}: take [inputs.{name}] out, or give it "
                'kind = "pca" and components, whose columns every model reads'
            )


def _check_baseline(
    model: RidgeSpec | TreesSpec | WeightedSumSpec,
    loss: tuple[LossSpec, ...],
    window: WindowSpec,
    training: TrainingSpec,
) -> None:
    kind = f'model.kind = "{model.kind}"'
    if loss:
        raise ValueError(f"{kind} has an objective of its own: take [[loss]] out")
    if window.sequence != 1:
        raise ValueError(
            f"{kind} reads the decision session alone: set window.sequence = 1, not "
            f"{window.sequence}"
        )
    for name, value in (("warm_start", training.warm_start), ("parent", training.parent)):
        if value:
            raise ValueError(f"{kind} starts from no other model: take training.{name} out")
    if training.average != "none" or training.selection_smoothing != 1:
        raise ValueError(
            f"{kind} has no epochs: take training.average and training.selection_smoothing out"
        )
    if training.selection == "loss":
        raise ValueError(f'{kind} has no loss to select by: set training.selection = "rank_ic"')
    if model.is_exact and len(training.seeds) > 1:
        raise ValueError(f"{kind} draws nothing: want one of training.seeds, not {training.seeds}")
