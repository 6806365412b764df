"""Stored backtests against one another: on what is common, what is left out, what is refused."""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from tests.conftest import PIPELINES, edited, linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.cli import main
from alpha_assets.errors import (
    BadInput,
    MissingOutput,
    RangeError,
    SpecError,
    StaleOutput,
    StorageError,
)
from alpha_assets.evaluation.compare import TrackRecord
from alpha_assets.pipeline import compare, variants
from alpha_assets.pipeline.compare import Judged, left_out, stored_record

QUANTILE = "portfolio.quantile=0.3"


@pytest.fixture(scope="module", autouse=True)
def pipelines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        yield


@pytest.fixture(scope="module")
def stored(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A storage where `tiny` judges two months, and a variant of it the second; its name."""
    folder = str(linked(tiny_run, tmp_path_factory.mktemp("stored")))
    where: Any = {"storage": folder, "overrides": [QUANTILE]}
    aa.run("tiny", first_month="2021-08", last_month="2021-08", **where)
    return folder, project.open_context("tiny", **where).recipe.folder


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_recipe_and_itself_have_the_figures_of_its_results_and_differ_by_nothing(
    stored: tuple[str, str],
) -> None:
    storage, _ = stored
    found = aa.compare("tiny", "tiny", storage=storage)
    want = aa.results("tiny", storage=storage)["metrics"]
    for own in found["comparison"]["recipes"]:
        assert own["net"] == want["portfolio"]["net"]
        assert own["turnover"] == want["portfolio"]["turnover"]
        for name, figures in own["rank_ic"].items():
            whole = want["signal"][name]["rank_ic"]
            assert {k: figures[k] for k in ("mean", "low", "high", "n_sessions", "block")} == {
                k: whole[k] for k in ("mean", "low", "high", "n_sessions", "block")
            }
    assert [row["difference"] for row in found["comparison"]["differences"]] == [0, 0, 0, 0]
    assert {row["difference"] for row in found["differences"]} == {"0"}
    assert want["portfolio"]["cash_return_annual"] > 0  # what the Sharpe ratio is over


def test_the_verb_prints_figures_differences_and_what_is_left_out(stored: tuple[str, str]) -> None:
    storage, variant = stored
    shown = call("compare", "tiny", variant, "--storage", storage)
    assert shown.exit_code == 0, shown.output
    title, *lines = shown.stdout.splitlines()
    assert title == (
        "2 recipes on tiny, SIMULATED DATA: 2021-08-02 to 2021-08-31, 21 common sessions"
    )
    heads = [line.split("  ")[0] for line in lines]
    assert heads.count("tiny") == 1
    assert heads.count(variant) == 1 + 4
    assert "less tiny:" in lines
    assert "rank IC h5" in lines[1]
    assert lines[1].index("rank IC h5") < lines[1].index("rank IC h2")  # the traded one first
    few = "no interval: 21 sessions are fewer than 3 blocks of 15"
    assert sum(few in line for line in lines) == 2  # of Sharpe and turnover
    command = shlex.join(["alpha-assets", "run", "--recipe", "tiny", "--market", "tiny"])
    assert any(
        line.startswith(
            f"Left out of {variant}: 20 sessions of 2021-07: its backtest is of 2021-08 to 2021-08;"
            f" {command} --storage {storage} --set {QUANTILE} --first-month 2021-07 "
            "--last-month 2021-08 decides"
        )
        for line in lines
    )
    assert f"{variant}: tiny with {QUANTILE}." in lines
    assert any(f"On 2021-08-02 the book of {variant} is built up from cash" in li for li in lines)

    as_json = json.loads(call("compare", "tiny", variant, "--storage", storage, "--json").stdout)
    assert as_json == aa.compare("tiny", variant, storage=storage)


def test_figures_are_of_common_sessions(stored: tuple[str, str]) -> None:
    storage, variant = stored
    found = aa.compare("tiny", variant, storage=storage)["comparison"]
    own, other = found["recipes"]
    daily = project.open_context("tiny", storage=storage).backtest.read("daily")
    august = daily.filter(pl.col("session") >= date(2021, 8, 1))["turnover"]
    assert own["turnover"]["annual"] == pytest.approx(august.mean() * 245)
    assert other["rank_ic"] == own["rank_ic"]  # the same scores
    for row in found["differences"]:
        assert (row["recipe"], row["against"]) == (variant, "tiny")
    back = aa.compare(variant, "tiny", storage=storage)["comparison"]
    assert [row["difference"] for row in back["differences"]] == [
        -row["difference"] for row in found["differences"]
    ]


def test_more_than_one_comparison_is_counted(stored: tuple[str, str]) -> None:
    storage, variant = stored
    found = aa.compare("tiny", variant, "tiny", storage=storage)
    assert (
        "2 comparisons with tiny, 8 differences: each interval by itself holds its difference in "
        "95 % of worlds; of 8, 0.4 are expected to miss." in found["notes"]
    )
    assert not any(
        "comparisons" in note for note in aa.compare("tiny", variant, storage=storage)["notes"]
    )
    alone = aa.compare("tiny", "tiny", storage=storage)["notes"]
    assert alone == [
        "More variants of tiny are stored: 1. The best of several trials looks better than it is."
    ]


def test_where_the_cash_rate_is_not_known_it_is_said(
    stored: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, variant = stored
    honest = compare._rate_rows

    def notes(rows: Callable[[Any], pl.DataFrame | None]) -> list[str]:
        monkeypatch.setattr(compare, "_rate_rows", rows)
        found = aa.compare("tiny", variant, storage=storage)["notes"]
        return [note for note in found if "cash rate" in note]

    def ended(context: Any) -> pl.DataFrame | None:
        rows = honest(context)
        assert rows is not None
        return rows.filter(pl.col("event_date") < date(2021, 7, 16))

    assert not notes(honest)
    # The rate of 07-15 is in force from 07-16 and 20 sessions on: to 08-18.
    assert notes(ended) == [
        "The cash rate is not known, and counts as 0, in 9 of 21 common sessions."
    ]
    assert notes(lambda _: None) == [
        "No cash rates were given: Sharpe ratios are over a rate of 0."
    ]


def days(first: str, n: int) -> list[date]:
    start = date.fromisoformat(first)
    return [date.fromordinal(start.toordinal() + d) for d in range(n)]


def side(name: str, judged: Sequence[date], asked: str, undecided: Sequence[Any] = ()) -> Judged:
    """Return a backtest made up: what it judges, and what it was asked for and did not decide."""
    first, last = asked.split()
    span = {"asked_first_month": first, "asked_last_month": last, "undecided": list(undecided)}
    daily = pl.DataFrame({"session": list(judged)})
    return Judged(project.open_context("tiny"), span, TrackRecord(name, daily, daily, {}, 5))


def test_what_is_left_out_of_each_and_why_by_hand() -> None:
    hole = {"first_session": "2021-06-03", "last_session": "2021-06-04", "n_sessions": 2}
    a = side(
        "a",
        days("2021-06-01", 2) + days("2021-06-05", 2),
        "2021-06 2021-06",
        [hole | {"why": "no bar"}],
    )
    b = side("b", days("2021-06-02", 6), "2021-06 2021-07")
    of_a, later = left_out(a, [a, b])
    assert (of_a["recipe"], of_a["n_sessions"], of_a["why"]) == ("a", 2, "no bar")
    assert of_a["months"] == ("2021-06",)
    assert (later["first_session"], later["last_session"]) == (date(2021, 6, 7),) * 2
    assert later["why"].startswith("its backtest is of 2021-06 to 2021-06; alpha-assets run")
    assert "--first-month 2021-06 --last-month 2021-07 decides the months of all" in later["why"]
    (of_b,) = left_out(b, [a, b])
    assert (of_b["recipe"], of_b["first_session"], of_b["n_sessions"]) == ("b", date(2021, 6, 1), 1)


def test_months_that_none_shares_are_refused(
    stored: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, variant = stored

    def july_alone(context: Any) -> Judged:
        found = stored_record(context)
        daily = found.record.daily
        if context.recipe.folder == "tiny":
            daily = daily.filter(pl.col("session") < date(2021, 8, 1))
        return replace(found, record=replace(found.record, daily=daily))

    monkeypatch.setattr(compare, "stored_record", july_alone)
    words = (
        rf"no session is judged of all of tiny \(2021-07-01 to 2021-08-31\), {variant} "
        r"\(2021-08-02 to 2021-08-31\); alpha-assets run .*--last-month 2021-08 decides the months"
    )
    with pytest.raises(RangeError, match=words):
        aa.compare("tiny", variant, storage=storage)


def test_other_universes_horizons_and_costs_are_named(
    stored: tuple[str, str], tmp_path: Path
) -> None:
    context = project.open_context("tiny")
    other = project.open_context(
        "tiny", overrides=["universe.name='all'", "costs.commission_bps=9"]
    )
    sessions = days("2021-06-01", 2)
    a, b = side("a", sessions, "2021-06 2021-06"), side("b", sessions, "2021-06 2021-06")
    a = replace(a, context=context, record=replace(a.record, persistence={2: 0.5, 5: 0.5}))
    b = replace(b, context=other, record=replace(b.record, persistence={5: 0.5}))
    assert list(compare._unlike([a, b])) == [
        "b: tiny with universe.name='all', costs.commission_bps=9.",
        "universe differs: traded (a); all (b).",
        "costs.commission_bps differs: 1.0 (a); 9.0 (b).",
        "Horizons differ: 2, 5 (a); 5 (b); rank IC is compared at those that all predict.",
    ]


def test_a_variant_is_compared_on_the_market_that_it_names_itself(
    stored: tuple[str, str], tmp_path: Path
) -> None:
    # tiny_us.toml lists its own market alone; its variant lists this one, and is stored on it.
    storage = str(linked(Path(stored[0]), tmp_path / "own"))
    here = ['markets=["tiny"]', "portfolio.step=0.5"]
    there = project.open_context("tiny_us", market="tiny", storage=storage, overrides=here)
    variants.record(there)
    with pytest.raises(MissingOutput, match=rf"{there.recipe.folder}/backtest"):
        aa.compare("tiny", there.recipe.folder, storage=storage)


def test_what_cannot_be_compared_is_refused_by_name(stored: tuple[str, str]) -> None:
    storage, variant = stored
    with pytest.raises(SpecError, match=rf"no variant 'tiny@0123.*want one of {variant}"):
        aa.compare("tiny", "tiny@0123456789ab", storage=storage)
    words = (
        r"tiny and tiny_us are compared on one market, 'tiny' here; tiny_us.toml: markets = "
        r"\['tiny_us'\]; they have none together"
    )
    with pytest.raises(SpecError, match=words):
        aa.compare("tiny", "tiny_us", storage=storage)
    with pytest.raises(SpecError, match="there is no recipe 'other'"):
        aa.compare("tiny", "other", storage=storage)
    with pytest.raises(MissingOutput, match=r"tiny_feeds/backtest .*--recipe tiny_feeds"):
        aa.compare("tiny", "tiny_feeds", storage=storage)
    with pytest.raises(BadInput, match=f"compare takes variants by name, not {QUANTILE}"):
        aa.compare("tiny", variant, storage=storage, overrides=[QUANTILE])
    with pytest.raises(BadInput, match="tiny is compared with nothing; name another"):
        aa.compare("tiny", storage=storage)
    with pytest.raises(StaleOutput, match=r"tiny/backtest was made by digest \w{12}"):
        aa.compare("tiny", variant, storage=storage, overrides=["market.max_stale=7"])

    shown = call("compare", "tiny", "tiny_feeds", "--storage", storage)
    assert shown.exit_code == 2
    assert "Traceback" not in shown.output
    assert call("compare", "tiny", "--storage", storage).exit_code == 2


def test_a_market_that_both_list_is_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = 'markets = ["tiny", "tiny_us"]'
    folder = edited(tmp_path / "pipelines", "tiny", 'markets = ["tiny"]', both)
    monkeypatch.setenv("ALPHA_PIPELINES", folder)
    with pytest.raises(SpecError, match="choose --market tiny_us"):
        aa.compare("tiny", "tiny_us", storage=str(tmp_path))


def test_lost_and_damaged_books_are_refused(stored: tuple[str, str], tmp_path: Path) -> None:
    storage, variant = stored
    folder = linked(Path(storage), tmp_path / "storage")
    daily = folder / "tiny" / variant / "backtest" / "daily.parquet"
    content = daily.read_bytes()
    daily.unlink()
    daily.write_bytes(content[:-9])
    with pytest.raises(StorageError, match=rf"{variant}/backtest"):
        aa.compare("tiny", variant, storage=str(folder))
    shutil.rmtree(daily.parent)
    with pytest.raises(MissingOutput, match=rf"{variant}/backtest"):
        aa.compare("tiny", variant, storage=str(folder))
