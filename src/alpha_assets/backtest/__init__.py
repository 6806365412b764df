"""From targets to books: portfolio rules, costs, and a simulator whose accounts balance."""

from alpha_assets.backtest.costs import CostsSpec
from alpha_assets.backtest.marks import Marks, marks_of
from alpha_assets.backtest.portfolio import TARGETS, PortfolioSpec, target_weights
from alpha_assets.backtest.simulator import Books, backtest, simulate

__all__ = [
    "TARGETS",
    "Books",
    "CostsSpec",
    "Marks",
    "PortfolioSpec",
    "backtest",
    "marks_of",
    "simulate",
    "target_weights",
]
