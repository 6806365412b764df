"""The market's stages: as-of panel, features, cross-section, graph.

Each reads what its look-back needs and makes one folder a month.  Making a month again, alone or
with others, gives the same bits.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import polars as pl

from alpha_assets.calendar import month_of
from alpha_assets.config.market import Market
from alpha_assets.errors import MissingOutput
from alpha_assets.features.correlation import LEAST_COMMON, LEAST_CORRELATION, WINDOW
from alpha_assets.features.edges import EDGE_KEYS, NEIGHBOURS, edge_lookback
from alpha_assets.panel.schema import PANEL_SCHEMA
from alpha_assets.panel.universe import UniverseSpec
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.freshness import COUNTS
from alpha_assets.pipeline.frontier import frontier
from alpha_assets.pipeline.raw import raw_until
from alpha_assets.pipeline.stage import MONTHS_AT_ONCE, RAW, Output, Outputs, Read, Stage
from alpha_assets.pipeline.transforms import (
    feature_rows,
    graph_rows,
    market_wide,
    panel_lookback,
    panel_rows,
    panel_start,
    section_rows,
    series_lookback,
    series_of,
    series_start,
    sessions_back,
    span_of,
    universe_lookback,
    universe_start,
)
from alpha_assets.quality.cells import count_cells, keep_cells
from alpha_assets.store.folder import ROWS
from alpha_assets.store.table import MonthTable

MarketStage = Stage[MarketContext]
MarketRead = Read[MarketContext]
Rows = Callable[[MarketContext, date, date], pl.DataFrame]
More = Callable[[MarketContext, str, pl.DataFrame], dict[str, Any]]  # for a month's manifest

GRAPH_RULES = {
    "window": WINDOW,
    "least_common": LEAST_COMMON,
    "least_correlation": LEAST_CORRELATION,
    "neighbours": NEIGHBOURS,
}


def raw_rows(feed: str) -> Outputs[MarketContext]:
    """Return a feed's raw rows: made by ingestion, in revisions, and never made again."""
    return Outputs(
        name=f"{RAW}/{feed}", key=(RAW, feed), place=lambda context: context.raw[feed].table
    )


def panel_stage(market: Market) -> MarketStage:
    """Return the stage of what was known at each decision."""
    return Stage(
        name="panel",
        key=("panel",),
        place=lambda context: context.panel,
        made_by=lambda: identity.panel(market),
        reads=tuple(
            MarketRead(raw_rows(feed), all_before=True, optional=True) for feed in market.feeds
        ),
        make=lambda context, months, inputs: by_month(context, months, panel_made),
        at_once=MONTHS_AT_ONCE,
        check=_check_panel,
    )


def features_stage(market: Market) -> MarketStage:
    """Return the stage of the catalogue on the panel."""

    def counts(context: MarketContext, month: str, made: pl.DataFrame) -> dict[str, Any]:
        panel = context.panel.scan([month])
        counted = count_cells(month, made.lazy(), panel, market.choice)
        return {COUNTS: keep_cells(counted, market.choice, identity.counting())}

    return Stage(
        name="features",
        key=("features",),
        place=lambda context: context.features,
        made_by=lambda: identity.features(market),
        reads=(MarketRead(panel_stage(market), sessions_back=panel_lookback(market)),),
        make=lambda context, months, inputs: by_month(context, months, features_made, counts),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach("features"),
    )


def cross_section_stage(market: Market, universe: str) -> MarketStage:
    """Return the stage of z-scored features inside a universe."""
    rules = market.universe(universe)

    def rows(context: MarketContext, first: date, last: date) -> pl.DataFrame:
        return section_made(context, rules, first, last)

    name = f"cross_section/{universe}"
    return Stage(
        name=name,
        key=("cross_section", universe),
        place=lambda context: context.cross_section(universe),
        made_by=lambda: identity.cross_section(market, universe),
        reads=(
            MarketRead(features_stage(market), sessions_back=series_lookback(market)),
            MarketRead(panel_stage(market), sessions_back=universe_lookback(market, rules)),
        ),
        make=lambda context, months, inputs: by_month(context, months, rows),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach(name),
    )


