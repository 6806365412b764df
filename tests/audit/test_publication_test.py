"""When a feed's rows come out later, just the right cells of the panel move."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any

import polars as pl
import pytest
from tests.panel.market import bar, bars

from alpha_assets.audit import publication_test, reference_panel
from alpha_assets.audit.publication_test import ClockReport, ClockTrial, audit_clock, clock_report
from alpha_assets.config.market import Market
from alpha_assets.panel import build
from alpha_assets.panel.joins import JOINS, Join
from alpha_assets.pipeline.context import RecipeContext

Raw = dict[str, pl.DataFrame]
Patch = pytest.MonkeyPatch

LAST = date(2021, 7, 30)
TEN = 10


@pytest.fixture(scope="module")
def raw(context: RecipeContext) -> Raw:
    return {name: table.read().collect() for name, table in context.raw.items() if table.months()}


def with_joins(market: Market, *names: str) -> Market:
    """Return a market whose panel holds these joins alone."""
    made = replace(market)
    made.__dict__["joins"] = tuple(JOINS[name] for name in names)
    return made


def sessions_to(market: Market, last: date, n: int) -> range:
    number = int(market.calendar.index_of(last))
    return range(number - n + 1, number + 1)


def trial_of(report: ClockReport, feed: str, shift: str) -> ClockTrial:
    return next(one for one in report.trials if (one.feed, one.shift) == (feed, shift))


@pytest.mark.slow
def test_on_the_clean_market_every_feed_moves_just_what_it_should(
    context: RecipeContext, raw: Raw
) -> None:
    report = clock_report(context.market, raw, sessions_to(context.market, LAST, TEN))

    assert report.passed, report.text()
    assert report.cells > 50_000
    assert {trial.precision for trial in report.trials} == {1.0}
    assert {trial.recall for trial in report.trials} == {1.0}
    # Each feed of the panel has something to tell in two weeks, corporate events among them.
    held = {"daily_bars", *(join.feed for join in context.market.joins)}
    moved = {trial.feed for trial in report.trials if trial.moved}
    assert moved >= held - {"margin_alerts", "earnings_dates"}
    # All of them come out in the afternoon or at night, more than an hour before a decision.
    evening = trial_of(report, "daily_bars", "+1 hour")
    assert (evening.expected, evening.moved) == (0, 0)
    assert "no decision instant lies between" in str(evening.note)
    assert "the panel holds nothing of this feed: trading_calendar" in report.text()


def test_the_last_sessions_of_a_store_are_tried_by_default(context: RecipeContext) -> None:
    only_bars = replace(context, market=with_joins(context.market))
    report = audit_clock(only_bars, 3)

    # The last bar is that of 31 August; it lets the first of September be decided.
    assert (report.first, report.last) == ("2021-08-30", "2021-09-01")
    assert report.passed


def by_hand(market: Market, stamp: time) -> ClockReport:
    """Two symbols over a week; the second has one bar only, the first one a session."""
    days = [date(2021, 7, day) for day in (5, 6, 7, 8, 9)]  # Monday to Friday
    rows = [
        bar("A", 0, 10.0 + n)
        | {
            "event_date": day,
            "available_at": datetime.combine(day, stamp, tzinfo=market.calendar.zone),
        }
        for n, day in enumerate(days)
    ]
    rows.append(rows[0] | {"symbol": "B"})
    lone = with_joins(market)
    return clock_report(lone, {"daily_bars": bars(rows)}, sessions_to(market, date(2021, 7, 12), 5))


def test_a_bar_a_day_late_by_hand(context: RecipeContext) -> None:
    report = by_hand(context.market, time(16, 30))
    trial = trial_of(report, "daily_bars", "+1 day")

    # Rows of the panel: A on Tuesday to Monday, B likewise: 10 rows.
    n_values = report.cells // 10
    # Tuesday's two rows are gone with all their cells: nobody has a bar yet.
    gone = 2 * n_values
    # Wednesday to Friday, A: open, high, low, close, volume unknown, n_bars and stale one off.
    late = 3 * 7
    # Monday, A: Friday's bar comes out on Saturday, in time.  B is stale in both worlds.
    assert (trial.expected, trial.moved, trial.hits) == (gone + late, gone + late, gone + late)
    assert trial.crossed == 5  # Friday's bar is known on Monday all the same
    assert report.passed


def test_an_hour_counts_where_a_decision_lies_within_it(context: RecipeContext) -> None:
    # Out at 08:00 of its own day, before the decision at 08:30: usable from the next session.
    # Monday's two rows are known on Tuesday, the first session compared, either way.
    early = trial_of(by_hand(context.market, time(8, 0)), "daily_bars", "+1 hour")
    assert (early.crossed, early.expected, early.moved) == (4, 0, 0)
    assert "4 rows come out a session later" in str(early.note)

    # Rates of sectors are joined from their own morning on: there the hour shows.
    market = with_joins(context.market, "sector_short_selling")
    report = clock_report(market, morning_sectors(market), sessions_to(market, LAST, 3))
    trial = trial_of(report, "sector_short_selling", "+1 hour")
    # One symbol, its sector's row out at 08:00 of the middle session: three values and the age
    # are missing there; on the last one the values are the same and the age is 0, not 1.
    assert (trial.expected, trial.moved, trial.hits) == (5, 5, 5)


def morning_sectors(market: Market) -> Raw:
    """One symbol with bars, and one row about its sector, out half an hour before a decision."""
    zone = market.calendar.zone
    days = [date(2021, 7, day) for day in (27, 28, 29)]
    rows = [
        bar("A", 0, 10.0)
        | {"event_date": day, "available_at": datetime.combine(day, time(16, 30), tzinfo=zone)}
        for day in days
    ]
    feed = market.feeds["sector_short_selling"]
    values = {c.name: 1.0 for c in feed.values if c.dtype == pl.Float64}
    told = {"event_date": days[1], "sector": "Tools", **values, "revision": 0}
    told["available_at"] = datetime.combine(days[2], time(8, 0), tzinfo=zone)
    listed = {
        "event_date": days[0],
        "symbol": "A",
        "sector": "Tools",
        "end": None,
        "exit": "active",
    }
    listed |= {"available_at": datetime.combine(days[0], time(0), tzinfo=zone), "revision": 0}
    return {
        "daily_bars": bars(rows),
        "listings": _frame(listed),
        "sector_short_selling": _frame(told),
    }


def _frame(row: Mapping[str, Any]) -> pl.DataFrame:
    frame = pl.DataFrame([row])
    stamp = pl.col("available_at").dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(stamp, pl.col("revision").cast(pl.Int16))


SCOPES = {
    "symbol": ("margin", "margin"),
    "sector": ("sector_short_selling", "sector_short_selling"),
    "section": ("investor_types", "investor_types"),
    "market": ("short_selling", "sector_short_selling"),
}


# Each fault and each scope is tried; the rest of their product is a slow proof.
def scopes(*quick: str) -> list[Any]:
    return [one if one in quick else pytest.param(one, marks=pytest.mark.slow) for one in SCOPES]


Leak = Callable[..., pl.DataFrame]
clean_join = build.join_states


def stamps_ignored(panel: pl.DataFrame, rows: Any, join: Join, calendar: Any) -> pl.DataFrame:
    """Join by the date that a row describes, whenever it came out."""
    own_day = pl.col("event_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return clean_join(panel, rows.with_columns(available_at=own_day), join, calendar)


def one_row_early(panel: pl.DataFrame, rows: Any, join: Join, calendar: Any) -> pl.DataFrame:
    """Join well, then take tomorrow's row."""
    early = [pl.col(name).shift(-1).over("symbol") for name in join.panel_columns]
    return clean_join(panel, rows, join, calendar).with_columns(early)


