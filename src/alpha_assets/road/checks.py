"""Questions asked of stored outputs: are they sound enough for the next stage to read?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.features.wide import Across
from alpha_assets.feeds.market import HALF_DAY, SESSION_DIVISIONS
from alpha_assets.road.frames import offered_features
from alpha_assets.road.road import Road

MIN_COVERAGE = 0.5  # of the rows with enough history, per feature and month
MIN_DISTINCT = 0.5  # of the scores of a session
N_NAMED = 10  # days that an answer lists


@dataclass(frozen=True)
class Answer:
    """What a check found; `is_error` says whether a no is wrong or merely odd."""

    passed: bool
    facts: Mapping[str, Any]
    is_error: bool = True


def bars_are_sound(road: Road) -> Answer:
    """Ask whether bars are unique, positive, ordered high to low, and on sessions."""
    bars = road.raw["daily_bars"].read().collect()
    schema = road.market.feeds["daily_bars"].schema
    wrong_types = [name for name, dtype in schema.items() if bars.schema.get(name) != dtype]
    key = ["event_date", "symbol", "revision"]
    price = pl.min_horizontal("open", "high", "low", "close")
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    slack = 1 + 1e-6  # vendors round
    off_calendar = ~road.market.calendar.is_session(bars["event_date"].to_numpy())
    counts = {
        "columns_of_wrong_type": len(wrong_types),
        "duplicate_rows": bars.height - bars.select(key).n_unique(),
        "prices_not_positive": bars.filter(price <= 0).height,
        "high_below_low": bars.filter(pl.col("high") < pl.col("low")).height,
        "outside_high_and_low": bars.filter(
            (top > pl.col("high") * slack) | (bottom * slack < pl.col("low"))
        ).height,
        "readable_before_their_day": bars.filter(
            pl.col("available_at").dt.convert_time_zone(str(road.market.calendar.zone)).dt.date()
            < pl.col("event_date")
        ).height,
        "off_the_calendar": int(off_calendar.sum()),
    }
    return Answer(not any(counts.values()), {"rows": bars.height, **counts})


def sessions_have_bars(road: Road) -> Answer:
    """Ask whether every session between the first and the last bar has bars; odd, not wrong."""
    found = road.raw["daily_bars"].read().select(pl.col("event_date").unique().sort()).collect()
    days = found["event_date"].to_numpy().astype("datetime64[D]")
    sessions = road.market.calendar.between(days[0], days[-1]) if len(days) else days
    missing = np.setdiff1d(sessions, days)
    facts = {
        "sessions": len(sessions),
        "missing": len(missing),
        "first_missing": _named(missing),
    }
    return Answer(not len(missing), facts, is_error=False)


def calendar_agrees(road: Road) -> Answer:
    """Ask whether the days announced as sessions are those that the clock counts.

    A half day is a session; a holiday on which derivatives trade is none, and neither is a day
    that was announced and not held.  An announcement reaches further than the clock does: only
    days that both cover are compared, and of each side's own sessions the first are named.
    """
    if "trading_calendar" not in road.raw:
        return Answer(True, {"off": road.market.feeds_off.get("trading_calendar", "not declared")})
    known = road.raw["trading_calendar"].latest().select("event_date", "division").collect()
    calendar = road.market.calendar
    day_K = known["event_date"].to_numpy().astype("datetime64[D]")
    covered_K = (day_K >= calendar.sessions[0]) & (day_K <= calendar.sessions[-1])
    opens_K = known["division"].is_in(SESSION_DIVISIONS).to_numpy()
    announced = np.setdiff1d(day_K[covered_K & opens_K], calendar.halts)
    compared = day_K[covered_K]
    counted = calendar.between(compared[0], compared[-1]) if len(compared) else compared
    only_announced = np.setdiff1d(announced, counted)
    only_counted = np.setdiff1d(counted, announced)
    facts = {
        "days": len(compared),
        "sessions": len(counted),
        "first": str(compared[0]) if len(compared) else "",
        "last": str(compared[-1]) if len(compared) else "",
        "half_days": int((known["division"] == HALF_DAY).sum()),
        "only_in_feed": len(only_announced),
        "first_only_in_feed": _named(only_announced),
        "only_on_exchange": len(only_counted),
        "first_only_on_exchange": _named(only_counted),
    }
    return Answer(not len(only_announced) and not len(only_counted), facts)


def _named(days: NDArray[np.datetime64]) -> list[str]:
    return [str(day) for day in days[:N_NAMED]]


def features_are_filled(road: Road) -> Answer:
    """Ask whether each feature of bars is known for most rows with its history, in every month.

    Features of side feeds are sparse where the feed is, and those across symbols where sectors
    and graphs are small: families of theirs have limits of their own, in `coverage`.
    """
    offered = [
        feature
        for feature in offered_features(road.market)
        if not feature.feeds and not isinstance(feature, Across)
    ]
    names = ["session", "symbol", *[feature.name for feature in offered]]
    features = road.features.read().select(names)
    history = road.panel.read().select("session", "symbol", "n_bars")
    joined = features.join(history, on=["session", "symbol"])
    enough = {f.name: pl.col("n_bars") >= f.lookback for f in offered}
    shares = (
        joined.group_by(pl.col("session").dt.strftime("%Y-%m").alias("month"))
        .agg(
            pl.col(name).filter(known).is_not_null().mean().alias(name)
            for name, known in enough.items()
        )
        .sort("month")
        .collect()
    )
    lowest = {
        name: share
        for name in enough
        if (share := shares[name].min()) is not None and float(str(share)) < MIN_COVERAGE
    }
    latest = shares.tail(1).drop("month").to_dicts()
    return Answer(
        not lowest,
        {
            "limit": MIN_COVERAGE,
            "below": {name: float(str(share)) for name, share in lowest.items()},
            "latest_month": latest[0] if latest else {},
            "off": dict(road.market.missing_features),
        },
    )


def scores_spread(road: Road) -> Answer:
    """Ask whether every session's scores tell its symbols apart."""
    of_session = (
        road.predictions.read()
        .group_by("session", "horizon")
        .agg(
            pl.col("score").cast(pl.Float64).std().alias("spread"),
            (pl.col("score").n_unique() / pl.len()).alias("distinct"),
        )
        .sort("session")
        .collect()
    )
    flat = of_session.filter(
        (pl.col("spread").fill_null(0.0) <= 0) | (pl.col("distinct") < MIN_DISTINCT)
    )
    facts = {
        "sessions": of_session.height,
        "flat_sessions": flat.height,
        "first_flat": [str(day) for day in flat["session"].head(5)],
        "limit_distinct": MIN_DISTINCT,
    }
    return Answer(not flat.height, facts)