def graph_stage(market: Market, universe: str) -> MarketStage:
    """Return the stage of who moves with whom inside a universe, week by week.

    Recipes with `[inputs.graph]` read it; the features of the graph are made from the panel.
    """
    rules = market.universe(universe)

    def rows(context: MarketContext, first: date, last: date) -> pl.DataFrame:
        return graph_made(context, rules, first, last)

    name = f"graph/{universe}"
    return Stage(
        name=name,
        key=("graph", universe),
        place=lambda context: graph_table(context, universe),
        made_by=lambda: identity.graph(market, universe, GRAPH_RULES),
        reads=(MarketRead(panel_stage(market), sessions_back=graph_lookback(market, rules)),),
        make=lambda context, months, inputs: by_month(context, months, rows),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach(name),
    )


def panel_made(context: MarketContext, first: date, last: date) -> pl.DataFrame:
    """Return the panel of some sessions, from stored raw rows."""
    return panel_rows(context.market, raw_until(context, month_of(last)), first, last)


def features_made(context: MarketContext, first: date, last: date) -> pl.DataFrame:
    """Return the features of some sessions, from the stored panel."""
    panel = panel_between(context, panel_start(context.market, first), last)
    return feature_rows(context.market, panel.collect(), first, last)


def section_made(
    context: MarketContext, rules: UniverseSpec, first: date, last: date
) -> pl.DataFrame:
    """Return the cross-section of some sessions, from the stored panel and features."""
    market = context.market
    panel = panel_between(context, universe_start(market, rules, first), last)
    features = context.features.read(month_of(first), month_of(last))
    begin = series_start(market, first)
    names = [feature.name for feature in market_wide(market)]
    wide = context.features.read(month_of(begin), month_of(last)).select("session", *names)
    return section_rows(
        market,
        rules,
        features.collect(),
        panel.select(*PANEL_SCHEMA).collect(),
        first,
        last,
        series=series_of(market, wide.collect(), begin, last),
    ).frame


def graph_made(
    context: MarketContext, rules: UniverseSpec, first: date, last: date
) -> pl.DataFrame:
    """Return the edges of some sessions, from the stored panel."""
    market = context.market
    start = graph_start(market, rules, first)
    panel = panel_between(context, start, last).select(*PANEL_SCHEMA).collect()
    return graph_rows(market, rules, panel, start, first, last)


def graph_table(context: MarketContext, universe: str) -> MonthTable:
    """Return the edges inside a universe, a month each."""
    return MonthTable(context.store, (context.market.name, "graph", universe), EDGE_KEYS)


def graph_lookback(market: Market, rules: UniverseSpec) -> int:
    """Return the panel sessions before the first one that a graph reaches back to."""
    return max(edge_lookback(market.spec.max_stale) - 1, universe_lookback(market, rules))


def graph_start(market: Market, rules: UniverseSpec, first: object) -> date:
    """Return the first panel session that a graph of `first` looks back to."""
    return sessions_back(market.calendar, first, graph_lookback(market, rules))


def panel_between(context: MarketContext, first: date, last: date) -> pl.LazyFrame:
    """Return the stored panel rows of the sessions from `first` to `last`."""
    rows = context.panel.read(month_of(first), month_of(last))
    return rows.filter(pl.col("session").is_between(first, last))


def by_month(
    context: MarketContext, months: Sequence[str], rows: Rows, more: More | None = None
) -> Iterator[Output]:
    """Make the rows of neighbouring months in one go, up to the frontier; give each month its."""
    sessions = context.market.calendar.month_sessions
    first, _ = span_of(sessions(months[0]))
    _, last = span_of(sessions(months[-1]))
    frame = rows(context, first, min(last, frontier(context)))
    for month in months:
        within = pl.col("session").is_between(*span_of(sessions(month)))
        made = frame.filter(within)
        kept = more(context, month, made) if more is not None else {}
        yield Output(month, {ROWS: made}, more=kept)


def _check_panel(context: MarketContext, first: str, last: str) -> None:
    if not any(table.months() for table in context.raw.values()):
        raise MissingOutput(
            f"no raw rows of market {context.market.name!r} are stored; {run_again(context)}"
        )
    _check_reach("panel")(context, first, last)


def _check_reach(stage: str) -> Callable[[MarketContext, str, str], None]:
    """Return what refuses months whose first session cannot be decided yet."""

    def check(context: MarketContext, first: str, last: str) -> None:
        edge = frontier(context)
        begin, _ = span_of(context.market.calendar.month_sessions(last))
        if edge < begin:
            raise MissingOutput(
                f"{stage} of {last} cannot be made: the last session that stored bars allow to "
                f"decide is {edge}; ask for months up to {month_of(edge)}, or ingest later bars"
            )

    return check
