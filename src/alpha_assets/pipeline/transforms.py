"""The market's stages as functions of frames: what a month's file and `predict --asof` share.

Each takes the rows of the stage below over the span that its look-back needs, and returns the
rows of the sessions asked for.  Where the span starts changes no bit of them, and neither does the
number of threads: as many as polars has, one for each core unless `POLARS_MAX_THREADS` says less.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar, as_date
from alpha_assets.config.market import Market
from alpha_assets.features import (
    TRAILING,
    CrossSection,
    Feature,
    compute_features,
    cross_section,
    market_series,
    max_lookback,
    pools,
)
from alpha_assets.features.compute import by_reach, inputs_with, panel_columns
from alpha_assets.features.cross_section import HISTORY, Past
from alpha_assets.features.edges import edge_rows
from alpha_assets.panel.asof import join_states
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.universe import UniverseSpec, universe
from alpha_assets.pipeline.families import behind, within
from alpha_assets.spec import kept

Families = Collection[str] | None  # None: all


@kept
def offered_features(market: Market) -> tuple[Feature, ...]:
    """Return the catalogued features that the market can have."""
    missing = market.missing_features
    return tuple(feature for feature in market.catalog if feature.name not in missing)


@kept
def offered_choice(market: Market) -> tuple[Feature, ...]:
    """Return what a cross-section holds: the offered features and the products of them."""
    missing = market.missing_features
    return tuple(feature for feature in market.choice if feature.name not in missing)


def market_wide(market: Market, families: Families = None) -> tuple[Feature, ...]:
    """Return the offered features, of some families, that are equal for all symbols."""
    offered = within(offered_features(market), families)
    return tuple(feature for feature in offered if feature.scope == "market")


def sessions_back(calendar: Calendar, session: object, n: int) -> date:
    """Return the session n before `session`, or the calendar's first where there are fewer."""
    number = int(calendar.index_of(session)) - n
    return as_date(calendar.sessions[max(number, 0)])


def panel_rows(
    market: Market, raw: Mapping[str, pl.LazyFrame], first: date, last: date
) -> pl.DataFrame:
    """Return what was known at each decision from `first` to `last`."""
    return build_panel(
        raw, market.calendar, first, last, max_stale=market.spec.max_stale, side=market.joins
    )


@kept
def feature_lookback(market: Market, families: Families = None) -> int:
    """Return the panel sessions before the first one that features of some families read."""
    return max_lookback(within(offered_features(market), families)) - 1


def panel_start(market: Market, first: object, families: Families = None) -> date:
    """Return the first panel session that features of `first` look back to."""
    return sessions_back(market.calendar, first, feature_lookback(market, families))


def feature_rows(
    market: Market,
    panel: pl.DataFrame | pl.LazyFrame,
    first: date,
    last: date,
    families: Families = None,
) -> pl.DataFrame:
    """Return the catalogued features of some families on the panel rows of `first` to `last`.

    A feature that the market cannot have is a column of nulls: it stays in sight.  Of the panel
    is read what some feature needs, and no further back than it looks.
    """
    offered = within(offered_features(market), families)
    inputs = inputs_with(market.own_joins, market.spec.max_stale)
    present = panel.lazy().collect_schema().names()
    keys = panel.lazy().filter(pl.col("session").is_between(first, last)).select(KEYS)
    rows = keys.collect()
    for group in by_reach(offered):
        start = sessions_back(market.calendar, first, max_lookback(group) - 1)
        sessions: Dates = market.calendar.between(start, last)
        columns = [name for name in panel_columns(group, inputs) if name in present]
        needed = panel.lazy().filter(pl.col("session").is_between(start, last)).select(columns)
        made = compute_features(
            needed.collect(),
            group,
            first,
            last,
            sessions=sessions,
            own=market.own_joins,
            threads=pl.thread_pool_size(),
        )
        assert made.height == rows.height, "the features of one row of the panel"
        rows = rows.hstack(made.drop(KEYS))
    names = [feature.name for feature in within(market.catalog, families)]
    known = {feature.name for feature in offered}
    lacking = [pl.lit(None, dtype=pl.Float32).alias(name) for name in names if name not in known]
    return rows.with_columns(lacking).select("session", "symbol", *names)


@kept
def series_lookback(market: Market, families: Families = None) -> int:
    """Return the sessions before a session that z-scores in time of some families look back to."""
    return TRAILING - 1 if market_wide(market, families) else 0


