"""What a ranker is asked for: a weighted list of terms, one family of them per file.

Declarations alone are imported here: they load no torch.
"""

from typing import Annotated

from pydantic import Field

from alpha_assets.models.losses.specs.base import TermSpec
from alpha_assets.models.losses.specs.distance import (
    HuberSpec,
    MSESpec,
    PinballSpec,
    WeightedMSESpec,
)
from alpha_assets.models.losses.specs.likelihood import ListMLESpec, PairwiseLogisticSpec
from alpha_assets.models.losses.specs.nuisance import DecorrelationSpec
from alpha_assets.models.losses.specs.rank import ICHuberSpec, ICSpec, SoftSpearmanSpec
from alpha_assets.models.losses.specs.trading import SharpeSpec, SortinoSpec, TurnoverSpec

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
    "HuberSpec",
    "ICHuberSpec",
    "ICSpec",
    "ListMLESpec",
    "LossSpec",
    "MSESpec",
    "PairwiseLogisticSpec",
    "PinballSpec",
    "SharpeSpec",
    "SoftSpearmanSpec",
    "SortinoSpec",
    "TermSpec",
    "TurnoverSpec",
    "WeightedMSESpec",
]
