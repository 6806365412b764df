"""What a month is trained on: names enough for its features, returns over a known volatility."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.dataset import Split
from alpha_assets.errors import BadInput
from alpha_assets.pipeline.checkpoint import raw_known
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.train import check_names, target_transform
from alpha_assets.store import ManifestInput
from alpha_assets.store.store import Store

PIPELINES = Path(__file__).parents[1] / "pipelines"
DAYS = np.arange("2021-02-01", "2021-02-13", dtype="datetime64[D]")
SPLIT = Split("2021-03", DAYS[-1] + 17, DAYS[-1], DAYS[:6], DAYS[8:], "ready", "2021-03")


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecipeContext:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    market = load_market("tiny", overrides=["universes.traded.min_names=12"])
    return RecipeContext(market, Store(str(tmp_path)), recipe=load_recipe("tiny", market))


def section(names: list[int]) -> pl.DataFrame:
    """So many names on each of the days."""
    return pl.DataFrame({"session": np.repeat(DAYS, names)})


def test_universe_below_min_names_is_refused_with_the_way_out(context: RecipeContext) -> None:
    check_names(context, section([12] * 12), SPLIT)
    with pytest.raises(BadInput) as refused:
        check_names(context, section([11] * 12), SPLIT)
    assert str(refused.value) == (
        "universe traded has 11 names at most in the training sessions 2021-02-01 to 2021-02-06 "
        "of 2021-03; fewer than min_names = 12 leave every feature at 0: bring at least 12 names, "
        "or set [universes.traded] min_names to 11 or less"
    )


def test_universe_too_small_for_a_rank_ic_is_not_sent_to_min_names_alone(
    context: RecipeContext,
) -> None:
    with pytest.raises(
        BadInput, match=r"has 9 names .* bring at least 12 names; a lower min_names"
    ):
        check_names(context, section([9] * 12), SPLIT)
    with pytest.raises(BadInput, match=r"has 9 names at most in the validation .* fewer than 10 h"):
        check_names(context, section([12] * 8 + [9] * 4), SPLIT)
    with pytest.raises(BadInput, match=r"has 0 names at most .* no name has a bar on the session"):
        check_names(context, section([0] * 12), SPLIT)


def test_sessions_with_too_few_names_among_others_are_counted(context: RecipeContext) -> None:
    heard: list[str] = []
    context = replace(context, progress=lambda stage, what: heard.append(what))
    check_names(context, section([12, 11, 3, 12, 12, 12, 0, 0, 10, 10, 9, 10]), SPLIT)
    assert heard == [
        "2021-03: 2 of 6 training sessions have fewer than 12 names of universe traded; fewer than "
        "min_names = 12 leave every feature at 0",
        "2021-03: 1 of 4 validation sessions have fewer than 10 names of universe traded; fewer "
        "than 10 have no rank IC to select epochs by",
    ]


def test_scaled_returns_are_over_the_volatility_by_hand(context: RecipeContext) -> None:
    spec = context.recipe.spec.label.model_copy(update={"kind": "vol_scaled"})
    fitted = target_transform(spec, np.array([[0.02, 0.04, np.nan, 0.0]]))
    found = fitted(np.array([[0.01, -0.01, 0.03, 0.03]]), np.zeros((1, 4), dtype=np.int64))
    np.testing.assert_allclose(found, [[0.5, -0.25, np.nan, np.nan]])


def bar(available_at: str, volume: float, revision: int = 0) -> dict[str, object]:
    """A bar of 2021-02-26 that was published at an instant."""
    return {
        "event_date": date(2021, 2, 26),
        "symbol": "A",
        "volume": volume,
        "available_at": datetime.fromisoformat(available_at).replace(tzinfo=UTC),
        "ingested_at": datetime(2024, 1, 1, tzinfo=UTC),
        "revision": revision,
    }


def test_a_model_sees_late_bars_before_its_first_decision_and_nothing_after(
    context: RecipeContext,
) -> None:
    # M0 = 2021-03-01, decided at 08:30 in Tokyo, 23:30 UTC of the day before; in Tokyo March
    # begins at 15:00 UTC, so a row of 20:00 lies in March's file and is known at M0.
    table = context.raw["daily_bars"]

    def append(*bars: dict[str, object]) -> str:
        schema = dict(table.feed.schema)
        rows = [{name: row.get(name) for name in schema} for row in bars]
        table.append(pl.DataFrame(rows, schema=schema), ManifestInput(digest="d"))
        return raw_known(context, "daily_bars", "2021-02", SPLIT, Seen())

    first = append(bar("2021-02-26T07:30", 1.0))
    after = append(bar("2021-02-28T23:31", 2.0, revision=2), bar("2021-03-05T07:30", 3.0, 3))
    late = append(bar("2021-02-28T20:00", 4.0, revision=1))
    assert after == first
    assert late != first
    assert append(bar("2021-03-09T07:30", 5.0, revision=4)) == late

    seen = Seen()
    seen.plan(table.table, ["2021-03"])
    assert raw_known(context, "daily_bars", "2021-02", SPLIT, seen) == "to be made again"
