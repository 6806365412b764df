"""The announced calendar against the clock's: which days may differ, and what is said of others."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from alpha_assets.config.market import load_market
from alpha_assets.defs.checks import market_checks
from alpha_assets.defs.resources import Storage
from alpha_assets.pipeline import raw
from alpha_assets.pipeline.checks import calendar_agrees
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.quality.checks import Answer
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.store.store import Store

PIPELINES = Path(__file__).parents[1] / "pipelines"
HALT = date(2020, 10, 1)
MONDAY, SATURDAY = date(2020, 10, 5), date(2020, 10, 10)
HOLIDAY = date(2020, 11, 3)  # Culture Day, a Tuesday
Changed = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Changed], Answer]:
    """Ask a market around the full-day halt, its announced days changed on the way."""
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    market = load_market("tiny", overrides=["sim.first=2020-07-06", "sim.last=2020-12-30"])
    clean = SimSource.rows

    deliveries = count()

    def of(change: Changed) -> Answer:
        delivery = str(next(deliveries))
        monkeypatch.setattr(SimSource, "fingerprint", lambda self, feed: delivery)
        monkeypatch.setattr(SimSource, "rows", lambda self, feed: change(clean(self, feed)))
        context = MarketContext(market, Store(str(tmp_path)))
        raw.ingest_feed(context, "trading_calendar")
        return calendar_agrees(context)

    return of


def announced(division: str, *days: date) -> Changed:
    told = pl.when(pl.col("event_date").is_in(days)).then(pl.lit(division))
    return lambda rows: rows.with_columns(division=told.otherwise("division"))


def without(day: date) -> Changed:
    return lambda rows: rows.filter(pl.col("event_date") != day)


def test_what_is_announced_is_what_the_clock_counts(asked: Callable[[Changed], Answer]) -> None:
    answer = asked(lambda rows: rows)
    assert answer.passed
    # Of 2020, and of 2021, which was announced in March: 242 and 245 sessions (feeds.md 7.6).
    assert (answer.facts["first"], answer.facts["last"]) == ("2020-01-01", "2021-12-31")
    assert answer.facts["sessions"] == 242 + 245
    assert answer.facts["first_only_in_feed"] == answer.facts["first_only_on_exchange"] == []


@pytest.mark.parametrize("division", ["0", "1", "2"])
def test_the_halt_is_no_session_whatever_it_was_announced_as(
    asked: Callable[[Changed], Answer], division: str
) -> None:
    assert asked(announced(division, HALT)).passed


def test_a_half_day_is_a_session(asked: Callable[[Changed], Answer]) -> None:
    answer = asked(announced("2", MONDAY))
    assert answer.passed
    assert answer.facts["half_days"] == 1


def test_a_holiday_on_which_derivatives_trade_is_none(asked: Callable[[Changed], Answer]) -> None:
    assert asked(announced("3", HOLIDAY)).passed
    answer = asked(announced("3", HOLIDAY, MONDAY))
    assert not answer.passed
    assert answer.facts["first_only_on_exchange"] == [str(MONDAY)]


@pytest.mark.parametrize(
    "change", [announced("0", MONDAY), without(MONDAY)], ids=["closed", "without a row"]
)
def test_a_session_that_the_feed_lacks_is_named(
    asked: Callable[[Changed], Answer], change: Changed
) -> None:
    answer = asked(change)
    assert not answer.passed
    assert answer.is_error
    assert answer.facts["only_on_exchange"] == 1
    assert answer.facts["first_only_on_exchange"] == [str(MONDAY)]
    assert answer.facts["first_only_in_feed"] == []


def test_a_session_that_the_exchange_lacks_is_named_and_only_the_first_are(
    asked: Callable[[Changed], Answer],
) -> None:
    weekend = [SATURDAY + timedelta(days=7 * k) for k in range(12)]
    answer = asked(announced("1", *weekend))
    assert not answer.passed
    assert answer.facts["only_in_feed"] == 12
    assert answer.facts["first_only_in_feed"] == [str(day) for day in weekend[:10]]
    assert answer.facts["first_only_on_exchange"] == []


def test_days_beyond_the_clocks_calendar_are_not_compared(
    asked: Callable[[Changed], Answer],
) -> None:
    far = pl.DataFrame({"event_date": [date(2199, 7, 1)], "division": ["1"]})
    answer = asked(lambda rows: pl.concat([rows, far]))
    assert answer.passed
    assert answer.facts["last"] == "2021-12-31"


def test_a_later_version_of_a_day_is_the_one_that_counts(
    asked: Callable[[Changed], Answer],
) -> None:
    assert not asked(announced("1", SATURDAY)).passed
    assert asked(lambda rows: rows).passed


def test_a_market_without_the_feed_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    market = load_market("tiny", overrides=["feeds.trading_calendar.on=false"])
    answer = calendar_agrees(MarketContext(market, Store(str(tmp_path))))
    assert answer.passed
    assert "switched off" in answer.facts["off"]


def test_the_asset_check_is_an_error_and_stops_nothing(
    asked: Callable[[Changed], Answer], tmp_path: Path
) -> None:
    asked(announced("1", SATURDAY))
    market = load_market("tiny", overrides=["sim.first=2020-07-06", "sim.last=2020-12-30"])
    key = dg.AssetKey(["tiny", "raw", "trading_calendar"])
    (check,) = [c for c in market_checks(market) if key in {one.asset_key for one in c.check_keys}]

    @dg.asset(key=key)
    def raw() -> None: ...

    @dg.asset(deps=[key])
    def panel() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [raw, panel, check],
            instance=instance,
            resources={"storage": Storage(url=str(tmp_path))},
        )
    (found,) = done.get_asset_check_evaluations()
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.metadata["first_only_in_feed"].value == [str(SATURDAY)]
    assert done.asset_materializations_for_node("panel")
