"""The market's stages: as-of panel, features, cross-section, graph.

Each reads what its look-back needs and makes one folder a month.  Making a month again, alone or
with others, gives the same bits.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import cache

import polars as pl

from alpha_assets.arrays.keys import KEYS
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
from alpha_assets.pipeline.families import (
    MEMBERS,
    behind,
    families_of,
    section_columns,
    tables_of,
    within,
)
from alpha_assets.pipeline.freshness import COUNTS
from alpha_assets.pipeline.frontier import frontier
from alpha_assets.pipeline.raw import raw_until
from alpha_assets.pipeline.stage import MONTHS_AT_ONCE, RAW, Inputs, Output, Outputs, Read, Stage
from alpha_assets.pipeline.transforms import (
    feature_lookback,
    feature_rows,
    graph_rows,
    market_wide,
    member_rows,
    offered_choice,
    panel_rows,
    panel_start,
    scale_lookback,
    scale_start,
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
from alpha_assets.spec import kept
from alpha_assets.store.folder import ROWS
from alpha_assets.store.table import MonthTable

MarketStage = Stage[MarketContext]
MarketRead = Read[MarketContext]
Rows = Callable[[MarketContext, date, date], pl.DataFrame]

GRAPH_RULES = {
    "window": WINDOW,
    "least_common": LEAST_COMMON,
    "least_correlation": LEAST_CORRELATION,
    "neighbours": NEIGHBOURS,
}


@cache
def raw_rows(feed: str) -> Outputs[MarketContext]:
    """Return a feed's raw rows: made by ingestion, in revisions, and never made again."""
    return Outputs(
        name=f"{RAW}/{feed}", key=(RAW, feed), place=lambda context: context.raw[feed].table
    )


@cache  # every stage of every family declares that it reads a panel
def _read_of_feed(feed: str) -> MarketRead:
    """Return the read of all rows of a feed so far, where there are any."""
    return MarketRead(raw_rows(feed), all_before=True, optional=True)


@kept
def panel_stage(market: Market) -> MarketStage:
    """Return the stage of what was known at each decision."""
    return Stage(
        name="panel",
        key=("panel",),
        place=lambda context: context.panel,
        made_by=lambda: identity.panel(market),
        reads=tuple(_read_of_feed(feed) for feed in market.feeds),
        make=make_panel,
        at_once=MONTHS_AT_ONCE,
        check=_check_panel,
    )


@kept
def features_stage(market: Market, families: Sequence[str] | None = None) -> MarketStage:
    """Return the stage of the catalogue on the panel.

    Args:
        market: whose catalogue it is.
        families: that are made; default: all.
    """
    wanted = families_of(within(market.catalog, families))
    return _features(market, [_family_of_features(market, family) for family in wanted])


def _features(market: Market, families: Sequence[MarketStage]) -> MarketStage:
    """Return the stage of families of features that are made together."""
    names = [one.family for one in families]
    return Stage(
        name="features",
        key=("features",),
        place=lambda context: context.features.only(names),
        made_by=lambda: identity.together({one.family: one.identity for one in families}),
        reads=(MarketRead(panel_stage(market), sessions_back=feature_lookback(market, names)),),
        make=lambda context, months, inputs: make_features(context, months, names),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach("features"),
        families=tuple(families),
        only=lambda some: _features(market, some),
    )


@kept
def _family_of_features(market: Market, family: str) -> MarketStage:
    """Return the stage of one family of features."""
    back = feature_lookback(market, [family])
    return Stage(
        name=f"features/{family}",
        key=("features",),
        family=family,
        place=lambda context: context.features.of(family),
        made_by=lambda: identity.features(market, family),
        reads=(MarketRead(panel_stage(market), sessions_back=back),),
        make=lambda context, months, inputs: make_features(context, months, [family]),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach("features"),
    )


def make_features(
    context: MarketContext, months: Sequence[str], families: Sequence[str]
) -> Iterator[Output]:
    """Make families of features together: what they share is computed once."""
    market = context.market
    ours = {family: within(market.catalog, [family]) for family in families}

    def rows(context: MarketContext, first: date, last: date) -> pl.DataFrame:
        return features_made(context, families, first, last)

    for month, made in by_month(context, months, rows):
        wanted = [feature for features in ours.values() for feature in features]
        counted = count_cells(month, made.lazy(), context.panel.scan([month]), wanted)
        cells = {key[0]: found for key, found in counted.group_by("feature")}
        yield Output(
            month,
            {f: made.select(*KEYS, *[item.name for item in ours[f]]) for f in families},
            more={
                family: {
                    COUNTS: keep_cells(
                        pl.concat([cells[item.name] for item in features]),
                        features,
                        identity.counting(),
                    )
                }
                for family, features in ours.items()
            },
        )


