"""Portfolio rules, one kind per file: what to hold, from scores and what was known."""

from typing import Annotated

from pydantic import Field

from alpha_assets.backtest.rules.base import RegimeExposure, RuleSpec, Seen
from alpha_assets.backtest.rules.covariance import ledoit_wolf
from alpha_assets.backtest.rules.decide import Aim, Moved, aim_of, moved
from alpha_assets.backtest.rules.proportional import RankWeightedSpec, ScoreWeightedSpec
from alpha_assets.backtest.rules.quantile import QuantileSpec
from alpha_assets.backtest.rules.smoothing import smoothed
from alpha_assets.backtest.rules.softmax import SoftmaxSpec

PortfolioSpec = Annotated[
    QuantileSpec | RankWeightedSpec | ScoreWeightedSpec | SoftmaxSpec,
    Field(discriminator="rule"),
]

__all__ = [
    "Aim",
    "Moved",
    "PortfolioSpec",
    "QuantileSpec",
    "RankWeightedSpec",
    "RegimeExposure",
    "RuleSpec",
    "ScoreWeightedSpec",
    "Seen",
    "SoftmaxSpec",
    "aim_of",
    "ledoit_wolf",
    "moved",
    "smoothed",
]
