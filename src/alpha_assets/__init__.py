"""Raw market feeds to a cost-aware portfolio backtest that cannot see the future."""

__version__ = "0.1.0"