@kept
def cross_section_stage(
    market: Market, universe: str, families: Sequence[str] | None = None
) -> MarketStage:
    """Return the stage of z-scored features inside a universe, and of who is in it.

    Args:
        market: whose features they are.
        universe: by name.
        families: that are made; default: all that the market can have.
    """
    wanted = families_of(within(offered_choice(market), families))
    each = [_family_of_section(market, universe, family) for family in wanted]
    return _section(market, universe, [members_stage(market, universe), *each])


def _section(market: Market, universe: str, each: Sequence[MarketStage]) -> MarketStage:
    """Return the stage of families of a cross-section that are made together.

    The members, which the others read, are made before them.
    """
    names = [one.family for one in each if one.family != MEMBERS]
    if not names:
        return each[0]
    made_from, rules = made_of(market, names), market.universe(universe)
    return Stage(
        name=f"cross_section/{universe}",
        key=("cross_section", universe),
        place=lambda context: context.cross_section(universe).only([one.family for one in each]),
        made_by=lambda: identity.together({one.family: one.identity for one in each}),
        reads=(
            _read_of_features(market, rules, made_from),
            _read_for_members(market, rules),
        ),
        make=lambda context, months, inputs: make_section(context, universe, months, names),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach(f"cross_section/{universe}"),
        families=tuple(each),
        only=lambda some: _section(market, universe, some),
    )


@kept
def members_stage(market: Market, universe: str) -> MarketStage:
    """Return the stage of who is in a universe: a family of its cross-section."""
    rules = market.universe(universe)
    back = universe_lookback(market, rules)
    return Stage(
        name=f"cross_section/{universe}/{MEMBERS}",
        key=("cross_section", universe),
        family=MEMBERS,
        place=lambda context: context.cross_section(universe).of(MEMBERS),
        made_by=lambda: identity.members(market, universe),
        reads=(MarketRead(panel_stage(market), sessions_back=back),),
        make=lambda context, months, inputs: make_members(context, rules, months),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach(f"cross_section/{universe}"),
    )


@kept
def _family_of_section(market: Market, universe: str, family: str) -> MarketStage:
    """Return the stage of one family of z-scored features inside a universe."""
    made_from, rules = made_of(market, [family]), market.universe(universe)
    return Stage(
        name=f"cross_section/{universe}/{family}",
        key=("cross_section", universe),
        family=family,
        place=lambda context: context.cross_section(universe).of(family),
        made_by=lambda: identity.cross_section(market, universe, family),
        reads=(
            MarketRead(members_stage(market, universe)),
            _read_of_features(market, rules, made_from),
            *([_read_for_members(market, rules)] if scale_lookback(rules) else []),
        ),
        make=lambda context, months, inputs: make_section(context, universe, months, [family]),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach(f"cross_section/{universe}"),
    )


def _read_of_features(market: Market, rules: UniverseSpec, made_from: Sequence[str]) -> MarketRead:
    """Return what families of a cross-section read of the features that they are made from."""
    back = max(series_lookback(market, made_from), scale_lookback(rules))
    return MarketRead(features_stage(market, made_from), sessions_back=back)


def _read_for_members(market: Market, rules: UniverseSpec) -> MarketRead:
    """Return what a cross-section reads of the panel: who is in it, and was as its scale looks."""
    back = universe_lookback(market, rules) + scale_lookback(rules)
    return MarketRead(panel_stage(market), sessions_back=back)


@kept
def made_of(market: Market, families: Sequence[str]) -> tuple[str, ...]:
    """Return the families of features that families of a cross-section are made from."""
    return tables_of(market, behind(within(offered_choice(market), families)))


def make_section(
    context: MarketContext, universe: str, months: Sequence[str], families: Sequence[str]
) -> Iterator[Output]:
    """Make families of a cross-section together, from its members and the features."""
    choice = offered_choice(context.market)

    def rows(context: MarketContext, first: date, last: date) -> pl.DataFrame:
        return section_made(context, universe, families, first, last)

    for month, made in by_month(context, months, rows):
        yield Output(
            month,
            {f: made.select(*KEYS, *section_columns(within(choice, [f]))) for f in families},
        )


