"""The market's stages as functions of frames: what a month's file and `predict --asof` share.

Each takes the rows of the stage below over the span that its look-back needs, and returns the
rows of the sessions asked for.  Where the span starts changes no bit of them.
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar, Dates, as_date
from alpha_assets.features import (
    CrossSection,
    Feature,
    compute_features,
    cross_section,
    max_lookback,
)
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.universe import UniverseSpec, universe
from alpha_assets.road.market import Market


def offered_features(market: Market) -> tuple[Feature, ...]:
    """Return the catalogued features that the market can have."""
    missing = market.missing_features
    return tuple(feature for feature in market.catalog if feature.name not in missing)


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


def panel_start(market: Market, first: object) -> date:
    """Return the first panel session that features of `first` look back to."""
    return sessions_back(market.calendar, first, max_lookback(offered_features(market)) - 1)


def feature_rows(market: Market, panel: pl.DataFrame, first: date, last: date) -> pl.DataFrame:
    """Return every catalogued feature on the panel rows of `first` to `last`.

    A feature that the market cannot have is a column of nulls: it stays in sight.
    """
    offered = offered_features(market)
    start = panel_start(market, first)
    sessions: Dates = market.calendar.between(start, last)
    rows = compute_features(panel, offered, first, last, sessions=sessions, own=market.own_joins)
    lacking = [pl.lit(None, dtype=pl.Float32).alias(name) for name in market.missing_features]
    return rows.with_columns(lacking).select(
        "session", "symbol", *[feature.name for feature in market.catalog]
    )


def universe_start(market: Market, rules: UniverseSpec, first: object) -> date:
    """Return the first panel session that a universe of `first` looks back to."""
    return sessions_back(market.calendar, first, rules.lookback)


def section_rows(
    market: Market,
    rules: UniverseSpec,
    features: pl.DataFrame,
    panel: pl.DataFrame,
    first: date,
    last: date,
) -> CrossSection:
    """Return the z-scored features of the universe's rows from `first` to `last`."""
    members = universe(panel, rules, first, last)
    within = pl.col("session").is_between(first, last)
    return cross_section(
        features.filter(within),
        members,
        panel.filter(within),
        offered_features(market),
        rules,
    )


def tradable_rows(panel: pl.DataFrame) -> pl.DataFrame:
    """Return `session`, `symbol` of the panel rows with a bar at D-1: what may be traded."""
    return panel.filter(pl.col("stale") == 0).select("session", "symbol")


def span_of(sessions: Dates) -> tuple[date, date]:
    """Return the first and last of some sessions."""
    return as_date(np.min(sessions)), as_date(np.max(sessions))