@pytest.mark.parametrize("scope", scopes("symbol", "sector"))
def test_a_join_that_ignores_stamps_is_caught(
    context: RecipeContext, raw: Raw, monkeypatch: Patch, scope: str
) -> None:
    name, feed = SCOPES[scope]
    assert JOINS[name].scope == scope
    market = with_joins(context.market, name)
    monkeypatch.setattr(build, "join_states", stamps_ignored)

    report = clock_report(market, raw, sessions_to(market, LAST, TEN), feeds=[feed])

    trial = trial_of(report, feed, "+1 day")
    assert trial.expected > 100
    assert (trial.moved, trial.recall) == (0, 0.0)
    assert name in str(trial.missed)
    # Corrections that come later give the leak away even where no stamp is moved.
    assert report.wrong
    assert "clock: FAILED" in report.text()


@pytest.mark.parametrize("scope", scopes("section", "market"))
def test_a_join_that_is_one_row_early_is_caught(
    context: RecipeContext, raw: Raw, monkeypatch: Patch, scope: str
) -> None:
    name, feed = SCOPES[scope]
    market = with_joins(context.market, name)
    monkeypatch.setattr(build, "join_states", one_row_early)

    report = clock_report(market, raw, sessions_to(market, LAST, TEN), feeds=[feed])

    trial = trial_of(report, feed, "+1 day")
    assert trial.expected
    assert trial.precision < 1 or trial.recall < 1
    assert not trial.passed
    assert not report.passed


