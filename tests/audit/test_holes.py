"""The certificate around days on which no name has a bar."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from alpha_assets.audit import audit, choose_cuts
from alpha_assets.audit.rebuild import DUE, in_store, rebuild
from alpha_assets.errors import RangeError
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.freshness import manifest_of
from alpha_assets.pipeline.identity import Identity
from alpha_assets.store import Store
from alpha_assets.store.raw import RawTable

# The 1st of July cannot be decided, and the week of Monday the 12th not on its first session.
HOLES = (date(2021, 6, 30), date(2021, 7, 9))


@pytest.fixture(scope="module")
def road_with_holes(
    leaky_road: RecipeContext, tmp_path_factory: pytest.TempPathFactory
) -> RecipeContext:
    """The raw rows of the road of few columns, without any bar on two days."""
    context = replace(leaky_road, store=Store(str(tmp_path_factory.mktemp("holes"))))
    for name, table in leaky_road.raw.items():
        if table.months():
            rows = table.read().collect().filter(~pl.col("event_date").is_in(HOLES))
            context.raw[name].append(rows, manifest_of(Identity(context.market.data_digest), {}))
    return context


def test_a_rebalance_that_moved_is_due_where_it_went(
    road_with_holes: RecipeContext, tmp_path: Path
) -> None:
    calendar = road_with_holes.market.calendar
    here = in_store(road_with_holes, tmp_path)
    rebuild(here, {name: t.read().collect() for name, t in stored(road_with_holes)}, ["2021-07"])
    written = {
        stage: here.table(stage, "2021-07")["session"].unique().sort().to_list()  # type: ignore[index]
        for stage in ("predictions", "targets")
    }
    # July is the first month with a model; Tuesday the 13th stands for Monday the 12th.
    days = [day.day for day in written["targets"]]
    assert days == [2, 5, 13, 19, 26]
    for cut in calendar.month_sessions("2021-07").tolist():
        for stage, due in DUE.items():
            assert due(here, cut).tolist() == [day for day in written[stage] if day <= cut]


def stored(context: RecipeContext) -> list[tuple[str, RawTable]]:
    return [(name, table) for name, table in context.raw.items() if table.months()]


def test_cuts_are_chosen_where_something_was_decided(road_with_holes: RecipeContext) -> None:
    cuts = choose_cuts(road_with_holes, ["2021-07"], 0, 0)
    assert cuts == [date(2021, 7, 2), date(2021, 7, 30)]


@pytest.mark.parametrize("day", [1, 12])
def test_a_cut_at_which_nothing_was_decided_is_refused(
    road_with_holes: RecipeContext, day: int
) -> None:
    with pytest.raises(RangeError, match=f"cut 2021-07-{day:02d}: no bar of 2021-0.*was known"):
        audit(road_with_holes, [date(2021, 7, day)], sessions=0)