def series_start(market: Market, first: object, families: Families = None) -> date:
    """Return the first session that z-scores in time of `first` look back to."""
    return sessions_back(market.calendar, first, series_lookback(market, families))


def series_of(
    market: Market,
    features: pl.DataFrame,
    first: date,
    last: date,
    families: Families = None,
) -> pl.DataFrame:
    """Return the market-wide features of stored rows, one row a session.

    Args:
        market: whose features they are.
        features: rows from `series_start` on.
        first: first session of the series.
        last: its last session.
        families: whose features; default: of all.
    """
    sessions = pl.DataFrame({"session": market.calendar.between(first, last)})
    names = [feature.name for feature in market_wide(market, families)]
    series = features.select("session", *names).unique("session", keep="first", maintain_order=True)
    return sessions.join(series, on="session", how="left", maintain_order="left")


def series_rows(
    market: Market,
    raw: Mapping[str, pl.LazyFrame],
    first: date,
    last: date,
    families: Families = None,
) -> pl.DataFrame:
    """Return the market-wide features of `first` to `last` from raw rows alone.

    What is published of the market needs no panel of all symbols: one row a session, from the first
    that has bars on.  What pools symbols is made of a panel of bars alone.
    """
    wide = [feature for feature in market_wide(market, families) if not pools(feature)]
    pooled = [feature for feature in market_wide(market, families) if pools(feature)]
    begin = raw["daily_bars"].select(pl.col("available_at").min()).collect().item()
    begun = market.calendar.sessions[
        market.calendar.effective(np.datetime64(begin.replace(tzinfo=None), "us"))
    ]
    start = max(sessions_back(market.calendar, first, max_lookback(wide) - 1), as_date(begun))
    sessions = market.calendar.between(start, last)
    rows = pl.DataFrame({"session": sessions})
    for join in market.joins:
        if join.scope == "market" and join.feed in raw:
            rows = join_states(rows, raw[join.feed], join, market.calendar)
    made = market_series(rows, wide, sessions, own=market.own_joins)
    spanned = pl.DataFrame({"session": market.calendar.between(first, last)})
    made = spanned.join(made, on="session", how="left", maintain_order="left")
    of_bars = pooled_rows(market, raw, pooled, first, last)
    made = made.join(of_bars, on="session", how="left", maintain_order="left")
    return made.select("session", *[feature.name for feature in market_wide(market, families)])


def pooled_rows(
    market: Market,
    raw: Mapping[str, pl.LazyFrame],
    pooled: Sequence[Feature],
    first: date,
    last: date,
) -> pl.DataFrame:
    """Return market-wide features of `first` to `last` that pool symbols, one row a session."""
    begin = sessions_back(market.calendar, first, max_lookback(pooled) - 1)
    names = [feature.name for feature in pooled]
    panel = build_panel(raw, market.calendar, begin, last, max_stale=market.spec.max_stale, side=())
    sessions = market.calendar.between(begin, last)
    rows = compute_features(panel, pooled, first, last, sessions=sessions)
    return rows.select("session", *names).unique("session", keep="first", maintain_order=True)


def universe_lookback(market: Market, rules: UniverseSpec) -> int:
    """Return the panel sessions before a session that its universe looks back to."""
    return rules.lookback(market.spec.max_stale)


def universe_start(market: Market, rules: UniverseSpec, first: object) -> date:
    """Return the first panel session that a universe of `first` looks back to."""
    return sessions_back(market.calendar, first, universe_lookback(market, rules))


def member_rows(
    market: Market, rules: UniverseSpec, panel: pl.DataFrame, first: date, last: date
) -> pl.DataFrame:
    """Return who is in a universe from `first` to `last`: `session`, `symbol` and `sector`.

    Args:
        market: of the panel.
        rules: of the universe.
        panel: with the look-back of the universe.
        first: first session wanted.
        last: last session wanted.
    """
    members = universe_over(market, rules, panel, first, last)
    sectors = panel.select(*KEYS, "sector")
    return (
        members.select(KEYS)
        .sort(KEYS)
        .join(sectors, on=list(KEYS), how="left", maintain_order="left")
    )


def universe_over(
    market: Market, rules: UniverseSpec, panel: pl.DataFrame, first: date, last: date
) -> pl.DataFrame:
    """Return who is in a universe; its windows count the market's sessions, with rows or without.

    Args:
        market: of the panel.
        rules: of the universe.
        panel: with the look-back of the universe.
        first: first session wanted.
        last: last session wanted.
    """
    if not panel.height:
        return panel.select(KEYS)
    sessions = market.calendar.between(panel["session"].min(), last)
    max_stale = market.spec.max_stale
    return universe(panel, rules, first, last, sessions=sessions, max_stale=max_stale)


