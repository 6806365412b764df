"""Whether what should be there is there: families of features, and the feeds behind them.

A column that is missing, a family that is empty and a feed that has stopped do not show in a
score: a model trains on what is left.  So they are counted here, and reported by a check of the
asset `features`, by the tear sheet and by `status`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

import polars as pl

from alpha_assets.config.market import Market
from alpha_assets.features import Feature
from alpha_assets.features.limits import least_filled
from alpha_assets.quality.cells import CellsOf
from alpha_assets.quality.feed_coverage import FeedCoverage, feed_coverage
from alpha_assets.store.raw import RawTable

LATEST = 3  # months that are judged
BARS = "daily_bars"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be; `blocks` says whether later stages must wait."""

    words: str
    blocks: bool


@dataclass(frozen=True)
class FamilyCoverage:
    """One family of features.

    Attributes:
        name: of the family.
        expected: features that the market can have.
        missing: those of them that have no column in some judged month, with that month.
        off: features that the market cannot have, and why.
        shares: month -> share of the cells filled, of rows with enough history; None where no
            row has it yet.
        never: expected features without a value in any month.
        gone: those that had values, and have none in the latest months.
        first: first session with a value.
        last: last session with a value.
        feeds: those that it is made from.
        limit: the share of a month that is expected at least.
        judged: the months that are asked about; others are shown, and block nothing.
    """

    name: str
    expected: tuple[str, ...]
    missing: Mapping[str, str]
    off: Mapping[str, str]
    shares: Mapping[str, float | None]
    never: tuple[str, ...]
    gone: tuple[str, ...]
    first: date | None
    last: date | None
    feeds: tuple[FeedCoverage, ...]
    limit: float
    judged: tuple[str, ...]

    @property
    def is_on(self) -> bool:
        """Whether the market can have any of it."""
        return bool(self.expected)

    @property
    def present(self) -> tuple[str, ...]:
        """The expected features whose column is stored."""
        return tuple(name for name in self.expected if name not in self.missing)

    @property
    def known(self) -> dict[str, float]:
        """The shares of months in which some row has enough history."""
        return {month: share for month, share in self.shares.items() if share is not None}

    @property
    def now(self) -> float | None:
        """The share of the last month."""
        return next(reversed(self.known.values()), None)

    @property
    def lowest(self) -> tuple[str, float] | None:
        """The month with the lowest share since the first value, and that share."""
        began = f"{self.first:%Y-%m}" if self.first else "9999-12"
        since = {month: share for month, share in self.known.items() if month >= began}
        month = min(since, key=lambda month: since[month], default=None)
        return None if month is None else (month, since[month])

    @property
    def silent(self) -> int | None:
        """Sessions since the last new row of the feed behind it that has been silent longest.

        Feeds of events do not count: nothing may have happened.
        """
        return max(
            (f.silent for f in self.feeds if f.silent is not None and f.limit is not None),
            default=None,
        )

    @property
    def summary(self) -> str:
        """One line: how much of it is there."""
        if not self.is_on:
            return f"off: {'; '.join(reasons_off(self.off))}"
        filled = "too little history yet" if self.now is None else f"{self.now:.1%} filled"
        lost = f", {len(self.off)} off" if self.off else ""
        return f"{len(self.present)} of {len(self.expected)} columns, {filled}{lost}"

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is not as it should be, what blocks first."""
        if not self.is_on:
            return tuple(self._cut_off())
        judged = [(month, share) for month, share in self.known.items() if month in self.judged]
        latest = dict(judged[-LATEST:])
        gone = [name for name in self.gone if name not in self.missing]
        found = [
            Finding(f"the column {name} is missing in {month}", blocks=True)
            for name, month in self.missing.items()
        ]
        if latest and not any(latest.values()):
            months = f"{min(latest)} to {max(latest)}"
            found.append(Finding(f"no cell is filled in {months}", blocks=True))
        else:
            found += [
                Finding(
                    f"{share:.1%} of {month} is filled, and the limit is {self.limit:.1%} "
                    f"([coverage] {self.name} in the market's file)",
                    blocks=False,
                )
                for month, share in latest.items()
                if share < self.limit
            ]
            if gone:
                problem = f"had values, and none since {min(latest)}: {', '.join(gone)}"
                found.append(Finding(problem, blocks=False))
        return (*found, *self._late(), *self._cut_off())

    def _late(self) -> list[Finding]:
        return [
            Finding(
                f"the feed {feed.name} has had no new row for {feed.silent} sessions, and "
                f"{feed.limit} are usual; its last one was public at {feed.last_available}",
                blocks=False,
            )
            for feed in self.feeds
            if feed.is_late and feed.why_off is None
        ]

    def _cut_off(self) -> list[Finding]:
        """Return the feeds that were on once: a wider plan ended, a table was taken away."""
        return [
            Finding(
                f"the feed {feed.name} is off ({feed.why_off}), and has {feed.rows} stored rows "
                f"up to {feed.last}: it was on before",
                blocks=False,
            )
            for feed in self.feeds
            if feed.why_off is not None and feed.rows
        ]


@dataclass(frozen=True)
class Coverage:
    """What is there of a market's features and feeds.

    Attributes:
        market: its name.
        frontier: the last session that can be decided.
        families: in the catalogue's order.
        feeds: every feed that there could be.
        cells: a row per month and feature; see `CELLS`.
    """

    market: str
    frontier: date
    families: tuple[FamilyCoverage, ...]
    feeds: tuple[FeedCoverage, ...]
    cells: pl.DataFrame

    def family(self, name: str) -> FamilyCoverage:
        """Return a family by name."""
        return next(family for family in self.families if family.name == name)

    def feed(self, name: str) -> FeedCoverage:
        """Return a feed by name."""
        return next(feed for feed in self.feeds if feed.name == name)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, for a page."""
        return {
            "frontier": self.frontier.isoformat(),
            "families": [family_json(family) for family in self.families],
            "feeds": [feed_json(feed) for feed in self.feeds],
        }