@kept
def graph_stage(market: Market, universe: str) -> MarketStage:
    """Return the stage of who moves with whom inside a universe, week by week.

    Recipes with `[inputs.graph]` read it; the features of the graph are made from the panel.
    """
    rules = market.universe(universe)
    name = f"graph/{universe}"
    return Stage(
        name=name,
        key=("graph", universe),
        place=lambda context: graph_table(context, universe),
        made_by=lambda: identity.graph(market, universe, GRAPH_RULES),
        reads=(MarketRead(panel_stage(market), sessions_back=graph_lookback(market, rules)),),
        make=lambda context, months, inputs: make_graph(context, rules, months),
        at_once=MONTHS_AT_ONCE,
        check=_check_reach(name),
    )


def make_panel(context: MarketContext, months: Sequence[str], inputs: Inputs) -> Iterator[Output]:
    """Make months of the panel."""
    for month, made in by_month(context, months, panel_made):
        yield Output(month, {ROWS: made})


def make_members(
    context: MarketContext, rules: UniverseSpec, months: Sequence[str]
) -> Iterator[Output]:
    """Make months of who is in a universe."""

    def rows(context: MarketContext, first: date, last: date) -> pl.DataFrame:
        return members_made(context, rules, first, last)

    for month, made in by_month(context, months, rows):
        yield Output(month, {MEMBERS: made})


def make_graph(
    context: MarketContext, rules: UniverseSpec, months: Sequence[str]
) -> Iterator[Output]:
    """Make months of the edges inside a universe."""

    def rows(context: MarketContext, first: date, last: date) -> pl.DataFrame:
        return graph_made(context, rules, first, last)

    for month, made in by_month(context, months, rows):
        yield Output(month, {ROWS: made})


def panel_made(context: MarketContext, first: date, last: date) -> pl.DataFrame:
    """Return the panel of some sessions, from stored raw rows."""
    return panel_rows(context.market, raw_until(context, month_of(last)), first, last)


def features_made(
    context: MarketContext, families: Sequence[str], first: date, last: date
) -> pl.DataFrame:
    """Return families of features of some sessions, from the stored panel."""
    panel = panel_between(context, panel_start(context.market, first, families), last)
    return feature_rows(context.market, panel, first, last, families)


def members_made(
    context: MarketContext, rules: UniverseSpec, first: date, last: date
) -> pl.DataFrame:
    """Return who is in a universe at some sessions, from the stored panel."""
    panel = panel_between(context, universe_start(context.market, rules, first), last)
    columns = [*PANEL_SCHEMA, *rules.side_columns]
    return member_rows(context.market, rules, panel.select(columns).collect(), first, last)


def section_made(
    context: MarketContext, universe: str, families: Sequence[str], first: date, last: date
) -> pl.DataFrame:
    """Return families of a cross-section of some sessions, from stored members and features."""
    market, rules = context.market, context.market.universe(universe)
    made_from, month = made_of(market, families), month_of(last)
    features = context.features.only(made_from)
    begin = series_start(market, first, made_from)
    wide = [feature.name for feature in market_wide(market, made_from)]
    series = features.read(month_of(begin), month, ["session", *wide]).collect()
    start = scale_start(market, rules, first)
    if start < first:  # months before may have no members stored: this stage makes them
        members = members_made(context, rules, start, last)
    else:
        members = context.cross_section(universe).of(MEMBERS).read(month_of(first), month).collect()
    return section_rows(
        market,
        rules,
        features.read(month_of(start), month).collect(),
        members,
        first=first,
        series=series_of(market, series, begin, last, made_from),
        families=families,
    ).frame


def graph_made(
    context: MarketContext, rules: UniverseSpec, first: date, last: date
) -> pl.DataFrame:
    """Return the edges of some sessions, from the stored panel."""
    market = context.market
    start = graph_start(market, rules, first)
    columns = [*PANEL_SCHEMA, *rules.side_columns]
    panel = panel_between(context, start, last).select(columns).collect()
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
    context: MarketContext, months: Sequence[str], rows: Rows
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Make the rows of neighbouring months in one go, up to the frontier; give each month its."""
    sessions = context.market.calendar.month_sessions
    first, _ = span_of(sessions(months[0]))
    _, last = span_of(sessions(months[-1]))
    frame = rows(context, first, min(last, frontier(context)))
    for month in months:
        yield month, frame.filter(pl.col("session").is_between(*span_of(sessions(month))))


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