def scale_lookback(rules: UniverseSpec) -> int:
    """Return the sessions before a session whose rows the mean of its z-scores is taken over."""
    return TRAILING - 1 if rules.scale == HISTORY else 0


def scale_start(market: Market, rules: UniverseSpec, first: object) -> date:
    """Return the first session whose members and features z-scores of `first` look back to."""
    return sessions_back(market.calendar, first, scale_lookback(rules))


def section_rows(
    market: Market,
    rules: UniverseSpec,
    features: pl.DataFrame,
    members: pl.DataFrame,
    *,
    first: date,
    series: pl.DataFrame,
    families: Families = None,
) -> CrossSection:
    """Return the z-scored features of the rows of a universe.

    Args:
        market: whose features they are.
        rules: of the universe.
        features: of the sessions from `scale_start` on, at least.
        members: of the universe from `scale_start` on; see `member_rows`.
        first: session wanted.
        series: the market-wide features from `series_start` on, one row a session.
        families: that are wanted; default: all.  What products of another family multiply comes
            with them.
    """
    choice = offered_choice(market)
    wanted = within(choice, families)
    parts = set(behind(wanted))
    here = pl.col("session").is_in(members["session"].unique().implode())
    asked = members.filter(pl.col("session") >= first)
    return cross_section(
        features.filter(here),
        asked,
        asked,
        tuple(item for item in choice if item in wanted or item.name in parts),
        rules,
        series=series,
        threads=pl.thread_pool_size(),
        past=past_of(market, rules, members, first),
    )


def past_of(market: Market, rules: UniverseSpec, members: pl.DataFrame, first: date) -> Past | None:
    """Return who was in a universe on the sessions that its scale looks at; None: at none.

    Args:
        market: whose sessions count.
        rules: of the universe.
        members: of it from `scale_start` on; they may be none.
        first: session wanted.
    """
    if rules.scale != HISTORY:
        return None
    last = members["session"].max() or first
    sessions = market.calendar.between(scale_start(market, rules, first), last)
    return Past(members.select(KEYS), sessions)


def graph_rows(
    market: Market, rules: UniverseSpec, panel: pl.DataFrame, start: date, first: date, last: date
) -> pl.DataFrame:
    """Return the edges of the graphs made from `first` to `last` inside a universe.

    Args:
        market: of the panel.
        rules: of the universe.
        panel: rows of all symbols from `start` on.
        start: as far as a graph of `first` looks back.
        first: first session wanted.
        last: last session wanted.
    """
    members = universe_over(market, rules, panel, first, last)
    sessions = market.calendar.between(start, last)
    return edge_rows(panel, sessions, first, last, members, market.spec.max_stale)


def tradable_rows(panel: pl.DataFrame) -> pl.DataFrame:
    """Return `session`, `symbol` of the panel rows with a bar at D-1: what may be traded."""
    return panel.filter(pl.col("stale") == 0).select("session", "symbol")


def decidable_sessions(
    market: Market, each: Sequence[UniverseSpec], panel: pl.DataFrame, sessions: Dates
) -> Dates:
    """Return those of `sessions` at which a name of all universes had a bar on the one before.

    Args:
        market: of the panel.
        each: the rules of one or more universes.
        panel: with the look-back of the universes.
        sessions: consecutive, sorted.
    """
    if not len(sessions):
        return sessions
    first, last = span_of(sessions)
    members, *others = [universe_over(market, rules, panel, first, last) for rules in each]
    for other in others:
        members = members.join(other, on=list(KEYS), how="semi")
    return decided_among(sessions, members, panel)


def decided_among(sessions: Dates, members: pl.DataFrame, panel: pl.DataFrame) -> Dates:
    """Return those of `sessions` with a row of `members` that has a bar on the session before."""
    scored = members.select("session", "symbol").join(
        tradable_rows(panel), on=["session", "symbol"], how="semi"
    )
    return np.intersect1d(sessions, scored["session"].unique().to_numpy().astype("datetime64[D]"))


def span_of(sessions: Dates) -> tuple[date, date]:
    """Return the first and last of some sessions."""
    return as_date(np.min(sessions)), as_date(np.max(sessions))