def coverage(
    market: Market,
    months: Sequence[str],
    cells_of: CellsOf,
    raw: Mapping[str, RawTable],
    frontier: date,
    *,
    families: Collection[str] | None = None,
    judged: Collection[str] | None = None,
    every_feed: bool = False,
) -> Coverage:
    """Return what is stored of a market's features and of the feeds behind them.

    Args:
        market: whose features they are.
        months: stored months of its features, sorted, at least one; one is counted at a time.
        cells_of: counts the cells of a month.
        raw: the stored rows of every feed that there could be.
        frontier: the last session that can be decided.
        families: those wanted, with the feeds behind them; default: all, and every feed.
        judged: months in which something missing is a finding; default: all of `months`.
        every_feed: of all feeds, also where `families` are given.
    """
    wanted = [f for f in market.choice if families is None or f.family in families]
    cells = pl.concat([cells_of(month, wanted) for month in months])
    behind = {name for feature in wanted for name in feeds_behind(feature)}
    feeds = {
        name: feed_coverage(market, raw[name], frontier)
        for name in market.declared
        if families is None or every_feed or name in behind
    }
    of_family: dict[str, list[Feature]] = {}
    for feature in wanted:
        of_family.setdefault(feature.family, []).append(feature)
    asked = tuple(month for month in months if judged is None or month in judged)
    found = [
        family_coverage(market, name, of_family[name], cells, feeds, asked) for name in of_family
    ]
    return Coverage(market.name, frontier, tuple(found), tuple(feeds.values()), cells)


def feeds_behind(feature: Feature) -> tuple[str, ...]:
    """Return the feeds that a feature is made from: the bars, where it names none."""
    return feature.feeds or (BARS,)


