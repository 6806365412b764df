"""From targets to books: portfolio rules, costs, and a simulator whose accounts balance.

Declarations alone are imported here; what computes is imported from its own file.
"""

from alpha_assets.backtest.costs import CostsSpec, check_costs
from alpha_assets.backtest.rules import PortfolioSpec, QuantileSpec, RuleSpec

__all__ = ["CostsSpec", "PortfolioSpec", "QuantileSpec", "RuleSpec", "check_costs"]