def test_a_bar_joined_on_its_own_session_is_caught(
    context: RecipeContext, raw: Raw, monkeypatch: Patch
) -> None:
    clean = build._bar_values

    def early(bars: Any, span: range, cell_L: Any) -> list[pl.Series]:
        return [value.shift(-1) for value in clean(bars, span, cell_L)]

    monkeypatch.setattr(build, "_bar_values", early)
    market = with_joins(context.market)

    report = clock_report(market, raw, sessions_to(market, LAST, TEN), feeds=["daily_bars"])

    assert trial_of(report, "daily_bars", "+1 day").precision < 1
    assert not report.passed


def test_a_later_correction_of_a_state_read_at_once_is_caught(
    context: RecipeContext, raw: Raw, monkeypatch: Patch
) -> None:
    name = "sector_short_selling"
    rows = raw[name]
    last = rows.filter(pl.col("event_date") == date(2021, 7, 14))
    assert last.height
    values = [c.name for c in context.market.feeds[name].values if c.dtype == pl.Float64]
    corrected = last.with_columns(
        *[pl.col(value) * 2 for value in values],
        available_at=pl.col("available_at") + pl.duration(days=20),
        revision=pl.lit(1, dtype=pl.Int16),
    )
    market = with_joins(context.market, name)
    stored = {**raw, name: pl.concat([rows, corrected])}
    span = sessions_to(market, LAST, 15)
    assert clock_report(market, stored, span, feeds=[name]).passed

    def hindsight(panel: pl.DataFrame, rows: Any, join: Join, calendar: Any) -> pl.DataFrame:
        frame = rows.collect() if isinstance(rows, pl.LazyFrame) else rows
        key = ["event_date", "sector"]
        first = frame.filter(pl.col("revision") == 0).drop(values)
        latest = frame.sort("revision").unique(key, keep="last").select(*key, *values)
        return clean_join(panel, first.join(latest, on=key).select(frame.columns), join, calendar)

    monkeypatch.setattr(build, "join_states", hindsight)
    report = clock_report(market, stored, span, feeds=[name])
    assert report.wrong
    assert not report.passed
    assert "sector_short_selling" in str(report.difference)


def test_a_feed_without_rows_is_named_and_not_counted(context: RecipeContext, raw: Raw) -> None:
    market = with_joins(context.market, "margin")
    report = clock_report(
        market,
        {"daily_bars": raw["daily_bars"], "listings": raw["listings"]},
        sessions_to(market, LAST, 2),
    )
    assert "margin" in report.silent
    assert {trial.feed for trial in report.trials} == {"daily_bars", "listings"}
    assert "without a stored row, not tried:" in report.text()


def test_the_report_is_plain_values(context: RecipeContext, raw: Raw) -> None:
    import json

    market = with_joins(context.market)
    report = clock_report(market, raw, sessions_to(market, LAST, 2), feeds=["daily_bars"])
    shown = json.loads(json.dumps(report.as_json()))
    assert shown["passed"] is True
    assert shown["trials"][0]["recall"] == 1.0
    assert shown["text"].endswith("clock: passed")


def test_the_book_shares_nothing_with_the_join() -> None:
    for module in (reference_panel, publication_test):
        borrowed = {name for name in vars(module) if name in ("as_of", "join_states", "known_rows")}
        assert not borrowed