def family_coverage(
    market: Market,
    name: str,
    features: Sequence[Feature],
    cells: pl.DataFrame,
    feeds: Mapping[str, FeedCoverage],
    judged: tuple[str, ...],
) -> FamilyCoverage:
    """Return one family of a market.

    Args:
        market: whose features they are.
        name: of the family.
        features: all of the family.
        cells: see `Coverage`.
        feeds: those behind the features, at least.
        judged: months in which something missing is a finding.
    """
    off = {f.name: why for f in features if (why := market.missing_features.get(f.name))}
    expected = tuple(feature.name for feature in features if feature.name not in off)
    ours = cells.filter(pl.col("feature").is_in(expected))
    lost = ~pl.col("present") & pl.col("month").is_in(judged)
    absent = ours.filter(lost).sort("month").unique("feature", keep="last")
    lacking = dict(absent.select("feature", "month").iter_rows())
    by_month = (
        ours.group_by("month")
        .agg(pl.col("enough").sum(), pl.col("filled").sum())
        .sort("month")
        .iter_rows()
    )
    empty, gone = _without_values(ours)
    ends = ours.select(pl.col("first").min(), pl.col("last").max()).row(0)
    behind = dict.fromkeys(feed for feature in features for feed in feeds_behind(feature))
    return FamilyCoverage(
        name=name,
        expected=expected,
        missing={feature: lacking[feature] for feature in expected if feature in lacking},
        off=off,
        shares={month: filled / enough if enough else None for month, enough, filled in by_month},
        never=tuple(feature for feature in expected if feature in empty),
        gone=tuple(feature for feature in expected if feature in gone),
        first=ends[0],
        last=ends[1],
        feeds=tuple(feeds[feed] for feed in behind),
        limit=market.spec.coverage.get(name, least_filled(name)),
        judged=judged,
    )


def _without_values(cells: pl.DataFrame) -> tuple[set[str], set[str]]:
    """Return the features that never had a value, and those that have none in the latest months.

    Only months count in which some row has enough history.
    """
    judged = cells.filter(pl.col("enough") > 0)
    latest = judged.filter(pl.col("month").rank("dense", descending=True).over("feature") <= LATEST)
    whole, late = (
        set(part.group_by("feature").agg(pl.col("filled").sum()).filter(filled=0)["feature"])
        for part in (judged, latest)
    )
    with_values = set(cells.drop_nulls("first")["feature"])
    return whole - with_values, late & with_values


def reasons_off(off: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return each reason with the features that it costs."""
    found: dict[str, list[str]] = {}
    for feature, why in off.items():
        found.setdefault(why, []).append(feature)
    return {why: tuple(names) for why, names in found.items()}


def family_json(family: FamilyCoverage) -> dict[str, Any]:
    """Return a family as plain values."""
    lowest = family.lowest
    return {
        "family": family.name,
        "expected": len(family.expected),
        "present": len(family.present),
        "missing": list(family.missing),
        "off": [
            {"why": why, "features": list(names)} for why, names in reasons_off(family.off).items()
        ],
        "never": list(family.never),
        "now": family.now,
        "lowest_month": lowest[0] if lowest else None,
        "lowest": lowest[1] if lowest else None,
        "first": _iso(family.first),
        "last": _iso(family.last),
        "feeds": [feed.name for feed in family.feeds],
        "silent": family.silent,
        "findings": [finding.words for finding in family.findings],
    }


def feed_json(feed: FeedCoverage) -> dict[str, Any]:
    """Return a feed as plain values."""
    return {
        "feed": feed.name,
        "off": feed.why_off,
        "rows": feed.rows,
        "keys": feed.keys,
        "first": _iso(feed.first),
        "last": _iso(feed.last),
        "last_available": _iso(feed.last_available),
        "corrections": feed.corrections,
        "silent": feed.silent,
        "limit": feed.limit,
        "is_late": feed.is_late,
    }


def _iso(moment: date | datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
