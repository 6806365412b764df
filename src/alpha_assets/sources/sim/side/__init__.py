"""The side feeds of the simulated exchange; each reveals its part of the planted signal.

`valuation` is made of `statements` and bars, and reveals nothing that they do not.
"""

from collections.abc import Callable

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.side import corporate, derivatives, flows, margin, shorts, valuation

SIDE_ROWS: dict[str, Callable[[SimMarket, Calendar], pl.DataFrame]] = {
    "sector_short_selling": shorts.sector_short_selling,
    "short_positions": shorts.short_positions,
    "margin": margin.margin,
    "margin_alerts": margin.margin_alerts,
    "investor_types": flows.investor_types,
    "index_options": derivatives.index_options,
    "sector_indices": derivatives.sector_indices,
    "statements": corporate.statements,
    "earnings_dates": corporate.earnings_dates,
    "valuation": valuation.valuation,
    "news": corporate.news,
}
