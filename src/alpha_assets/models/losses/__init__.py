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
from alpha_assets.models.losses.distance import HuberSpec, MSESpec, PinballSpec
from alpha_assets.models.losses.rank import ICHuberSpec, ICSpec, SoftSpearmanSpec, ramp_rank
from alpha_assets.models.losses.trading import SharpeSpec, TurnoverSpec

LossSpec = Annotated[
    ICSpec
    | ICHuberSpec
    | MSESpec
    | HuberSpec
    | SoftSpearmanSpec
    | PinballSpec
    | TurnoverSpec
    | SharpeSpec,
    Field(discriminator="kind"),
]

__all__ = [
    "Extras",
    "HuberSpec",
    "ICHuberSpec",
    "ICSpec",
    "Loss",
    "LossSpec",
    "LossValue",
    "MSESpec",
    "Part",
    "PinballSpec",
    "Sections",
    "SharpeSpec",
    "SoftSpearmanSpec",
    "Term",
    "TermSpec",
    "Terms",
    "TurnoverSpec",
    "build_loss",
    "ramp_rank",
]
