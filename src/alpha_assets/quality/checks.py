"""Questions asked of stored outputs: are they sound enough for the next stage to read?

One definition for every way of running: `pipeline.checks` asks them of a context, for `run` and for
the assets and checks of Dagster, about the months that are made and no others.  A no stops only
where it is wrong for this market and these months; what is odd is reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import as_date, month_start, next_month
from alpha_assets.config.market import Market
from alpha_assets.errors import CheckFailed
from alpha_assets.features import Feature
from alpha_assets.features.cross_symbol import Across
from alpha_assets.feeds.market import HALF_DAY, SESSION_DIVISIONS
from alpha_assets.quality.cells import CellsOf
from alpha_assets.quality.coverage import FamilyCoverage
from alpha_assets.store.raw import RawTable
from alpha_assets.store.table import MonthTable

MIN_COVERAGE = 0.5  # of the rows with enough history, per feature and month
OPTIONAL_BARS = ("upper_limit", "lower_limit")  # columns that not every market's bars have
N_NAMED = 10  # days that an answer lists


@dataclass(frozen=True)
class Answer:
    """What a check found; `is_error`: whether a no is wrong, and stops, or only odd."""

    passed: bool
    facts: Mapping[str, Any]
    is_error: bool = True

    @property
    def words(self) -> str:
        """What was counted, in one line."""
        return ", ".join(f"{name} {fact}" for name, fact in self.facts.items() if fact)


Months = Sequence[str] | None  # None: all that are stored


def require(name: str, answer: Answer) -> None:
    """Stop where the answer to a question is no, and that is wrong.

    Args:
        name: of the question.
        answer: to it.

    Raises:
        CheckFailed: with what was counted.
    """
    if not answer.passed and answer.is_error:
        raise CheckFailed(f"{name}: {answer.words}")


def require_families(families: Sequence[FamilyCoverage], report: Callable[[str], None]) -> None:
    """Refuse to learn or decide from families that are not there; report what else is odd of them.

    Args:
        families: those that are read, and no others.
        report: called with each finding that stops nothing.

    Raises:
        CheckFailed: in the judged months a column of a family is missing, or all are empty.
    """
    for family in families:
        for finding in family.findings:
            words = f"{family.name}: {finding.words}"
            if finding.blocks:
                raise CheckFailed(
                    f"{words}; take the family out of the recipe ([features]), or see to the "
                    f"feeds behind it: {', '.join(feed.name for feed in family.feeds)}"
                )
            report(words)


def _span(months: Months) -> tuple[date, date]:
    """Return the first and the last day of months, which need not be neighbours."""
    if not months:
        return date.min, date.max
    stop = month_start(next_month(max(months))) - np.timedelta64(1, "D")
    return as_date(month_start(min(months))), as_date(stop)


def bars_are_sound(market: Market, bars: RawTable, months: Months = None) -> Answer:
    """Ask whether bars are unique, positive, ordered high to low, and on sessions."""
    of_months = pl.col("event_date").is_between(*_span(months))
    # A bar is public on its own day or later.
    stored = bars.read(first=min(months) if months else None)
    rows = stored.filter(of_months).collect()
    schema = bars.feed.schema
    wrong_types = [name for name, dtype in schema.items() if rows.schema.get(name) != dtype]
    key = ["event_date", "symbol", "revision"]
    price = pl.min_horizontal("open", "high", "low", "close")
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    slack = 1 + 1e-6  # vendors round
    off_calendar = ~market.calendar.is_session(rows["event_date"].to_numpy())
    counts = {
        "columns_of_wrong_type": len(wrong_types),
        "duplicate_rows": rows.height - rows.select(key).n_unique(),
        "prices_not_positive": rows.filter(price <= 0).height,
        "high_below_low": rows.filter(pl.col("high") < pl.col("low")).height,
        "outside_high_and_low": rows.filter(
            (top > pl.col("high") * slack) | (bottom * slack < pl.col("low"))
        ).height,
        "readable_before_their_day": rows.filter(
            pl.col("available_at").dt.convert_time_zone(str(market.calendar.zone)).dt.date()
            < pl.col("event_date")
        ).height,
        "off_the_calendar": int(off_calendar.sum()),
    }
    return Answer(not any(counts.values()), {"rows": rows.height, **counts})


def sessions_have_bars(market: Market, bars: RawTable, months: Months = None) -> Answer:
    """Ask whether every session between the first and the last bar has bars; odd, not wrong."""
    found = bars.read().select(pl.col("event_date").unique().sort()).collect()
    of_months = found.filter(pl.col("event_date").is_between(*_span(months)))
    days = of_months["event_date"].to_numpy().astype("datetime64[D]")
    sessions = market.calendar.between(days[0], days[-1]) if len(days) else days
    missing = np.setdiff1d(sessions, days)
    facts = {
        "sessions": len(sessions),
        "missing": len(missing),
        "first_missing": _named(missing),
    }
    return Answer(not len(missing), facts, is_error=False)


def calendar_agrees(
    market: Market, announcements: RawTable | None, months: Months = None
) -> Answer:
    """Ask whether the days announced as sessions are those that the clock counts.

    A half day is a session; a holiday on which derivatives trade is none, and neither is a day
    that was announced and not held.  An announcement reaches further than the clock does: only
    days that both cover are compared, and of each side's own sessions the first are named.

    Args:
        market: whose clock counts.
        announcements: rows of the feed `trading_calendar`; None where it is off.
        months: whose days are compared.
    """
    if announcements is None:
        return Answer(True, {"off": market.feeds_off.get("trading_calendar", "not declared")})
    stored = announcements.latest().select("event_date", "division")
    known = stored.filter(pl.col("event_date").is_between(*_span(months))).collect()
    calendar = market.calendar
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


def _named(days: Dates) -> list[str]:
    return [str(day) for day in days[:N_NAMED]]


def features_are_filled(
    market: Market,
    offered: Sequence[Feature],
    made: Sequence[str],
    cells_of: CellsOf,
    panel: MonthTable,
) -> Answer:
    """Ask whether each feature of bars is known for most rows with its history; odd, not wrong.

    Features of side feeds are sparse where the feed is, and those across symbols where sectors
    and graphs are small: families of theirs have limits of their own, in `coverage`.  Of a column
    that bars need not have, features are asked for where the bars of these months have it.

    Args:
        market: whose features they are.
        offered: features that it can have.
        made: stored months of them that are asked about, sorted.
        cells_of: counts the cells of a month.
        panel: that they are made from.
    """
    absent = _absent_columns(panel, made)
    asked = [
        feature
        for feature in offered
        if not feature.feeds and not isinstance(feature, Across) and not _reads(feature, absent)
    ]
    parts = [cells_of(month, asked) for month in made]
    shares = (
        pl.concat(parts)
        .filter(pl.col("enough") > 0)
        .select("month", "feature", share=pl.col("filled") / pl.col("enough"))
        if parts
        else pl.DataFrame(schema={"month": pl.String, "feature": pl.String, "share": pl.Float64})
    )
    lowest = shares.group_by("feature").agg(pl.col("share").min()).sort("feature")
    below = dict(lowest.filter(pl.col("share") < MIN_COVERAGE).iter_rows())
    latest = shares.filter(pl.col("month") == (made[-1] if made else ""))
    return Answer(
        not below,
        {
            "limit": MIN_COVERAGE,
            "below": below,
            "latest_month": dict(latest.select("feature", "share").iter_rows()),
            "without_column": list(absent),
            "off": dict(market.missing_features),
        },
        is_error=False,
    )


def _absent_columns(panel: MonthTable, months: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that bars need not have and that those of the panel's months lack."""
    if not months:
        return OPTIONAL_BARS
    rows = panel.read(min(months), max(months)).select(
        pl.col(name).is_not_null().any() for name in OPTIONAL_BARS
    )
    given = rows.collect().row(0, named=True)
    return tuple(name for name in OPTIONAL_BARS if not given[name])


