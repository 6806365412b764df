"""Rebalances around sessions that cannot be decided: the whole pipeline, and session by session."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.conftest import linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.evaluation.rebalances import rebalances
from alpha_assets.pipeline import decide
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.targets import targets_stage

MARKET = """
about = "made up"
currency = "USD"
first_month = "2018-11"
[source]
kind = "files"
[calendar]
exchange = "XNYS"
zone = "America/New_York"
decision_time = 09:00:00
sessions_per_year = 252
[universes.all]
min_history = 2
"""
RECIPE = """
about = "made up"
markets = ["made_up"]
[universe]
name = "all"
[features]
names = ["ret_1", "ret_5"]
[label]
kind = "rank_normal"
horizons = [2]
[split]
lookback_sessions = 20
valid_sessions = 8
[model]
kind = "linear"
[[loss]]
kind = "ic"
[training]
max_epochs = 1
[portfolio]
horizon = 2
quantile = 0.2
[guard]
rank_ic_max = 1.0
"""
# Friday the 1st of February: the week of Monday the 4th cannot be decided on its first session.
# Friday the 22nd to Wednesday the 27th: that week can be decided on Friday the 1st of March alone.
# The 8th to the 14th of March: nothing can be decided in the week of Monday the 11th.
HOLES = {
    *(date(2019, 2, day) for day in (1, 22, 25, 26, 27)),
    *(date(2019, 3, day) for day in range(8, 15)),
}


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A market with holes, run from the first month that has a model."""
    folder = tmp_path_factory.mktemp("holes")
    for kind, text in (("markets/made_up", MARKET), ("recipes/small", RECIPE)):
        path = folder / "pipelines" / f"{kind}.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    data = folder / "data"
    data.mkdir()
    bars().write_parquet(data / "daily_bars.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(folder / "pipelines"))
        where: dict[str, Any] = {"data": data, "storage": str(folder / "storage")}
        project.run("small", market="made_up", first_month="2018-12", last_month="2019-03", **where)
        yield project.open_context("small", market="made_up", **where)


def bars() -> pl.DataFrame:
    from datetime import time

    calendar = Calendar.load(
        CalendarSpec(
            exchange="XNYS",
            zone="America/New_York",
            decision_time=time(9),
            sessions_per_year=252,
        )
    )
    sessions = [d for d in calendar.between("2018-11-01", "2019-03-29").tolist() if d not in HOLES]
    rng = np.random.default_rng(0)
    frames = []
    for n in range(12):
        close = 50 * np.exp(np.cumsum(0.01 * rng.standard_normal(len(sessions))))
        prices = dict.fromkeys(("open", "high", "low", "close"), close)
        frames.append(
            pl.DataFrame({"date": sessions, "symbol": f"S{n:02d}", **prices, "volume": 1e6})
        )
    return pl.concat(frames)


def targets(context: RecipeContext) -> pl.DataFrame:
    return context.targets.read("2018-12", "2019-03").collect()


def test_the_first_session_that_can_be_decided_rebalances(decided: RecipeContext) -> None:
    days = [str(day) for day in targets(decided)["session"].unique().sort()]

    assert days[0] == "2019-01-02"  # a Wednesday, of the first month that has a model
    assert days[1] == "2019-01-07"
    assert days[-8:] == [
        *("2019-01-28", "2019-02-05", "2019-02-11", "2019-02-19", "2019-03-01"),
        *("2019-03-04", "2019-03-18", "2019-03-25"),
    ]


def test_what_was_moved_and_missed_is_in_the_manifests_and_the_figures(
    decided: RecipeContext,
) -> None:
    facts = {
        month: decided.targets.folder(month).manifest().extra  # type: ignore[union-attr]
        for month in ("2018-12", "2019-01", "2019-02", "2019-03")
    }
    counts = {
        month: (found["rebalances_moved"], found["rebalances_missed"])
        for month, found in facts.items()
    }
    assert counts == {"2018-12": (0, 0), "2019-01": (0, 0), "2019-02": (1, 0), "2019-03": (1, 1)}
    notes = json.loads(decided.backtest.contents("metrics.json")["metrics.json"])["data"]["notes"]
    assert any(
        note.startswith("2 rebalances came later") and "2019-03-01 instead of 2019-02-25" in note
        for note in notes
    )
    assert any(note.endswith("due 2019-03-11.") for note in notes)


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("2019-01-02", ""),
        ("2019-02-04", "none of the 12 names of universe 'all' had a bar on 2019-02-01"),
        ("2019-02-05", ""),
        ("2019-02-06", "period was rebalanced on 2019-02-05, and the next one is due on 2019-02-1"),
        ("2019-03-01", ""),
        ("2019-03-12", "had a bar on 2019-03-11, the session before 2019-03-12"),
    ],
)
def test_predict_gives_the_same_bits_and_the_reason_for_nothing(
    decided: RecipeContext, day: str, words: str
) -> None:
    found = decide.decide(decided, day)
    stored = targets(decided).filter(pl.col("session") == date.fromisoformat(day))

    assert found.targets.equals(stored)
    assert (stored.height > 0) is (not words)
    assert words in "".join(found.notes)
    assert bool(found.notes) is bool(words)


