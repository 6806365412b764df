"""Portfolio rules, one kind per file: what to hold, from scores and what was known."""

from typing import Annotated

from pydantic import Field

from alpha_assets.backtest.rules.aim_portfolio import AimPortfolioSpec
from alpha_assets.backtest.rules.base import Aim, RegimeExposure, RuleSpec, Seen
from alpha_assets.backtest.rules.calibration import Worth, declared, worth_of
from alpha_assets.backtest.rules.charges import Charges
from alpha_assets.backtest.rules.cost_aware import CostAwareSpec
from alpha_assets.backtest.rules.covariance import ledoit_wolf
from alpha_assets.backtest.rules.decide import Moved, aim_of, moved
from alpha_assets.backtest.rules.optimised import OptimisedSpec
from alpha_assets.backtest.rules.proportional import RankWeightedSpec, ScoreWeightedSpec
from alpha_assets.backtest.rules.quantile import QuantileSpec
from alpha_assets.backtest.rules.sided import SidedSpec
from alpha_assets.backtest.rules.smoothing import smoothed
from alpha_assets.backtest.rules.softmax import SoftmaxSpec

PortfolioSpec = Annotated[
    QuantileSpec
    | RankWeightedSpec
    | ScoreWeightedSpec
    | SoftmaxSpec
    | CostAwareSpec
    | AimPortfolioSpec,
    Field(discriminator="rule"),
]

__all__ = [
    "Aim",
    "AimPortfolioSpec",
    "Charges",
    "CostAwareSpec",
    "Moved",
    "OptimisedSpec",
    "PortfolioSpec",
    "QuantileSpec",
    "RankWeightedSpec",
    "RegimeExposure",
    "RuleSpec",
    "ScoreWeightedSpec",
    "Seen",
    "SidedSpec",
    "SoftmaxSpec",
    "Worth",
    "aim_of",
    "declared",
    "ledoit_wolf",
    "moved",
    "smoothed",
    "worth_of",
]
