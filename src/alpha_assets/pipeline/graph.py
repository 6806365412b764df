"""The correlation graph as a stage: from stored panel rows to its own months.

No other stage reads it; the features of the graph are made from the panel.
"""

from collections.abc import Sequence
from datetime import date

import polars as pl

from alpha_assets.calendar import month_of
from alpha_assets.config.market import Market
from alpha_assets.features.correlation import LEAST_COMMON, LEAST_CORRELATION, WINDOW
from alpha_assets.features.edges import EDGE_KEYS, NEIGHBOURS, edge_lookback, edge_rows
from alpha_assets.panel.schema import PANEL_SCHEMA
from alpha_assets.panel.universe import UniverseSpec
from alpha_assets.panel.universe import universe as members_of
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import Made, MarketContext, require_months
from alpha_assets.pipeline.market_stages import Inputs, _firsts, _make_months
from alpha_assets.pipeline.transforms import sessions_back
from alpha_assets.store.table import MonthTable

RULES = {
    "window": WINDOW,
    "least_common": LEAST_COMMON,
    "least_correlation": LEAST_CORRELATION,
    "neighbours": NEIGHBOURS,
}


def graph_table(context: MarketContext, universe: str) -> MonthTable:
    """Return who moves with whom inside a universe, week by week."""
    return MonthTable(context.store, (context.market.name, "graph", universe), EDGE_KEYS)


def graph_lookback(market: Market, rules: UniverseSpec) -> int:
    """Return the panel sessions before the first one that a graph reaches back to."""
    max_stale = market.spec.max_stale
    return max(edge_lookback(max_stale) - 1, rules.lookback(max_stale))


def graph_start(market: Market, rules: UniverseSpec, first: object) -> date:
    """Return the first panel session that a graph of `first` looks back to."""
    return sessions_back(market.calendar, first, graph_lookback(market, rules))


def graph_inputs(context: MarketContext, universe: str, months: Sequence[str]) -> Inputs:
    """Return what each month of a graph is made from."""
    rules = context.market.universe(universe)
    panel = context.panel.hashes_at_hand()
    return {
        month: {"panel": panel.combined(month_of(graph_start(context.market, rules, first)), month)}
        for month, first in _firsts(context, months)
    }


def make_graph(context: MarketContext, universe: str, months: Sequence[str]) -> list[Made]:
    """Write the strongest neighbours inside a universe for `months`."""
    rules = context.market.universe(universe)

    def rows(first: date, last: date) -> pl.DataFrame:
        start = graph_start(context.market, rules, first)
        made_by = identity.panel(context.market)
        require_months(context.panel, month_of(first), month_of(last), made_by, run_again(context))
        panel = context.panel.read(month_of(start), month_of(last)).select(*PANEL_SCHEMA)
        panel_rows = panel.filter(pl.col("session").is_between(start, last)).collect()
        sessions = context.market.calendar.between(start, last)
        max_stale = context.market.spec.max_stale
        members = members_of(panel_rows, rules, first, last, sessions=sessions, max_stale=max_stale)
        return edge_rows(panel_rows, sessions, first, last, members, max_stale)

    return _make_months(
        context,
        f"graph/{universe}",
        graph_table(context, universe),
        months,
        identity.graph(context.market, universe, RULES),
        lambda context, months: graph_inputs(context, universe, months),
        rows,
    )