def test_a_month_is_not_decided_without_the_rows_that_its_first_week_began_with(
    decided: RecipeContext, tmp_path: Path
) -> None:
    stage = targets_stage(decided.recipe)
    assert set(stage.inputs(decided, ["2019-02"], Seen())) == {
        *("predictions", "panel", "members/before", "panel/before")
    }
    assert set(stage.inputs(decided, ["2018-12"], Seen())) == {"predictions", "panel"}


LITTLE = ["portfolio.max_weight=0.01", "portfolio.step=0.5"]


@pytest.mark.usefixtures("pipelines")
def test_a_rule_that_remembers_counts_what_it_aims_at(tiny_run: Path, tmp_path: Path) -> None:
    storage = linked(tiny_run, tmp_path / "storage")
    said: list[str] = []
    months = {"first_month": "2021-07", "last_month": "2021-08"}

    def run(*overrides: str) -> Any:
        aa.run(
            "tiny",
            storage=str(storage),
            overrides=list(overrides),
            progress=lambda stage, what: said.append(f"{stage}: {what}"),
            **months,
        )
        return aa.results("tiny", storage=str(storage), overrides=list(overrides))["metrics"]

    half, little = run("portfolio.step=0.5"), run(*LITTLE)
    # On the way to its aim a book holds less than its exposure, and aims at all of it.
    assert half["portfolio"]["rebalances"]["n_below_exposure"] == 0
    counts = little["portfolio"]["rebalances"]
    assert counts["n_below_exposure"] == counts["n"] > 0
    words = f"At {counts['n']} of {counts['n']} rebalances the limits left less than 90% of"
    assert any(note.startswith(words) for note in little["data"]["notes"])
    assert any(line.startswith("targets: 2021-07: At ") for line in said)
    context = project.open_context("tiny", storage=str(storage), overrides=LITTLE)
    made = targets_stage(context.recipe).made(context, "2021-07")
    assert made.facts["rebalances_below_exposure"] == 5
    assert "below_exposure" not in made.facts


def test_a_rebalance_after_the_books_counts_in_no_figure_of_them() -> None:
    daily = pl.DataFrame({"gross_exposure": [0.9]})
    targets = pl.DataFrame(
        {
            "session": [date(2021, 8, 30)],
            "symbol": ["a"],
            "score": [1.0],
            "target_weight": [0.1],
            "reason": ["top quantile"],
        }
    )
    later = date(2021, 9, 6)
    assert rebalances(targets, daily, below_exposure=[later])["n_below_exposure"] == 0
    assert rebalances(targets, daily, below_exposure=[date(2021, 8, 30)])["n_below_exposure"] == 1
