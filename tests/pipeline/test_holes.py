"""A hole in the data over a month's training window costs that month, and no other."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.errors import MissingOutput
from alpha_assets.pipeline import backtest

PIPELINES = Path(__file__).parents[1] / "pipelines"
HOLE = (date(2012, 3, 12), date(2012, 3, 23))  # over all 8 validation sessions of 2012-04
NAMES = [f"S{number:02d}" for number in range(12)]
REASON = "universe traded has 0 names at most in the validation sessions 2012-03-14 to 2012-03-23"


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Where a market of twelve names lies that has no bar of two weeks in March."""
    folder = tmp_path_factory.mktemp("holed")
    days = np.arange("2011-12-01", "2012-06-30", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    rng = np.random.default_rng(3)
    bars = [
        pl.DataFrame(
            {
                "date": days,
                "symbol": name,
                "open": close * 1.001,
                "high": close * 1.01,
                "low": close * 0.99,
                "close": close,
                "volume": rng.uniform(1e6, 2e6, len(days)).round(),
            }
        )
        for name in NAMES
        for close in [50 * np.exp(rng.normal(0, 0.02, len(days)).cumsum())]
    ]
    known = pl.concat(bars).filter(~pl.col("date").is_between(*HOLE))
    known = known.filter(~pl.col("date").is_in(HOLIDAYS))
    known.write_parquet(folder / "daily_bars.parquet")
    spells = [{"symbol": name, "start": date(2011, 12, 1), "end": None} for name in NAMES]
    pl.DataFrame(spells, schema_overrides={"end": pl.Date}).write_parquet(
        folder / "membership.parquet"
    )
    return {
        "data": folder,
        "storage": str(tmp_path_factory.mktemp("storage")),
        "overrides": [
            "split.lookback_sessions=20",
            "split.valid_sessions=8",
            "training.warm_start=true",
            "market.universes.traded.min_dollar_volume=1",
        ],
    }


HOLIDAYS = [date(2011, 12, 26), date(2012, 1, 2), date(2012, 1, 16), date(2012, 2, 20),
            date(2012, 4, 6), date(2012, 5, 28)]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def said(where: dict[str, Any]) -> Any:
    """The lines of a run of three months, the second of which cannot be trained."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        aa.run(
            "tiny_us",
            first_month="2012-03",
            last_month="2012-06",
            progress=lambda _, what: lines.append(what),
            **where,
        )
        yield lines


def test_months_of_a_hole_are_skipped_with_their_reason_and_others_are_judged(
    where: dict[str, Any], said: list[str]
) -> None:
    assert any(line.startswith(f"2012-04 skipped: {REASON}") for line in said)

    rows = {row["stage"]: row for row in aa.status("tiny_us", **where)}
    assert [stage for stage, row in rows.items() if row["to do"]] == []
    folder = project.open_context("tiny_us", **where).recipe.folder
    assert rows[f"{folder}/checkpoint"]["why"].startswith(f"skipped: 2012-04 and 1 more, {REASON}")

    found = aa.results("tiny_us", **where)
    left_out = found["metrics"]["span"]["undecided"]
    assert [stretch["first_session"] for stretch in left_out] == [
        "2012-03-19",
        "2012-04-02",
        "2012-05-01",
    ]
    assert left_out[1]["last_session"] == "2012-04-30"
    assert left_out[1]["why"].startswith(REASON)
    assert left_out[2]["why"].startswith("labels of horizon 5: no name has one on the training")
    assert found["metrics"]["span"]["n_months"] == 2
    page = Path(found["report"]).read_text()
    assert f"(20 sessions) was asked for and not decided: {REASON}" in page
    assert "not enough names" in page  # in the table of models


def test_readers_of_a_skipped_month_say_why_there_is_no_model(where: dict[str, Any]) -> None:
    with pytest.raises(MissingOutput, match=f"month 2012-04 was skipped: {REASON}"):
        aa.predict("tiny_us", asof="2012-04-17", **where)
    with pytest.raises(MissingOutput, match=f"2012-04 has no model, .*: {REASON}"):
        aa.why("S00", "2012-04-17", "tiny_us", **where)
    assert aa.predict("tiny_us", asof="2012-06-12", **where)["rows"]


def test_warm_start_after_a_skipped_month_is_cold(said: list[str]) -> None:
    assert any(
        line.startswith("2012-06 starts cold: 2012-05 has no model (labels") for line in said
    )


def test_backtest_of_all_decided_months_spans_the_skipped_one(where: dict[str, Any]) -> None:
    context = project.open_context("tiny_us", **where)
    assert backtest.decided_months(context) == ("2012-03", "2012-04", "2012-05", "2012-06")