def _reads(feature: Feature, columns: Sequence[str]) -> bool:
    return any(name in columns for name in feature.inputs)


def scores_spread(
    predictions: MonthTable, min_names: int, min_distinct: float, months: Months = None
) -> Answer:
    """Ask whether every session's scores tell its symbols apart.

    Sessions of fewer names than a cross-section takes are scored alike by rule, and only counted.

    Args:
        predictions: a recipe's scores.
        min_names: that a cross-section takes.
        min_distinct: least share of distinct scores in a session, as training was guarded by.
        months: whose sessions are asked about.
    """
    of_session = (
        predictions.read(*((min(months), max(months)) if months else ()))
        .filter(pl.col("session").is_between(*_span(months)))
        .group_by("session", "horizon")
        .agg(
            pl.len().alias("names"),
            pl.col("score").cast(pl.Float64).std().alias("spread"),
            (pl.col("score").n_unique() / pl.len()).alias("distinct"),
        )
        .sort("session")
        .collect()
    )
    wide = of_session.filter(pl.col("names") >= max(min_names, 2))
    flat = wide.filter((pl.col("spread").fill_null(0.0) <= 0) | (pl.col("distinct") < min_distinct))
    facts = {
        "sessions": of_session.height,
        "sessions_of_few_names": of_session.height - wide.height,
        "flat_sessions": flat.height,
        "first_flat": [str(day) for day in flat["session"].head(5)],
        "limit_distinct": min_distinct,
    }
    return Answer(not flat.height, facts)
