"""What follows from a declaration: freshness, refusals, plans, writing, dependencies, by hand."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.defs.dependencies import ALL_HISTORY, dependencies
from alpha_assets.defs.partitions import months_spanned
from alpha_assets.errors import MissingOutput, StaleOutput, StorageError
from alpha_assets.pipeline.backtest import backtest_stage
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Output, Outputs, Read, Stage, neighbours
from alpha_assets.pipeline.stages import market_stages, recipe_stages
from alpha_assets.store.folder import ROWS
from alpha_assets.store.store import Store
from alpha_assets.store.table import MonthTable

PIPELINES = Path(__file__).parents[1] / "pipelines"
MONTHS = ["2021-03", "2021-04", "2021-05"]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MarketContext:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    return MarketContext(load_market("tiny"), Store(str(tmp_path)))


class Toy:
    """Two stages: `low` holds a number a month; `high` the sum of this month's and the last's."""

    def __init__(self) -> None:
        self.values = dict.fromkeys(MONTHS, 1)
        self.code = "first"
        self.made: list[str] = []
        self.low = Stage(
            name="low",
            key=("low",),
            place=lambda context: table(context, "low"),
            made_by=lambda: Identity("settings", self.code),
            reads=(),
            make=self._low,
            at_once=12,
        )
        self.high = Stage(
            name="high",
            key=("high",),
            place=lambda context: table(context, "high"),
            made_by=lambda: Identity("settings"),
            reads=(Read(self.low, months_back=1),),
            make=self._high,
        )
        self.whole = Stage(
            name="whole",
            key=("whole",),
            place=lambda context: context.store.folder("tiny", "whole"),
            made_by=lambda: Identity("settings"),
            reads=(Read(self.high, fresh=True),),
            make=self._whole,
            monthly=False,
        )

    def _low(self, context: Any, months: Sequence[str], inputs: Any) -> Iterator[Output]:
        self.made.append("+".join(months))
        for month in months:
            yield Output(month, {ROWS: rows(self.values[month])}, facts={"n": self.values[month]})

    def _high(self, context: Any, months: Sequence[str], inputs: Any) -> Iterator[Output]:
        (month,) = months
        self.made.append(f"high {month}")
        held = table(context, "low").read(None, month).collect()["value"]
        yield Output(month, {ROWS: rows(int(held.tail(2).sum()))})
        self.made.append(f"stored {table(context, 'high').folder(month).exists()}")

    def _whole(self, context: Any, months: Sequence[str], inputs: Any) -> Iterator[Output]:
        total = int(table(context, "high").read(months[0], months[-1]).collect()["value"].sum())
        yield Output(files={"total.txt": str(total).encode()})


def table(context: MarketContext, name: str) -> MonthTable:
    return MonthTable(context.store, ("tiny", name), ("key",))


def rows(value: int) -> pl.DataFrame:
    return pl.DataFrame({"key": ["a"], "value": [value]})


def test_what_is_fresh_is_not_made_again_and_what_follows_a_change_is(
    context: MarketContext,
) -> None:
    toy = Toy()
    first = toy.low.ensure(context, MONTHS)
    assert toy.made == ["2021-03+2021-04+2021-05"]  # neighbours in one go
    assert [(one.stage, one.month, one.facts) for one in first] == [
        ("low", month, {"n": 1}) for month in MONTHS
    ]
    toy.high.ensure(context, MONTHS)
    toy.made.clear()
    toy.low.ensure(context, MONTHS)
    toy.high.ensure(context, MONTHS)
    assert toy.made == []
    # The code of `low` changes, and one number: `high` is made where it reads that month.
    toy.code, toy.values["2021-04"] = "second", 5
    toy.low.ensure(context, MONTHS)
    toy.high.ensure(context, MONTHS)
    assert [line for line in toy.made if line.startswith("high")] == [
        "high 2021-04",
        "high 2021-05",
    ]
    assert table(context, "high").read().collect()["value"].to_list() == [1, 6, 6]
    # Other code, the same numbers: nothing that follows is made.
    toy.code = "third"
    toy.made.clear()
    toy.low.ensure(context, MONTHS)
    toy.high.ensure(context, MONTHS)
    assert toy.made == ["2021-03+2021-04+2021-05"]


def test_what_stands_behind_a_yield_runs_once_the_output_is_stored(context: MarketContext) -> None:
    toy = Toy()
    toy.low.ensure(context, MONTHS[:1])
    toy.high.ensure(context, MONTHS[:1])
    assert toy.made[-1] == "stored True"


def test_reading_is_refused_where_something_is_missing_stale_or_damaged(
    context: MarketContext,
) -> None:
    toy = Toy()
    with pytest.raises(MissingOutput, match=r"low/month=2021-04 has not been made; alpha-"):
        toy.high.ensure(context, ["2021-04"])
    toy.low.ensure(context, MONTHS)
    toy.code = "second"
    with pytest.raises(StaleOutput, match=r"low/month=2021-0\d was made by code that has changed"):
        toy.high.ensure(context, ["2021-04"])
    toy.low.ensure(context, ["2021-04"])  # the month that is looked back to is still stale
    with pytest.raises(StaleOutput, match=r"low/month=2021-03 was made by code that has changed"):
        toy.high.ensure(context, ["2021-04"])
    toy.low.ensure(context, MONTHS)
    toy.high.ensure(context, MONTHS)
    toy.whole.ensure(context, MONTHS)
    # `whole` reads what is fresh by its own inputs: `low` moved on, `high` did not follow.
    toy.code, toy.values["2021-04"] = "third", 9
    toy.low.ensure(context, MONTHS)
    with pytest.raises(StaleOutput, match=r"high/month=2021-04 is not fresh: its input low has"):
        toy.whole.ensure(context, MONTHS, again=True)
    toy.high.ensure(context, MONTHS)
    Path(table(context, "high").folder("2021-05").address, "rows.parquet").unlink()
    with pytest.raises(StorageError, match=r"high/month=2021-05 is not fresh: damaged"):
        toy.whole.ensure(context, MONTHS, again=True)


def test_a_plan_lists_all_that_follows_and_makes_nothing(context: MarketContext) -> None:
    toy = Toy()
    for stage in (toy.low, toy.high, toy.whole):
        stage.ensure(context, MONTHS)
    made = len(toy.made)
    seen = Seen()
    assert toy.low.stale(context, MONTHS, seen) == {}
    seen.plan(table(context, "low"), ["2021-04"])
    assert toy.high.stale(context, MONTHS, seen) == {
        month: "its input low is to be made again" for month in MONTHS[1:]
    }
    assert toy.whole.stale(context, MONTHS, seen) == {"": "its input high is to be made again"}
    assert len(toy.made) == made


def test_a_stage_that_another_process_made_meanwhile_is_taken_over(context: MarketContext) -> None:
    toy = Toy()
    toy.low.ensure(context, MONTHS)
    honest = toy._high

    def another(context: Any, months: Sequence[str], inputs: Any) -> Iterator[Output]:
        toy.high.ensure(context, months)
        yield from ()

    waits = replace(toy.high, make=another)
    assert waits.ensure(context, ["2021-04"])[0].rows == 1
    assert toy.made.count("high 2021-04") == 1
    assert toy.high.make == honest


def test_a_read_names_the_months_that_it_reaches(context: MarketContext) -> None:
    toy = Toy()
    spans = {
        "itself": (Read(toy.low), ("2021-05", "2021-05")),
        "a month back": (Read(toy.low, months_back=1), ("2021-04", "2021-05")),
        "the month before alone": (Read(toy.low, months_back=1, until=-1), ("2021-04", "2021-04")),
        "all before": (Read(toy.low, all_before=True, until=-1), (None, "2021-04")),
        "whatever is stored": (Read(toy.low, all_before=True, until=None), (None, None)),
        # The 6th is the first session of May 2021 in Tokyo: one before is 30 April.
        "a session back": (Read(toy.low, sessions_back=1), ("2021-04", "2021-05")),
    }
    for name, (read, span) in spans.items():
        assert read.span_of(context, ["2021-05"], Seen()) == span, name


def test_neighbours_are_runs_of_months_that_memory_holds() -> None:
    months = ["2020-11", "2020-12", "2021-01", "2021-03"]
    assert neighbours(months) == [["2020-11", "2020-12", "2021-01"], ["2021-03"]]
    assert neighbours(months, 2) == [["2020-11", "2020-12"], ["2021-01"], ["2021-03"]]
    assert neighbours([]) == []


def test_dagster_depends_on_what_a_stage_declares(context: MarketContext) -> None:
    toy = Toy()
    market = context.market
    calendar = market.calendar
    reads = (
        Read(toy.low, sessions_back=40),
        Read(toy.low, name="low/before", months_back=1, until=-1),
        Read(Outputs(name="raw/x", key=("raw", "x"), place=toy.low.place), all_before=True),
    )
    several = replace(toy.high, reads=reads)
    found = {dep.asset_key: dep.partition_mapping for dep in dependencies(several, market)}
    low, raw = (dg.AssetKey(["tiny", *key]) for key in (("low",), ("raw", "x")))
    assert set(found) == {low, raw}
    assert found[low].start_offset == -max(months_spanned(calendar, 40), 1)
    assert found[low].end_offset == 0
    assert found[raw].start_offset == -ALL_HISTORY
    (whole,) = dependencies(toy.whole, market)
    assert isinstance(whole.partition_mapping, dg.AllPartitionMapping)


def test_every_stage_names_its_inputs_apart_and_feeds_that_are_on(
    context: MarketContext,
) -> None:
    market = context.market
    recipe = load_recipe("tiny", market)
    for stage in (*market_stages(market), *recipe_stages(recipe)):
        names = [read.name or (read.of or stage).name for read in stage.reads]
        assert len(names) == len(set(names)), stage.name
        assert set(stage.feeds) <= set(market.feeds), stage.name
    feeds = {"daily_bars", "listings", "dividends", "borrow", "rates"}
    assert set(backtest_stage(recipe).feeds) == feeds & set(market.feeds)
