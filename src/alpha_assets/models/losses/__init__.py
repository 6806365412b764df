"""What a ranker is asked for: a weighted list of terms, one family of them per file."""

from typing import Annotated

from pydantic import Field

from alpha_assets.models.losses.base import (
    Extras,
    Loss,
    LossValue,
    Part,
    Sections,
    Term,
    Terms,
    TermSpec,
    build_loss,
)
from alpha_assets.models.losses.distance import HuberSpec, MSESpec, PinballSpec, WeightedMSESpec
from alpha_assets.models.losses.likelihood import ListMLESpec, PairwiseLogisticSpec
from alpha_assets.models.losses.nuisance import DecorrelationSpec
from alpha_assets.models.losses.ramp import ramp_rank
from alpha_assets.models.losses.rank import ICHuberSpec, ICSpec, SoftSpearmanSpec
from alpha_assets.models.losses.trading import SharpeSpec, SortinoSpec, TurnoverSpec

LossSpec = Annotated[
    ICSpec
    | ICHuberSpec
    | MSESpec
    | WeightedMSESpec
    | HuberSpec
    | SoftSpearmanSpec
    | PairwiseLogisticSpec
    | ListMLESpec
    | PinballSpec
    | TurnoverSpec
    | SharpeSpec
    | SortinoSpec
    | DecorrelationSpec,
    Field(discriminator="kind"),
]

__all__ = [
    "DecorrelationSpec",
    "Extras",
    "HuberSpec",
    "ICHuberSpec",
    "ICSpec",
    "ListMLESpec",
    "Loss",
    "LossSpec",
    "LossValue",
    "MSESpec",
    "PairwiseLogisticSpec",
    "Part",
    "PinballSpec",
    "Sections",
    "SharpeSpec",
    "SoftSpearmanSpec",
    "SortinoSpec",
    "Term",
    "TermSpec",
    "Terms",
    "TurnoverSpec",
    "WeightedMSESpec",
    "build_loss",
    "ramp_rank",
]
