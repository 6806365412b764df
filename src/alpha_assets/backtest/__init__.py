"""From targets to books: portfolio rules, costs, and a simulator whose accounts balance."""

from alpha_assets.backtest.attribution import Attribution, attribution
from alpha_assets.backtest.books import Books, OrderCounts
from alpha_assets.backtest.capacity import Capacity, capacity, capitals_around
from alpha_assets.backtest.corporate_actions import cash_rates, paid_rates
from alpha_assets.backtest.costs import CostsSpec, check_costs
from alpha_assets.backtest.market_data import Marks, marks_of
from alpha_assets.backtest.portfolio import (
    TARGETS,
    Decided,
    Known,
    check_portfolio,
    decided,
    target_weights,
)
from alpha_assets.backtest.prices import Basis
from alpha_assets.backtest.rebalances import (
    Displaced,
    HeldBack,
    below_exposure,
    displaced,
    held_back,
    little_aimed_at,
    rebalance_sessions,
    thin_sides,
)
from alpha_assets.backtest.rules import PortfolioSpec, QuantileSpec, RuleSpec, smoothed
from alpha_assets.backtest.simulator import backtest, simulate

__all__ = [
    "TARGETS",
    "Attribution",
    "Basis",
    "Books",
    "Capacity",
    "CostsSpec",
    "Decided",
    "Displaced",
    "HeldBack",
    "Known",
    "Marks",
    "OrderCounts",
    "PortfolioSpec",
    "QuantileSpec",
    "RuleSpec",
    "attribution",
    "backtest",
    "below_exposure",
    "capacity",
    "capitals_around",
    "cash_rates",
    "check_costs",
    "check_portfolio",
    "decided",
    "displaced",
    "held_back",
    "little_aimed_at",
    "marks_of",
    "paid_rates",
    "rebalance_sessions",
    "simulate",
    "smoothed",
    "target_weights",
    "thin_sides",
]
